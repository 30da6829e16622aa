//! One line for each request.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus_client::metrics::counter::Counter;

use super::redaction::Redaction;
use super::text::{self, Style, Time};
use super::writer::{Lines, Sink, Writer};
use crate::config::{self, LogFormat};

/// The longest string from a client in a line, in bytes.
const LONGEST: usize = 1024;
/// Lines wait this long for others, so that a busy proxy writes a hundred at once.
const DELAY: Duration = Duration::from_millis(20);

/// What is logged of one request. Whatever a client chose is cut, escaped and redacted on its way into the line.
#[derive(Debug, Clone)]
pub struct AccessEntry<'a> {
    /// When the head of the request had arrived.
    pub time: SystemTime,
    /// The same as in the response and in problem bodies.
    pub request_id: &'a str,
    /// The client's address, without a port.
    pub client: Option<IpAddr>,
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub protocol: &'a str,
    /// As received.
    pub method: &'a str,
    /// `http` or `https`: how the client reached the listener.
    pub scheme: &'a str,
    /// As received.
    pub host: &'a [u8],
    /// Without the query.
    pub path: &'a [u8],
    /// What follows `?`.
    pub query: Option<&'a [u8]>,
    /// None where the client was gone before there was one.
    pub status: Option<u16>,
    /// How the request ended, in one word.
    pub reason: &'a str,
    /// None where no route took the request.
    pub route: Option<&'a str>,
    /// None where the request did not get so far.
    pub upstream: Option<&'a str>,
    /// The address that was tried last: for the operator's eyes, as the log is.
    pub endpoint: Option<&'a str>,
    /// From the head of the request to the end of the response.
    pub duration: Duration,
    /// The part of it that was spent waiting for the head of the upstream's response.
    pub upstream_duration: Option<Duration>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
    /// The attribute `consumer`, if a plugin has set it.
    pub consumer: Option<&'a str>,
    /// As received: the only header that is logged.
    pub user_agent: Option<&'a [u8]>,
}

/// The access log: a thread that writes lines. Dropping it writes those that wait.
///
/// It outlives a reload that does not change where lines go; the format and what is redacted belong to the handles.
#[derive(Debug)]
pub struct AccessLog {
    /// None where it is off.
    writer: Option<Writer>,
}

/// A worker's way to the access log.
#[derive(Debug)]
pub struct AccessLines {
    lines: Option<Lines>,
    format: LogFormat,
    redaction: Arc<Redaction>,
}

impl AccessLog {
    /// Opens the log that the configuration asks for. Lines that are lost are counted in `dropped`.
    ///
    /// # Errors
    /// Where the file cannot be opened, or the thread cannot be started.
    pub fn open(log: &config::AccessLog, dropped: Counter) -> io::Result<Self> {
        match log {
            config::AccessLog::Off => Ok(Self { writer: None }),
            config::AccessLog::Stdout => Self::start(Sink::stdout()?, dropped),
            config::AccessLog::File(path) => Self::start(Sink::file(path.clone())?, dropped),
        }
    }

    /// A log into anything, for tests and for those who embed the proxy.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub fn to_writer(out: impl Write + Send + 'static, dropped: Counter) -> io::Result<Self> {
        Self::start(Sink::Other(Box::new(out)), dropped)
    }

    fn start(sink: Sink, dropped: Counter) -> io::Result<Self> {
        Ok(Self { writer: Some(Writer::start("access-log", sink, DELAY, dropped)?) })
    }

    /// A handle for one worker, with a buffer of its own.
    pub fn worker(&self, format: LogFormat, redaction: Arc<Redaction>) -> AccessLines {
        AccessLines { lines: self.writer.as_ref().map(Writer::lines), format, redaction }
    }

    /// Opens the file again, for those who have renamed it. Nothing to do for other sinks.
    pub fn reopen(&self) {
        if let Some(writer) = &self.writer {
            writer.reopen();
        }
    }

    /// Waits until every line so far is written, or lost. False where that takes longer than `patience`.
    pub fn flush(&self, patience: Duration) -> bool {
        self.writer.as_ref().is_none_or(|writer| writer.flush(patience))
    }
}

