//! What may not stand in a log: configured secrets, and what a query's names say is one.

use std::borrow::Cow;
use std::collections::HashSet;

use aho_corasick::{AhoCorasick, MatchKind};

use super::text::{self, Style};

/// What stands where a secret was.
const REDACTED: &[u8] = b"REDACTED";
/// Shorter strings stand everywhere, and protect nothing: to replace each `80` would hide the log and no secret.
const SHORTEST: usize = 6;

/// Names of query parameters that carry credentials. Compared in lower case, without `-`, `_`, `.` and brackets, so that
/// `Access-Token`, `access_token` and `accessToken[]` are one.
const NAMES: [&str; 33] = [
    "apikey",
    "assertion",
    "auth",
    "authcode",
    "authorization",
    "bearer",
    "clientassertion",
    "code",
    "codeverifier",
    "cookie",
    "credential",
    "credentials",
    "hmac",
    "jwt",
    "key",
    "keyid",
    "login",
    "otp",
    "pass",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "pin",
    "pwd",
    "samlresponse",
    "secret",
    "session",
    "sessionid",
    "sid",
    "sig",
    "signature",
    "token",
];
/// What names of credentials end with: `x-api-key`, `refresh_token`, `client_secret`, `X-Amz-Signature`.
const ENDINGS: [&str; 9] =
    ["key", "token", "secret", "password", "passwd", "signature", "credential", "credentials", "sessionid"];

/// Replaces secrets in text. Made at load, from the configuration.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    secrets: Option<AhoCorasick>,
    /// The length of the longest secret.
    longest: usize,
    /// Further names of query parameters, in their compared form.
    names: HashSet<String>,
}

impl Redaction {
    /// Replaces these secrets wherever they stand (those of fewer than six bytes are no secrets), and the values of query
    /// parameters of these names beside the usual ones.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>, names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut patterns: Vec<Vec<u8>> = Vec::new();
        for secret in secrets.into_iter().map(str::trim).filter(|secret| secret.len() >= SHORTEST) {
            // In a line that is already formatted, a secret may stand in its escaped form.
            let mut escaped = Vec::new();
            text::escape(&mut escaped, secret.as_bytes(), usize::MAX, Style::Quoted);
            patterns.push(secret.into());
            if escaped != secret.as_bytes() {
                patterns.push(escaped);
            }
        }
        let longest = patterns.iter().map(Vec::len).max().unwrap_or(0);
        let mut builder = AhoCorasick::builder();
        // The longest one, so that nothing of a secret stays when another is its beginning.
        builder.match_kind(MatchKind::LeftmostLongest);
        let secrets = (!patterns.is_empty())
            .then(|| builder.build(&patterns).expect("configuration files are shorter than 2^31 bytes"));
        Self { secrets, longest, names: names.into_iter().map(|name| compared(name.as_bytes())).collect() }
    }

    /// The text without configured secrets.
    pub(super) fn secrets<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        match &self.secrets {
            Some(secrets) if secrets.is_match(text) => {
                let mut clean = Vec::with_capacity(text.len());
                secrets.replace_all_with_bytes(text, &mut clean, |_, _, clean| {
                    clean.extend_from_slice(REDACTED);
                    true
                });
                clean.into()
            }
            _ => text.into(),
        }
    }

    /// A path without configured secrets, percent-encoded ones included.
    pub(super) fn path<'a>(&self, path: &'a [u8]) -> Cow<'a, [u8]> {
        let path = self.secrets(path);
        if self.secrets.is_none() || !path.contains(&b'%') {
            return path;
        }
        let segments = path.split(|&byte| byte == b'/');
        let clean: Vec<&[u8]> =
            segments.map(|segment| if self.hidden_in(segment) { REDACTED } else { segment }).collect();
        clean.join(&b'/').into()
    }

    /// A query without configured secrets and without values of parameters that carry credentials.
    pub(super) fn query<'a>(&self, query: &'a [u8]) -> Cow<'a, [u8]> {
        // Some servers end a parameter with `;` too: what is one parameter here may be two there.
        let mut parts = query.split(|byte| matches!(byte, b'&' | b';'));
        if !parts.any(|part| self.is_credential(part)) {
            return self.secrets(query);
        }
        let mut clean = Vec::with_capacity(query.len());
        for part in query.split_inclusive(|byte| matches!(byte, b'&' | b';')) {
            let (part, end) = match part {
                [rest @ .., end @ (b'&' | b';')] => (rest, Some(*end)),
                _ => (part, None),
            };
            if self.is_credential(part) {
                let name = part.split(|&byte| byte == b'=').next().unwrap_or_default();
                clean.extend_from_slice(if self.hidden_in(name) { REDACTED } else { name });
                clean.push(b'=');
                clean.extend_from_slice(REDACTED);
            } else {
                clean.extend_from_slice(part);
            }
            clean.extend(end);
        }
        self.secrets(&clean).into_owned().into()
    }

    /// How much must be looked at where `most` bytes will be shown: so much that no secret is cut in two before it is
    /// found, percent-encoded as it may be, and that there is a byte too many where there was one.
    pub(super) fn reach(&self, most: usize) -> usize {
        most.saturating_add(self.longest.saturating_mul(3)).saturating_add(1)
    }

    fn is_credential(&self, parameter: &[u8]) -> bool {
        let mut halves = parameter.splitn(2, |&byte| byte == b'=');
        let name = halves.next().unwrap_or_default();
        let named = halves.next().is_some_and(|value| !value.is_empty()) && self.is_name_of_credential(name);
        named || self.hidden_in(parameter)
    }

    /// Whether what goes by this name is a credential: a parameter, a header, a member of an object.
    pub(crate) fn is_name_of_credential(&self, name: &[u8]) -> bool {
        let name = compared(&decoded(name));
        NAMES.contains(&name.as_str())
            || ENDINGS.iter().any(|ending| name.ends_with(ending))
            || self.names.contains(&name)
    }

    /// Whether a configured secret stands in the text once it is percent-decoded.
    fn hidden_in(&self, text: &[u8]) -> bool {
        let Some(secrets) = &self.secrets else { return false };
        text.iter().any(|byte| matches!(byte, b'%' | b'+')) && secrets.is_match(&decoded(text))
    }
}

