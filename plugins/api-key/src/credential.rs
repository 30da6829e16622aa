//! Where a key is looked for in a request, and how it is taken out again.

use std::borrow::Cow;

use tollgate_sdk::{Edits, Request, RequestInterest};

/// The longest key that is looked at, in bytes. Longer ones are refused unread, so that a client cannot make us hash
/// as much as it likes.
pub(crate) const LONGEST: usize = 512;

/// The places where a key may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Carriers {
    /// The lower-case name of a header field.
    pub(crate) header: Option<String>,
    /// `Authorization: Bearer KEY` and `Authorization: ApiKey KEY`.
    pub(crate) authorization: bool,
    /// The name of a query parameter.
    pub(crate) query: Option<String>,
    /// The name of a cookie.
    pub(crate) cookie: Option<String>,
}

/// One of the places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    Header,
    Authorization,
    Query,
    Cookie,
}

/// What a request presents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Presented<'a> {
    Nothing,
    /// One text in one carrier. Not checked in any way.
    Key(Carrier, Cow<'a, [u8]>),
    /// One carrier holds two, or one that is too long.
    Unusable,
    /// Two carriers hold one each, the same or not.
    Ambiguous,
}

impl Carriers {
    /// What a hook must see of a request to find the key and take it out.
    pub(crate) fn see(&self, see: RequestInterest) -> RequestInterest {
        let mut headers: Vec<&str> = self.header.as_deref().into_iter().collect();
        headers.extend(self.authorization.then_some("authorization"));
        headers.extend(self.cookie.as_ref().map(|_| "cookie"));
        let see = see.headers(headers);
        if self.query.is_some() { see.query() } else { see }
    }

    /// The key of a request.
    pub(crate) fn find<'a>(&'a self, request: &'a Request) -> Presented<'a> {
        let mut found = Presented::Nothing;
        if let Some(name) = &self.header {
            for value in request.headers_named(name) {
                found = found.and(Carrier::Header, Cow::Borrowed(value));
            }
        }
        if self.authorization {
            let fields = || request.headers_named("authorization");
            // Beside one of ours, a field of another scheme is a second credential too: the field may not be repeated.
            if fields().any(|value| after_scheme(value).is_some()) {
                for value in fields() {
                    found = found.and(Carrier::Authorization, Cow::Borrowed(after_scheme(value).unwrap_or_default()));
                }
            }
        }
        if let (Some(name), Some(query)) = (&self.query, request.query()) {
            for value in query.split('&').filter_map(|part| parameter(part, name)) {
                found = found.and(Carrier::Query, decoded(value));
            }
        }
        if let Some(name) = &self.cookie {
            for field in request.headers_named("cookie") {
                for value in pairs(field).filter_map(|pair| cookie(pair, name)) {
                    found = found.and(Carrier::Cookie, Cow::Borrowed(value));
                }
            }
        }
        found
    }

    /// Takes the key out of the request. Everything else keeps its order and its bytes.
    pub(crate) fn strip(&self, carrier: Carrier, request: &Request, edits: Edits) -> Edits {
        match (carrier, &self.header, &self.query, &self.cookie) {
            (Carrier::Header, Some(name), ..) => edits.remove(name),
            (Carrier::Authorization, ..) => edits.remove("authorization"),
            (Carrier::Query, _, Some(name), _) => {
                edits.query(without_parameter(request.query().unwrap_or_default(), name))
            }
            (Carrier::Cookie, _, _, Some(name)) => {
                // Each `set` leaves a field, so that what came in several fields goes on in several.
                let kept = request.headers_named("cookie").map(|field| without_cookie(field, name));
                kept.filter(|field| !field.is_empty())
                    .fold(edits.remove("cookie"), |edits, field| edits.set("cookie", field))
            }
            // `find` names no carrier that is not configured.
            _ => edits,
        }
    }
}

impl<'a> Presented<'a> {
    fn and(self, carrier: Carrier, key: Cow<'a, [u8]>) -> Self {
        match self {
            Self::Nothing if key.len() > LONGEST => Self::Unusable,
            Self::Nothing => Self::Key(carrier, key),
            Self::Key(before, _) if before == carrier => Self::Unusable,
            Self::Key(..) | Self::Ambiguous => Self::Ambiguous,
            Self::Unusable => Self::Unusable,
        }
    }
}

