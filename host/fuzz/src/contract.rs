//! What a guest answers and asks, whatever it is, on its way through the host: it never panics, and what it lets pass is one
//! message, the same to everybody who reads it.
//!
//! The input is records with the byte 0xfe between them, which is no part of any text. Each begins with its kind: what it adds
//! to an edit, a problem or an interest, or what it asks a capability. All of them are one guest's.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response};
use tollgate::authority::Scheme;
use tollgate::capability::http_client::{Granted, would_send};
use tollgate::capability::kv;
use tollgate::config::HttpOrigin;
use tollgate::headers::{self, Kinds, may_plugin_set};
use tollgate::http1::framing::Length;
use tollgate::http1::head::{self, Limits, Lines};
use tollgate::http1::write::{self, Connection};
use tollgate::metrics::{Kind, Metrics};
use tollgate::minisign::{Message, PublicKey, SecretKey, Signature};
use tollgate::path::canonical;
use tollgate::plugin::answers::{self, Edits, Fields, Problem};

/// What a guest says, taken apart.
#[derive(Default)]
struct Guest {
    edits: Edits,
    problem: Problem,
    body: Vec<u8>,
    owns: Vec<String>,
    looks_at: Vec<String>,
    declares: Vec<String>,
    cap: u64,
    asks: Vec<(String, String)>,
    entries: Vec<(String, String)>,
    metrics: Vec<(String, String)>,
    signature: Vec<u8>,
}

/// Attributes that its interest names.
const SETS: [&str; 2] = ["consumer", "a"];

/// Everything that one guest can say.
pub fn check(bytes: &[u8]) {
    let guest = Guest::read(bytes);
    request(&guest.edits);
    response(&guest.edits);
    whole(guest.edits.status.unwrap_or(200), guest.edits.set.clone(), guest.body.clone());
    refusal(guest.problem.clone());
    interest(&guest);
    ask(&guest);
    store(&guest);
    count(&guest);
    signature(&guest.signature);
}

impl Guest {
    fn read(bytes: &[u8]) -> Self {
        let mut guest = Self::default();
        for record in bytes.split(|byte| *byte == 0xfe) {
            let (kind, rest) = halves(record, b' ');
            let text = || String::from_utf8_lossy(rest).into_owned();
            let field = || {
                let (name, value) = halves(rest, b':');
                (String::from_utf8_lossy(name).into_owned(), value.to_vec())
            };
            let pair = || {
                let (name, value) = halves(rest, b'=');
                (String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(value).into_owned())
            };
            match kind {
                b"remove" => guest.edits.remove.push(text()),
                b"set" => guest.edits.set.push(field()),
                b"append" => guest.edits.append.push(field()),
                b"path" => guest.edits.path = Some(text()),
                b"query" => guest.edits.query = Some(text()),
                b"status" => guest.edits.status = text().parse().ok(),
                b"attribute" => guest.edits.attributes.push(pair()),
                b"memo" => guest.edits.memo = Some(rest.to_vec()),
                b"skip" => guest.edits.skip_body = true,
                b"body" => guest.body = rest.to_vec(),
                b"refuse" => guest.problem.status = text().parse().unwrap_or_default(),
                b"code" => guest.problem.code = text(),
                b"title" => guest.problem.title = text(),
                b"detail" => guest.problem.detail = Some(text()),
                b"why" => guest.problem.headers.push(field()),
                b"fault" => guest.problem.faults.push(pair()),
                b"own" => guest.owns.push(text()),
                b"look" => guest.looks_at.push(text()),
                b"declare" => guest.declares.push(text()),
                b"cap" => guest.cap = text().parse().unwrap_or(u64::MAX),
                b"ask" => {
                    let (method, url) = halves(rest, b' ');
                    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                    guest.asks.push((text(method), text(url)));
                }
                b"entry" => guest.entries.push(pair()),
                b"metric" => guest.metrics.push(pair()),
                b"signature" => guest.signature = rest.to_vec(),
                _ => {}
            }
        }
        guest
    }
}

/// What is before a byte, and what is behind it: all and nothing where it is not there.
fn halves(bytes: &[u8], at: u8) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == at) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

const LIMITS: Limits = Limits { bytes: 4 << 20, fields: head::MOST_FIELDS };