/// A name as it is compared.
fn compared(name: &[u8]) -> String {
    let kept = name.iter().filter(|byte| !matches!(byte, b'-' | b'_' | b'.' | b'[' | b']' | b' '));
    kept.map(|byte| char::from(byte.to_ascii_lowercase())).collect()
}

/// Text with percent-escapes and `+` decoded, once. What is no escape stays.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        match rest {
            [] => return out,
            [b'%', high, low, tail @ ..] if let (Some(high), Some(low)) = (digit(*high), digit(*low)) => {
                out.push(high << 4 | low);
                rest = tail;
            }
            [b'+', tail @ ..] => {
                out.push(b' ');
                rest = tail;
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query(redaction: &Redaction, query: &str) -> String {
        String::from_utf8(redaction.query(query.as_bytes()).into_owned()).expect("UTF-8")
    }

    #[test]
    fn values_of_parameters_that_carry_credentials_are_replaced() {
        let redaction = Redaction::new([], ["k"]);
        for (given, expected) in [
            ("q=1&api_key=abc&x=2", "q=1&api_key=REDACTED&x=2"),
            ("API-KEY=a=b", "API-KEY=REDACTED"),
            ("%61pi%5Fkey=abc", "%61pi%5Fkey=REDACTED"),
            ("apiKey[]=abc", "apiKey[]=REDACTED"),
            ("a=1;token=x;b=2", "a=1;token=REDACTED;b=2"),
            ("code=1&state=2", "code=REDACTED&state=2"),
            ("X-Amz-Signature=1&X-Amz-Date=2", "X-Amz-Signature=REDACTED&X-Amz-Date=2"),
            (
                "refresh_token=1&client_secret=2&subscription-key=3",
                "refresh_token=REDACTED&client_secret=REDACTED&subscription-key=REDACTED",
            ),
            ("k=1&kk=2", "k=REDACTED&kk=2"),
            ("key=&token", "key=&token"),
            ("q=token&&=&a", "q=token&&=&a"),
            ("", ""),
        ] {
            assert_eq!(query(&redaction, given), expected, "{given}");
        }
    }

    #[test]
    fn configured_secrets_are_replaced_in_every_form() {
        let redaction = Redaction::new(["s3cret-value", "s3cret", "quo\"te\\d", "short", ""], []);
        let secrets = |text: &str| String::from_utf8(redaction.secrets(text.as_bytes()).into_owned()).expect("UTF-8");
        assert_eq!(secrets("a s3cret-value and s3cret."), "a REDACTED and REDACTED.");
        assert_eq!(secrets("short is not long enough"), "short is not long enough");
        assert_eq!(secrets(r#"{"m":"quo\"te\\d"}"#), r#"{"m":"REDACTED"}"#, "escaped");
        assert_eq!(query(&redaction, "q=s3cret&b=1"), "q=REDACTED&b=1");
        assert_eq!(query(&redaction, "q=%733cre%74&b=1"), "q=REDACTED&b=1");
        assert_eq!(query(&redaction, "%733cret=1&b=1"), "REDACTED=REDACTED&b=1");
        let path = |path: &str| String::from_utf8(redaction.path(path.as_bytes()).into_owned()).expect("UTF-8");
        assert_eq!(path("/a/s3cret/b"), "/a/REDACTED/b");
        assert_eq!(path("/a/x%733cret/%62"), "/a/REDACTED/%62");
    }

    #[test]
    fn many_secrets_are_as_good_as_one() {
        let secrets: Vec<String> = (0..5000).map(|number| format!("secret-number-{number}-of-many")).collect();
        let redaction = Redaction::new(secrets.iter().map(String::as_str), []);
        assert_eq!(&*redaction.secrets(secrets[4711].as_bytes()), REDACTED);
        assert_eq!(&*redaction.secrets(b"secret-number-x"), b"secret-number-x");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_secret_survives(before in "[a-z&;=%/+]{0,20}", after in "[a-z&;=%/+]{0,20}", escape in 0..6usize) {
            let secret = "CANARY";
            let mut hidden = secret.to_owned();
            hidden.replace_range(escape..=escape, &format!("%{:02x}", secret.as_bytes()[escape]));
            let redaction = Redaction::new([secret], []);
            for text in [format!("{before}{secret}{after}"), format!("{before}{hidden}{after}")] {
                for clean in [redaction.query(text.as_bytes()), redaction.path(text.as_bytes())] {
                    let found = decoded(&clean).windows(6).any(|window| window == secret.as_bytes());
                    prop_assert!(!found, "{} became {}", text, String::from_utf8_lossy(&clean));
                }
            }
        }
    }
}
