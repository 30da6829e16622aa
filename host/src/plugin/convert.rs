//! Between the `http` crate and the contract: what goes into a guest, and what comes out of it. Everything that comes
//! out is hostile until it has passed here.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{StatusCode, request, response};

use super::interest::{See, Seen, Sight};
use crate::authority::Scheme;
use crate::bindings::{Edits, Fault, Header, HeaderIn, Parts, Problem, RequestIn, Response, ResponseHeadIn};
use crate::headers::{FieldError, plugin_field, plugin_name};
use crate::path;

/// The most fields that one answer of a guest may set, append or remove.
const MAX_FIELDS: usize = 256;
/// The most bytes in the names and values of one answer.
const MAX_FIELD_BYTES: usize = 256 << 10;
/// The most fields of a head after edits: far below what `HeaderMap` can hold.
const MAX_HEAD_FIELDS: usize = 1000;
/// The longest memo, in bytes.
const MAX_MEMO: usize = 256 << 10;
/// The longest value of an attribute, in bytes.
const MAX_ATTRIBUTE: usize = 8 << 10;
/// The longest path with its query, in bytes.
const MAX_TARGET: usize = 32 << 10;
/// The most faults of one problem.
const MAX_FAULTS: usize = 100;

/// What a pass knows of its request beside the head itself.
pub(crate) struct Head<'a> {
    pub(crate) parts: &'a request::Parts,
    pub(crate) scheme: Scheme,
    /// Host and port in normal form.
    pub(crate) authority: &'a str,
    pub(crate) client: IpAddr,
    pub(crate) attributes: &'a Attributes,
}

/// The attributes of a pass.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Attributes(Vec<(Arc<str>, Arc<str>)>);

impl Attributes {
    /// The value of an attribute.
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<str>> {
        self.0.iter().find(|(key, _)| **key == *name).map(|(_, value)| value)
    }

    /// Adds what is known before any plugin speaks.
    pub(crate) fn extend(&mut self, known: &[(Arc<str>, Arc<str>)]) {
        self.0.extend_from_slice(known);
    }

    fn set(&mut self, name: &Arc<str>, value: Arc<str>) {
        match self.0.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.clone(), value)),
        }
    }
}

impl FromIterator<(String, String)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// What a hook changed beside the head.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub(crate) memo: Option<Bytes>,
    pub(crate) skip_body: bool,
}

/// A refusal of a plugin, fit to be written.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: String,
    pub(crate) title: String,
    pub(crate) detail: Option<String>,
    pub(crate) headers: HeaderMap,
    /// Each with where and what.
    pub(crate) faults: Vec<(String, String)>,
}

/// Why an answer of a guest is not used. For operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) String);

impl See {
    /// What a guest sees of a request.
    pub(crate) fn request(&self, head: &Head<'_>) -> RequestIn {
        let text = |part: Parts, text: &str| self.parts.contains(part).then(|| text.to_owned());
        let uri = &head.parts.uri;
        RequestIn {
            method: text(Parts::METHOD, head.parts.method.as_str()),
            scheme: self.parts.contains(Parts::SCHEME).then(|| head.scheme.as_str()),
            authority: text(Parts::AUTHORITY, head.authority),
            path: text(Parts::PATH, uri.path()),
            query: uri.query().and_then(|query| text(Parts::QUERY, query)),
            headers: self.headers(&head.parts.headers),
            client: self.parts.contains(Parts::CLIENT).then(|| head.client.to_string()),
            attributes: self.attributes(head.attributes),
        }
    }

    /// What a guest sees of a response.
    pub(crate) fn response(&self, parts: &response::Parts, attributes: &Attributes) -> ResponseHeadIn {
        ResponseHeadIn {
            status: parts.status.as_u16(),
            headers: self.headers(&parts.headers),
            attributes: self.attributes(attributes),
        }
    }

    fn headers(&self, headers: &HeaderMap) -> Vec<HeaderIn> {
        let field =
            |name: &Arc<str>, value: &HeaderValue| HeaderIn { name: name.clone(), value: value.as_bytes().to_vec() };
        match &self.headers {
            Seen::All => headers.iter().map(|(name, value)| field(&Arc::from(name.as_str()), value)).collect(),
            Seen::Only(names) => {
                let mut seen = Vec::with_capacity(names.len());
                for (name, text) in names {
                    seen.extend(headers.get_all(name).iter().map(|value| field(text, value)));
                }
                seen
            }
        }
    }

    fn attributes(&self, attributes: &Attributes) -> Vec<(Arc<str>, Arc<str>)> {
        match &self.attributes {
            Seen::All => attributes.0.clone(),
            Seen::Only(names) => {
                let known = |name: &Arc<str>| Some((name.clone(), attributes.get(name)?.clone()));
                names.iter().filter_map(known).collect()
            }
        }
    }
}