fn request(edits: &Edits) {
    let before = Request::builder()
        .method(Method::POST)
        .uri("/a/b?c=d")
        .header("host", "api.example.com")
        .header("cookie", "a=b")
        .header("x-many", "1")
        .header("x-many", "2")
        .header("content-length", "4")
        .body(())
        .expect("a request");
    let (mut parts, ()) = before.clone().into_parts();
    let told = match answers::edit_request(edits.clone(), &SETS, &mut parts) {
        Ok(told) => told,
        Err(why) => {
            sentence(&why);
            let (same, ()) = before.into_parts();
            assert_eq!((&same.uri, &same.headers), (&parts.uri, &parts.headers), "all of it, or nothing");
            return;
        }
    };
    assert!(told.iter().all(|(name, value)| SETS.contains(&&**name) && value.len() <= 8 << 10), "{told:?}");
    for name in ["host", "content-length"] {
        assert_eq!(parts.headers.get(name), before.headers().get(name), "{name} is the host's");
    }
    untouched(before.headers(), &parts.headers, edits);
    assert_eq!(canonical(parts.uri.path(), false).as_deref(), Ok(parts.uri.path()), "{:?}", parts.uri);
    let mut written = Vec::new();
    write::request(&mut written, (&parts.method, &parts.uri, &parts.headers), None, |_| {}, Length::Sized(4));
    let read = read_request(&written);
    assert_eq!((read.method(), read.uri()), (&parts.method, &parts.uri));
    same_fields(&parts.headers, read.headers());
    headers::check_request(&read, Kinds::of(read.headers()), Scheme::Https).expect("one message to everybody");
}

/// The one request that these bytes are.
fn read_request(written: &[u8]) -> Request<()> {
    let mut lines = Lines::new();
    let found = head::Scan::default().request(written, LIMITS.bytes, &mut lines).expect("a head");
    let (begin, length) = found.expect("all of it");
    assert_eq!((begin, length), (0, written.len()), "nothing before the head, and nothing behind it");
    head::request(&Bytes::copy_from_slice(written), &lines, LIMITS).expect("a head that we take").request
}

fn response(edits: &Edits) {
    let before = Response::builder()
        .header("content-type", "text/plain")
        .header("content-length", "4")
        .header("set-cookie", "a=b")
        .header("set-cookie", "c=d")
        .header("date", "Sun, 06 Nov 1994 08:49:37 GMT")
        .body(())
        .expect("a response");
    let (mut parts, ()) = before.clone().into_parts();
    if let Err(why) = answers::edit_response(edits.clone(), &SETS, &mut parts) {
        sentence(&why);
        let (same, ()) = before.into_parts();
        assert_eq!((same.status, &same.headers), (parts.status, &parts.headers), "all of it, or nothing");
        return;
    }
    untouched(before.headers(), &parts.headers, edits);
    written_response(&Response::from_parts(parts, Bytes::from_static(b"body")));
}

fn whole(status: u16, fields: Fields, body: Vec<u8>) {
    match answers::whole(status, fields, body) {
        Ok(response) => {
            assert!(response.headers().keys().all(may_plugin_set));
            written_response(&response);
        }
        Err(why) => sentence(&why),
    }
}

/// It is written as one head, and read as what it was.
fn written_response(response: &Response<Bytes>) {
    let status = response.status();
    assert!((200..600).contains(&status.as_u16()), "{status}");
    let length = if response.body().is_empty() { Length::None } else { Length::Sized(response.body().len() as u64) };
    let mut written = Vec::new();
    write::response(&mut written, &Method::GET, status, response.headers(), length, Connection::Stays);
    let mut lines = Lines::new();
    let end = head::Scan::default().response(&written, LIMITS.bytes, &mut lines).expect("a head");
    assert_eq!(end, Some(written.len()), "nothing behind the head");
    let read = head::response(&Bytes::from(written), &lines, LIMITS, &Method::GET).expect("a head that we take");
    assert_eq!(read.response.status(), status);
    same_fields(response.headers(), read.response.headers());
}

fn refusal(problem: Problem) {
    let fit = match answers::refusal(problem) {
        Ok(fit) => fit,
        Err(why) => return sentence(&why),
    };
    assert!((400..600).contains(&fit.status.as_u16()));
    assert!(
        !fit.code.is_empty()
            && fit.code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    );
    assert!(fit.texts.iter().all(|text| text.len() <= 2048 && !text.chars().any(char::is_control)), "{:?}", fit.texts);
    assert!(fit.headers.keys().all(may_plugin_set));
    let mut response = Response::new(Bytes::from_static(b"{}"));
    (*response.status_mut(), *response.headers_mut()) = (fit.status, fit.headers);
    written_response(&response);
}

fn interest(guest: &Guest) {
    let looks_at = guest.looks_at.clone();
    match answers::interest(looks_at, guest.declares.clone(), guest.owns.clone(), guest.declares.clone(), guest.cap) {
        Ok(owned) => assert!(owned.iter().all(may_plugin_set) && guest.cap <= 256 << 20),
        Err(why) => sentence(&why),
    }
}

static GRANTED: LazyLock<Granted> = LazyLock::new(|| {
    let origins =
        ["https://idp.example.com", "http://[::1]:8080"].map(|origin| HttpOrigin::of(origin).expect("an origin"));
    // No roots are needed where nothing is sent.
    Granted::load(&origins, Some(Default::default())).expect("nothing is read")
});

