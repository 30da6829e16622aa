//! Which origins are allowed.
//!
//! A browser serialises an origin in one way (scheme and host in lower case, the port only where it is not the scheme's
//! own), so that equal origins are equal bytes. Nothing else than those bytes is compared: what differs is another origin.

use std::net::Ipv6Addr;

use tollgate_sdk::Complaints;

use crate::Config;

/// The allowed origins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Origins {
    /// Every one, and the answer is the same for all.
    Any,
    /// These.
    Listed(Listed),
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    /// In order, for a binary search.
    exact: Vec<String>,
    patterns: Vec<Pattern>,
    null: bool,
}

/// An origin with one label open.
#[derive(Debug, PartialEq, Eq)]
struct Pattern {
    /// `https://`
    before: String,
    /// `.example.com:8443`
    after: String,
}

/// One entry of the list.
#[derive(Debug, PartialEq, Eq)]
enum Entry {
    Any,
    Exact(String),
    Pattern(Pattern),
}

impl Origins {
    /// Reads the list, and complains of what is wrong with it and with what stands beside it.
    pub(crate) fn read(config: &Config, complaints: &mut Complaints) -> Self {
        let mut any = false;
        let mut listed = Listed { null: config.allow_null, ..Listed::default() };
        for (index, text) in config.origins.iter().enumerate() {
            match Entry::parse(text) {
                Ok(Entry::Any) => {
                    any = true;
                    if config.origins.len() > 1 {
                        let message = "`*` allows every origin; leave the others out, or leave it out";
                        complaints.add(format!("/origins/{index}"), message);
                    }
                }
                Ok(Entry::Exact(origin)) => listed.exact.push(origin),
                Ok(Entry::Pattern(pattern)) => listed.patterns.push(pattern),
                Err(message) => complaints.add(format!("/origins/{index}"), message),
            }
        }
        listed.exact.sort_unstable();
        if config.origins.is_empty() && !config.allow_null {
            complaints.add("/origins", "no origin is allowed; name one such as `https://app.example.com`, or `*`");
        }
        if any && config.credentials {
            let message =
                "not with the origin `*`: every site could read what it holds for its users; name the origins";
            complaints.add("/credentials", message);
        }
        if config.allow_null && config.credentials {
            let message = "not with `credentials = true`: every site can make a frame whose origin is `null`";
            complaints.add("/allow-null", message);
        }
        if any { Self::Any } else { Self::Listed(listed) }
    }

    /// Whether pages of this origin, as a browser wrote it, may read answers.
    pub(crate) fn allow(&self, origin: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(listed) => {
                listed.exact.binary_search_by(|exact| exact.as_bytes().cmp(origin)).is_ok()
                    || listed.patterns.iter().any(|pattern| pattern.matches(origin))
                    || (listed.null && origin == b"null")
            }
        }
    }
}

impl Pattern {
    fn matches(&self, origin: &[u8]) -> bool {
        let label =
            origin.strip_prefix(self.before.as_bytes()).and_then(|rest| rest.strip_suffix(self.after.as_bytes()));
        label.is_some_and(is_label)
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "*" => return Ok(Self::Any),
            "null" => {
                return Err("`null` is the origin of anyone; where it is meant, write `allow-null = true`".to_owned());
            }
            _ => {}
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| {
            format!("{text:?} is no origin; write a scheme and a host, such as `https://app.example.com`, or `*`")
        })?;
        let scheme = scheme.to_ascii_lowercase();
        if !is_scheme(&scheme) {
            return Err(format!("{scheme:?} is no scheme; an origin begins like `https://`"));
        }
        if let Some(at) = rest.find(['/', '?', '#', '\\']) {
            let (origin, _) = text.split_at(text.len() - rest.len() + at);
            return Err(format!("an origin ends behind its host and port: write `{origin}`"));
        }
        if rest.contains('@') {
            return Err("an origin names no user".to_owned());
        }
        let (host, port) = host_and_port(rest, &scheme)?;
        let host = host.to_ascii_lowercase();
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        match host.strip_prefix("*.") {
            Some(parent) => {
                check_host(parent)?;
                if parent != "localhost" && !parent.contains('.') {
                    return Err(format!("`*.{parent}` would allow every site below `{parent}`; name a site before it"));
                }
                if parent.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
                    return Err("`*` cannot stand in an address".to_owned());
                }
                Ok(Self::Pattern(Pattern { before: format!("{scheme}://"), after: format!(".{parent}{port}") }))
            }
            None if host.contains('*') => {
                Err("`*` stands for one whole label at the beginning of the host, as in `https://*.example.com`"
                    .to_owned())
            }
            None => {
                if !host.starts_with('[') {
                    check_host(&host)?;
                }
                Ok(Self::Exact(format!("{scheme}://{host}{port}")))
            }
        }
    }
}

