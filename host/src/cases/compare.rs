//! What was expected beside what was seen.

use std::time::Instant;

use http::HeaderMap;
use serde::Serialize;
use serde_json::Value;

use super::pieces::Arrived;
use super::{Seen, differ};
use crate::config::cases::{Case, ExpectMessage, Flow, Want};
use crate::plugin::LoadError;

/// One thing that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What is looked at, as the file names it: `response.headers.x-hello`.
    pub what: String,
    /// What the file says.
    pub expected: String,
    /// What was seen.
    pub found: String,
}

/// The longest value that is shown, in characters.
const SHOWN: usize = 600;

/// Everything that is not as expected.
pub(super) fn differences(case: &Case, seen: &Seen) -> Vec<Difference> {
    let expect = &case.expect;
    let mut notes = Notes::default();
    if let Some(flow) = expect.flow.filter(|flow| *flow != seen.flow) {
        notes.note("flow", flow.as_str(), flow_of(seen));
    } else if expect.flow.is_none() && seen.flow == Flow::Fail {
        notes.note("flow", "anything but a failure", flow_of(seen));
    }
    if let Some(code) = expect.code.as_ref().filter(|code| Some(*code) != seen.code.as_ref()) {
        notes.note("code", quoted(code), seen.code.as_deref().map_or("none".to_owned(), quoted));
    }
    if let Some(expected) = &expect.request {
        match &seen.request {
            Some(request) => {
                let uri = &request.head.uri;
                notes.value("request.path", expected.path.as_ref(), &[uri.path()]);
                notes.value("request.query", expected.query.as_ref(), &uri.query().map_or(vec![], |one| vec![one]));
                notes.message("request", expected, &request.head.headers, request);
            }
            None => {
                notes.note("request", "that the upstream gets it", format!("nothing gets there: {}", flow_of(seen)))
            }
        }
    }
    if let Some(expected) = &expect.response {
        let found = seen.response.head.status.as_u16();
        if let Some(status) = expected.status.filter(|status| *status != found) {
            notes.note("response.status", status, found);
        }
        notes.message("response", expected, &seen.response.head.headers, &seen.response);
    }
    for (name, want) in &expect.attributes {
        let found: Vec<&str> = seen.attributes.get(name).map(|value| &**value).into_iter().collect();
        notes.value(&format!("attributes.{name}"), Some(want), &found);
    }
    for (name, entries) in &expect.kv {
        for (key, want) in entries {
            let store = seen.stores.get(name);
            let value = store.and_then(|store| store.get(key, Instant::now()).ok().flatten());
            let text = value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            notes.value(&format!("kv.{name}.{key}"), Some(want), &text.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
    if let Some(parts) = &expect.log {
        notes.log(parts, &seen.log);
    }
    if let Some(most) = expect.time.filter(|most| seen.time > *most) {
        notes.note("time", format!("at most {most:?}"), format!("{:?}", seen.time));
    }
    if let Some(most) = expect.memory.filter(|most| seen.memory as u64 > *most) {
        notes.note("memory", format!("at most {most} bytes"), format!("{} bytes", seen.memory));
    }
    if expect.complaints.is_some() {
        notes.note("complaints", "that it refuses its configuration", "it takes it");
    }
    notes.0
}

/// What is not as expected of a plugin that does not load.
pub(super) fn not_loaded(case: &Case, error: &LoadError) -> Vec<Difference> {
    let mut notes = Notes::default();
    match (&case.expect.complaints, error) {
        (Some(parts), LoadError::Refused(complaints)) => {
            let said: Vec<_> = complaints.iter().map(|(pointer, message)| format!("{pointer}: {message}")).collect();
            for part in parts.iter().filter(|part| !said.iter().any(|line| line.contains(*part))) {
                notes.note("complaints", format!("one with {}", quoted(part)), list(&said));
            }
        }
        _ => notes.note("load", "that it loads", format!("the component {error}")),
    }
    notes.0
}

#[derive(Default)]
struct Notes(Vec<Difference>);

impl Notes {
    fn note(&mut self, what: &str, expected: impl ToString, found: impl ToString) {
        let (expected, found) = (cut(expected.to_string()), cut(found.to_string()));
        self.0.push(Difference { what: what.to_owned(), expected, found });
    }

    fn value(&mut self, what: &str, want: Option<&Want>, found: &[&str]) {
        let Some(want) = want else { return };
        let (fits, expected) = match want {
            Want::Values(values) => {
                if let ([expected], [found]) = (&values[..], found)
                    && let Some((expected, found)) = differ::text(expected, found)
                {
                    return self.note(what, expected, found);
                }
                (values == found, list(values))
            }
            Want::Present(there) => {
                (found.is_empty() != *there, if *there { "anything".to_owned() } else { "nothing".to_owned() })
            }
            Want::Regex(regex) => {
                // Anchored at both ends when it was read.
                let written = regex.as_str();
                let shown = written.strip_prefix(r"\A(?:").and_then(|rest| rest.strip_suffix(r")\z"));
                let one = matches!(found, [text] if regex.is_match(text));
                (one, format!("what `{}` takes", shown.unwrap_or(written)))
            }
        };
        if !fits {
            self.note(what, expected, list(found));
        }
    }

    fn message<H>(&mut self, what: &str, expected: &ExpectMessage, headers: &HeaderMap, found: &Arrived<H>) {
        self.fields(&format!("{what}.headers"), &expected.headers, headers);
        self.fields(&format!("{what}.trailers"), &expected.trailers, &found.trailers);
        let text = String::from_utf8_lossy(&found.body);
        let texts: &[&str] = if found.body.is_empty() { &[] } else { &[&text] };
        self.value(&format!("{what}.body"), expected.body.as_ref(), texts);
        if let Some(chunks) = &expected.chunks {
            let texts: Vec<_> = found.chunks.iter().map(|chunk| String::from_utf8_lossy(chunk)).collect();
            if *chunks != texts {
                self.note(&format!("{what}.chunks"), all(chunks), all(&texts));
            }
        }
        if let Some(json) = &expected.json {
            // The file was read: it is JSON.
            let wanted: Value = serde_json::from_str(json).unwrap_or_default();
            let what = format!("{what}.json");
            match serde_json::from_slice::<Value>(&found.body) {
                Ok(value) => differ::json(&what, &wanted, &value, &mut |at, expected, found| {
                    self.note(at, expected, found);
                }),
                Err(_) => self.note(&what, wanted, format!("no JSON: {}", list(texts))),
            }
        }
    }

    fn fields(&mut self, what: &str, expected: &[(String, Want)], found: &HeaderMap) {
        for (name, want) in expected {
            let values = found.get_all(name.as_str());
            let texts: Vec<_> = values.iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
            self.value(&format!("{what}.{name}"), Some(want), &texts);
        }
    }

    fn log(&mut self, parts: &[String], lines: &[String]) {
        if parts.is_empty() {
            if !lines.is_empty() {
                self.note("log", "no line", list(lines));
            }
            return;
        }
        let mut rest = lines.iter();
        for part in parts {
            if !rest.any(|line| line.contains(part)) {
                self.note("log", format!("a line with {}, in this order", quoted(part)), list(lines));
                return;
            }
        }
    }
}

fn flow_of(seen: &Seen) -> String {
    let mut text = seen.flow.as_str().to_owned();
    if let Some(code) = &seen.code {
        text += &format!(" ({code}, {})", seen.response.head.status.as_u16());
    }
    if let Some(detail) = &seen.detail {
        text += &format!(": {detail}");
    }
    text
}

fn list(values: &[impl AsRef<str>]) -> String {
    match values {
        [] => "nothing".to_owned(),
        [one] => quoted(one.as_ref()),
        several => all(several),
    }
}

fn all(values: &[impl AsRef<str>]) -> String {
    let values: Vec<_> = values.iter().map(|one| quoted(one.as_ref())).collect();
    format!("[{}]", values.join(", "))
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn cut(text: String) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
