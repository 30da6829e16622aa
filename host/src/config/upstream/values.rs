//! The types that single values of upstreams have.

use http::header::HeaderName;
use toml::de::DeValue;

use crate::config::reader::{Key, Node, Read, Reader, Wrong, no_word, words};
use crate::config::{Endpoint, HashKey, file};

/// [`Balance`](crate::config::Balance) without the key of the hash.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BalanceWord {
    LeastRequest,
    RoundRobin,
    PeakEwma,
    ConsistentHash,
}

words!(
    BalanceWord, "a way to balance",
    "least-request" => BalanceWord::LeastRequest, "round-robin" => BalanceWord::RoundRobin,
    "peak-ewma" => BalanceWord::PeakEwma, "consistent-hash" => BalanceWord::ConsistentHash,
);

/// An element of `endpoints`.
#[derive(Debug)]
pub(crate) enum WrittenEndpoint {
    Url(Endpoint),
    Table(Box<file::EndpointTable>),
}

impl Read for WrittenEndpoint {
    const NOUN: &'static str = Endpoint::NOUN;
    const EXAMPLE: &'static str = Endpoint::EXAMPLE;
    const KEYS: &'static [Key] = file::EndpointTable::KEYS;

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        match node.value {
            DeValue::Table(_) => file::EndpointTable::read(node, reader).map(|table| Self::Table(Box::new(table))),
            _ => Endpoint::read(node, reader).map(Self::Url),
        }
    }
}

impl Read for HashKey {
    const NOUN: &'static str = "what a hash is made of";
    const EXAMPLE: &'static str = "\"header:x-user\"";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(node, hash_key)
    }
}

fn hash_key(text: &str) -> Result<HashKey, Wrong> {
    match text.split_once(':') {
        None if text == "address" => Ok(HashKey::Address),
        None if text == "path" => Ok(HashKey::Path),
        Some(("header", name)) => match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => Ok(HashKey::Header(name)),
            Err(_) => Err(Wrong::because("the name of the header is not a token of RFC 9110")),
        },
        Some(("cookie", name)) => cookie_name(name).map(|name| HashKey::Cookie(name.0)),
        _ => Err(no_word(text, &["address", "path", "header:NAME", "cookie:NAME"])),
    }
}

/// The name of a cookie.
#[derive(Debug)]
pub(crate) struct CookieName(pub(crate) String);

impl Read for CookieName {
    const NOUN: &'static str = "the name of a cookie";
    const EXAMPLE: &'static str = "\"endpoint\"";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(node, cookie_name)
    }
}

fn cookie_name(text: &str) -> Result<CookieName, Wrong> {
    // Cookies have the tokens of header fields as names (RFC 6265, section 4.1.1), and case counts.
    match HeaderName::from_bytes(text.as_bytes()) {
        Ok(_) => Ok(CookieName(text.to_owned())),
        Err(_) => Err(Wrong::because("it is not a token of RFC 9110")),
    }
}