/// The host, with its brackets if it has them, and the port.
fn host_and_port<'a>(rest: &'a str, scheme: &str) -> Result<(&'a str, Option<u16>), String> {
    let (host, port) = match rest.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        Some((address, after)) => {
            address.parse::<Ipv6Addr>().map_err(|_| format!("`[{address}]` is no IPv6 address"))?;
            let (host, _) = rest.split_at(address.len() + 2);
            match after.strip_prefix(':') {
                None if !after.is_empty() => return Err("behind `]` only a port can stand".to_owned()),
                port => (host, port),
            }
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let Some(port) = port else { return Ok((host, None)) };
    let number = port.parse::<u16>().ok().filter(|number| *number > 0 && number.to_string() == port);
    let number = number.ok_or_else(|| format!("{port:?} is no port; write a number from 1 to 65535"))?;
    match (scheme, number) {
        ("http", 80) | ("https", 443) => {
            Err(format!("browsers leave out the scheme's own port: write `{scheme}://{host}`"))
        }
        _ => Ok((host, Some(number))),
    }
}

fn check_host(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("the host is missing, as in `https://app.example.com`".to_owned());
    }
    if !host.is_ascii() {
        return Err(format!("browsers write `{host}` in its ASCII form, which begins with `xn--`"));
    }
    match host.split('.').find(|label| !is_label(label.as_bytes())) {
        None => Ok(()),
        Some(label) => Err(format!("{label:?} is no label of a host, which has letters, digits, `-` and `_`")),
    }
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte))
}

