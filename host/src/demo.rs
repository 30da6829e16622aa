//! What `tollgate` shows where there is no configuration: the main job, with an upstream of its own.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::config::{Config, Problems, parse};
use crate::key::NewKey;

/// Where the demo listens.
const ADDRESS: &str = "127.0.0.1:8080";

/// The demo's configuration, with a hole for the upstream's address and one for the digest of the key.
const CONFIG: &str = include_str!("demo/tollgate.toml");

/// The longest request head that the demo's upstream reads, and the longest body.
const MOST: u64 = 64 << 10;

/// The demo's configuration for a key and an upstream.
///
/// # Errors
/// Never for the embedded text; a test holds that.
pub fn config(key: &NewKey, upstream: SocketAddr) -> Result<Config, Problems> {
    let text = CONFIG.replace("UPSTREAM", &upstream.to_string()).replace("DIGEST", &key.sha256);
    parse::parse(&text, "the embedded demo", std::path::Path::new("."), &|_| None)
}

/// The lines to try, one that passes and one for each refusal.
pub fn lines(key: &NewKey) -> String {
    let (key, at) = (&key.key, format!("http://{ADDRESS}/v1/search"));
    let json = "-H 'content-type: application/json'";
    let mut lines = String::new();
    let mut line = |what: &str, command: String| {
        // Writing to a String cannot fail.
        let _ = write!(lines, "  # {what}\n  {command}\n\n");
    };
    line("passes; the backend answers XML, and you read JSON", format!("curl -i -H 'x-api-key: {key}' '{at}?q=tea'"));
    line("passes, with a body", format!("curl -i -H 'x-api-key: {key}' {json} -d '{{\"q\": \"tea\"}}' '{at}'"));
    line("401: no key", format!("curl -i '{at}?q=tea'"));
    line("401: a wrong key", format!("curl -i -H 'x-api-key: wrong' '{at}?q=tea'"));
    line("400: a body against the schema", format!("curl -i -H 'x-api-key: {key}' {json} -d '{{\"q\": 7}}' '{at}'"));
    line("404: no such route", format!("curl -i -H 'x-api-key: {key}' 'http://{ADDRESS}/v1/other'"));
    line(
        "429: after 100 at once, one more each 0.6 seconds",
        format!(
            "for i in $(seq 120); do curl -s -o /dev/null -w '%{{http_code}}\\n' -H 'x-api-key: {key}' '{at}?q=tea'; done"
        ),
    );
    lines
}

/// Serves the demo's backend, a search that answers XML, on a loopback port of its own until the process ends.
///
/// # Errors
/// Where no port or no thread can be had.
pub fn upstream() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let serve = move || -> Option<Infallible> {
        loop {
            let (stream, _) = listener.accept().ok()?;
            // One thread a connection: the proxy keeps few of them, and this is a demo.
            std::thread::Builder::new().name("demo-upstream".to_owned()).spawn(move || converse(&stream)).ok()?;
        }
    };
    std::thread::Builder::new().name("demo-accept".to_owned()).spawn(serve)?;
    Ok(address)
}

fn converse(stream: &TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        let mut head = (&mut reader).take(MOST);
        let mut line = String::new();
        head.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let target = line.split(' ').nth(1)?.to_owned();
        loop {
            line.clear();
            head.read_line(&mut line).ok().filter(|read| *read > 0)?;
            let Some((name, value)) = line.split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = String::new();
        (&mut reader).take(u64::min(length, MOST)).read_to_string(&mut body).ok()?;
        let answer = search(&target, &body);
        // In one piece: two small ones would wait for each other's acknowledgement.
        let answer = format!(
            "HTTP/1.1 200 OK\r\nserver: hidden-backend/1.0\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len(),
        );
        let mut stream = stream;
        stream.write_all(answer.as_bytes()).ok()?;
    }
}

/// Two results for any question. The question comes back escaped.
fn search(target: &str, body: &str) -> String {
    let asked = serde_json::from_str::<serde_json::Value>(body)
        .ok()
        .and_then(|body| Some(body.get("q")?.as_str()?.to_owned()))
        .or_else(|| Some(target.split_once("q=")?.1.split('&').next()?.to_owned()))
        .unwrap_or_default();
    let asked = asked.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<results query=\"{asked}\" total=\"2\">\
         <item id=\"1\"><title>Green tea</title><price>4.20</price></item>\
         <item id=\"2\"><title>Black tea</title><price>3.90</price></item></results>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_configuration_has_no_mistake() {
        let key = crate::key::new_key("demo").unwrap();
        let config = config(&key, "127.0.0.1:9".parse().unwrap()).unwrap();
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        assert!(lines(&key).contains(&key.key));
    }
}
