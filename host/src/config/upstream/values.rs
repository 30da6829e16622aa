//! The types that single values of upstreams have.

use std::net::{IpAddr, SocketAddr};

use http::StatusCode;
use http::header::HeaderName;
use http::uri::PathAndQuery;
use toml::de::DeValue;

use crate::config::reader::{At, Key, Node, Read, Reader, Wrong, no_word, words};
use crate::config::value::Count;
use crate::config::{Endpoint, HashKey, ProxyVersion, Service, TlsVersion, UpstreamProtocol, address, file};

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

words!(
    UpstreamProtocol, "a protocol",
    "http1" => UpstreamProtocol::Http1, "http2" => UpstreamProtocol::Http2, "auto" => UpstreamProtocol::Auto,
);

words!(ProxyVersion, "a version of the PROXY protocol", "v1" => ProxyVersion::V1, "v2" => ProxyVersion::V2);
words!(TlsVersion, "a version of TLS", "1.2" => TlsVersion::Tls12, "1.3" => TlsVersion::Tls13);

/// What happens when the checks of all endpoints fail.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WhenDown {
    Refuse,
    Try,
}

words!(WhenDown, "what happens when all are down", "refuse" => WhenDown::Refuse, "try" => WhenDown::Try);

/// An element of `endpoints`.
#[derive(Debug)]
pub(crate) enum WrittenEndpoint {
    Url(Endpoint),
    Table(Box<file::EndpointTable>),
    Service(Service),
}

impl Read for WrittenEndpoint {
    const NOUN: &'static str = Endpoint::NOUN;
    const EXAMPLE: &'static str = Endpoint::EXAMPLE;
    const KEYS: &'static [Key] = file::EndpointTable::KEYS;

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        match node.value {
            DeValue::Table(_) => file::EndpointTable::read(node, reader).map(|table| Self::Table(Box::new(table))),
            DeValue::String(text) if text.starts_with("http+srv:") || text.starts_with("https+srv:") => {
                Service::read(node, reader).map(Self::Service)
            }
            _ => ServerUrl::read(node, reader).map(|url| Self::Url(url.0)),
        }
    }
}

/// A server behind us. Other endpoints, those that plugins may ask, are never Unix sockets.
#[derive(Debug)]
pub(crate) struct ServerUrl(pub(crate) Endpoint);

impl Read for ServerUrl {
    const NOUN: &'static str = Endpoint::NOUN;
    const EXAMPLE: &'static str = Endpoint::EXAMPLE;

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        let mut endpoint = reader.parsed(node, address::server)?;
        if let Some(path) = endpoint.unix.take() {
            let path = reader.locate(&path.to_string_lossy());
            if path.as_os_str().len() > address::LONGEST_SOCKET {
                let at = At { value: (), span: node.span.clone(), path: node.path.clone() };
                let problem = reader.problem(&at, "the path of the Unix socket is too long");
                let most = address::LONGEST_SOCKET;
                reader.report(problem.help(format!("with the folder of this file, it has {most} bytes at most")));
                return None;
            }
            endpoint.unix = Some(path);
        }
        Some(Self(endpoint))
    }
}

impl Read for Service {
    const NOUN: &'static str = "a service";
    const EXAMPLE: &'static str = "\"http+srv://_http._tcp.search.internal\"";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(node, service)
    }
}

fn service(text: &str) -> Result<Service, Wrong> {
    let (scheme, name) = text.split_once("://").ok_or_else(|| Wrong::because("it has no name behind ://"))?;
    if let Some(at) = name.find([':', '/', '?', '#', '@']) {
        let wrong = Wrong::because("it is a name alone: ports are what a service says");
        return Err(wrong.help(format!("write {:?}", format!("{scheme}://{}", &name[..at]))));
    }
    Ok(Service { name: address::name(name)?, tls: scheme == "https+srv" })
}

/// A name server.
#[derive(Debug)]
pub(crate) struct NameServer(pub(crate) SocketAddr);

impl Read for NameServer {
    const NOUN: &'static str = "the address of a name server";
    const EXAMPLE: &'static str = "\"10.0.0.2\"";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(node, |text| {
            let alone = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
            let address = text.parse().or(alone).map_err(|_| Wrong::because("it is no IP address"))?;
            Ok(Self(address))
        })
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

/// A status that may be worth another try.
#[derive(Debug)]
pub(crate) struct RetryStatus(pub(crate) StatusCode);

impl Read for RetryStatus {
    const NOUN: &'static str = "a status";
    const EXAMPLE: &'static str = "503";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        let number = Count::read(node, reader)?.0;
        let status = u16::try_from(number).ok().and_then(|status| StatusCode::from_u16(status).ok());
        let worth = |status: &StatusCode| status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
        let status = status.filter(worth);
        if status.is_none() {
            let at = At { value: (), span: node.span.clone(), path: node.path.clone() };
            let problem = reader.problem(&at, format!("another try does not help where the status is {number}"));
            reader.report(problem.help("these are taken: 408, 425, 429 and 500 to 599"));
        }
        status.map(Self)
    }
}

/// Any final status of a response.
#[derive(Debug)]
pub(crate) struct Status(pub(crate) StatusCode);

impl Read for Status {
    const NOUN: &'static str = "a status";
    const EXAMPLE: &'static str = "204";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        let number = Count::read(node, reader)?.0;
        let status = u16::try_from(number).ok().filter(|status| (200..600).contains(status));
        if status.is_none() {
            let at = At { value: (), span: node.span.clone(), path: node.path.clone() };
            reader.error(&at, format!("{number} is no status of a response: these are 200 to 599"));
        }
        status.and_then(|status| StatusCode::from_u16(status).ok()).map(Self)
    }
}

/// A path with a query, as a check asks for it.
#[derive(Debug)]
pub(crate) struct CheckPath(pub(crate) PathAndQuery);

impl Read for CheckPath {
    const NOUN: &'static str = "a path";
    const EXAMPLE: &'static str = "\"/healthz\"";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(node, |text| {
            if !text.starts_with('/') {
                let help = format!("write {:?}", format!("/{text}"));
                return Err(Wrong::because("it does not begin with a slash").help(help));
            }
            match PathAndQuery::try_from(text) {
                Ok(path) if path.as_str() == text => Ok(Self(path)),
                _ => Err(Wrong::because("it has characters that no path has")),
            }
        })
    }
}
