//! A connection that goes on with another protocol (RFC 9110, section 7.8; RFC 6455, section 4).
//!
//! What the client sends behind its request is held back until the upstream has agreed with a 101: before that it may as
//! well be another request, and is read as one where the upstream answers anything else.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Version};

/// Marks a request whose client would go on with another protocol: its body is what follows, held back.
#[derive(Debug, Clone, Copy)]
pub struct Offered;

/// Marks a request whose route allows that, with this protocol.
#[derive(Debug, Clone)]
pub struct Allowed(pub HeaderValue);

/// Whether a client offers to go on with another protocol, in a way that leaves no doubt where that begins.
#[must_use]
pub fn is_offer(request: &Request<()>) -> bool {
    let headers = request.headers();
    let tokens = headers.get_all(header::CONNECTION).iter();
    request.version() == Version::HTTP_11
        && *request.method() == Method::GET
        && headers.contains_key(header::UPGRADE)
        && !headers.contains_key(header::EXPECT)
        && tokens.into_iter().any(|value| super::framing::has_token(value.as_bytes(), b"upgrade"))
}

/// The first of the protocols that a client offers which is among these, in lower case.
#[must_use]
pub fn choose(headers: &HeaderMap, among: &[String]) -> Option<HeaderValue> {
    let offered =
        headers.get_all(header::UPGRADE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let offered = offered.map(<[u8]>::trim_ascii);
    let chosen = offered
        .into_iter()
        .find_map(|offer| among.iter().find(|protocol| protocol.as_bytes().eq_ignore_ascii_case(offer)))?;
    // Without a whole handshake it is no WebSocket, whatever follows.
    if chosen == WEBSOCKET
        && !(single(headers, &header::SEC_WEBSOCKET_KEY) && single(headers, &header::SEC_WEBSOCKET_VERSION))
    {
        return None;
    }
    HeaderValue::from_str(chosen).ok()
}

/// Whether an upstream agreed to what was asked: a 101 that names the protocol and, for WebSocket, shows that it read
/// the key.
#[must_use]
pub fn is_agreed(Allowed(protocol): &Allowed, asked: &HeaderMap, status: StatusCode, answer: &HeaderMap) -> bool {
    let mut named = answer.get_all(header::UPGRADE).iter();
    let named = (named.next(), named.next());
    let same = matches!(named, (Some(name), None) if name.as_bytes().eq_ignore_ascii_case(protocol.as_bytes()));
    status == StatusCode::SWITCHING_PROTOCOLS
        && same
        && (protocol != WEBSOCKET || {
            let key = asked.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
            answer.get(header::SEC_WEBSOCKET_ACCEPT).is_some_and(|accept| accept.as_bytes() == accepts(key).as_bytes())
        })
}

const WEBSOCKET: &str = "websocket";

fn single(headers: &HeaderMap, name: &HeaderName) -> bool {
    let mut lines = headers.get_all(name).iter();
    lines.next().is_some_and(|value| !value.is_empty()) && lines.next().is_none()
}

/// What a server of WebSocket answers to a key (RFC 6455, section 4.2.2).
#[must_use]
pub fn accepts(key: &[u8]) -> String {
    let seen = [key, b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    base64(digest(&SHA1_FOR_LEGACY_USE_ONLY, &seen).as_ref())
}

/// A key of a handshake of ours, from these random bytes.
#[must_use]
pub fn key(random: [u8; 16]) -> HeaderValue {
    HeaderValue::from_str(&base64(&random)).expect("base64 has only letters, digits and +/=")
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |place: usize| u32::from(three.get(place).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * place)) as usize & 63];
            out.push(if place > three.len() { '=' } else { letter.into() });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn the_answer_to_a_key_is_that_of_rfc_6455() {
        assert_eq!(accepts(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn only_what_a_route_allows_is_chosen() {
        let allowed = ["websocket".to_owned(), "chat/2".to_owned()];
        let choose = |lines: &[(&'static str, &'static str)]| choose(&headers(lines), &allowed);
        const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        const VERSION: (&str, &str) = ("sec-websocket-version", "13");
        assert_eq!(choose(&[("upgrade", "WebSocket"), KEY, VERSION]).unwrap(), "websocket");
        assert_eq!(choose(&[("upgrade", "foo, chat/2")]).unwrap(), "chat/2");
        assert_eq!(choose(&[("upgrade", "foo"), ("upgrade", "chat/2")]).unwrap(), "chat/2");
        for bad in
            [&[("upgrade", "websocket")][..], &[("upgrade", "websocket"), KEY], &[("upgrade", "h2c"), KEY], &[KEY]]
        {
            assert_eq!(choose(bad), None, "{bad:?}");
        }
        assert_eq!(choose(&[("upgrade", "websocket"), KEY, KEY, VERSION]), None);
    }

    #[test]
    fn an_upstream_agrees_to_what_it_was_asked() {
        let asked = headers(&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]);
        let allowed = Allowed(HeaderValue::from_static("websocket"));
        let agreed = |status: u16, lines: &[(&'static str, &'static str)]| {
            is_agreed(&allowed, &asked, StatusCode::from_u16(status).unwrap(), &headers(lines))
        };
        const GOOD: (&str, &str) = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(agreed(101, &[("upgrade", "WebSocket"), GOOD]));
        assert!(!agreed(200, &[("upgrade", "websocket"), GOOD]));
        assert!(!agreed(101, &[GOOD]));
        assert!(!agreed(101, &[("upgrade", "websocket")]));
        assert!(!agreed(101, &[("upgrade", "websocket"), ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo")]));
        assert!(!agreed(101, &[("upgrade", "chat"), GOOD]));
        assert!(!agreed(101, &[("upgrade", "websocket"), ("upgrade", "websocket"), GOOD]));
    }
}