/// All fields, as a guest sees them.
pub(crate) fn fields_in(headers: &HeaderMap) -> Vec<HeaderIn> {
    See { headers: Seen::All, ..See::default() }.headers(headers)
}

/// Applies edits to a request: all of them, or none.
pub(crate) fn edit_request(
    edits: Edits,
    sight: &Sight,
    parts: &mut request::Parts,
    attributes: &mut Attributes,
    encoded_slash: bool,
) -> Result<Applied, Refused> {
    if edits.status.is_some() {
        return refuse("it set a status in a request hook");
    }
    let target = match (&edits.path, &edits.query) {
        (None, None) => None,
        (path, query) => Some(target(parts, path.as_deref(), query.as_deref(), encoded_slash)?),
    };
    let checked = Checked::new(edits, sight)?;
    checked.fits(&parts.headers)?;
    if let Some(target) = target {
        let mut uri = http::uri::Parts::default();
        uri.path_and_query = Some(target);
        // Origin form: a path and nothing before it, which `target` has checked.
        parts.uri = http::Uri::from_parts(uri).map_err(|_| Refused("it set a path that is none".to_owned()))?;
    }
    Ok(checked.apply(&mut parts.headers, attributes))
}

/// Applies edits to a response: all of them, or none.
pub(crate) fn edit_response(
    edits: Edits,
    sight: &Sight,
    parts: &mut response::Parts,
    attributes: &mut Attributes,
) -> Result<Applied, Refused> {
    if edits.path.is_some() || edits.query.is_some() {
        return refuse("it set a path or a query in a response hook");
    }
    let status = edits.status.map(status).transpose()?;
    let checked = Checked::new(edits, sight)?;
    checked.fits(&parts.headers)?;
    if let Some(status) = status {
        parts.status = status;
    }
    Ok(checked.apply(&mut parts.headers, attributes))
}

/// A whole response of a guest.
pub(crate) fn whole(answer: Response) -> Result<http::Response<Bytes>, Refused> {
    let status = status(answer.status)?;
    let empty = matches!(status.as_u16(), 204 | 205 | 304);
    if empty && !answer.body.is_empty() {
        return refuse(format!("it answered {status} with a body"));
    }
    let mut response = http::Response::new(Bytes::from(answer.body));
    *response.status_mut() = status;
    *response.headers_mut() = fields(&answer.headers)?;
    Ok(response)
}

/// A refusal of a guest.
pub(crate) fn refusal(problem: Problem) -> Result<Refusal, Refused> {
    let Problem { status, code, title, detail, headers, faults } = problem;
    if !(400..=599).contains(&status) {
        return refuse(format!("it refused with the status {status}"));
    }
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if code.is_empty() || code.len() > 64 || !code.bytes().all(word) {
        return refuse("it refused with a code that is not kebab-case of at most 64 letters");
    }
    if faults.len() > MAX_FAULTS {
        return refuse(format!("it refused with {} faults, more than {MAX_FAULTS}", faults.len()));
    }
    let fault = |fault: Fault| (clean(fault.pointer, 1024), clean(fault.detail, 1024));
    Ok(Refusal {
        status: self::status(status)?,
        code,
        title: clean(title, 256),
        detail: detail.map(|detail| clean(detail, 2048)),
        headers: fields(&headers)?,
        faults: faults.into_iter().map(fault).collect(),
    })
}

/// What described the old bytes of a body that a plugin replaced.
pub(crate) fn describe_new_body(headers: &mut HeaderMap) {
    for name in ["content-md5", "content-digest", "repr-digest", "digest", "accept-ranges", "content-encoding"] {
        headers.remove(name);
    }
    headers.remove(CONTENT_LENGTH);
    // The new bytes stand for the same state of the resource: a weak tag may stay (RFC 9110, section 8.8.1).
    if let Some(tag) = headers.get(http::header::ETAG)
        && !tag.as_bytes().starts_with(b"W/")
    {
        match HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
            Ok(weak) => headers.insert(http::header::ETAG, weak),
            Err(_) => headers.remove(http::header::ETAG),
        };
    }
}

/// Edits that are allowed.
struct Checked {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
    append: Vec<(HeaderName, HeaderValue)>,
    attributes: Vec<(Arc<str>, Arc<str>)>,
    applied: Applied,
}

