//! On what an answer depends, for caches (RFC 9110, section 12.5.5).

use tollgate_sdk::ResponseHead;

/// The field of an answer to a preflight.
pub(crate) fn of_preflight(origin: bool, private_network: bool) -> &'static str {
    match (origin, private_network) {
        (true, true) => {
            "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network"
        }
        (true, false) => "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        (false, true) => {
            "Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network"
        }
        (false, false) => "Access-Control-Request-Method, Access-Control-Request-Headers",
    }
}

/// One field that says what the response's own fields say, and `Origin`; none where they say so already.
pub(crate) fn with_origin(response: &ResponseHead) -> Option<Vec<u8>> {
    let mut merged = Vec::new();
    for value in response.headers_named("vary") {
        for name in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty()) {
            if name == b"*" || name.eq_ignore_ascii_case(b"origin") {
                return None;
            }
            // No header name has a tab in it, which the host would refuse; such a value is the upstream's mistake.
            if name.contains(&b'\t') {
                continue;
            }
            merged.extend_from_slice(name);
            merged.extend_from_slice(b", ");
        }
    }
    merged.extend_from_slice(b"Origin");
    Some(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(fields: &[&str]) -> Option<String> {
        let response = fields.iter().fold(http::Response::builder(), |response, value| response.header("vary", *value));
        let merged = with_origin(&ResponseHead::from(&response.body(()).unwrap()))?;
        Some(String::from_utf8(merged).unwrap())
    }

    #[test]
    fn origin_is_added_once_and_nothing_is_lost() {
        for (fields, expected) in [
            (&[][..], Some("Origin")),
            (&["Accept-Encoding"], Some("Accept-Encoding, Origin")),
            (&["Accept-Encoding", "Accept"], Some("Accept-Encoding, Accept, Origin")),
            (&["accept , ,accept-language,"], Some("accept, accept-language, Origin")),
            (&[""], Some("Origin")),
            (&["X-Origin"], Some("X-Origin, Origin")),
            (&["Origin"], None),
            (&["accept, ORIGIN"], None),
            (&["accept", "origin"], None),
            (&["*"], None),
            (&["accept", " * "], None),
        ] {
            assert_eq!(merged(fields).as_deref(), expected, "{fields:?}");
        }
    }
}
