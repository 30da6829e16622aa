//! The same bytes through our reading of HTTP/1.1 and through hyper's: whatever both take must be the same to both, and
//! what we refuse and hyper takes has a name here. There is nothing that it refuses and we take.
//!
//! `docs/framing.md` shows one input of each kind, and what nginx makes of it.

mod ours;
mod theirs;

use std::fmt;

pub use ours::read as by_us;
pub use theirs::read as by_hyper;

/// What a reader made of the bytes of one connection.
#[derive(Debug, PartialEq, Eq)]
pub struct Reading {
    /// In their order. The last one's body may not be whole.
    pub messages: Vec<Message>,
    /// Why it read no further.
    pub end: End,
}

/// A request as it was understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Method, target and version.
    pub line: String,
    /// Names and values, those of one name together.
    pub fields: Vec<Field>,
    /// As far as it came.
    pub body: Vec<u8>,
    /// The fields behind it.
    pub trailers: Vec<Field>,
    /// Whether the body came to its end.
    pub whole: bool,
}

type Field = (String, Vec<u8>);

/// Why a reader reads no further.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// It waits for more.
    Open,
    /// A message said that it is the last one.
    Closed,
    /// What comes is none; in the reader's own word.
    Refused(String),
}

/// What we refuse and hyper takes, by our word for it, and why.
///
/// Every refusal of ours that is not here is one of hyper's, too.
const STRICTER: [(&str, &str); 16] = [
    ("LineEnd", "a bare LF ends a line for some programs and is a byte of it for others (RFC 9112, section 2.2)"),
    (
        "Target",
        "a fragment is never sent, and a byte outside ASCII is no part of a URI: hyper drops the one and keeps the other",
    ),
    ("LengthAndCoding", "hyper goes by the chunks and drops the length, which another program may have gone by"),
    ("Length", "beside chunks, hyper does not read what is no length either"),
    ("Lengths", "the same length twice has one meaning, but nobody who means well sends it"),
    ("Coding", "hyper takes every list of codings that ends in chunked; we would have to undo the others"),
    ("Size", "white space behind the size of a chunk"),
    ("Extension", "control characters and open quotes in a chunk extension, where others see the end of a line"),
    ("Overflow", "leading zeros beyond sixteen digits"),
    ("Trailers(LineEnd)", "bare LF, as in heads"),
    ("Trailers(TooManyFields)", "we take 32 fields behind a body, and hyper 100"),
    ("bad-host", "every request names one host, or its route cannot be known; hyper leaves that to the application"),
    ("bad-request", "targets that are an authority, or `*` without OPTIONS: hyper leaves that to the application"),
    ("method-refused", "CONNECT and TRACE are refused before their body is read"),
    ("expectation-failed", "an expectation that we do not know"),
    ("upgrade-with-body", "the bytes behind such a head are a body to one program and the new protocol to another"),
];

/// The names of the differences that have one.
pub fn names() -> impl Iterator<Item = &'static str> {
    STRICTER.iter().map(|(name, _)| *name)
}

/// Compares the two readings of these bytes, and answers the name of their difference where there is one.
///
/// # Panics
/// Where they differ in a way that has no name.
pub fn check(bytes: &[u8]) -> Option<&'static str> {
    let (ours, theirs) = (by_us(bytes), by_hyper(bytes));
    // A head that comes again may be read by what was kept of it.
    for _ in 0..2 {
        assert_eq!(by_us(bytes), ours, "the same bytes, another meaning");
    }
    compare(&ours, &theirs).unwrap_or_else(|difference| {
        panic!("{difference}\nof {:?}\nwe read {ours:#?}\nhyper reads {theirs:#?}", bytes.escape_ascii().to_string())
    })
}

fn compare(ours: &Reading, theirs: &Reading) -> Result<Option<&'static str>, Difference> {
    let stricter = match &ours.end {
        End::Refused(word) => names().find(|name| name == word),
        End::Open | End::Closed => None,
    };
    for (place, our) in ours.messages.iter().enumerate() {
        let their = theirs.messages.get(place).ok_or(Difference::OnlyOurs(place))?;
        if (&our.line, &our.fields) != (&their.line, &their.fields) {
            return Err(Difference::Head(place));
        }
        match (our.whole, their.whole) {
            (true, true) | (false, false) => {}
            (false, true) if stricter.is_some() => return Ok(stricter),
            _ => return Err(Difference::Body(place)),
        }
        // What was good of a body that turns bad is not compared: who sees how much of it depends on the reader's pace.
        if our.whole && (our.body != their.body || !same_trailers(&our.trailers, &their.trailers)) {
            return Err(Difference::Body(place));
        }
    }
    match theirs.messages.len() > ours.messages.len() {
        true if stricter.is_none() => Err(Difference::OnlyTheirs(ours.messages.len())),
        true => Ok(stricter),
        false => Ok(None),
    }
}