/// One label of a host in lower case: no dot, no colon, nothing that could end the host.
fn is_label(label: &[u8]) -> bool {
    let is_inside = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(byte);
    (1..=63).contains(&label.len()) && label.iter().all(is_inside)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allows(entry: &str, origin: &str) -> bool {
        let mut listed = Listed::default();
        match Entry::parse(entry).unwrap() {
            Entry::Any => return true,
            Entry::Exact(exact) => listed.exact.push(exact),
            Entry::Pattern(pattern) => listed.patterns.push(pattern),
        }
        Origins::Listed(listed).allow(origin.as_bytes())
    }

    #[test]
    fn only_the_same_bytes_are_the_same_origin() {
        for (entry, origin, expected) in [
            ("https://app.example.com", "https://app.example.com", true),
            ("HTTPS://App.Example.COM", "https://app.example.com", true),
            ("https://app.example.com", "HTTPS://app.example.com", false),
            ("https://app.example.com", "https://App.example.com", false),
            ("https://app.example.com", "http://app.example.com", false),
            ("https://app.example.com", "https://app.example.com:443", false),
            ("https://app.example.com", "https://app.example.com:8443", false),
            ("https://app.example.com:8443", "https://app.example.com:8443", true),
            ("https://app.example.com:8443", "https://app.example.com", false),
            ("https://app.example.com", "https://app.example.com/", false),
            ("https://app.example.com", "https://app.example.com.", false),
            ("https://app.example.com", "https://app.example.com.evil.com", false),
            ("https://app.example.com", "https://user@app.example.com", false),
            ("https://app.example.com", "https://appxexample.com", false),
            ("https://app.example.com", "app.example.com", false),
            ("https://app.example.com", "", false),
            ("https://app.example.com", "null", false),
            ("https://app.example.com", "*", false),
            ("https://app.example.com", "https://app.example.com https://evil.com", false),
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://xn--bcher-kva.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://.example.com", false),
            ("https://*.example.com", "https://a.b.example.com", false),
            ("https://*.example.com", "https://evil-example.com", false),
            ("https://*.example.com", "https://evil.com/.example.com", false),
            ("https://*.example.com", "https://evil.com#.example.com", false),
            ("https://*.example.com", "https://evil.com:80.example.com", false),
            ("https://*.example.com", "https://u@a.example.com", false),
            ("https://*.example.com", "https://a.example.com:8443", false),
            ("https://*.example.com", "http://a.example.com", false),
            ("https://*.example.com", "https://*.example.com", false),
            ("https://*.example.com", "null", false),
            ("https://*.example.com:8443", "https://a.example.com:8443", true),
            ("http://*.localhost:3000", "http://shop.localhost:3000", true),
            ("http://localhost:3000", "http://localhost:3000", true),
            ("http://localhost:3000", "http://127.0.0.1:3000", false),
            ("http://[::1]:3000", "http://[::1]:3000", true),
            ("http://[::1]", "http://[::1]:3000", false),
            ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh", true),
            ("*", "null", true),
        ] {
            assert_eq!(allows(entry, origin), expected, "{entry} {origin}");
        }
    }

    #[test]
    fn mistakes_say_what_is_accepted() {
        for (entry, message) in [
            ("", "\"\" is no origin; write a scheme and a host"),
            ("app.example.com", "\"app.example.com\" is no origin"),
            ("null", "`null` is the origin of anyone"),
            ("://app", "\"\" is no scheme"),
            ("*://app.example.com", "\"*\" is no scheme"),
            ("https://", "the host is missing"),
            ("file:///", "an origin ends behind its host and port: write `file://`"),
            ("https://app.example.com/", "an origin ends behind its host and port: write `https://app.example.com`"),
            ("https://app.example.com/app", "an origin ends behind its host and port: write `https://app.example.com`"),
            ("https://app.example.com?x", "an origin ends behind"),
            ("https://user@app.example.com", "an origin names no user"),
            (
                "https://app.example.com:443",
                "browsers leave out the scheme's own port: write `https://app.example.com`",
            ),
            ("http://app.example.com:80", "browsers leave out"),
            ("https://app.example.com:", "\"\" is no port"),
            ("https://app.example.com:0", "\"0\" is no port"),
            ("https://app.example.com:08443", "\"08443\" is no port"),
            ("https://app.example.com:65536", "\"65536\" is no port"),
            ("https://app.example.com:*", "\"*\" is no port"),
            ("https://*", "`*` stands for one whole label"),
            ("https://*.com", "`*.com` would allow every site below `com`"),
            ("https://*.", "the host is missing"),
            ("https://*.*.example.com", "\"*\" is no label"),
            ("https://a*.example.com", "`*` stands for one whole label"),
            ("https://app.*.com", "`*` stands for one whole label"),
            ("https://*.0.0.1", "`*` cannot stand in an address"),
            ("https://app..example.com", "\"\" is no label"),
            ("https://app.example.com.", "\"\" is no label"),
            ("https://app example.com", "\"app example\" is no label"),
            ("https://app.example.com\r\n", "\"com\\r\\n\" is no label"),
            ("https://bücher.example", "browsers write `bücher.example` in its ASCII form"),
            ("http://[::1", "\""),
            ("http://[::g]", "`[::g]` is no IPv6 address"),
            ("http://[::1]x", "behind `]` only a port can stand"),
        ] {
            let error = Entry::parse(entry).unwrap_err();
            assert!(error.starts_with(message), "{entry:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in "(https?://)?[*.a-z0-9:/\\[\\]@é]{0,20}") {
            if let Ok(Entry::Exact(origin)) = Entry::parse(&text) {
                prop_assert!(http::HeaderValue::from_str(&origin).is_ok());
            }
        }

        #[test]
        fn an_open_label_is_never_more_than_one_label(label in "[ -~]{0,12}") {
            let one = !label.is_empty() && label.bytes().all(|byte| b"abcdefghijklmnopqrstuvwxyz0123456789-_".contains(&byte));
            prop_assert_eq!(allows("https://*.example.com", &format!("https://{label}.example.com")), one);
        }
    }
}
