//! Credentials, taken out of a recording before it is written.
//!
//! By rule: configured secrets wherever they stand; the values of headers, of parameters of queries and forms, and of
//! members of JSON whose names say that they are credentials. A value that is found in this way is replaced everywhere
//! in the pass, and always by the same word, so that a plugin that hands it on hands on the word, too: what it asked of a
//! server is then found in the recording.

use std::collections::BTreeMap;

use memchr::memmem;
use serde_json::Value;

use super::{About, Answer, Changes, Input, Outcome, Recorded};
use crate::telemetry::Redaction;

/// Shorter values are replaced where they stand, and not looked for elsewhere: they would be found everywhere.
const SHORTEST: usize = 4;

/// Takes credentials out of what is about to be kept.
#[derive(Debug, Default)]
pub(super) struct Hiding {
    /// What names say.
    rule: Redaction,
    secrets: Vec<Vec<u8>>,
}

impl Hiding {
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let secrets = secrets.into_iter().filter(|secret| secret.len() >= SHORTEST);
        Self { rule: Redaction::default(), secrets: secrets.map(|secret| secret.as_bytes().to_vec()).collect() }
    }

    pub(super) fn about(&self, about: &mut About) {
        let mut found = Found::new(&self.secrets);
        // In a configuration, what is called a key is mostly what something is found by.
        self.find_in_json(about.config.as_bytes(), &mut found, |name| !name.to_ascii_lowercase().ends_with("key"));
        found.replace_text(&mut about.config);
    }

    pub(super) fn pass(&self, pass: &mut Recorded) {
        let mut found = Found::new(&self.secrets);
        each(pass, &mut |piece| self.find(&piece, &mut found));
        each(pass, &mut |piece| match piece {
            Piece::Text(text) | Piece::Query(text) => found.replace_text(text),
            Piece::Field(_, value) | Piece::Body(value) => found.replace(value),
        });
    }

    fn find(&self, piece: &Piece<'_>, found: &mut Found) {
        match piece {
            Piece::Text(_) => {}
            Piece::Query(query) => {
                let query = query.split_once('?').map_or(query.as_str(), |(_, query)| query);
                self.find_in_pairs(query.as_bytes(), found);
            }
            Piece::Field(name, value) => match *name {
                "authorization" | "proxy-authorization" => {
                    // The word before it is no secret, and says what the rest is.
                    let text = value.iter().position(|byte| *byte == b' ').map_or(&value[..], |at| &value[at + 1..]);
                    found.add(text);
                }
                "cookie" => value.split(|byte| *byte == b';').for_each(|pair| found.add_value(pair)),
                "set-cookie" => found.add_value(value.split(|byte| *byte == b';').next().unwrap_or_default()),
                name if self.rule.is_name_of_credential(name.as_bytes()) => found.add(value),
                _ => {}
            },
            Piece::Body(body) => {
                if !self.find_in_json(body, found, |_| true) && body.contains(&b'=') && body.len() <= LONGEST_FORM {
                    self.find_in_pairs(body, found);
                }
            }
        }
    }

    fn find_in_pairs(&self, pairs: &[u8], found: &mut Found) {
        for pair in pairs.split(|byte| matches!(byte, b'&' | b';')) {
            let mut parts = pair.splitn(2, |byte| *byte == b'=');
            let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
            if self.rule.is_name_of_credential(name) {
                found.add(value);
                let decoded = percent_decoded(value);
                if decoded != value {
                    found.add(&decoded);
                }
            }
        }
    }

    /// Whether it is JSON. `may` leaves out names.
    fn find_in_json(&self, bytes: &[u8], found: &mut Found, may: fn(&str) -> bool) -> bool {
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return false };
        let mut rest = vec![&value];
        while let Some(value) = rest.pop() {
            match value {
                Value::Object(members) => {
                    for (name, value) in members {
                        match value {
                            Value::String(text) if may(name) && self.rule.is_name_of_credential(name.as_bytes()) => {
                                found.add(text.as_bytes());
                                // As it stands in the text.
                                let written = value.to_string();
                                found.add(&written.as_bytes()[1..written.len() - 1]);
                            }
                            _ => rest.push(value),
                        }
                    }
                }
                Value::Array(items) => rest.extend(items),
                _ => {}
            }
        }
        true
    }
}

