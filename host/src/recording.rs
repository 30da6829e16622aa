//! Recordings: what crossed the contract in a pass, for one plugin, so that it can be run again elsewhere.
//!
//! A [`Recorded`] pass has the calls of hooks with what they were given, what capabilities answered meanwhile, and what
//! came of them. [`Recorder`] writes them to files, off the path of requests and without credentials; [`Frames`] reads
//! such a file, whoever wrote it.

mod hide;
mod recorder;
mod rotate;
mod stream;
mod tape;

use serde::{Deserialize, Serialize};

pub use recorder::{Recorder, Recordings, Tap};
pub use stream::{Broken, Frame, Frames, LONGEST_FRAME, MAGIC, encode};
pub use tape::{Answer, Played, Said, Tape, Windows};

/// Names and values of fields, in their order.
pub type Fields = Vec<(String, Vec<u8>)>;

/// What was recorded: which plugin, made of what, with which configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct About {
    /// The name that chains use.
    pub plugin: String,
    /// The name of its component.
    pub component: String,
    /// Of the component, as hexadecimal digits.
    pub sha256: String,
    /// Its configuration, as JSON, without configured secrets.
    pub config: String,
    /// The stores that it was granted.
    pub kv: Vec<String>,
    /// The origins that it was granted.
    pub http: Vec<String>,
    /// The time that one call may take, in milliseconds.
    pub time_ms: u64,
    /// The memory that one instance may have, in bytes.
    pub memory: u64,
    /// Whether each call had a fresh instance.
    pub fresh: bool,
    /// What its hooks wanted to see, such as `request.path` and `request.headers.accept`.
    pub sees: Vec<String>,
}

/// One pass, as one plugin of the chain saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The route that it went through.
    pub route: String,
    /// What the request was called.
    pub request_id: String,
    /// When it began, in milliseconds since 1970.
    pub at_ms: u64,
    /// In the order in which they were made.
    pub calls: Vec<Call>,
}

/// One call of a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// As in the contract: `on-request`, `on-request-body`, `on-response` or `on-response-body`.
    pub hook: String,
    /// What it was given.
    pub input: Input,
    /// The body, for the hooks that get one.
    pub body: Option<Vec<u8>>,
    /// What it was told by capabilities, in order.
    pub said: Vec<Said>,
    /// What it answered.
    pub outcome: Outcome,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// A head as a hook saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// Nothing yet.
    None,
    /// Of a request. Parts that it did not ask for are empty.
    Request {
        /// Such as `GET`.
        method: String,
        /// `http` or `https`.
        scheme: String,
        /// Host and port.
        authority: String,
        /// In canonical form.
        path: String,
        /// Without `?`.
        query: Option<String>,
        /// Those that it asked for.
        headers: Fields,
        /// The client's address.
        client: Option<String>,
        /// Those that it asked for.
        attributes: Vec<(String, String)>,
    },
    /// Of a response.
    Response {
        /// 200 to 599.
        status: u16,
        /// Those that it asked for.
        headers: Fields,
        /// Those that it asked for.
        attributes: Vec<(String, String)>,
    },
}

/// What a hook answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Nothing yet.
    None,
    /// Nothing changed.
    Continue,
    /// Changes.
    Edit(Changes),
    /// A response of its own.
    Respond {
        /// Its status.
        status: u16,
        /// Its fields.
        headers: Fields,
        /// Its body.
        body: Vec<u8>,
    },
    /// A refusal.
    Refuse {
        /// Its status.
        status: u16,
        /// Its word.
        code: String,
        /// Its title.
        title: String,
        /// More of it.
        detail: Option<String>,
        /// Fields of the response.
        headers: Fields,
        /// Where, and what.
        faults: Vec<(String, String)>,
    },
    /// It failed.
    Fail {
        /// The kind, as in the metrics.
        kind: String,
        /// For operators.
        detail: String,
    },
}

/// What a hook changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Changes {
    /// Names of fields.
    pub remove: Vec<String>,
    /// In place of others of the name.
    pub set: Fields,
    /// Beside others of the name.
    pub append: Fields,
    /// A new path.
    pub path: Option<String>,
    /// A new query.
    pub query: Option<String>,
    /// A new status.
    pub status: Option<u16>,
    /// For later plugins.
    pub attributes: Vec<(String, String)>,
    /// For its own later hooks.
    pub memo: Option<Vec<u8>>,
    /// That the body is not wanted.
    pub skip_body: bool,
    /// A body in place of the one that was.
    pub body: Option<Vec<u8>>,
}

impl Call {
    /// One that begins.
    pub(crate) fn begin(hook: &str) -> Self {
        Self {
            hook: hook.to_owned(),
            input: Input::None,
            body: None,
            said: Vec::new(),
            outcome: Outcome::None,
            took_us: 0,
        }
    }

    /// Whether it failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        matches!(self.outcome, Outcome::Fail { .. })
    }
}

impl Outcome {
    /// What can be compared: names and values, in an order of its own for each kind.
    #[must_use]
    pub fn facts(&self) -> Vec<(String, String)> {
        let mut facts = Vec::new();
        let mut fact = |name: &str, value: String| facts.push((name.to_owned(), value));
        match self {
            Self::None => fact("flow", "none".into()),
            Self::Continue => fact("flow", "continue".into()),
            Self::Edit(changes) => {
                fact("flow", "edit".into());
                changes.remove.iter().for_each(|name| fact(&format!("remove.{name}"), "removed".into()));
                changes.set.iter().for_each(|(name, value)| fact(&format!("set.{name}"), text(value)));
                changes.append.iter().for_each(|(name, value)| fact(&format!("append.{name}"), text(value)));
                let texts = [("path", &changes.path), ("query", &changes.query)];
                texts.iter().for_each(|(name, value)| value.iter().for_each(|value| fact(name, value.clone())));
                changes.status.iter().for_each(|status| fact("status", status.to_string()));
                changes.attributes.iter().for_each(|(name, value)| fact(&format!("attributes.{name}"), value.clone()));
                changes.memo.iter().for_each(|memo| fact("memo", text(memo)));
                changes.body.iter().for_each(|body| fact("body", text(body)));
                if changes.skip_body {
                    fact("skip-body", "true".into());
                }
            }
            Self::Respond { status, headers, body } => {
                fact("flow", "respond".into());
                fact("status", status.to_string());
                headers.iter().for_each(|(name, value)| fact(&format!("headers.{name}"), text(value)));
                fact("body", text(body));
            }
            Self::Refuse { status, code, title, detail, headers, faults } => {
                fact("flow", "refuse".into());
                fact("status", status.to_string());
                fact("code", code.clone());
                fact("title", title.clone());
                detail.iter().for_each(|detail| fact("detail", detail.clone()));
                headers.iter().for_each(|(name, value)| fact(&format!("headers.{name}"), text(value)));
                faults.iter().for_each(|(pointer, what)| fact(&format!("faults.{pointer}"), what.clone()));
            }
            // Where exactly it failed differs between two builds of the same.
            Self::Fail { kind, .. } => {
                fact("flow", "fail".into());
                fact("kind", kind.clone());
            }
        }
        facts
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
