//! What a plugin sees: its interest, checked and compiled.

use std::sync::Arc;

use http::header::HeaderName;

use super::component::Hook;
use crate::bindings::{Interest, Names, Parts, Passing, Wanted};
use crate::headers::may_plugin_set;

/// The most names in one list of an interest.
const MAX_NAMES: usize = 256;
/// The largest body that a plugin may ask for whole.
const MAX_BODY: u64 = 256 << 20;

/// An interest with its names resolved. Empty before `configure` has answered.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    /// What `on-request` and `on-request-body` see.
    pub(crate) request: See,
    /// Whether `on-request` is called.
    pub(crate) on_request: bool,
    /// The cap of `on-request-body`.
    pub(crate) request_body: Option<u64>,
    /// What `on-response` and `on-response-body` see.
    pub(crate) response: See,
    /// Whether `on-response` is called.
    pub(crate) on_response: bool,
    /// The cap of `on-response-body`.
    pub(crate) response_body: Option<u64>,
    /// What `on-request-chunk` does.
    pub(crate) request_chunks: Chunks,
    /// What `on-response-chunk` does.
    pub(crate) response_chunks: Chunks,
    /// Request headers that the host takes away from clients.
    pub(crate) owned: Vec<HeaderName>,
    /// Attributes that edits may set.
    pub(crate) sets: Vec<Arc<str>>,
}

/// What a plugin does with the bodies of one direction, piece by piece.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunks {
    #[default]
    Unseen,
    Looks,
    Changes,
}

/// What one side of a pass sees; nothing at first.
#[derive(Debug)]
pub(crate) struct See {
    pub(crate) parts: Parts,
    pub(crate) headers: Seen<(HeaderName, Arc<str>)>,
    pub(crate) attributes: Seen<Arc<str>>,
}

#[derive(Debug)]
pub(crate) enum Seen<T> {
    All,
    /// Empty for none.
    Only(Vec<T>),
}

impl Sight {
    /// Checks what a plugin asks for, of the hooks that its component exports.
    ///
    /// # Errors
    ///
    /// A sentence without its subject, for the operator.
    pub(super) fn new(
        interest: Interest,
        wants: Option<Wanted>,
        exports: impl Fn(Hook) -> bool,
    ) -> Result<Self, String> {
        let Interest { request, request_body, response, response_body, owned_headers, sets_attributes } = interest;
        let chunks = |passing: fn(&Wanted) -> Passing| wants.as_ref().map_or(Chunks::Unseen, |it| passing(it).into());
        let (request_chunks, response_chunks) = (chunks(|it| it.request), chunks(|it| it.response));
        let wanted = [
            (Hook::Request, request.is_some()),
            (Hook::RequestBody, request_body.is_some()),
            (Hook::Response, response.is_some()),
            (Hook::ResponseBody, response_body.is_some()),
            (Hook::RequestChunk, request_chunks != Chunks::Unseen),
            (Hook::ResponseChunk, response_chunks != Chunks::Unseen),
        ];
        for (hook, wanted) in wanted {
            if wanted && !exports(hook) {
                return Err(format!("it wants `{}`, which it does not export", hook.as_str()));
            }
        }
        let both = [
            (Hook::RequestBody, request_body.is_some() && request_chunks != Chunks::Unseen),
            (Hook::ResponseBody, response_body.is_some() && response_chunks != Chunks::Unseen),
        ];
        if let Some((hook, _)) = both.iter().find(|(_, both)| *both) {
            return Err(format!("it wants the same body whole, in `{}`, and piece by piece", hook.as_str()));
        }
        let (on_request, on_response) = (request.is_some(), response.is_some());
        let request = match request {
            Some(see) => {
                See { parts: see.parts, headers: headers(see.headers)?, attributes: attributes(see.attributes)? }
            }
            None => See::default(),
        };
        let response = match response {
            Some(see) => {
                See { parts: Parts::empty(), headers: headers(see.headers)?, attributes: attributes(see.attributes)? }
            }
            None => See::default(),
        };
        let owned = limited(owned_headers)?.iter().map(|name| header(name)).collect::<Result<Vec<_>, _>>()?;
        if let Some(name) = owned.iter().find(|name| !may_plugin_set(name)) {
            return Err(format!("it owns the header `{name}`, which no plugin may set"));
        }
        let cap = |body: crate::bindings::BodyInterest| match body.cap {
            cap if cap <= MAX_BODY => Ok(cap),
            cap => Err(format!("a body of {cap} bytes, more than {MAX_BODY}")),
        };
        Ok(Self {
            request,
            on_request,
            request_body: request_body.map(cap).transpose()?,
            response,
            on_response,
            response_body: response_body.map(cap).transpose()?,
            request_chunks,
            response_chunks,
            owned,
            sets: limited(sets_attributes)?.into_iter().map(Arc::from).collect(),
        })
    }
}

impl Sight {
    /// The attributes that the hooks of requests look at by name, and those that the hooks of responses do.
    pub(super) fn looks_at(&self) -> [&[Arc<str>]; 2] {
        [&self.request, &self.response].map(|see| match &see.attributes {
            Seen::All => &[][..],
            Seen::Only(names) => names,
        })
    }

    /// Whether a hook is called.
    pub(super) fn wants(&self, hook: Hook) -> bool {
        match hook {
            Hook::Request => self.on_request,
            Hook::RequestBody => self.request_body.is_some(),
            Hook::Response => self.on_response,
            Hook::ResponseBody => self.response_body.is_some(),
            Hook::RequestChunk => self.request_chunks != Chunks::Unseen,
            Hook::ResponseChunk => self.response_chunks != Chunks::Unseen,
        }
    }
}

impl From<Passing> for Chunks {
    fn from(passing: Passing) -> Self {
        match passing {
            Passing::None => Self::Unseen,
            Passing::Look => Self::Looks,
            Passing::Change => Self::Changes,
        }
    }
}

impl Default for See {
    fn default() -> Self {
        Self { parts: Parts::empty(), headers: Seen::Only(Vec::new()), attributes: Seen::Only(Vec::new()) }
    }
}

fn headers(names: Names) -> Result<Seen<(HeaderName, Arc<str>)>, String> {
    match names {
        Names::None => Ok(Seen::Only(Vec::new())),
        Names::All => Ok(Seen::All),
        Names::Only(names) => {
            let known = |name: String| Ok((header(&name)?, Arc::from(name)));
            Ok(Seen::Only(limited(names)?.into_iter().map(known).collect::<Result<_, String>>()?))
        }
    }
}

fn attributes(names: Names) -> Result<Seen<Arc<str>>, String> {
    match names {
        Names::None => Ok(Seen::Only(Vec::new())),
        Names::All => Ok(Seen::All),
        Names::Only(names) => Ok(Seen::Only(limited(names)?.into_iter().map(Arc::from).collect())),
    }
}

fn header(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_lowercase(name.as_bytes())
        .map_err(|_| format!("`{}` is no lower-case header name", name.escape_debug()))
}

fn limited(names: Vec<String>) -> Result<Vec<String>, String> {
    if names.len() > MAX_NAMES {
        return Err(format!("{} names in one list, more than {MAX_NAMES}", names.len()));
    }
    if let Some(name) = names.iter().find(|name| name.len() > 256) {
        return Err(format!("a name of {} bytes, more than 256", name.len()));
    }
    Ok(names)
}