/// What is looked through for forms.
const LONGEST_FORM: usize = 64 << 10;

/// Values to be replaced, and by what.
struct Found(BTreeMap<Vec<u8>, String>);

impl Found {
    fn new(secrets: &[Vec<u8>]) -> Self {
        let mut found = Self(BTreeMap::new());
        secrets.iter().for_each(|secret| found.add(secret));
        found
    }

    fn add(&mut self, value: &[u8]) {
        let value = value.trim_ascii();
        if value.len() >= SHORTEST && !self.0.contains_key(value) {
            let word = format!("redacted-{}", self.0.len() + 1);
            self.0.insert(value.to_vec(), word);
        }
    }

    /// Of `name=value`.
    fn add_value(&mut self, pair: &[u8]) {
        if let Some(at) = pair.iter().position(|byte| *byte == b'=') {
            self.add(&pair[at + 1..]);
        }
    }

    fn replace_text(&self, text: &mut String) {
        if self.is_in(text.as_bytes()) {
            let mut bytes = std::mem::take(text).into_bytes();
            self.replace(&mut bytes);
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.keys().any(|value| memmem::find(bytes, value).is_some())
    }

    fn replace(&self, bytes: &mut Vec<u8>) {
        // The longest first, so that none is cut apart by a shorter one in it.
        let mut values: Vec<_> = self.0.iter().collect();
        values.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        for (value, word) in values {
            if memmem::find(bytes, value).is_none() {
                continue;
            }
            let mut clean = Vec::with_capacity(bytes.len());
            let mut from = 0;
            for at in memmem::find_iter(bytes, value) {
                clean.extend_from_slice(&bytes[from..at]);
                clean.extend_from_slice(word.as_bytes());
                from = at + value.len();
            }
            clean.extend_from_slice(&bytes[from..]);
            *bytes = clean;
        }
    }
}

/// A piece of a recording that may hold a credential.
enum Piece<'a> {
    Text(&'a mut String),
    /// A query, or a URL with one.
    Query(&'a mut String),
    /// The name of a field in lower case, and its value.
    Field(&'a str, &'a mut Vec<u8>),
    Body(&'a mut Vec<u8>),
}

fn each(pass: &mut Recorded, see: &mut dyn FnMut(Piece<'_>)) {
    for call in &mut pass.calls {
        match &mut call.input {
            Input::None => {}
            Input::Request { path, query, headers, attributes, .. } => {
                see(Piece::Text(path));
                query.iter_mut().for_each(|query| see(Piece::Query(query)));
                fields(headers, see);
                attributes.iter_mut().for_each(|(_, value)| see(Piece::Text(value)));
            }
            Input::Response { headers, attributes, .. } => {
                fields(headers, see);
                attributes.iter_mut().for_each(|(_, value)| see(Piece::Text(value)));
            }
        }
        call.body.iter_mut().for_each(|body| see(Piece::Body(body)));
        for said in &mut call.said {
            see(Piece::Query(&mut said.asked));
            match &mut said.answer {
                Answer::Value(Ok(Some(value))) => see(Piece::Body(value)),
                Answer::Keys(Ok(keys)) => keys.iter_mut().for_each(|key| see(Piece::Text(key))),
                Answer::Http(Ok((_, headers, body))) => {
                    fields(headers, see);
                    see(Piece::Body(body));
                }
                _ => {}
            }
        }
        match &mut call.outcome {
            Outcome::None | Outcome::Continue => {}
            Outcome::Edit(changes) => {
                let Changes { set, append, path, query, attributes, memo, body, .. } = changes;
                fields(set, see);
                fields(append, see);
                path.iter_mut().for_each(|path| see(Piece::Text(path)));
                query.iter_mut().for_each(|query| see(Piece::Query(query)));
                attributes.iter_mut().for_each(|(_, value)| see(Piece::Text(value)));
                memo.iter_mut().chain(body).for_each(|bytes| see(Piece::Body(bytes)));
            }
            Outcome::Respond { headers, body, .. } => {
                fields(headers, see);
                see(Piece::Body(body));
            }
            Outcome::Refuse { title, detail, headers, faults, .. } => {
                see(Piece::Text(title));
                detail.iter_mut().for_each(|detail| see(Piece::Text(detail)));
                fields(headers, see);
                faults.iter_mut().for_each(|(_, what)| see(Piece::Text(what)));
            }
            Outcome::Fail { detail, .. } => see(Piece::Text(detail)),
        }
    }
}

fn fields(fields: &mut [(String, Vec<u8>)], see: &mut dyn FnMut(Piece<'_>)) {
    fields.iter_mut().for_each(|(name, value)| see(Piece::Field(name, value)));
}

fn percent_decoded(value: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| (*byte as char).to_digit(16));
    let mut clean = Vec::with_capacity(value.len());
    let mut at = 0;
    while let Some(byte) = value.get(at) {
        match (byte, digit(value.get(at + 1)), digit(value.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                clean.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                clean.push(*byte);
                at += 1;
            }
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::super::{Call, Frame, Said, encode};
    use super::*;

    #[test]
    fn no_credential_is_kept_wherever_it_stands() {
        let fields = |list: &[(&str, &str)]| -> Vec<(String, Vec<u8>)> {
            list.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
        };
        let mut call = Call::begin("on-request");
        call.input = Input::Request {
            method: "GET".into(),
            scheme: "https".into(),
            authority: "a".into(),
            path: "/a".into(),
            query: Some("q=tea&access_token=canary%2Fone".into()),
            headers: fields(&[
                ("authorization", "Bearer canary-two"),
                ("cookie", "theme=dark; id=canary-three"),
                ("x-api-key", "canary-four"),
                ("accept", "text/html"),
            ]),
            client: None,
            attributes: vec![("seen".into(), "it was canary-two".into())],
        };
        call.body = Some(br#"{"user":"alice","password":"canary-five"}"#.to_vec());
        call.said = vec![
            Said { asked: "kv.get canary-four".into(), answer: Answer::Value(Ok(Some(b"canary/one".to_vec()))) },
            Said {
                asked: "POST https://idp/introspect?token=canary-six".into(),
                answer: Answer::Http(Ok((
                    200,
                    fields(&[("set-cookie", "s=canary-seven; Path=/")]),
                    b"code=canary-eight&a=b".to_vec(),
                ))),
            },
        ];
        call.outcome =
            Outcome::Edit(Changes { set: fields(&[("x-secret", "a configured-canary")]), ..Changes::default() });
        let mut pass = Recorded { route: "r".into(), request_id: "i".into(), at_ms: 0, calls: vec![call] };
        Hiding::new(["configured-canary"]).pass(&mut pass);
        let written = encode(&Frame::Pass(pass.clone())).unwrap();
        assert_eq!(memmem::find(&written, b"canary"), None, "{}", String::from_utf8_lossy(&written));
        // One word for one credential, so that what was asked with it is found again.
        let Input::Request { headers, query, .. } = &pass.calls[0].input else { panic!("{pass:?}") };
        let key = String::from_utf8_lossy(&headers[2].1).into_owned();
        assert_eq!(pass.calls[0].said[0].asked, format!("kv.get {key}"));
        assert!(headers[0].1.starts_with(b"Bearer redacted-"), "{headers:?}");
        assert!(query.as_ref().is_some_and(|query| query.starts_with("q=tea&access_token=redacted-")), "{query:?}");
        assert_eq!(headers[3].1, b"text/html");
    }

    #[test]
    fn a_configuration_is_kept_without_its_secrets() {
        let mut about = About {
            config: r#"{"key":"address","keys":[{"token":"abcdef"}],"url":"a-s3cret"}"#.into(),
            ..About::default()
        };
        Hiding::new(["s3cret"]).about(&mut about);
        assert_eq!(about.config, r#"{"key":"address","keys":[{"token":"redacted-2"}],"url":"a-redacted-1"}"#);
    }
}
