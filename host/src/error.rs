//! How a request ends badly, and what the client gets then. Nothing else chooses a failure's status.
//!
//! A [`Reason`] is one word for the log, the metric, the trace and the body. An [`Error`] adds what the operator needs
//! to know; that part never reaches a client. What a client may read is fixed text, written below.

mod problem;
mod reason;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Response, header};

pub use problem::{Audience, Problem, grpc_trailers};
pub use reason::Reason;

/// A request that ends badly: the reason, and what only the operator may read about it.
#[derive(Debug, Clone)]
pub struct Error {
    reason: Reason,
    detail: Cow<'static, str>,
}

impl Error {
    /// An error of which there is nothing more to say.
    #[must_use]
    pub fn new(reason: Reason) -> Self {
        Self { reason, detail: Cow::Borrowed("") }
    }

    /// An error with what the operator needs to know: addresses, causes, names of files. No client sees it.
    #[must_use]
    pub fn because(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, detail: detail.into() }
    }

    /// Why the request ended.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// What the operator may read; empty where there is nothing to add.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The response: a problem body (RFC 9457) in the form that the client asked for, with its exact length. A client
    /// of gRPC gets a response without a body that carries `grpc-status`.
    #[must_use]
    pub fn response(&self, audience: &Audience, request_id: &str) -> Response<Bytes> {
        let entry = self.reason.entry();
        let code = match self.reason.plugin() {
            Some(plugin) => Cow::Owned(format!("{}:{plugin}", entry.code)),
            None => Cow::Borrowed(entry.code),
        };
        let problem = Problem {
            status: entry.status,
            code: &code,
            title: problem::title(entry.status),
            detail: Some(entry.detail),
            faults: &[],
        };
        let mut response = problem.response(audience, request_id);
        let headers = response.headers_mut();
        let close = self.reason.closes().then(|| HeaderValue::from_static("close"));
        let extra: [(HeaderName, Option<HeaderValue>); 3] = [
            (header::ALLOW, self.reason.allow()),
            (header::RETRY_AFTER, self.reason.retry_after()),
            (header::CONNECTION, close),
        ];
        for (name, value) in extra {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        response
    }
}

impl From<Reason> for Error {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() {
            write!(f, "{}", self.reason)
        } else {
            write!(f, "{}: {}", self.reason, self.detail)
        }
    }
}

impl std::error::Error for Error {}