impl AccessLines {
    /// Whether lines go anywhere. Where not, an entry need not be made.
    pub fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    /// Appends a line. Never waits for the disk; a line too many is counted, and lost.
    pub fn write(&self, entry: &AccessEntry<'_>) {
        if let Some(lines) = &self.lines {
            lines.append(|out| entry.write(out, self.format, &self.redaction));
        }
    }
}

impl AccessEntry<'_> {
    /// Appends the entry as one line with its newline. The same entry always makes the same line.
    pub fn write(&self, out: &mut Vec<u8>, format: LogFormat, redaction: &Redaction) {
        let mut line = Line { out, json: format == LogFormat::Json, redaction, first: true };
        line.word("time", Some(Time(self.time)));
        line.text("request_id", Some(self.request_id.as_bytes()));
        line.word("client", self.client);
        line.text("protocol", Some(self.protocol.as_bytes()));
        line.text("method", Some(self.method.as_bytes()));
        line.text("scheme", Some(self.scheme.as_bytes()));
        line.text("host", Some(self.host));
        line.redacted("path", Some(self.path), Redaction::path);
        line.redacted("query", self.query, Redaction::query);
        line.number("status", self.status);
        line.text("reason", Some(self.reason.as_bytes()));
        line.text("route", self.route.map(str::as_bytes));
        line.text("upstream", self.upstream.map(str::as_bytes));
        line.text("endpoint", self.endpoint.map(str::as_bytes));
        line.number("duration", Some(Seconds(self.duration)));
        line.number("upstream_duration", self.upstream_duration.map(Seconds));
        line.number("bytes_in", Some(self.bytes_in));
        line.number("bytes_out", Some(self.bytes_out));
        line.text("consumer", self.consumer.map(str::as_bytes));
        line.text("user_agent", self.user_agent);
        line.end();
    }
}

/// A line that is being written: a JSON object with all keys, or `key=value` for those that have a value.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    json: bool,
    redaction: &'a Redaction,
    first: bool,
}

impl Line<'_> {
    fn text(&mut self, key: &str, value: Option<&[u8]>) {
        self.redacted(key, value, Redaction::secrets);
    }

    /// Looks far enough for a secret that begins before the cut, removes what may not be seen, and cuts then.
    fn redacted<'v>(
        &mut self,
        key: &str,
        value: Option<&'v [u8]>,
        redact: impl FnOnce(&Redaction, &'v [u8]) -> Cow<'v, [u8]>,
    ) {
        let Some(value) = value else { return self.none(key) };
        self.key(key);
        let near = &value[..value.len().min(self.redaction.reach(LONGEST))];
        let clean = redact(self.redaction, near);
        let bare = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:/@".contains(byte);
        if !self.json && !clean.is_empty() && clean.len() <= LONGEST && clean.iter().all(bare) {
            return self.out.extend_from_slice(&clean);
        }
        self.out.push(b'"');
        text::escape(self.out, &clean, LONGEST, Style::Quoted);
        self.out.push(b'"');
    }

    /// What nobody chose and what needs no escapes, but is no number in JSON.
    fn word(&mut self, key: &str, value: Option<impl Display>) {
        let quote = if self.json { "\"" } else { "" };
        self.number(key, value.map(|value| fmt::from_fn(move |f| write!(f, "{quote}{value}{quote}"))));
    }

    fn number(&mut self, key: &str, value: Option<impl Display>) {
        let Some(value) = value else { return self.none(key) };
        self.key(key);
        write!(self.out, "{value}").expect("a Vec takes every write");
    }

    fn none(&mut self, key: &str) {
        if self.json {
            self.key(key);
            self.out.extend_from_slice(b"null");
        }
    }

    fn key(&mut self, key: &str) {
        let (before, after) = match (self.json, self.first) {
            (true, true) => ("{\"", "\":"),
            (true, false) => (",\"", "\":"),
            (false, true) => ("", "="),
            (false, false) => (" ", "="),
        };
        self.first = false;
        for part in [before, key, after] {
            self.out.extend_from_slice(part.as_bytes());
        }
    }

    fn end(self) {
        self.out.extend_from_slice(if self.json { b"}\n" } else { b"\n" });
    }
}

