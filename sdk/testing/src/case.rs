//! A case as a test writes it.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::text::Table;

/// One pass through a chain of one plugin: what the client sends and the upstream answers, and what has to come of it.
#[derive(Debug, Clone, Default)]
#[must_use = "a case does nothing until a plugin runs it"]
pub struct Case {
    table: Table,
}

/// What a pass comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It goes on, and nothing was changed on either way.
    Continue,
    /// It goes on, and something was changed.
    Edit,
    /// The plugin answers.
    Respond,
    /// The plugin refuses.
    Refuse,
    /// The plugin fails: a trap, too much time, an answer that is not allowed.
    Fail,
}

/// What a value has to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Want(Value);

impl Want {
    /// A regular expression that takes the whole of it.
    pub fn regex(expression: &str) -> Self {
        Self(json!({ "regex": expression }))
    }

    /// There, whatever it is.
    pub fn present() -> Self {
        Self(json!({ "present": true }))
    }

    /// Not there.
    pub fn absent() -> Self {
        Self(json!({ "present": false }))
    }
}

impl From<&str> for Want {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Want {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// These, in this order, of a header that stands there several times.
impl<const N: usize> From<[&str; N]> for Want {
    fn from(texts: [&str; N]) -> Self {
        Self(texts.to_vec().into())
    }
}

/// What is given.
impl Case {
    /// A request with this method to this path, in its canonical form, perhaps with a query.
    pub fn request(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let case = Self::default().given("request.method", method).given("request.path", path);
        match query {
            Some(query) => case.given("request.query", query),
            None => case,
        }
    }

    /// `GET` of this path.
    pub fn get(target: &str) -> Self {
        Self::request("GET", target)
    }

    /// `POST` to this path.
    pub fn post(target: &str) -> Self {
        Self::request("POST", target)
    }

    /// A field of the request. One that stands there several times is a list in [`given`](Self::given).
    pub fn header(self, name: &str, value: &str) -> Self {
        self.set(&["request", "headers", name], value)
    }

    /// The body of the request.
    pub fn body(self, text: &str) -> Self {
        self.given("request.body", text)
    }

    /// The body of the request as JSON, with its `content-type`.
    pub fn json(self, value: impl Into<Value>) -> Self {
        self.header("content-type", "application/json").body(&value.into().to_string())
    }

    /// The body of the request in these pieces.
    pub fn chunks<const N: usize>(self, pieces: [&str; N]) -> Self {
        self.given("request.chunks", pieces.to_vec())
    }

    /// An attribute that a plugin before this one has set.
    pub fn attribute(self, name: &str, value: &str) -> Self {
        self.set(&["request", "attributes", name], value)
    }

    /// The plugin's configuration, in place of the one for every case.
    pub fn config(self, value: impl Into<Value>) -> Self {
        self.given("config", value)
    }

    /// What is in a store before.
    pub fn entry(self, store: &str, key: &str, value: &str) -> Self {
        self.set(&["kv", store, key], value)
    }

    /// What the plugin's clock shows, as a date with a time and an offset: `2026-01-31T12:00:00Z`.
    pub fn now(mut self, moment: &str) -> Self {
        self.table.set_raw("now", moment);
        self
    }

    /// How often the request is sent, and how far the limiter's clock advances between two times. What is expected, is
    /// expected of the last time.
    pub fn times(self, times: u32, every: Duration) -> Self {
        self.given("times", times).given("every", format!("{}ms", every.as_millis()))
    }

    /// What a server answers that the plugin asks: each answer to one request. Others are to servers that nobody reaches.
    pub fn answers(mut self, answer: Answer) -> Self {
        self.table.push_table("http", answer.table);
        self
    }

    /// The status and the body that the upstream answers with.
    pub fn upstream(self, status: u16, body: &str) -> Self {
        let case = self.given("response.status", status);
        if body.is_empty() { case } else { case.given("response.body", body) }
    }

    /// A field of what the upstream answers.
    pub fn upstream_header(self, name: &str, value: &str) -> Self {
        self.set(&["response", "headers", name], value)
    }

    /// The body that the upstream answers with, in these pieces.
    pub fn upstream_chunks<const N: usize>(self, pieces: [&str; N]) -> Self {
        self.given("response.chunks", pieces.to_vec())
    }

    /// Anything else of a case in a file, by its name there: `("request.client", "192.0.2.7")`.
    pub fn given(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.table.set_at(key, value.into());
        self
    }
}

/// What has to come of it.
impl Case {
    /// What the pass comes to.
    pub fn expect_flow(self, flow: Flow) -> Self {
        let word = match flow {
            Flow::Continue => "continue",
            Flow::Edit => "edit",
            Flow::Respond => "respond",
            Flow::Refuse => "refuse",
            Flow::Fail => "fail",
        };
        self.expect("flow", word)
    }

