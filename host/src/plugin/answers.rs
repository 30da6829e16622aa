//! What guests answer, as plain values, on its way through everything that looks at it before it is used: for who wants to
//! know what the host makes of any of them, such as fuzzing.

use bytes::Bytes;
use http::header::HeaderMap;
use http::{Response, StatusCode, request, response};

use super::convert::{self, Attributes, Refused};
use super::interest::Sight;
use crate::bindings;

/// Names and values, as a guest writes them.
pub type Fields = Vec<(String, Vec<u8>)>;

/// `edits` of the contract.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each as in the contract")]
pub struct Edits {
    pub remove: Vec<String>,
    pub set: Fields,
    pub append: Fields,
    pub path: Option<String>,
    pub query: Option<String>,
    pub status: Option<u16>,
    pub attributes: Vec<(String, String)>,
    pub memo: Option<Vec<u8>>,
    pub skip_body: bool,
}

/// `problem` of the contract.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each as in the contract")]
pub struct Problem {
    pub status: u16,
    pub code: String,
    pub title: String,
    pub detail: Option<String>,
    pub headers: Fields,
    pub faults: Vec<(String, String)>,
}

/// A problem that is fit to be written.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each as in the contract")]
pub struct Fit {
    pub status: StatusCode,
    pub code: String,
    /// Title and detail, then pointer and detail of each fault.
    pub texts: Vec<String>,
    pub headers: HeaderMap,
}

/// Attributes that a pass has afterwards.
pub type Told = Vec<(String, String)>;

/// A request after the edits of a plugin that may set these attributes.
///
/// # Errors
/// What is not allowed; the request is as it was.
pub fn edit_request(edits: Edits, sets: &[&str], parts: &mut request::Parts) -> Result<Told, String> {
    let mut attributes = Attributes::default();
    convert::edit_request(edits.into(), &sight(sets), parts, &mut attributes, false).map_err(why)?;
    Ok(told(&attributes, sets))
}

/// A response after the edits of a plugin that may set these attributes.
///
/// # Errors
/// What is not allowed; the response is as it was.
pub fn edit_response(edits: Edits, sets: &[&str], parts: &mut response::Parts) -> Result<Told, String> {
    let mut attributes = Attributes::default();
    convert::edit_response(edits.into(), &sight(sets), parts, &mut attributes).map_err(why)?;
    Ok(told(&attributes, sets))
}

/// A whole response of a plugin.
///
/// # Errors
/// What is not allowed.
pub fn whole(status: u16, headers: Fields, body: Vec<u8>) -> Result<Response<Bytes>, String> {
    convert::whole(bindings::Response { status, headers: lower(headers), body }).map_err(why)
}

/// A refusal of a plugin.
///
/// # Errors
/// What is not allowed.
pub fn refusal(problem: Problem) -> Result<Fit, String> {
    let Problem { status, code, title, detail, headers, faults } = problem;
    let faults = faults.into_iter().map(|(pointer, detail)| bindings::Fault { pointer, detail }).collect();
    let problem = bindings::Problem { status, code, title, detail, headers: lower(headers), faults };
    let fit = convert::refusal(problem).map_err(why)?;
    let faults = fit.faults.into_iter().flat_map(|(pointer, detail)| [pointer, detail]);
    let texts = std::iter::once(fit.title).chain(fit.detail).chain(faults).collect();
    Ok(Fit { status: fit.status, code: fit.code, texts, headers: fit.headers })
}

/// The headers that a plugin owns, where it may have this interest: it looks at these headers and attributes, and sets these.
///
/// # Errors
/// What is not allowed.
pub fn interest(
    looks_at: Vec<String>,
    attributes: Vec<String>,
    owns: Vec<String>,
    sets: Vec<String>,
    cap: u64,
) -> Result<Vec<http::HeaderName>, String> {
    let see = bindings::ResponseInterest {
        headers: bindings::Names::Only(looks_at),
        attributes: bindings::Names::Only(attributes),
    };
    let interest = bindings::Interest {
        request: None,
        request_body: None,
        response: Some(see),
        response_body: Some(bindings::BodyInterest { cap }),
        owned_headers: owns,
        sets_attributes: sets,
    };
    Ok(Sight::new(interest, None, |_| true)?.owned)
}

fn sight(sets: &[&str]) -> Sight {
    Sight { sets: sets.iter().map(|name| (*name).into()).collect(), ..Sight::default() }
}

fn told(attributes: &Attributes, sets: &[&str]) -> Told {
    let of = |name: &&str| Some(((*name).to_owned(), attributes.get(name)?.to_string()));
    sets.iter().filter_map(of).collect()
}

fn lower(fields: Fields) -> Vec<bindings::Header> {
    fields.into_iter().map(|(name, value)| bindings::Header { name, value }).collect()
}

fn why(refused: Refused) -> String {
    refused.0
}

impl From<Edits> for bindings::Edits {
    fn from(edits: Edits) -> Self {
        let Edits { remove, set, append, path, query, status, attributes, memo, skip_body } = edits;
        Self { remove, set: lower(set), append: lower(append), path, query, status, attributes, memo, skip_body }
    }
}