fn ask(guest: &Guest) {
    for (method, url) in &guest.asks {
        let Ok(request) = would_send(&GRANTED, method, url, &guest.edits.set, Bytes::copy_from_slice(&guest.body))
        else {
            continue;
        };
        let host = request.headers().get("host").map(HeaderValue::as_bytes);
        assert!(matches!(host, Some(b"idp.example.com" | b"[::1]:8080")), "{host:?} for {url}");
        assert_ne!(request.method(), Method::CONNECT);
        let mut written = Vec::new();
        let parts = (request.method(), request.uri(), request.headers());
        write::request(&mut written, parts, None, |_| {}, Length::Sized(request.body().len() as u64));
        let read = read_request(&written);
        assert_eq!((read.method(), read.uri()), (request.method(), request.uri()));
        same_fields(request.headers(), read.headers());
    }
}

/// A small store, so that it is full before long.
fn store(guest: &Guest) {
    let quota = kv::Quota { key: 64, value: 256, bytes: 1 << 10, entries: 8 };
    let stores = kv::Stores::new(quota);
    let store = stores.open("sessions");
    let now = Instant::now();
    for (key, value) in &guest.entries {
        let (time, by) = (value.len() as u64, value.parse().unwrap_or(1));
        if store.set(key, value.as_bytes(), Some(time), now).is_ok() {
            let kept = store.get(key, now).expect("a key that was set");
            assert_eq!(kept.as_deref(), (time > 0).then_some(value.as_bytes()), "{key:?}");
        }
        let _ = store.increment(key, by, Some(u64::MAX), now);
        let listed = store.list(value, Some(key), value.len(), now).unwrap_or_default();
        assert!(listed.iter().all(|listed| listed.starts_with(&**value) && **listed > **key), "{listed:?}");
        assert!(store.bytes() <= quota.bytes && store.len() <= quota.entries);
        let _ = store.get(key, now + Duration::from_secs(1));
        if value.is_empty() {
            let _ = store.delete(key, now);
        }
    }
}

fn count(guest: &Guest) {
    let metrics = Metrics::default();
    let custom = metrics.custom("it");
    let plain = metrics.render();
    let mut opened = 0;
    for (name, rest) in guest.metrics.iter().take(8) {
        let values: Vec<String> = rest.split(',').map(str::to_owned).collect();
        let labels: Vec<String> = (0..values.len()).map(|number| format!("l{number}")).collect();
        let number: f64 = values[0].parse().unwrap_or(f64::NAN);
        let kind = match rest.len() % 3 {
            0 => Kind::Counter,
            1 => Kind::Gauge,
            _ => Kind::Histogram(vec![number, 2.0]),
        };
        let Ok(family) = custom.open(name, rest, &labels, kind.clone()) else { continue };
        opened += 1;
        match kind {
            Kind::Counter => family.count(&values, u64::MAX),
            Kind::Gauge => family.move_by(&values, i64::MIN),
            Kind::Histogram(_) => family.observe(&values, number),
        }
        let _ = custom.open(rest, name, &values, Kind::Gauge);
    }
    let rendered = metrics.render();
    assert!(opened > 0 || rendered.lines().count() >= plain.lines().count());
    for line in rendered.lines() {
        let begins = line.as_bytes().first().is_some_and(|byte| byte.is_ascii_lowercase() || *byte == b'#');
        assert!(begins, "{line:?} is no line of metrics");
        assert!(!line.chars().any(|letter| letter.is_ascii_control()), "{line:?}");
    }
}

/// What somebody put beside a component. Nobody here has the key that could have made one that verifies.
fn signature(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(key) = PublicKey::parse(&text) {
        assert_eq!(PublicKey::parse(&key.to_string()), Ok(key));
    }
    if let Ok(signature) = Signature::parse(bytes) {
        assert!(!signature.comment().contains(|letter: char| letter.is_control() && letter != '\t'));
        assert!(PUBLIC.verify(&Message::new(Bytes::copy_from_slice(bytes)), &signature).is_err());
    }
}

static PUBLIC: LazyLock<PublicKey> = LazyLock::new(|| SecretKey::generate().expect("random numbers").public());

/// Fields that no plugin may change are as they were.
fn untouched(before: &HeaderMap, after: &HeaderMap, edits: &Edits) {
    let named = |name: &HeaderName| {
        let fields = edits.set.iter().chain(&edits.append).map(|(name, _)| name).chain(&edits.remove);
        fields.into_iter().any(|other| other.eq_ignore_ascii_case(name.as_str()))
    };
    for name in before.keys().chain(after.keys()) {
        if !may_plugin_set(name) || !named(name) {
            assert!(before.get_all(name).iter().eq(after.get_all(name)), "{name} changed");
        }
    }
}

/// Names in any order, and the values of each in theirs. What says how long the body is was written anew.
fn same_fields(ours: &HeaderMap, read: &HeaderMap) {
    let named = |name: &&HeaderName| !["content-length", "date"].contains(&name.as_str());
    for name in ours.keys().chain(read.keys()).filter(named) {
        assert!(ours.get_all(name).iter().eq(read.get_all(name)), "{name}: {ours:?} was read as {read:?}");
    }
}

/// What an operator is told is one line, and not too long for it.
fn sentence(why: &str) {
    assert!(!why.is_empty() && why.len() < 2048 && !why.chars().any(char::is_control), "{why:?}");
}
