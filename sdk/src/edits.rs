//! What hooks answer: flow and edits.

use http::{Response, StatusCode};

use crate::bindings::tollgate::plugin::http as wit;

/// What a head hook answers.
#[derive(Debug, Clone)]
pub enum Flow {
    /// Go on; nothing changed.
    Continue,
    /// Go on, with these changes.
    Edit(Edits),
    /// Stop: this response goes to the client. The host sets `content-length`.
    Respond(Response<Vec<u8>>),
    /// Stop, with an error response that the host writes in the media type that the client accepts.
    Refuse(Problem),
}

/// What a body hook answers.
#[derive(Debug, Clone)]
pub enum BodyFlow {
    /// The body goes on as it is.
    Continue,
    /// The body goes on as it is; the head changes.
    Edit(Edits),
    /// This body takes its place, and the head changes.
    Replace(Edits, Vec<u8>),
    /// As in [`Flow`].
    Respond(Response<Vec<u8>>),
    /// As in [`Flow`].
    Refuse(Problem),
}

/// What a hook changes. The host applies all of it or, where one change is not allowed, none.
///
/// Names and values are strings, bytes, or the `http` crate's types. One answer may remove, set and append 256 fields of
/// 256 KiB in all. What no plugin may change is refused as a whole: `content-length`, `host`, `expect`, hop-by-hop fields,
/// those about forwarding, and control bytes (tabs inside a value aside).
#[derive(Debug, Clone)]
pub struct Edits(wit::Edits);

/// A refusal, written by the host as problem details (RFC 9457).
#[derive(Debug, Clone)]
pub struct Problem(pub(crate) wit::Problem);

impl Default for Edits {
    fn default() -> Self {
        Self::new()
    }
}

impl Edits {
    /// No change.
    pub fn new() -> Self {
        Self(wit::Edits {
            remove: Vec::new(),
            set: Vec::new(),
            append: Vec::new(),
            path: None,
            query: None,
            status: None,
            attributes: Vec::new(),
            memo: None,
            skip_body: false,
        })
    }

    /// Removes every field of this name, before anything is set.
    pub fn remove(mut self, name: impl AsRef<str>) -> Self {
        add(&mut self.0.remove, lower(name.as_ref()));
        self
    }

    /// Sets a field in place of all that the message has of its name. Called twice with one name, it leaves both fields,
    /// in that order.
    pub fn set(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        add(&mut self.0.set, field(name, value));
        self
    }

    /// Adds a field after those of its name.
    pub fn append(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        add(&mut self.0.append, field(name, value));
        self
    }

    /// Sets the path of the request: a canonical one, as [`Request::path`](crate::Request::path) is, of at most 32 KiB with
    /// the query.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.0.path = Some(path.into());
        self
    }

    /// Sets the query of the request, without `?`; an empty one removes it.
    pub fn query(mut self, query: impl Into<String>) -> Self {
        self.0.query = Some(query.into());
        self
    }

    /// Sets the status of the response.
    pub fn status(mut self, status: StatusCode) -> Self {
        self.0.status = Some(status.as_u16());
        self
    }

    /// Sets an attribute of the pass, for later plugins, limits and the log: one that
    /// [`Interest::sets_attributes`](crate::Interest::sets_attributes) names, of at most 8 KiB.
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        add(&mut self.0.attributes, (name.into(), value.into()));
        self
    }

    /// Bytes that this plugin's later hooks get back in this pass, at most 256 KiB. The last memo counts.
    pub fn memo(mut self, memo: impl Into<Vec<u8>>) -> Self {
        self.0.memo = Some(memo.into());
        self
    }

    /// From a head hook: this pass's body is not wanted after all.
    pub fn skip_body(mut self) -> Self {
        self.0.skip_body = true;
        self
    }

    /// For tests: the value that `set` or `append` gave a field last.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let fields = self.0.set.iter().chain(&self.0.append);
        fields.filter(|header| header.name == name).map(|header| header.value.as_slice()).next_back()
    }

    /// For tests: the values that `set` gave a field.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0.set.iter().filter(move |header| header.name == name).map(|header| header.value.as_slice())
    }

    /// For tests: the names of removed fields.
    pub fn removed(&self) -> impl Iterator<Item = &str> {
        self.0.remove.iter().map(String::as_str)
    }

    /// For tests: the values that `append` gave a field.
    pub fn appended<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0.append.iter().filter(move |header| header.name == name).map(|header| header.value.as_slice())
    }

    /// For tests: the new path and the new query.
    pub fn target(&self) -> (Option<&str>, Option<&str>) {
        (self.0.path.as_deref(), self.0.query.as_deref())
    }

    /// For tests: the new status.
    pub fn new_status(&self) -> Option<u16> {
        self.0.status
    }

    /// For tests: an attribute that is set.
    pub fn attribute_set(&self, name: &str) -> Option<&str> {
        self.0.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// For tests: the memo.
    pub fn memo_set(&self) -> Option<&[u8]> {
        self.0.memo.as_deref()
    }

    /// For tests: whether the body was declined.
    pub fn skips_body(&self) -> bool {
        self.0.skip_body
    }

    /// Whether there is no change in it.
    pub fn is_empty(&self) -> bool {
        let wit::Edits { remove, set, append, path, query, status, attributes, memo, skip_body } = &self.0;
        remove.is_empty()
            && set.is_empty()
            && append.is_empty()
            && attributes.is_empty()
            && path.is_none()
            && query.is_none()
            && status.is_none()
            && memo.is_none()
            && !skip_body
    }
}

