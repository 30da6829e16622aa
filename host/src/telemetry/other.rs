//! All lines but those of the access log: what `tracing` is told, on standard error.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use prometheus_client::metrics::counter::Counter;
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

use super::redaction::Redaction;
use super::text::{self, Style, Time};
use super::writer::{Lines, Sink, Writer};
use crate::config::{Log, LogFormat};

/// The longest value of a field, in bytes.
const LONGEST: usize = 8 << 10;
/// How long a panic waits until its line is written.
const PATIENCE: Duration = Duration::from_secs(1);

/// The log of everything that is no request. Dropping it writes what waits.
#[derive(Debug)]
pub struct Telemetry {
    settings: Arc<RwLock<Settings>>,
    writer: Arc<Writer>,
}

/// There is a log already: a process has one.
#[derive(Debug)]
pub struct AlreadyInstalled;

impl Telemetry {
    /// Makes standard error the log of this process, of its panics too. Lines that are lost are counted in `dropped`.
    ///
    /// # Errors
    /// Where standard error is closed, or the process has a log already.
    pub fn install(log: &Log, redaction: Arc<Redaction>, dropped: Counter) -> io::Result<Self> {
        let (telemetry, subscriber) = Self::to_sink(Sink::stderr()?, log, redaction, dropped)?;
        tracing::subscriber::set_global_default(subscriber).map_err(|_| io::Error::other(AlreadyInstalled))?;
        telemetry.report_panics();
        Ok(telemetry)
    }

    /// As [`install`](Self::install), with lines to a writer of the caller's choice, and without those of panics.
    ///
    /// # Errors
    /// Where the process has a log already, or no thread can be started.
    pub fn install_to(
        out: impl io::Write + Send + 'static,
        log: &Log,
        redaction: Arc<Redaction>,
        dropped: Counter,
    ) -> io::Result<Self> {
        let (telemetry, subscriber) = Self::to_sink(Sink::Other(Box::new(out)), log, redaction, dropped)?;
        tracing::subscriber::set_global_default(subscriber).map_err(|_| io::Error::other(AlreadyInstalled))?;
        Ok(telemetry)
    }

    /// Takes the level, the format and the secrets of a new configuration.
    pub fn reload(&self, log: &Log, redaction: Arc<Redaction>) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Settings::new(log, redaction);
        tracing::callsite::rebuild_interest_cache();
    }

    /// Waits until every line so far is written, or lost. False where that takes longer than `patience`.
    pub fn flush(&self, patience: Duration) -> bool {
        self.writer.flush(patience)
    }

    fn to_sink(sink: Sink, log: &Log, redaction: Arc<Redaction>, dropped: Counter) -> io::Result<(Self, ToLines)> {
        let settings = Arc::new(RwLock::new(Settings::new(log, redaction)));
        let writer = Arc::new(Writer::start("log", sink, Duration::ZERO, dropped)?);
        let subscriber = ToLines { settings: settings.clone(), lines: writer.lines() };
        Ok((Self { settings, writer }, subscriber))
    }

    /// A panic's message may quote what it failed on, and so goes through the sieve. Rust's own report would not.
    fn report_panics(&self) {
        let writer = Arc::downgrade(&self.writer);
        std::panic::set_hook(Box::new(move |panic| {
            let backtrace = Backtrace::capture();
            match backtrace.status() {
                BacktraceStatus::Captured => tracing::error!(target: "tollgate", %backtrace, "{panic}"),
                _ => tracing::error!(target: "tollgate", "{panic}"),
            }
            if let Some(writer) = writer.upgrade() {
                writer.flush(PATIENCE);
            }
        }));
    }
}

impl fmt::Display for AlreadyInstalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this process has a log already")
    }
}

impl std::error::Error for AlreadyInstalled {}

#[derive(Debug)]
struct Settings {
    level: Level,
    format: LogFormat,
    redaction: Arc<Redaction>,
}

impl Settings {
    fn new(log: &Log, redaction: Arc<Redaction>) -> Self {
        Self { level: log.level, format: log.format, redaction }
    }

