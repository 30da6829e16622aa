//! The formats that can be asserted.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A format that is checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    pub(super) name: &'static str,
    check: fn(&str) -> bool,
}

impl Format {
    /// Every one.
    pub(super) const ALL: [Self; 14] = [
        Self { name: "date", check: |text| date(text).is_some() },
        Self { name: "date-time", check: date_time },
        Self { name: "duration", check: duration },
        Self { name: "email", check: email },
        Self { name: "hostname", check: hostname },
        Self { name: "ipv4", check: |text| text.parse::<Ipv4Addr>().is_ok() },
        Self { name: "ipv6", check: |text| text.parse::<Ipv6Addr>().is_ok() },
        Self { name: "json-pointer", check: json_pointer },
        Self { name: "relative-json-pointer", check: relative_json_pointer },
        Self { name: "time", check: time },
        Self { name: "uri", check: |text| uri(text, true) },
        Self { name: "uri-reference", check: |text| uri(text, false) },
        Self { name: "uuid", check: uuid },
        Self { name: "byte", check: base64 },
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name == name)
    }

    pub(super) fn fits(self, text: &str) -> bool {
        (self.check)(text)
    }
}

/// Exactly so many ASCII digits at the front, and what follows them.
fn digits(text: &str, count: usize) -> Option<(u32, &str)> {
    let number = text.get(..count)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((number.parse().ok()?, &text[count..]))
}

/// `full-date` of RFC 3339, at the front in all but a whole date.
fn date(text: &str) -> Option<()> {
    let (year, rest) = digits(text, 4)?;
    let (month, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    (rest.is_empty() && (1..=days).contains(&day)).then_some(())
}

/// `full-time` of RFC 3339.
fn time(text: &str) -> bool {
    let parse = || {
        let (hour, rest) = digits(text, 2)?;
        let (minute, rest) = digits(rest.strip_prefix(':')?, 2)?;
        let (second, rest) = digits(rest.strip_prefix(':')?, 2)?;
        let rest = match rest.strip_prefix('.') {
            Some(fraction) => {
                let after = fraction.trim_start_matches(|digit: char| digit.is_ascii_digit());
                (after.len() < fraction.len()).then_some(after)?
            }
            None => rest,
        };
        let offset = match rest {
            "Z" | "z" => 0,
            _ => {
                let sign = match rest.as_bytes().first()? {
                    b'+' => 1,
                    b'-' => -1,
                    _ => return None,
                };
                let (hours, rest) = digits(&rest[1..], 2)?;
                let (minutes, rest) = digits(rest.strip_prefix(':')?, 2)?;
                (hours < 24 && minutes < 60 && rest.is_empty()).then_some(())?;
                sign * (hours * 60 + minutes) as i32
            }
        };
        // A leap second comes at the end of a day of UTC.
        let utc = ((hour * 60 + minute) as i32 - offset).rem_euclid(24 * 60);
        (hour < 24 && minute < 60 && (second < 60 || second == 60 && utc == 24 * 60 - 1)).then_some(())
    };
    parse().is_some()
}

fn date_time(text: &str) -> bool {
    text.is_char_boundary(10)
        && text.len() > 10
        && date(&text[..10]).is_some()
        && text[10..].strip_prefix(['T', 't']).is_some_and(time)
}

/// `duration` of RFC 3339, appendix A.
fn duration(text: &str) -> bool {
    /// Takes numbers with these units, each at most once and in this order, without a gap between them.
    fn units<'a>(mut rest: &'a str, units: &str) -> Option<&'a str> {
        let mut allowed = units;
        let mut first = true;
        while !rest.is_empty() && !rest.starts_with('T') {
            let after = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
            let unit = after.chars().next().filter(|_| after.len() < rest.len())?;
            let index = allowed.find(unit)?;
            if index > 0 && !first {
                return None;
            }
            first = false;
            allowed = &allowed[index + 1..];
            rest = &after[1..];
        }
        Some(rest)
    }
    let Some(rest) = text.strip_prefix('P') else { return false };
    if let Some(weeks) = rest.strip_suffix('W') {
        return !weeks.is_empty() && weeks.bytes().all(|byte| byte.is_ascii_digit());
    }
    match units(rest, "YMD") {
        Some("") => !rest.is_empty(),
        Some(time) => time.len() > 1 && units(&time[1..], "HMS") == Some(""),
        None => false,
    }
}