/// What follows `Bearer` or `ApiKey`, in any case (RFC 9110, section 11.4).
fn after_scheme(value: &[u8]) -> Option<&[u8]> {
    let border = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, key) = value.split_at(border);
    let ours = scheme.eq_ignore_ascii_case(b"bearer") || scheme.eq_ignore_ascii_case(b"apikey");
    ours.then(|| &key[key.iter().take_while(|byte| **byte == b' ').count()..])
}

/// The value of a part of a query, if its name is `name`. Encoded names count: an upstream would decode them too.
fn parameter<'a>(part: &'a str, name: &str) -> Option<&'a str> {
    let (raw, value) = part.split_once('=').unwrap_or((part, ""));
    (raw == name || (raw.contains(['%', '+']) && *decoded(raw) == *name.as_bytes())).then_some(value)
}

fn without_parameter(query: &str, name: &str) -> String {
    let mut kept = String::with_capacity(query.len());
    let mut first = true;
    for part in query.split('&').filter(|part| parameter(part, name).is_none()) {
        if !first {
            kept.push('&');
        }
        kept.push_str(part);
        first = false;
    }
    kept
}

/// As forms are decoded: `+` is a space, and `%` without two hexadecimal digits is itself.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::new();
    let mut rest = bytes;
    // One byte more than is ever looked at tells that it is too long.
    while let [first, after @ ..] = rest
        && out.len() <= LONGEST
    {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => hexadecimal(*high).zip(hexadecimal(*low)),
            _ => None,
        };
        let (byte, length) = match (first, escaped) {
            (_, Some((high, low))) => (high << 4 | low, 3),
            (b'+', None) => (b' ', 1),
            (other, None) => (*other, 1),
        };
        out.push(byte);
        rest = &rest[length..];
    }
    Cow::Owned(out)
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// The pairs of one `Cookie` field, with the white space around them.
fn pairs(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split(|byte| *byte == b';')
}

/// The value of a pair, if its name is `name`. Names are case-sensitive, and quotes belong to the value.
fn cookie<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let border = pair.iter().position(|byte| *byte == b'=')?;
    let (raw, value) = pair.split_at(border);
    (raw.trim_ascii() == name.as_bytes()).then(|| value[1..].trim_ascii())
}