    /// Our own lines and those of plugins at the level that is set. Of libraries only warnings: below that, some of them
    /// write whole heads with the credentials in them.
    fn allow(&self, metadata: &Metadata<'_>) -> bool {
        let ours = ["tollgate", "plugin"].iter().any(|name| {
            metadata.target().strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '_']))
        });
        *metadata.level() <= if ours { self.level } else { self.level.min(Level::WARN) }
    }
}

/// What `tracing` calls. Spans are not kept: a line says itself what it is about.
#[derive(Debug)]
struct ToLines {
    settings: Arc<RwLock<Settings>>,
    lines: Lines,
}

impl Subscriber for ToLines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).allow(metadata)
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.settings.read().unwrap_or_else(PoisonError::into_inner).level.into())
    }

    fn event(&self, event: &Event<'_>) {
        // The lock is given back before anybody's formatting runs, which may log or panic itself.
        let (format, redaction) = {
            let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
            (settings.format, settings.redaction.clone())
        };
        let line = line(event, SystemTime::now(), format);
        let clean = redaction.secrets(&line);
        self.lines.append(|out| out.extend_from_slice(&clean));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// `{"time":…,"level":…,"target":…,"message":…,…}`, or `time LEVEL target: message key=value …`.
fn line(event: &Event<'_>, time: SystemTime, format: LogFormat) -> Vec<u8> {
    let (level, target) = (event.metadata().level(), event.metadata().target());
    let mut fields = Fields { format, message: Vec::new(), others: Vec::new() };
    event.record(&mut fields);
    let Fields { message, others, .. } = fields;
    let mut out = Vec::with_capacity(128 + message.len() + others.len());
    let written = match format {
        LogFormat::Json => {
            write!(out, r#"{{"time":"{}","level":"{level}","target":"{target}","message":""#, Time(time))
        }
        LogFormat::Text => write!(out, "{} {level:5} {target}: ", Time(time)),
    };
    written.expect("a Vec takes every write");
    let end: [&[u8]; 2] = match format {
        LogFormat::Json => [b"\"", b"}\n"],
        LogFormat::Text => [b"", b"\n"],
    };
    for part in [&*message, end[0], &*others, end[1]] {
        out.extend_from_slice(part);
    }
    out
}

/// Collects the message, and the other fields as they will stand behind it.
struct Fields {
    format: LogFormat,
    message: Vec<u8>,
    others: Vec<u8>,
}

impl Fields {
    fn text(&mut self, field: &Field, value: &dyn fmt::Display) {
        let (out, style) = match (field.name(), self.format) {
            ("message", LogFormat::Json) => (&mut self.message, Style::Quoted),
            ("message", LogFormat::Text) => (&mut self.message, Style::Plain),
            (name, format) => {
                key(&mut self.others, name, format);
                self.others.push(b'"');
                (&mut self.others, Style::Quoted)
            }
        };
        let mut bounded = Bounded { text: Vec::new() };
        // An error of the value's own formatting leaves what came before it, and so does the bound.
        let _ = write!(bounded, "{value}");
        text::escape(out, &bounded.text, LONGEST, style);
        if field.name() != "message" {
            out.push(b'"');
        }
    }

    fn bare(&mut self, field: &Field, value: &dyn fmt::Display) {
        key(&mut self.others, field.name(), self.format);
        write!(self.others, "{value}").expect("a Vec takes every write");
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &fmt::from_fn(|f| value.fmt(f)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, &value);
    }

    /// With its causes.
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let chain = fmt::from_fn(|f| {
            write!(f, "{value}")?;
            let causes = std::iter::successors(value.source(), |cause| cause.source());
            // An error that is its own cause would never end.
            causes.take(16).try_for_each(|cause| write!(f, ": {cause}"))
        });
        self.text(field, &chain);
    }
}

fn key(out: &mut Vec<u8>, name: &str, format: LogFormat) {
    let result = match format {
        LogFormat::Json => write!(out, ",\"{name}\":"),
        LogFormat::Text => write!(out, " {name}="),
    };
    result.expect("a Vec takes every write");
}

/// Text that stops growing soon after it is longer than anything that will be shown.
struct Bounded {
    text: Vec<u8>,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.text.len() > LONGEST {
            return Err(fmt::Error);
        }
        let most = LONGEST + 4;
        self.text.extend_from_slice(&text.as_bytes()[..text::cut(text.as_bytes(), most)]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[derive(Debug, Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn settings(format: LogFormat, level: Level) -> Log {
        Log { format, access: crate::config::AccessLog::Off, level }
    }

    /// The lines that a log of these settings makes of these events.
    fn logged(log: &Log, redaction: Redaction, events: impl FnOnce(&Telemetry)) -> Vec<String> {
        let memory = Memory::default();
        let sink = Sink::Other(Box::new(memory.clone()));
        let (telemetry, subscriber) =
            Telemetry::to_sink(sink, log, Arc::new(redaction), Counter::default()).expect("a thread");
        tracing::subscriber::with_default(subscriber, || events(&telemetry));
        assert!(telemetry.flush(LONG));
        let text = String::from_utf8(memory.0.lock().unwrap().clone()).expect("UTF-8");
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_are_json_or_text_with_their_fields() {
        let events = |_: &Telemetry| {
            let error = io::Error::new(io::ErrorKind::NotFound, "no \"file\"");
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(target: "tollgate::server", port = 80u16, tls = true, name = "a b", error, "it \"went\" wrong");
        };
        let json = logged(&settings(LogFormat::Json, Level::INFO), Redaction::default(), events);
        let object: serde_json::Value = serde_json::from_str(&json[0]).expect("JSON");
        assert_eq!(object["level"], "WARN");
        assert_eq!(object["target"], "tollgate::server");
        assert_eq!(object["message"], "it \"went\" wrong");
        assert_eq!((&object["port"], &object["tls"]), (&80.into(), &true.into()));
        assert_eq!((&object["name"], &object["error"]), (&"a b".into(), &"no \"file\"".into()));
        assert!(json[0].starts_with("{\"time\":\"20"));

        let text = logged(&settings(LogFormat::Text, Level::INFO), Redaction::default(), events);
        let (time, rest) = text[0].split_once(' ').expect("a time");
        assert!(time.ends_with('Z'));
        let fields = r#"port=80 tls=true name="a b" error="no \"file\"""#;
        assert_eq!(rest, format!(r#"WARN  tollgate::server: it "went" wrong {fields}"#));
    }

    #[test]
    fn hostile_text_stays_one_bounded_line_without_secrets() {
        for format in [LogFormat::Json, LogFormat::Text] {
            let redaction = Redaction::new(["CANARY\"quoted"], []);
            let lines = logged(&settings(format, Level::INFO), redaction, |_| {
                let plugin = "p\n\x1b[2J\"";
                tracing::info!(target: "plugin", plugin, "one\ntwo \x1b[2J {}", "\u{202e}".repeat(100_000));
                tracing::info!(target: "plugin", "a CANARY\"quoted secret");
                tracing::info!(target: "plugin", secret = "CANARY\"quoted");
            });
            assert_eq!(lines.len(), 3);
            assert!(lines.iter().all(|line| line.len() < 9 * LONGEST && !line.chars().any(char::is_control)));
            assert!(!lines.concat().contains("CANARY") && lines[2].contains("REDACTED"), "{}", lines[2]);
            assert!(!lines[0].contains('\u{202e}'));
        }
    }

    #[test]
    fn levels_count_for_us_and_plugins_and_change_with_a_reload() {
        let events = || {
            tracing::debug!(target: "tollgate::proxy", "ours debug");
            tracing::debug!(target: "plugin", "plugin debug");
            tracing::info!(target: "h2::codec", "library info");
            tracing::warn!(target: "h2::codec", "library warn");
            tracing::debug!(target: "tollgatekeeper", "not ours");
        };
        let lines = logged(&settings(LogFormat::Text, Level::WARN), Redaction::default(), |telemetry| {
            events();
            telemetry.reload(&settings(LogFormat::Text, Level::DEBUG), Arc::default());
            events();
            telemetry.reload(&settings(LogFormat::Json, Level::ERROR), Arc::default());
            events();
        });
        let messages: Vec<_> = lines.iter().map(|line| line.split_once(": ").expect("text").1).collect();
        assert_eq!(messages, ["library warn", "ours debug", "plugin debug", "library warn"]);
    }
}