/// `Mailbox` of RFC 5321, without comments.
fn email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let atext = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    let dot_atom = |text: &str| text.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(atext));
    let quoted = |text: &str| {
        let Some(inside) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
        let mut bytes = inside.bytes();
        while let Some(byte) = bytes.next() {
            let fits = match byte {
                b'\\' => bytes.next().is_some_and(|next| (b' '..=b'~').contains(&next)),
                b'"' => false,
                other => (b' '..=b'~').contains(&other),
            };
            if !fits {
                return false;
            }
        }
        text.len() > 1
    };
    let literal = |text: &str| match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inside) => match inside.strip_prefix("IPv6:") {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => inside.parse::<Ipv4Addr>().is_ok(),
        },
        None => false,
    };
    (dot_atom(local) || quoted(local)) && (hostname(domain) || literal(domain))
}

/// RFC 1123, section 2.1. What an A-label decodes to is not looked at.
fn hostname(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            // Two dashes there are reserved (RFC 5891, section 4.2.3.1).
            && (label.get(2..4) != Some("--") || label.get(..2).is_some_and(|ace| ace.eq_ignore_ascii_case("xn")))
    };
    text.len() <= 253 && text.split('.').all(label)
}

fn uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// RFC 6901.
fn json_pointer(text: &str) -> bool {
    let escapes = |text: &str| text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    text.is_empty() || text.starts_with('/') && escapes(text)
}

fn relative_json_pointer(text: &str) -> bool {
    let rest = text.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let number = &text[..text.len() - rest.len()];
    !number.is_empty() && (number == "0" || !number.starts_with('0')) && (rest == "#" || json_pointer(rest))
}

/// Base64 with padding (RFC 4648, section 4): `byte` of OpenAPI.
fn base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

/// `URI` or `URI-reference` of RFC 3986.
fn uri(text: &str, absolute: bool) -> bool {
    let (before_fragment, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (hierarchy, query) = before_fragment.split_once('?').unwrap_or((before_fragment, ""));
    let (scheme, rest) = match hierarchy.split_once(':') {
        Some((scheme, rest)) if !scheme.contains('/') => (Some(scheme), rest),
        _ => (None, hierarchy),
    };
    let scheme_fits = match scheme {
        Some(scheme) => {
            scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        }
        None => !absolute,
    };
    let (authority_fits, path) = match rest.strip_prefix("//") {
        Some(rest) => {
            let end = rest.find('/').unwrap_or(rest.len());
            (authority(&rest[..end]), &rest[end..])
        }
        None => (true, rest),
    };
    scheme_fits && authority_fits && made_of(path, b":@/") && made_of(query, b":@/?") && made_of(fragment, b":@/?")
}

fn authority(text: &str) -> bool {
    let (user, host_and_port) = text.rsplit_once('@').unwrap_or(("", text));
    let (host, port) = match host_and_port.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, rest)) => {
                if address.parse::<Ipv6Addr>().is_err() {
                    return false;
                }
                ("", rest)
            }
            None => return false,
        },
        None => {
            let end = host_and_port.find(':').unwrap_or(host_and_port.len());
            (&host_and_port[..end], &host_and_port[end..])
        }
    };
    let port_fits =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    made_of(user, b":") && made_of(host, b"") && port_fits
}

/// Whether there are only unreserved characters, sub-delimiters, percent-escapes and these.
fn made_of(text: &str, also: &[u8]) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(index, byte)| match byte {
        b'%' => bytes.get(index + 1..index + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)),
        byte => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) || also.contains(byte),
    })
}
