//! The lists of methods and header names, and the time to live, as a configuration may write them.

use std::time::Duration;

use http::Method;
use http::header::{HeaderName, HeaderValue};
use tollgate_sdk::{Complaints, units};

use crate::Config;

/// The longest time that a browser keeps the answer to a preflight.
const LONGEST: Duration = Duration::from_hours(24);

/// The value of `access-control-allow-methods`; none where the list is empty.
pub(crate) fn methods(config: &Config, complaints: &mut Complaints) -> Option<HeaderValue> {
    for (index, method) in config.methods.iter().enumerate() {
        let message = match Method::from_bytes(method.as_bytes()) {
            _ if method == "*" && config.credentials => NOT_WITH_CREDENTIALS.to_owned(),
            _ if method == "*" && config.methods.len() > 1 => {
                "`*` allows every method; leave the others out".to_owned()
            }
            _ if method == "*" => continue,
            _ if ["CONNECT", "TRACE", "TRACK"].contains(&method.as_str()) => {
                format!("browsers let no page send `{method}`")
            }
            Err(_) => format!("{method:?} is no method; write one such as `PATCH`"),
            Ok(_) if method.bytes().any(|byte| byte.is_ascii_lowercase()) => {
                format!("methods are compared with their case: write `{}`", method.to_ascii_uppercase())
            }
            Ok(_) => continue,
        };
        complaints.add(format!("/methods/{index}"), message);
    }
    value(config.methods.iter().map(String::as_str))
}

/// The value of a field that lists header names; none where the list is empty.
pub(crate) fn names(
    names: &[String],
    place: &str,
    credentials: bool,
    complaints: &mut Complaints,
) -> Option<HeaderValue> {
    for (index, name) in names.iter().enumerate() {
        if name == "*" {
            if credentials {
                complaints.add(format!("{place}/{index}"), NOT_WITH_CREDENTIALS);
            }
        } else if HeaderName::from_bytes(name.as_bytes()).is_err() {
            complaints.add(
                format!("{place}/{index}"),
                format!("{name:?} is no header name; write one such as `x-total`, or `*`"),
            );
        }
    }
    value(names.iter().map(String::as_str))
}

const NOT_WITH_CREDENTIALS: &str = "browsers do not take `*` as a wildcard with `credentials = true`; name each one";

fn value<'a>(items: impl Iterator<Item = &'a str>) -> Option<HeaderValue> {
    let list = items.collect::<Vec<_>>().join(", ");
    // Where this fails, an item was complained of.
    if list.is_empty() { None } else { HeaderValue::try_from(list).ok() }
}

/// Whole seconds of a duration such as `10m`.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let duration = units::duration(text)
        .ok_or_else(|| format!("{text:?} is no duration; write a number and a unit, such as `10m`, `30s` or `24h`"))?;
    if duration.subsec_nanos() != 0 {
        return Err("it counts in whole seconds".to_owned());
    }
    if duration > LONGEST { Err("browsers keep it for 24h at the longest".to_owned()) } else { Ok(duration.as_secs()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_seconds_up_to_a_day() {
        for (text, expected) in [("0s", 0), ("30s", 30), ("10m", 600), ("24h", 86_400), ("1d", 86_400), ("2000ms", 2)] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "10", "10M", "25h", "86401s", "1500ms", "99999999999999999999d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
