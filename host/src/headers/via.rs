//! `Via` (RFC 9110, section 7.6.3): which way a message came, by a name of ours that tells nothing.

use http::header::{self, HeaderMap, HeaderValue};
use http::{HeaderName, Version};

use crate::error::{Error, Reason};

/// What we write, made at load.
#[derive(Debug, Clone)]
pub struct Via {
    name: Box<str>,
    /// For messages that came over HTTP/1.0, 1.1 and 2.
    entries: [HeaderValue; 3],
}

const VIA: HeaderName = header::VIA;

impl Via {
    /// With a name that is a token.
    ///
    /// # Panics
    /// Never: a token is a part of a value.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let entry = |version| HeaderValue::try_from(format!("{version} {name}")).expect("tokens and a space");
        Self { name: name.into(), entries: ["1.0", "1.1", "2.0"].map(entry) }
    }

    /// Adds that a request came through here.
    ///
    /// # Errors
    /// [`Reason::Loop`] where it has done so before: it would go round for ever.
    pub fn request(&self, headers: &mut HeaderMap, version: Version) -> Result<(), Error> {
        let entries = headers.get_all(VIA).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        // Protocol, name, and perhaps a comment.
        let mut names = entries.filter_map(|entry| {
            entry.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty()).nth(1)
        });
        if names.any(|name| name.eq_ignore_ascii_case(self.name.as_bytes())) {
            return Err(Error::because(Reason::Loop, "the request has our name in Via"));
        }
        self.response(headers, version);
        Ok(())
    }

    /// Adds that a response came through here.
    pub fn response(&self, headers: &mut HeaderMap, version: Version) {
        let [old, usual, new] = &self.entries;
        let entry = match version {
            Version::HTTP_10 => old,
            Version::HTTP_2 => new,
            _ => usual,
        };
        headers.append(VIA, entry.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_name_is_added_behind_those_of_others_and_known_again() {
        let via = Via::new("edge");
        for (before, passes) in [
            (&[][..], true),
            (&["1.1 other, 2 edges (edge)"], true),
            (&["1.1 edge:80"], true),
            (&["1.1 edge"], false),
            (&["1.1 other", "HTTP/2\tEdge (comment)"], false),
            (&["1.1 other,1.0 edge,1.1 other"], false),
            (&["edge", ",,", ""], true),
        ] {
            let mut headers = HeaderMap::new();
            for value in before {
                headers.append(VIA, HeaderValue::from_static(value));
            }
            assert_eq!(via.request(&mut headers, Version::HTTP_2).is_ok(), passes, "{before:?}");
            let last = headers.get_all(VIA).iter().next_back().map(HeaderValue::as_bytes);
            assert_eq!(last == Some(b"2.0 edge"), passes, "{before:?}");
        }
    }
}
