//! Whose requests are counted together: the key that a request is counted under.
//!
//! A key is the values of its parts, one behind the other. Each but the last has its length before it, and a value that a
//! request does not have is marked, so that no two different requests get the same key by what a client puts into a value.

use std::net::IpAddr;

use tollgate_sdk::{Request, RequestInterest};

/// One part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// The client's address: an IPv4 address, or the first 64 bits of an IPv6 one, which are what one customer gets.
    Address,
    /// A request header, by its lower-case name.
    Header(String),
    /// An attribute that an earlier plugin of the chain set.
    Attribute(String),
}

/// What happens to a request that lacks a part of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It is not limited.
    Skip,
    /// It is counted by its address in that part's place, apart from requests that have the part.
    Anonymous,
    /// It is refused.
    Refuse,
}

/// The parts of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    /// None counts all requests together.
    pub(crate) parts: Vec<Part>,
    pub(crate) missing: Missing,
}

/// The key of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Key<'a> {
    Is(String),
    /// This part is missing.
    Lacks(&'a Part),
}

impl Keys {
    /// What a hook must see of a request.
    pub(crate) fn see(&self, see: RequestInterest) -> RequestInterest {
        let by_address = |part: &Part| *part == Part::Address || self.missing == Missing::Anonymous;
        let see = if self.parts.iter().any(by_address) { see.client() } else { see };
        self.parts.iter().fold(see, |see, part| match part {
            Part::Address => see,
            Part::Header(name) => see.headers([name]),
            Part::Attribute(name) => see.attributes([name]),
        })
    }

    /// The key of a request.
    pub(crate) fn of(&self, request: &Request) -> Key<'_> {
        let mut key = String::with_capacity(64);
        let last = self.parts.len().saturating_sub(1);
        for (index, part) in self.parts.iter().enumerate() {
            let begun = key.len();
            let known = match part {
                Part::Address => {
                    push_address(&mut key, request.client());
                    true
                }
                Part::Header(name) => push_header(&mut key, request, name),
                Part::Attribute(name) => {
                    key.push_str(request.attribute(name).unwrap_or_default());
                    key.len() > begun
                }
            };
            let mark = match (known, self.missing) {
                (true, _) => '=',
                (false, Missing::Anonymous) => {
                    push_address(&mut key, request.client());
                    '~'
                }
                (false, Missing::Skip | Missing::Refuse) => return Key::Lacks(part),
            };
            if index < last {
                let length = (key.len() - begun).to_string();
                key.insert_str(begun, &length);
            }
            key.insert(begun, mark);
        }
        Key::Is(key)
    }

    /// A name for the counters: requests of two configurations with the same parts are the same requests.
    pub(crate) fn name(&self) -> String {
        let names: Vec<String> = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Address => "address".to_owned(),
                Part::Header(name) => format!("header:{name}"),
                Part::Attribute(name) => format!("attribute:{name}"),
            })
            .collect();
        if names.is_empty() { "global".to_owned() } else { names.join(" ") }
    }
}

/// All fields of a name, as one value. Empty ones are as good as none.
fn push_header(key: &mut String, request: &Request, name: &str) -> bool {
    let begun = key.len();
    for value in request.headers_named(name) {
        if key.len() > begun {
            key.push(',');
        }
        match std::str::from_utf8(value) {
            Ok(text) if text.is_ascii() => key.push_str(text),
            // One character for each byte keeps different bytes different.
            _ => key.extend(value.iter().copied().map(char::from)),
        }
    }
    key.len() > begun
}

