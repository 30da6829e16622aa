//! What a plugin wants to see.

use crate::bindings::exports::tollgate::plugin::hooks as wit;

/// Which hooks are called, and what each receives. Begins empty: ask for what you use.
#[derive(Debug, Clone)]
pub struct Interest(pub(crate) wit::Interest);

/// What `on_request` and `on_request_body` see.
#[derive(Debug, Clone)]
pub struct RequestInterest(wit::RequestInterest);

/// What `on_response` and `on_response_body` see.
#[derive(Debug, Clone)]
pub struct ResponseInterest(wit::ResponseInterest);

impl Default for Interest {
    fn default() -> Self {
        Self::new()
    }
}

impl Interest {
    /// No hook at all.
    pub fn new() -> Self {
        Self(wit::Interest {
            request: None,
            request_body: None,
            response: None,
            response_body: None,
            owned_headers: Vec::new(),
            sets_attributes: Vec::new(),
        })
    }

    /// Calls `on_request`; `see` adds what it sees.
    pub fn request(mut self, see: impl FnOnce(RequestInterest) -> RequestInterest) -> Self {
        let nothing = wit::RequestInterest {
            parts: wit::Parts::empty(),
            headers: wit::Names::None,
            attributes: wit::Names::None,
        };
        let so_far = self.0.request.take().unwrap_or(nothing);
        self.0.request = Some(see(RequestInterest(so_far)).0);
        self
    }

    /// Calls `on_request_body` with bodies of up to `cap` bytes; longer ones are answered 413.
    pub fn request_body(mut self, cap: u64) -> Self {
        self.0.request_body = Some(wit::BodyInterest { cap });
        self
    }

    /// Calls `on_response`; `see` adds what it sees.
    pub fn response(mut self, see: impl FnOnce(ResponseInterest) -> ResponseInterest) -> Self {
        let nothing = wit::ResponseInterest { headers: wit::Names::None, attributes: wit::Names::None };
        let so_far = self.0.response.take().unwrap_or(nothing);
        self.0.response = Some(see(ResponseInterest(so_far)).0);
        self
    }

    /// Calls `on_response_body` with bodies of up to `cap` bytes; longer ones are replaced by a 502.
    pub fn response_body(mut self, cap: u64) -> Self {
        self.0.response_body = Some(wit::BodyInterest { cap });
        self
    }

    /// Request headers that only this plugin may set: the host removes a client's own.
    pub fn owns_headers<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.0.owned_headers.extend(names.into_iter().map(lower));
        self
    }

    /// Attributes that the plugin's edits may set.
    pub fn sets_attributes<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.0.sets_attributes.extend(names.into_iter().map(Into::into));
        self
    }
}

impl RequestInterest {
    /// The method.
    pub fn method(self) -> Self {
        self.part(wit::Parts::METHOD)
    }

    /// `http` or `https`.
    pub fn scheme(self) -> Self {
        self.part(wit::Parts::SCHEME)
    }

    /// Host and port.
    pub fn authority(self) -> Self {
        self.part(wit::Parts::AUTHORITY)
    }

    /// The path, without the query.
    pub fn path(self) -> Self {
        self.part(wit::Parts::PATH)
    }

    /// The query.
    pub fn query(self) -> Self {
        self.part(wit::Parts::QUERY)
    }

    /// The client's address.
    pub fn client(self) -> Self {
        self.part(wit::Parts::CLIENT)
    }

    /// These headers, beside those asked for already.
    pub fn headers<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        only(&mut self.0.headers, names.into_iter().map(lower));
        self
    }

    /// Every header: about five times the cost of a named one.
    pub fn all_headers(mut self) -> Self {
        self.0.headers = wit::Names::All;
        self
    }

    /// These attributes, beside those asked for already.
    pub fn attributes<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        only(&mut self.0.attributes, names.into_iter().map(Into::into));
        self
    }

    fn part(mut self, part: wit::Parts) -> Self {
        self.0.parts = self.0.parts | part;
        self
    }
}

impl ResponseInterest {
    /// These headers, beside those asked for already.
    pub fn headers<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        only(&mut self.0.headers, names.into_iter().map(lower));
        self
    }

    /// Every header: about five times the cost of a named one.
    pub fn all_headers(mut self) -> Self {
        self.0.headers = wit::Names::All;
        self
    }

    /// These attributes, beside those asked for already.
    pub fn attributes<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        only(&mut self.0.attributes, names.into_iter().map(Into::into));
        self
    }
}

/// Adds names, each once; all stays all.
fn only(names: &mut wit::Names, more: impl Iterator<Item = String>) {
    let so_far = match names {
        wit::Names::All => return,
        wit::Names::Only(so_far) => so_far,
        wit::Names::None => {
            *names = wit::Names::Only(Vec::new());
            let wit::Names::Only(so_far) = names else { return };
            so_far
        }
    };
    for name in more {
        if !so_far.contains(&name) {
            so_far.push(name);
        }
    }
}

fn lower(name: impl Into<String>) -> String {
    let mut name = name.into();
    name.make_ascii_lowercase();
    name
}
