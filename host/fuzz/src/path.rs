//! The canonical path, against the simplest program that could make one.

use std::borrow::Cow;

use tollgate::path::canonical;

/// A path, checked with and without escaped slashes.
pub fn check(bytes: &[u8]) {
    let Ok(raw) = str::from_utf8(bytes) else { return };
    for keep in [false, true] {
        let canonical = canonical(raw, keep);
        assert_eq!(canonical.as_deref().ok(), model(raw, keep).as_deref(), "canonical form of {raw:?}, keep {keep}");
        if let Ok(canonical) = canonical {
            assert_eq!(
                matches!(canonical, Cow::Borrowed(_)),
                canonical == raw,
                "borrowed exactly if unchanged: {raw:?}"
            );
            holds(&canonical, keep);
        }
    }
}

fn holds(once: &str, keep: bool) {
    let twice = canonical(once, keep);
    assert!(matches!(twice, Ok(Cow::Borrowed(twice)) if twice == once), "not a fixed point: {once:?} is {twice:?}");
    if !keep {
        assert_eq!(canonical(once, true).as_deref(), Ok(once), "the same where escaped slashes are kept");
    }
    // What the most careless server makes of it stays below the same directories.
    let careless = String::from_utf8_lossy(&decoded(once)).replace('\\', "/");
    let segments: Vec<&str> = careless[1..].split('/').collect();
    for (index, segment) in segments.iter().enumerate() {
        let name = segment.split(';').next().unwrap_or_default();
        assert!(!matches!(name, "." | ".."), "a dot segment is left in {once:?}");
        assert!(!segment.is_empty() || index + 1 == segments.len(), "an empty segment is left in {once:?}");
    }
}

fn decoded(path: &str) -> Vec<u8> {
    tokens(path).expect("a canonical path has whole escapes").into_iter().map(|token| token.value).collect()
}

/// A byte of a path, raw or escaped.
struct Token {
    value: u8,
    escaped: bool,
}

fn tokens(path: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let token = if byte == b'%' {
            let digits = [char::from(rest.next()?), char::from(rest.next()?)];
            let [high, low] = digits.map(|digit| digit.to_digit(16));
            Token { value: (high? * 16 + low?) as u8, escaped: true }
        } else {
            Token { value: byte, escaped: false }
        };
        tokens.push(token);
    }
    Some(tokens)
}

/// RFC 3986 with what is stricter than it, one rule after the other and each over the whole path.
fn model(raw: &str, keep: bool) -> Option<String> {
    let tokens = tokens(raw)?;
    let refused = |token: &Token| match token.value {
        0..=0x1f | 0x7f | b'\\' => true,
        0x80..=0xff => !token.escaped,
        b'/' => token.escaped && !keep,
        _ => false,
    };
    let overlong = |pair: &[Token]| match (pair[0].value, pair[1].value) {
        (0xc0 | 0xc1, next) => (0x80..0xc0).contains(&next),
        (0xe0, next) => (0x80..0xa0).contains(&next),
        (0xf0, next) => (0x80..0x90).contains(&next),
        _ => false,
    };
    if !raw.starts_with('/') || tokens.iter().any(refused) || tokens.windows(2).any(overlong) {
        return None;
    }
    let normal: String = tokens
        .iter()
        .map(|token| match token.value {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(token.value).to_string(),
            allowed if !token.escaped && b"/!$&'()*+,;=:@".contains(&allowed) => char::from(allowed).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();

    let mut kept: Vec<&str> = Vec::new();
    let mut directory = false;
    for segment in normal[1..].split('/') {
        let without_parameters = segment.split(';').next()?.split("%3B").next()?;
        if matches!(without_parameters, "." | "..") && without_parameters != segment {
            return None;
        }
        directory = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let mut path = format!("/{}", kept.join("/"));
    if directory && path.len() > 1 {
        path.push('/');
    }
    if keep && path.contains("%2F") {
        let slashes = path.replace("%2F", "/").replace("%3B", ";");
        let segments: Vec<&str> = slashes[1..].split('/').collect();
        let hidden = |(index, segment): (usize, &&str)| {
            let last = index + 1 == segments.len();
            matches!(segment.split(';').next(), Some("." | "..")) || (segment.is_empty() && !last)
        };
        if segments.iter().enumerate().any(hidden) {
            return None;
        }
    }
    Some(path)
}
