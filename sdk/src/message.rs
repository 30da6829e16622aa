//! What hooks see: the heads of requests and responses.

use std::net::IpAddr;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use crate::bindings::tollgate::plugin::http as wit;

/// The head of a request: those parts that the interest asked for.
#[derive(Debug, Clone)]
pub struct Request(pub(crate) wit::Request);

/// The head of a response: those parts that the interest asked for.
#[derive(Debug, Clone)]
pub struct ResponseHead(pub(crate) wit::ResponseHead);

impl Request {
    /// The method; one that the interest does not name, or that is no token, which the host never sends, reads as `GET`.
    pub fn method(&self) -> Method {
        self.0.method.as_deref().and_then(|method| Method::from_bytes(method.as_bytes()).ok()).unwrap_or_default()
    }

    /// `http` or `https`: how the client reached Tollgate. Empty where the interest does not name it.
    pub fn scheme(&self) -> &str {
        self.0.scheme.as_deref().unwrap_or_default()
    }

    /// The host and, where it is not the scheme's own, the port. Empty where the interest does not name it.
    pub fn authority(&self) -> &str {
        self.0.authority.as_deref().unwrap_or_default()
    }

    /// The canonical path, without the query. Empty where the interest does not name it.
    pub fn path(&self) -> &str {
        self.0.path.as_deref().unwrap_or_default()
    }

    /// What follows `?`, byte for byte.
    pub fn query(&self) -> Option<&str> {
        self.0.query.as_deref()
    }

    /// The client's address.
    pub fn client(&self) -> Option<IpAddr> {
        self.0.client.as_deref().and_then(|address| address.parse().ok())
    }

    /// The value of an attribute that an earlier plugin set.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        attribute(&self.0.attributes, name)
    }

    /// The first field of this (lower-case) name, without copying.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.0.headers.iter().find(|header| same(&header.name, name)).map(|header| header.value.as_slice())
    }

    /// Every field of this (lower-case) name, in order, without copying.
    pub fn headers_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        named(&self.0.headers, name)
    }

    /// All fields that the interest asked for, in order and without copying: each name and its value.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.headers.iter().map(|header| (header.name.as_str(), header.value.as_slice()))
    }

    /// All fields that the interest asked for, copied into the ordinary map.
    pub fn headers(&self) -> HeaderMap {
        map(&self.0.headers)
    }
}

/// For tests of a plugin's logic: the request as a client would send it. The scheme is `http` where the URI has none.
impl<B> From<&http::Request<B>> for Request {
    fn from(request: &http::Request<B>) -> Self {
        let uri = request.uri();
        let authority = uri.authority().map(|authority| authority.as_str().to_ascii_lowercase());
        Self(wit::Request {
            method: Some(request.method().as_str().to_owned()),
            scheme: Some(uri.scheme_str().unwrap_or("http").to_owned()),
            authority: Some(authority.unwrap_or_default()),
            path: Some(uri.path().to_owned()),
            query: uri.query().map(str::to_owned),
            headers: list(request.headers()),
            client: None,
            attributes: Vec::new(),
        })
    }
}

impl Request {
    /// For tests: the same request, from this client.
    pub fn with_client(mut self, client: IpAddr) -> Self {
        self.0.client = Some(client.to_string());
        self
    }

    /// For tests: the same request, with an attribute that an earlier plugin set.
    pub fn with_attribute(mut self, name: &str, value: &str) -> Self {
        self.0.attributes.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl ResponseHead {
    /// The status; one outside 100 to 999, which the host never sends, reads as 200.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or_default()
    }

    /// The value of an attribute of the pass.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        attribute(&self.0.attributes, name)
    }

    /// The first field of this (lower-case) name, without copying.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.0.headers.iter().find(|header| same(&header.name, name)).map(|header| header.value.as_slice())
    }

    /// Every field of this (lower-case) name, in order, without copying.
    pub fn headers_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        named(&self.0.headers, name)
    }

    /// All fields that the interest asked for, in order and without copying: each name and its value.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.headers.iter().map(|header| (header.name.as_str(), header.value.as_slice()))
    }

    /// All fields that the interest asked for, copied into the ordinary map.
    pub fn headers(&self) -> HeaderMap {
        map(&self.0.headers)
    }
}

/// For tests of a plugin's logic.
impl<B> From<&http::Response<B>> for ResponseHead {
    fn from(response: &http::Response<B>) -> Self {
        Self(wit::ResponseHead {
            status: response.status().as_u16(),
            headers: list(response.headers()),
            attributes: Vec::new(),
        })
    }
}

impl ResponseHead {
    /// For tests: the same response, with an attribute of the pass.
    pub fn with_attribute(mut self, name: &str, value: &str) -> Self {
        self.0.attributes.push((name.to_owned(), value.to_owned()));
        self
    }
}

fn attribute<'a>(attributes: &'a [wit::Attribute], name: &str) -> Option<&'a str> {
    attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn named<'a>(headers: &'a [wit::Header], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |header| same(&header.name, name)).map(|header| header.value.as_slice())
}

/// Whether two names are equal: those of eight to sixteen bytes by two numbers, where wasi-libc compares byte by byte.
fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let ends = |name: &[u8]| {
        let number = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        name.first_chunk().zip(name.last_chunk()).map(|(first, last)| (number(first), number(last)))
    };
    match (ends(one), ends(other)) {
        (Some(one_ends), Some(other_ends)) if one.len() <= 16 => one.len() == other.len() && one_ends == other_ends,
        _ => one == other,
    }
}

pub(crate) fn map(headers: &[wit::Header]) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(headers.len());
    for header in headers {
        // The host sends nothing else than names and values that the `http` crate takes.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(header.name.as_bytes()), HeaderValue::from_bytes(&header.value))
        {
            map.append(name, value);
        }
    }
    map
}

pub(crate) fn list(headers: &HeaderMap) -> Vec<wit::Header> {
    let field = |(name, value): (&HeaderName, &HeaderValue)| wit::Header {
        name: name.as_str().to_owned(),
        value: value.as_bytes().to_vec(),
    };
    headers.iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_equal_where_all_their_bytes_are() {
        let long = "abcdefghijklmnopqrstuvwxyz";
        for len in 0..long.len() {
            let name = &long[..len];
            assert!(same(name, name), "{name}");
            assert!(!same(name, &long[..len + 1]) && !same(&long[..len + 1], name), "{name}");
            for at in 0..len {
                let mut other = name.to_owned();
                other.replace_range(at..=at, "0");
                assert!(!same(name, &other), "{name} {other}");
            }
        }
    }
}
