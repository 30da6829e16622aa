//! Header names and fixed text of values, as a configuration may write them.

/// The longest value, in bytes: what common servers take for a whole line.
pub(crate) const LONGEST_VALUE: usize = 8 * 1024;

/// The longest name, in bytes, that the host lets a plugin ask for.
const LONGEST_NAME: usize = 256;

/// Fields that say where a message ends, that belong to one connection (RFC 9110, section 7.6.1), that name the host, or
/// that the proxy alone writes about the client. The host takes them from no plugin.
const NOT_OURS: [&str; 22] = [
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-ssl",
    "x-real-ip",
];

/// A header name, lower-cased; or what is wrong with it.
pub(crate) fn header(name: &str) -> Result<String, String> {
    if name.starts_with(':') {
        return Err("pseudo-headers belong to the proxy and cannot be changed here".to_owned());
    }
    let lower = token(name)?;
    if is_ours(&lower) { Ok(lower) } else { Err(format!("`{lower}` belongs to the proxy and cannot be changed here")) }
}

/// Whether a plugin may change a field of this lower-case name.
pub(crate) fn is_ours(name: &str) -> bool {
    !NOT_OURS.contains(&name)
}

/// What `remove` takes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// All fields of this name.
    Name(String),
    /// All fields whose name begins so.
    Prefix(String),
}

impl Removal {
    /// A name, or the beginning of names with `*` behind it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.strip_suffix('*') {
            None if text.contains('*') => Err("`*` can only stand at the end, as in `x-internal-*`".to_owned()),
            None => header(text).map(Self::Name),
            Some("") => {
                Err("`*` alone would remove every field; write the beginning of the names before it".to_owned())
            }
            Some(prefix) if prefix.contains('*') => {
                Err("`*` can only stand once, at the end, as in `x-internal-*`".to_owned())
            }
            Some(prefix) => token(prefix).map(Self::Prefix),
        }
    }
}

/// A token (RFC 9110, section 5.6.2), lower-cased.
pub(crate) fn token(name: &str) -> Result<String, String> {
    if name.is_empty() {
        return Err("a header name cannot be empty".to_owned());
    }
    if name.len() > LONGEST_NAME {
        return Err(format!("a header name cannot be longer than {LONGEST_NAME} bytes"));
    }
    match name.chars().find(|&char| !is_token(char)) {
        None => Ok(name.to_ascii_lowercase()),
        Some(char) => {
            Err(format!("{char:?} cannot stand in a header name, only letters, digits and any of !#$%&'*+-.^_`|~"))
        }
    }
}

fn is_token(char: char) -> bool {
    char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(char)
}

/// Whether a byte may stand in a value (RFC 9110, section 5.5): a visible one, a space, a tab or one above ASCII.
pub(crate) fn is_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_cased_tokens() {
        assert_eq!(header("X-Frame-Options").as_deref(), Ok("x-frame-options"));
        assert_eq!(header("x_a.b~").as_deref(), Ok("x_a.b~"));
        for bad in ["", " x", "x ", "x:", "x\r\ny", "x\0", "é", "x y", "(x)", "x,y", "{x}"] {
            assert!(header(bad).is_err(), "{bad:?}");
        }
        assert!(header(&"x".repeat(LONGEST_NAME)).is_ok());
        assert!(header(&"x".repeat(LONGEST_NAME + 1)).is_err());
    }

    #[test]
    fn what_belongs_to_the_proxy_is_refused_in_any_case() {
        for bad in NOT_OURS.into_iter().chain([":path", ":authority", ":status", "Transfer-Encoding", "HOST"]) {
            let message = header(bad).unwrap_err();
            assert!(message.contains("cannot be changed here"), "{bad}: {message}");
        }
    }

    #[test]
    fn a_star_stands_at_the_end_only() {
        assert_eq!(Removal::parse("X-Internal-*"), Ok(Removal::Prefix("x-internal-".to_owned())));
        assert_eq!(Removal::parse("server"), Ok(Removal::Name("server".to_owned())));
        for bad in ["*", "x-*-y", "*-x", "x-**", "", "connection", "x y*"] {
            assert!(Removal::parse(bad).is_err(), "{bad:?}");
        }
    }
}