    /// The word of a refusal, or the reason of a failure.
    pub fn expect_code(self, code: &str) -> Self {
        self.expect("code", code)
    }

    /// A field of what the upstream gets.
    pub fn expect_upstream_header(self, name: &str, want: impl Into<Want>) -> Self {
        self.set(&["expect", "request", "headers", name], want.into().0)
    }

    /// The body that the upstream gets.
    pub fn expect_upstream_body(self, want: impl Into<Want>) -> Self {
        self.expect("request.body", want.into().0)
    }

    /// The status that the client gets.
    pub fn expect_status(self, status: u16) -> Self {
        self.expect("response.status", status)
    }

    /// A field of what the client gets.
    pub fn expect_header(self, name: &str, want: impl Into<Want>) -> Self {
        self.set(&["expect", "response", "headers", name], want.into().0)
    }

    /// The body that the client gets.
    pub fn expect_body(self, want: impl Into<Want>) -> Self {
        self.expect("response.body", want.into().0)
    }

    /// The body that the client gets, as JSON: equal as a value.
    pub fn expect_json(self, value: impl Into<Value>) -> Self {
        self.expect("response.json", value)
    }

    /// The body that the client gets, in its pieces.
    pub fn expect_chunks<const N: usize>(self, pieces: [&str; N]) -> Self {
        self.expect("response.chunks", pieces.to_vec())
    }

    /// An attribute afterwards.
    pub fn expect_attribute(self, name: &str, want: impl Into<Want>) -> Self {
        self.set(&["expect", "attributes", name], want.into().0)
    }

    /// What is in a store afterwards.
    pub fn expect_entry(self, store: &str, key: &str, want: impl Into<Want>) -> Self {
        self.set(&["expect", "kv", store, key], want.into().0)
    }

    /// Parts of lines that the plugin logs, in this order, each line as `warn: what it says`. None: not a line.
    pub fn expect_log<const N: usize>(self, lines: [&str; N]) -> Self {
        self.expect("log", lines.to_vec())
    }

    /// The most time that all calls of hooks may take together.
    pub fn expect_time(self, most: Duration) -> Self {
        self.expect("time", format!("{}ms", most.as_millis()))
    }

    /// The most memory that the instance may have afterwards: `2MiB`.
    pub fn expect_memory(self, most: &str) -> Self {
        self.expect("memory", most)
    }

    /// Parts of what the plugin complains about its configuration, each as `POINTER: message`. Nothing else can be
    /// expected then.
    pub fn expect_complaints<const N: usize>(self, complaints: [&str; N]) -> Self {
        self.expect("complaints", complaints.to_vec())
    }

    /// Anything else of `expect` in a file, by its name there: `("request.path", "/b")`.
    pub fn expect(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.table.set_at(&format!("expect.{key}"), value.into());
        self
    }

    fn set(mut self, names: &[&str], value: impl Into<Value>) -> Self {
        self.table.set(names, value.into());
        self
    }
}

/// As a file of cases says it: what stands behind `case.NAME = `.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table.fmt(f)
    }
}

/// What a server answers that the plugin asks.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    table: Table,
}

impl Answer {
    /// To a request with this method for this URL, as the plugin writes it. 200 without a body, unless it is said.
    #[must_use]
    pub fn to(method: &str, url: &str) -> Self {
        Self::default().set("method", method).set("url", url)
    }

    /// To `GET`.
    #[must_use]
    pub fn get(url: &str) -> Self {
        Self::to("GET", url)
    }

    /// To `POST`.
    #[must_use]
    pub fn post(url: &str) -> Self {
        Self::to("POST", url)
    }

    /// Its status.
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        self.set("status", status)
    }

    /// Its body.
    #[must_use]
    pub fn body(self, text: &str) -> Self {
        self.set("body", text)
    }

    /// Its body as JSON, with its `content-type`.
    #[must_use]
    pub fn json(self, value: impl Into<Value>) -> Self {
        self.header("content-type", "application/json").body(&value.into().to_string())
    }

    /// One of its fields.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.table.set(&["headers", name], value.into());
        self
    }

    /// A field that the request has to have.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.table.set(&["with", name], value.into());
        self
    }

    /// In place of an answer, why there is none: `connect`, `resolve`, `tls`, `timeout`, `protocol`, `too-large` or
    /// `address-not-allowed`.
    #[must_use]
    pub fn error(self, why: &str) -> Self {
        self.set("error", why)
    }

    fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.table.set(&[key], value.into());
        self
    }
}