impl Problem {
    /// A refusal: a status of 400 to 599, a stable word in kebab-case of at most 64 letters, and a summary that is the same
    /// for every request with that word.
    pub fn new(status: StatusCode, code: impl Into<String>, title: impl Into<String>) -> Self {
        Self(wit::Problem {
            status: status.as_u16(),
            code: code.into(),
            title: title.into(),
            detail: None,
            headers: Vec::new(),
            faults: Vec::new(),
        })
    }

    /// What this client can do about it. Never echo what the client sent. Cut at 2 KiB, the title at 256 bytes.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// A further field of the response.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        self.0.headers.push(field(name, value));
        self
    }

    /// One of several faults, at most 100: where (a JSON Pointer, or a name) and what, each cut at 1 KiB.
    pub fn fault(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        self.0.faults.push(wit::Fault { pointer: pointer.into(), detail: detail.into() });
        self
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// The stable word.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// For tests: the last value of a field.
    pub fn header_value(&self, name: &str) -> Option<&[u8]> {
        self.0.headers.iter().filter(|header| header.name == name).map(|header| header.value.as_slice()).next_back()
    }

    /// For tests: what was said in detail.
    pub fn detail_text(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// For tests: each fault as its pointer and its detail.
    pub fn faults(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.faults.iter().map(|fault| (fault.pointer.as_str(), fault.detail.as_str()))
    }
}

impl From<Edits> for Flow {
    fn from(edits: Edits) -> Self {
        if edits.is_empty() { Self::Continue } else { Self::Edit(edits) }
    }
}

impl From<Edits> for BodyFlow {
    fn from(edits: Edits) -> Self {
        if edits.is_empty() { Self::Continue } else { Self::Edit(edits) }
    }
}

impl From<Problem> for Flow {
    fn from(problem: Problem) -> Self {
        Self::Refuse(problem)
    }
}

impl From<Problem> for BodyFlow {
    fn from(problem: Problem) -> Self {
        Self::Refuse(problem)
    }
}

impl From<Flow> for wit::Flow {
    fn from(flow: Flow) -> Self {
        match flow {
            Flow::Continue => Self::Continue,
            Flow::Edit(edits) => Self::Edit(edits.0),
            Flow::Respond(response) => Self::Respond(whole(response)),
            Flow::Refuse(problem) => Self::Refuse(problem.0),
        }
    }
}

impl From<BodyFlow> for wit::BodyFlow {
    fn from(flow: BodyFlow) -> Self {
        match flow {
            BodyFlow::Continue => Self::Continue,
            BodyFlow::Edit(edits) => Self::Edit(edits.0),
            BodyFlow::Replace(edits, body) => Self::Replace((edits.0, body)),
            BodyFlow::Respond(response) => Self::Respond(whole(response)),
            BodyFlow::Refuse(problem) => Self::Refuse(problem.0),
        }
    }
}

fn whole(response: Response<Vec<u8>>) -> wit::Response {
    let (head, body) = response.into_parts();
    wit::Response { status: head.status.as_u16(), headers: crate::message::list(&head.headers), body }
}

fn field(name: impl AsRef<str>, value: impl AsRef<[u8]>) -> wit::Header {
    wit::Header { name: lower(name.as_ref()), value: value.as_ref().to_vec() }
}

/// A name in lower case, which most are already: looked at eight bytes at a time.
fn lower(name: &str) -> String {
    let mut lower = name.to_owned();
    let upper = |bytes: &[u8]| bytes.iter().fold(false, |any, byte| any | byte.is_ascii_uppercase());
    let (words, rest) = name.as_bytes().as_chunks::<8>();
    if words.iter().any(|word| upper(word)) || upper(rest) {
        lower.make_ascii_lowercase();
    }
    lower
}

/// Adds to a list, which has room for the first few at once: growing a list is a long way.
fn add<T>(list: &mut Vec<T>, one: T) {
    if list.capacity() == 0 {
        *list = Vec::with_capacity(4);
    }
    list.push(one);
}