fn without_cookie(field: &[u8], name: &str) -> Vec<u8> {
    let kept: Vec<&[u8]> = pairs(field).filter(|pair| cookie(pair, name).is_none()).collect();
    let mut field = kept.join(&b';').trim_ascii().to_vec();
    // No plugin may set a tab. In a cookie it can only be white space, for which a space will do.
    field.iter_mut().filter(|byte| **byte == b'\t').for_each(|byte| *byte = b' ');
    field
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn carriers() -> Carriers {
        Carriers {
            header: Some("x-api-key".to_owned()),
            authorization: true,
            query: Some("api_key".to_owned()),
            cookie: Some("session_key".to_owned()),
        }
    }

    fn request(uri: &str, headers: &[(&str, &[u8])]) -> Request {
        let mut request = http::Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, http::HeaderValue::from_bytes(value).unwrap());
        }
        Request::from(&request.body(()).unwrap())
    }

    fn key<'a>(carrier: Carrier, text: &'a [u8]) -> Presented<'a> {
        Presented::Key(carrier, Cow::Borrowed(text))
    }

    #[test]
    fn a_key_is_found_in_each_carrier() {
        let carriers = carriers();
        for (uri, headers, expected) in [
            ("/", &[("x-api-key", &b"k"[..])][..], key(Carrier::Header, b"k")),
            ("/", &[("X-Api-Key", b"k")], key(Carrier::Header, b"k")),
            ("/", &[("x-api-key", b"a, b")], key(Carrier::Header, b"a, b")),
            ("/", &[("x-api-key", b"")], key(Carrier::Header, b"")),
            ("/", &[("authorization", b"Bearer k")], key(Carrier::Authorization, b"k")),
            ("/", &[("authorization", b"bEaReR   k")], key(Carrier::Authorization, b"k")),
            ("/", &[("authorization", b"ApiKey k k")], key(Carrier::Authorization, b"k k")),
            ("/", &[("authorization", b"Bearer")], key(Carrier::Authorization, b"")),
            ("/?api_key=k", &[], key(Carrier::Query, b"k")),
            ("/?a=1&api_key=k=&b", &[], key(Carrier::Query, b"k=")),
            ("/?api%5Fkey=%6B%2b+%zz%4", &[], key(Carrier::Query, b"k+ %zz%4")),
            ("/?api_key", &[], key(Carrier::Query, b"")),
            ("/", &[("cookie", b"a=1; session_key=k; b=2")], key(Carrier::Cookie, b"k")),
            ("/", &[("cookie", b"a=1"), ("cookie", b"session_key=k=")], key(Carrier::Cookie, b"k=")),
            ("/", &[("cookie", b"session_key = k ")], key(Carrier::Cookie, b"k")),
        ] {
            assert_eq!(carriers.find(&request(uri, headers)), expected, "{uri} {headers:?}");
        }
    }

    #[test]
    fn what_is_no_credential_is_nothing() {
        let carriers = carriers();
        for (uri, headers) in [
            ("/", &[][..]),
            ("/", &[("x-api-keys", &b"k"[..])][..]),
            ("/", &[("authorization", b"Basic YTpi")]),
            ("/", &[("authorization", b"Bearerk")]),
            ("/", &[("authorization", b"Basic YTpi"), ("authorization", b"Basic YTpi")]),
            ("/?apikey=k&API_KEY=k&api_key%3Dk&api_key2=k&xapi_key=k&;api_key=k", &[]),
            ("/?a=1;api_key=k", &[]),
            ("/", &[("cookie", b"session_key; SESSION_KEY=k; a=session_key=k; asession_key=k")]),
        ] {
            assert_eq!(carriers.find(&request(uri, headers)), Presented::Nothing, "{uri} {headers:?}");
        }
    }

    #[test]
    fn two_of_one_name_are_unusable_and_two_carriers_ambiguous() {
        let carriers = carriers();
        for (uri, headers) in [
            ("/", &[("x-api-key", &b"good"[..]), ("x-api-key", b"bad")][..]),
            ("/", &[("x-api-key", b"good"), ("x-api-key", b"good")]),
            ("/", &[("authorization", b"Bearer good"), ("authorization", b"Basic YTpi")]),
            ("/", &[("authorization", b"Basic YTpi"), ("authorization", b"Bearer good")]),
            ("/?api_key=good&api_key=bad", &[]),
            ("/?api_key=good&api%5fkey=bad", &[]),
            ("/", &[("cookie", b"session_key=a; session_key=b")]),
            ("/", &[("cookie", b"session_key=a"), ("cookie", b"session_key=b")]),
        ] {
            assert_eq!(carriers.find(&request(uri, headers)), Presented::Unusable, "{uri} {headers:?}");
        }
        for (uri, headers) in [
            ("/?api_key=good", &[("x-api-key", &b"good"[..])][..]),
            ("/?api_key=", &[("x-api-key", b"good")]),
            ("/", &[("x-api-key", b"good"), ("authorization", b"Bearer bad")]),
            ("/", &[("x-api-key", b"good"), ("cookie", b"session_key=a")]),
        ] {
            assert_eq!(carriers.find(&request(uri, headers)), Presented::Ambiguous, "{uri} {headers:?}");
        }
    }

    #[test]
    fn only_what_is_configured_is_looked_at() {
        let carriers = Carriers { header: Some("x-k".to_owned()), authorization: false, query: None, cookie: None };
        let headers = [
            ("x-k", &b"k"[..]),
            ("x-api-key", b"other"),
            ("authorization", b"Bearer other"),
            ("cookie", b"session_key=other"),
        ];
        let request = request("/?api_key=other", &headers);
        assert_eq!(carriers.find(&request), key(Carrier::Header, b"k"));
    }

    #[test]
    fn keys_that_are_too_long_are_unusable_in_every_carrier() {
        let carriers = carriers();
        let (longest, longer) = ("k".repeat(LONGEST), "k".repeat(LONGEST + 1));
        for (text, usable) in [(&longest, true), (&longer, false), (&"k".repeat(100_000), false)] {
            let escaped: String = text.bytes().map(|byte| format!("%{byte:x}")).collect();
            let mut requests = vec![
                request("/", &[("x-api-key", text.as_bytes())]),
                request("/", &[("authorization", format!("Bearer {text}").as_bytes())]),
                request("/", &[("cookie", format!("session_key={text}").as_bytes())]),
            ];
            // The `http` crate, which makes the requests of these tests, takes no longer targets.
            if text.len() < 20_000 {
                requests.push(request(&format!("/?api_key={text}"), &[]));
                requests.push(request(&format!("/?api_key={escaped}"), &[]));
            }
            for request in &requests {
                let found = carriers.find(request);
                assert_eq!(matches!(found, Presented::Key(..)), usable, "{found:?}");
            }
        }
    }

    #[test]
    fn a_query_loses_the_key_and_nothing_else() {
        for (before, after) in [
            ("api_key=k", ""),
            ("api_key=k&a=1", "a=1"),
            ("a=1&api_key=k", "a=1"),
            ("b=2&api_key=k&a=1", "b=2&a=1"),
            ("b=%7e&&api_key=k&=&a+b", "b=%7e&&=&a+b"),
            ("a=api_key=k&api_key", "a=api_key=k"),
            ("a=%zz&api%5Fkey=k&a=%zz", "a=%zz&a=%zz"),
            ("&api_key=k&", "&"),
        ] {
            assert_eq!(without_parameter(before, "api_key"), after, "{before}");
        }
    }

    #[test]
    fn cookies_lose_the_key_and_nothing_else() {
        let stripped = |fields: &[&str]| -> Vec<String> {
            let headers: Vec<_> = fields.iter().map(|field| ("cookie", field.as_bytes())).collect();
            let edits = carriers().strip(Carrier::Cookie, &request("/", &headers), Edits::new());
            assert!(edits.removed().eq(["cookie"]));
            edits.values("cookie").map(|value| String::from_utf8(value.to_vec()).unwrap()).collect()
        };
        assert_eq!(stripped(&["session_key=k"]), Vec::<String>::new());
        assert_eq!(stripped(&["session_key=k; a=1"]), ["a=1"]);
        assert_eq!(stripped(&["a=1; session_key=k"]), ["a=1"]);
        assert_eq!(stripped(&["a=1;\tsession_key=k;\tb=2"]), ["a=1; b=2"]);
        assert_eq!(stripped(&["b=\"x y\";  session_key=k;a=1; c"]), ["b=\"x y\";a=1; c"]);
        assert_eq!(stripped(&["a=1", "session_key=k", "b=2; session_key=l"]), ["a=1", "b=2"]);
    }

    proptest! {
        /// Parts of a query as they were, in their order, but for those whose decoded name is the parameter's.
        #[test]
        fn any_query_keeps_every_other_part(parts in prop::collection::vec("(api_key|api%5fkey|[a-z_%+]{0,4})(=[a-z%+=]{0,4})?", 0..8)) {
            let expected: Vec<_> = parts.iter().filter(|part| {
                let name = part.split('=').next().unwrap();
                name != "api_key" && name != "api%5fkey"
            }).cloned().collect();
            let left = without_parameter(&parts.join("&"), "api_key");
            prop_assert_eq!(&left, &expected.join("&"));
            prop_assert!(left.split('&').all(|part| parameter(part, "api_key").is_none()));
        }

        /// Nothing of a key is left in whatever field it came, and the other pairs stay in their order.
        #[test]
        fn any_cookie_field_keeps_every_other_pair(pairs in prop::collection::vec("(session_key=S|[a-z]{1,3}=[a-z\"=]{0,3}|[a-z]{0,2})", 0..8), border in "; ?") {
            let field = pairs.join(&border);
            let left = String::from_utf8(without_cookie(field.as_bytes(), "session_key")).unwrap();
            prop_assert!(!left.contains('S'));
            let kept: Vec<_> = pairs.iter().filter(|pair| !pair.contains('S')).map(String::as_str).collect();
            prop_assert_eq!(left.split(';').map(str::trim).collect::<Vec<_>>().join(";"), kept.join(";"));
        }

        /// No request makes it panic, and one with the header is never taken for one without a key.
        #[test]
        fn any_bytes_are_survived(query in "[a-z0-9%&=+;_?/-]{0,40}", value in prop::collection::vec(0x20_u8..=0x7e, 0..40)) {
            let request = request(&format!("/?{query}"), &[("cookie", &value), ("authorization", &value), ("x-api-key", &value)]);
            let carriers = carriers();
            let found = carriers.find(&request);
            prop_assert_ne!(found, Presented::Nothing);
            for carrier in [Carrier::Header, Carrier::Authorization, Carrier::Query, Carrier::Cookie] {
                carriers.strip(carrier, &request, Edits::new());
            }
        }
    }
}
