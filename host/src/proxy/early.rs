//! Interim responses of an upstream, on their way back to the client (RFC 9110, section 15.2).

use http::header::{CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY_REPORT_ONLY, HeaderMap, HeaderName, LINK};

/// What a client can use before it has the response (RFC 8297, section 2).
const EARLY: [HeaderName; 3] = [LINK, CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY_REPORT_ONLY];

/// The fields that go on. No plugin has seen them, so that only those pass of which it is known what they tell.
pub(super) fn fields(headers: &HeaderMap) -> HeaderMap {
    let mut early = HeaderMap::new();
    for name in EARLY {
        for value in headers.get_all(&name) {
            early.append(name.clone(), value.clone());
        }
    }
    early
}