/// Eight hexadecimal digits of an IPv4 address, sixteen of an IPv6 one.
fn push_address(key: &mut String, address: Option<IpAddr>) {
    let mut push = |bytes: &[u8]| {
        for byte in bytes {
            for digit in [byte >> 4, byte & 0xF] {
                key.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
    };
    // An IPv4 address in IPv6 form is that IPv4 address: all of them are in one /64.
    match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V4(address)) => push(&address.octets()),
        Some(IpAddr::V6(address)) => push(&address.octets()[..8]),
        // Requests of which nothing is known share what one client may have.
        None => key.push('?'),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn keys(parts: &[Part], missing: Missing) -> Keys {
        Keys { parts: parts.to_vec(), missing }
    }

    fn header(name: &str) -> Part {
        Part::Header(name.to_owned())
    }

    fn attribute(name: &str) -> Part {
        Part::Attribute(name.to_owned())
    }

    fn request(headers: &[(&str, &[u8])], client: &str) -> Request {
        let mut request = http::Request::get("/");
        for (name, value) in headers {
            request = request.header(*name, http::HeaderValue::from_bytes(value).unwrap());
        }
        Request::from(&request.body(()).unwrap()).with_client(client.parse().unwrap())
    }

    fn is(text: &str) -> Key<'static> {
        Key::Is(text.to_owned())
    }

    #[test]
    fn an_address_is_an_ipv4_address_or_a_64() {
        let by_address = keys(&[Part::Address], Missing::Refuse);
        for (client, expected) in [
            ("192.0.2.1", "=c0000201"),
            ("::ffff:192.0.2.1", "=c0000201"),
            ("2001:db8:0:1::1", "=20010db800000001"),
            ("2001:db8:0:1:ffff:ffff:ffff:ffff", "=20010db800000001"),
            ("2001:db8:0:2::1", "=20010db800000002"),
            ("::1", "=0000000000000000"),
        ] {
            assert_eq!(by_address.of(&request(&[], client)), is(expected), "{client}");
        }
        let unknown = Request::from(&http::Request::get("/").body(()).unwrap());
        assert_eq!(by_address.of(&unknown), is("=?"));
    }

    #[test]
    fn values_stand_behind_each_other_with_their_lengths() {
        let composite = keys(&[attribute("consumer"), header("x-tenant"), Part::Address], Missing::Refuse);
        let request = request(&[("x-tenant", b"blue")], "192.0.2.1").with_attribute("consumer", "alice");
        assert_eq!(composite.of(&request), is("=5alice=4blue=c0000201"));
        assert_eq!(keys(&[], Missing::Refuse).of(&request), is(""));
    }

    #[test]
    fn what_is_missing_is_counted_by_address_and_apart() {
        let anonymous = keys(&[attribute("consumer")], Missing::Anonymous);
        assert_eq!(anonymous.of(&request(&[], "192.0.2.1")), is("~c0000201"));
        let posing = request(&[], "192.0.2.2").with_attribute("consumer", "c0000201");
        assert_eq!(anonymous.of(&posing), is("=c0000201"));
        for missing in [Missing::Skip, Missing::Refuse] {
            let keys = keys(&[Part::Address, attribute("consumer")], missing);
            assert_eq!(keys.of(&request(&[], "192.0.2.1")), Key::Lacks(&attribute("consumer")));
        }
        let empty = request(&[("x-tenant", b"")], "192.0.2.1").with_attribute("consumer", "");
        let composite = keys(&[attribute("consumer"), header("x-tenant")], Missing::Anonymous);
        assert_eq!(composite.of(&empty), is("~8c0000201~c0000201"));
    }

    #[test]
    fn repeated_and_binary_headers_are_one_value() {
        let by_header = keys(&[header("x-tenant")], Missing::Refuse);
        let of = |fields: &[&[u8]]| {
            let fields: Vec<_> = fields.iter().map(|value| ("x-tenant", *value)).collect();
            by_header.of(&request(&fields, "192.0.2.1"))
        };
        assert_eq!(of(&[b"a", b"b"]), is("=a,b"));
        assert_eq!(of(&[b"\xFF"]), is("=\u{FF}"));
        assert_ne!(of(&[b"\xFF"]), of(&["\u{FF}".as_bytes()]));
    }

    #[test]
    fn other_parts_are_another_name() {
        let named = |parts: &[Part]| keys(parts, Missing::Skip).name();
        assert_eq!(named(&[]), "global");
        assert_eq!(named(&[Part::Address, header("a"), attribute("b")]), "address header:a attribute:b");
        assert_ne!(named(&[header("a")]), named(&[attribute("a")]));
    }

    proptest! {
        /// Whatever clients put into their values, two requests share a key only if all their values are the same.
        #[test]
        fn different_values_are_different_keys(
            requests in prop::collection::vec((prop::option::of("[=~0-9a-b,]{0,3}"), prop::option::of("[=~0-9a-b,]{0,3}"), 0..2_u8), 2..50)
        ) {
            let composite = keys(&[header("x-a"), attribute("b")], Missing::Anonymous);
            let mut seen = HashMap::new();
            for (a, b, client) in requests {
                // An empty value is as good as none.
                let (a, b) = (a.filter(|a| !a.is_empty()), b.filter(|b| !b.is_empty()));
                let fields: Vec<_> = a.iter().map(|a| ("x-a", a.as_bytes())).collect();
                let mut request = request(&fields, if client == 0 { "192.0.2.1" } else { "192.0.2.2" });
                if let Some(b) = &b {
                    request = request.with_attribute("b", b);
                }
                let Key::Is(key) = composite.of(&request) else { panic!("anonymous") };
                // The address counts only where a part is missing.
                let client = (a.is_none() || b.is_none()).then_some(client);
                let values = (a, b, client);
                prop_assert_eq!(seen.entry(key).or_insert_with(|| values.clone()), &values);
            }
        }
    }
}