/// Ours lack the fields that only a head may have, and nothing else.
fn same_trailers(ours: &[Field], theirs: &[Field]) -> bool {
    let head_only = |name: &str| {
        matches!(name, "authorization" | "cache-control" | "connection" | "content-encoding" | "content-length")
            || matches!(name, "content-range" | "content-type" | "cookie" | "expect" | "forwarded" | "host")
            || matches!(name, "location" | "proxy-authenticate" | "proxy-authorization" | "range" | "set-cookie")
            || matches!(name, "te" | "trailer" | "transfer-encoding" | "upgrade" | "vary" | "www-authenticate")
    };
    let mut theirs: Vec<&Field> = theirs.iter().filter(|(name, _)| !head_only(name)).collect();
    let mut ours: Vec<&Field> = ours.iter().collect();
    // Only the order of fields of one name means something, and this keeps it.
    theirs.sort_by(|(one, _), (other, _)| one.cmp(other));
    ours.sort_by(|(one, _), (other, _)| one.cmp(other));
    theirs == ours
}

/// The first difference, and the message that it is about.
#[derive(Debug, PartialEq, Eq)]
enum Difference {
    OnlyOurs(usize),
    OnlyTheirs(usize),
    Head(usize),
    Body(usize),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnlyOurs(place) => write!(f, "request {place} is one to us alone"),
            Self::OnlyTheirs(place) => write!(f, "request {place} is one to hyper alone"),
            Self::Head(place) => write!(f, "the head of request {place} says different things"),
            Self::Body(place) => write!(f, "the body of request {place} is not the same"),
        }
    }
}

/// Fields as both readers have them.
fn fields(headers: &http::HeaderMap) -> Vec<Field> {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

fn line<T>(request: &http::Request<T>) -> String {
    format!("{} {} {:?}", request.method(), request.uri(), request.version())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(lines: &[&str], end: End) -> Reading {
        let message = |line: &&str| Message {
            line: (*line).to_owned(),
            fields: Vec::new(),
            body: b"body".to_vec(),
            trailers: Vec::new(),
            whole: true,
        };
        Reading { messages: lines.iter().map(message).collect(), end }
    }

    #[test]
    fn a_difference_without_a_name_is_found() {
        let refused = |word: &str| End::Refused(word.to_owned());
        let one = || reading(&["GET / HTTP/1.1"], End::Open);
        assert_eq!(compare(&one(), &one()), Ok(None));
        assert_eq!(compare(&reading(&[], End::Open), &one()), Err(Difference::OnlyTheirs(0)));
        assert_eq!(compare(&reading(&[], refused("NotHttp")), &one()), Err(Difference::OnlyTheirs(0)));
        assert_eq!(compare(&reading(&[], refused("LineEnd")), &one()), Ok(Some("LineEnd")));
        assert_eq!(compare(&one(), &reading(&[], refused("anything"))), Err(Difference::OnlyOurs(0)));
        assert_eq!(compare(&one(), &reading(&["PUT / HTTP/1.1"], End::Open)), Err(Difference::Head(0)));
        let mut other = one();
        other.messages[0].body.push(b'!');
        assert_eq!(compare(&one(), &other), Err(Difference::Body(0)));
        other = one();
        other.messages[0].trailers.push(("x-sum".to_owned(), b"1".to_vec()));
        assert_eq!(compare(&one(), &other), Err(Difference::Body(0)));
        other.messages[0].trailers[0].0 = "host".to_owned();
        assert_eq!(compare(&one(), &other), Ok(None));
    }

    #[test]
    fn both_readers_see_the_second_request_behind_the_first() {
        let bytes = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\nA: b\r\n\r\n\
            GET /b HTTP/1.0\r\nHost: y\r\n\r\nGET /c HTTP/1.1\r\n\r\n";
        for reading in [by_us(bytes), by_hyper(bytes)] {
            let lines: Vec<&str> = reading.messages.iter().map(|message| message.line.as_str()).collect();
            assert_eq!(lines, ["POST /a HTTP/1.1", "GET /b HTTP/1.0"]);
            assert_eq!((reading.messages[0].body.as_slice(), reading.messages[0].trailers.len()), (&b"ok"[..], 1));
        }
    }
}