/// Seconds, to the microsecond.
struct Seconds(Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0.as_secs(), self.0.subsec_micros())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn entry() -> AccessEntry<'static> {
        AccessEntry {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_793_995_200_123),
            request_id: "0af7651916cd43dd",
            client: Some(Ipv4Addr::new(203, 0, 113, 9).into()),
            protocol: "HTTP/1.1",
            method: "GET",
            scheme: "https",
            host: b"api.example.com",
            path: b"/v1/search",
            query: Some(b"q=a+b&api_key=CANARY"),
            status: Some(200),
            reason: "ok",
            route: Some("search"),
            upstream: Some("backend"),
            endpoint: Some("10.0.1.5:8080"),
            duration: Duration::from_nanos(1_234_567),
            upstream_duration: Some(Duration::from_micros(900)),
            bytes_in: 0,
            bytes_out: 512,
            consumer: Some("alice"),
            user_agent: Some(b"curl/8.5"),
        }
    }

    fn line(entry: &AccessEntry<'_>, format: LogFormat, redaction: &Redaction) -> String {
        let mut out = Vec::new();
        entry.write(&mut out, format, redaction);
        String::from_utf8(out).expect("UTF-8")
    }

    fn json(entry: &AccessEntry<'_>, redaction: &Redaction) -> serde_json::Value {
        let line = line(entry, LogFormat::Json, redaction);
        assert_eq!(line.find('\n'), Some(line.len() - 1), "one line");
        serde_json::from_str(&line).expect("JSON")
    }

    #[test]
    fn a_line_has_these_fields_in_this_order() {
        assert_eq!(
            line(&entry(), LogFormat::Json, &Redaction::default()),
            concat!(
                r#"{"time":"2026-11-06T20:00:00.123Z","request_id":"0af7651916cd43dd","client":"203.0.113.9","#,
                r#""protocol":"HTTP/1.1","method":"GET","scheme":"https","host":"api.example.com","path":"/v1/search","#,
                r#""query":"q=a+b&api_key=REDACTED","status":200,"reason":"ok","route":"search","upstream":"backend","#,
                r#""endpoint":"10.0.1.5:8080","duration":0.001234,"upstream_duration":0.000900,"bytes_in":0,"#,
                r#""bytes_out":512,"consumer":"alice","user_agent":"curl/8.5"}"#,
                "\n"
            )
        );
        assert_eq!(
            line(&entry(), LogFormat::Text, &Redaction::default()),
            concat!(
                "time=2026-11-06T20:00:00.123Z request_id=0af7651916cd43dd client=203.0.113.9 protocol=HTTP/1.1 ",
                "method=GET scheme=https host=api.example.com path=/v1/search query=\"q=a+b&api_key=REDACTED\" ",
                "status=200 reason=ok route=search upstream=backend endpoint=10.0.1.5:8080 duration=0.001234 ",
                "upstream_duration=0.000900 bytes_in=0 bytes_out=512 consumer=alice user_agent=curl/8.5\n"
            )
        );
    }

    #[test]
    fn what_there_is_not_is_null_in_json_and_absent_in_text() {
        let none = AccessEntry {
            client: None,
            query: None,
            status: None,
            route: None,
            upstream: None,
            endpoint: None,
            upstream_duration: None,
            consumer: None,
            user_agent: None,
            reason: "client-gone",
            ..entry()
        };
        let object = json(&none, &Redaction::default());
        assert_eq!(object.as_object().expect("an object").len(), 20);
        assert!(object["status"].is_null() && object["user_agent"].is_null());
        let text = line(&none, LogFormat::Text, &Redaction::default());
        assert!(!text.contains("status=") && text.contains("reason=client-gone"), "{text}");
    }

    #[test]
    fn hostile_strings_stay_one_escaped_and_cut_line() {
        let long = vec![b'A'; 1 << 20];
        let hostile = AccessEntry {
            method: "G\"ET",
            host: b"a\x1b[2J\r\n\"status\":500",
            path: b"/%0a/\n{\"time\":\"x\"}/\xff\xfe",
            query: Some(b"q=\xc3\x28\" status=500"),
            user_agent: Some(&long),
            request_id: "\u{202e}id",
            ..entry()
        };
        let object = json(&hostile, &Redaction::default());
        assert_eq!(object["host"], "a\u{1b}[2J\r\n\"status\":500");
        assert_eq!(object["path"], "/%0a/\n{\"time\":\"x\"}/\u{fffd}\u{fffd}");
        assert_eq!(object["user_agent"].as_str().map(str::len), Some(1024 + "…".len()));
        assert_eq!(object["status"], 200);
        for format in [LogFormat::Json, LogFormat::Text] {
            let line = line(&hostile, format, &Redaction::default());
            assert!(!line.trim_end_matches('\n').chars().any(char::is_control), "{line}");
            assert!(!line.contains('\u{202e}') && line.len() < 2048);
        }
        let text = line(&hostile, LogFormat::Text, &Redaction::default());
        assert!(text.contains("query=\"q=\u{fffd}(\\\" status=500\" status=200"), "{text}");
    }

    #[test]
    fn no_credential_is_written_wherever_it_stands() {
        let redaction = Redaction::new(["CANARY-configured"], ["ticket"]);
        let before = "p".repeat(LONGEST - 4);
        let at_the_cut = format!("{before}CANARY-configured");
        let query = format!("token=CANARY-1&ticket=CANARY-2&q=%43ANARY-configured&{before}=%43ANARY-configured");
        let leaky = AccessEntry {
            request_id: "CANARY-configured",
            host: b"CANARY-configured.example",
            path: at_the_cut.as_bytes(),
            query: Some(query.as_bytes()),
            consumer: Some("x CANARY-configured"),
            user_agent: Some(b"CANARY-configured"),
            ..entry()
        };
        for format in [LogFormat::Json, LogFormat::Text] {
            let line = line(&leaky, format, &redaction);
            assert!(!line.contains("CANA") && !line.contains("%43"), "{line}");
            assert!(line.contains("pppREDA…"), "the path was redacted before it was cut: {line}");
            assert!(line.contains("token=REDACTED&ticket=REDACTED&q=REDACTED&ppp"), "{line}");
            assert_eq!(line.matches("REDACTED").count(), 7, "{line}");
        }
    }

    /// Hands on what is written.
    struct Channel(mpsc::Sender<Vec<u8>>);

    impl Write for Channel {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            drop(self.0.send(bytes.to_vec()));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn workers_write_and_the_end_flushes() {
        let (sender, lines) = mpsc::channel();
        let dropped = Counter::default();
        let log = AccessLog::to_writer(Channel(sender), dropped.clone()).unwrap();
        let redaction = Arc::new(Redaction::default());
        let workers = [log.worker(LogFormat::Json, redaction.clone()), log.worker(LogFormat::Text, redaction)];
        workers.iter().for_each(|worker| worker.write(&entry()));
        assert!(log.flush(LONG));
        workers[0].write(&entry());
        drop(log);
        let written = String::from_utf8(lines.try_iter().flatten().collect()).unwrap();
        assert_eq!(written.lines().count(), 3);
        assert_eq!(written.lines().filter(|line| line.starts_with("time=")).count(), 1);
        assert_eq!(dropped.get(), 0);
    }

    #[test]
    fn a_log_that_is_off_asks_for_no_entries() {
        let log = AccessLog::open(&config::AccessLog::Off, Counter::default()).unwrap();
        assert!(!log.worker(LogFormat::Json, Arc::default()).is_on());
        assert!(log.flush(Duration::ZERO));
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let nowhere = config::AccessLog::File(directory.path().join("no/such/directory.log"));
        assert!(AccessLog::open(&nowhere, Counter::default()).is_err());
    }
}