impl Checked {
    fn new(edits: Edits, sight: &Sight) -> Result<Self, Refused> {
        let Edits { remove, set, append, attributes, memo, skip_body, path: _, query: _, status: _ } = edits;
        if remove.len() + set.len() + append.len() > MAX_FIELDS {
            return refuse(format!("it edited more than {MAX_FIELDS} fields"));
        }
        let bytes: usize = set.iter().chain(&append).map(|field| field.name.len() + field.value.len()).sum();
        if bytes > MAX_FIELD_BYTES {
            return refuse(format!("it set {bytes} bytes of fields, more than {MAX_FIELD_BYTES}"));
        }
        if memo.as_ref().is_some_and(|memo| memo.len() > MAX_MEMO) {
            return refuse(format!("its memo is longer than {MAX_MEMO} bytes"));
        }
        let attribute = |(name, value): (String, String)| {
            let known = sight.sets.iter().find(|known| ***known == *name);
            let Some(known) = known else {
                return refuse(format!("it set the attribute `{}`, which it did not declare", clean(name, 64)));
            };
            if value.len() > MAX_ATTRIBUTE {
                return refuse(format!("it set the attribute `{known}` to more than {MAX_ATTRIBUTE} bytes"));
            }
            Ok((known.clone(), Arc::from(value)))
        };
        Ok(Self {
            remove: remove
                .iter()
                .map(|name| plugin_name(name).map_err(|error| wrong(name, &error)))
                .collect::<Result<_, _>>()?,
            set: set.iter().map(field).collect::<Result<_, _>>()?,
            append: append.iter().map(field).collect::<Result<_, _>>()?,
            attributes: attributes.into_iter().map(attribute).collect::<Result<_, _>>()?,
            applied: Applied { memo: memo.map(Bytes::from), skip_body },
        })
    }

    fn fits(&self, headers: &HeaderMap) -> Result<(), Refused> {
        if headers.len() + self.set.len() + self.append.len() > MAX_HEAD_FIELDS {
            return refuse(format!("its edits would leave more than {MAX_HEAD_FIELDS} fields"));
        }
        Ok(())
    }

    fn apply(self, headers: &mut HeaderMap, attributes: &mut Attributes) -> Applied {
        for name in self.remove.iter().chain(self.set.iter().map(|(name, _)| name)) {
            headers.remove(name);
        }
        for (name, value) in self.set.into_iter().chain(self.append) {
            headers.append(name, value);
        }
        for (name, value) in self.attributes {
            attributes.set(&name, value);
        }
        self.applied
    }
}

/// The target with another path or another query, or both.
pub(super) fn target(
    parts: &request::Parts,
    path: Option<&str>,
    query: Option<&str>,
    encoded_slash: bool,
) -> Result<PathAndQuery, Refused> {
    let path = path.unwrap_or(parts.uri.path());
    match path::canonical(path, encoded_slash) {
        Ok(canonical) if canonical == path => {}
        _ => return refuse("it set a path that is not canonical"),
    }
    let query = query.or(parts.uri.query()).filter(|query| !query.is_empty());
    let mut target = path.to_owned();
    if let Some(query) = query {
        // RFC 3986, section 3.4: anything printable but `#`, which the parser below would cut at.
        if !query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return refuse("it set a query with bytes that no query may have");
        }
        target.push('?');
        target.push_str(query);
    }
    if target.len() > MAX_TARGET {
        return refuse(format!("it set a target of more than {MAX_TARGET} bytes"));
    }
    PathAndQuery::try_from(target).map_err(|_| Refused("it set a path or a query that is none".to_owned()))
}

/// Fields of a guest that are not a head's edits: all of them, or none.
pub(crate) fn fields(headers: &[Header]) -> Result<HeaderMap, Refused> {
    if headers.len() > MAX_FIELDS {
        return refuse(format!("it answered with {} fields, more than {MAX_FIELDS}", headers.len()));
    }
    let bytes: usize = headers.iter().map(|field| field.name.len() + field.value.len()).sum();
    if bytes > MAX_FIELD_BYTES {
        return refuse(format!("it answered with {bytes} bytes of fields, more than {MAX_FIELD_BYTES}"));
    }
    let mut map = HeaderMap::with_capacity(headers.len());
    for header in headers {
        let (name, value) = field(header)?;
        map.append(name, value);
    }
    Ok(map)
}

fn field(header: &Header) -> Result<(HeaderName, HeaderValue), Refused> {
    plugin_field(&header.name, &header.value).map_err(|error| wrong(&header.name, &error))
}

fn wrong(name: &str, error: &FieldError) -> Refused {
    let why = match error {
        FieldError::Name => "no header name",
        FieldError::Value => "a value with control bytes",
        FieldError::Forbidden => "a field that no plugin may set",
    };
    Refused(format!("it edited the field `{}`: {why}", clean(name.to_owned(), 64)))
}

/// RFC 9110, section 15: a final status. 1xx are the server's own, and 6xx to 9xx are no class.
pub(super) fn status(code: u16) -> Result<StatusCode, Refused> {
    match StatusCode::from_u16(code) {
        Ok(status) if (200..=599).contains(&code) => Ok(status),
        _ => refuse(format!("it answered with the status {code}")),
    }
}

/// Text of a guest, cut, and without control characters.
fn clean(mut text: String, most: usize) -> String {
    if text.len() > most {
        let cut = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
    }
    if text.chars().any(char::is_control) {
        text = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    }
    text
}

pub(super) fn refuse<T>(why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(why.into()))
}

#[cfg(test)]
mod tests;
