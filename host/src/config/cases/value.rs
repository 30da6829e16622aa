//! The types that values of a case have.

use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue};
use regex::Regex;
use toml::de::DeValue;
use toml::value::{Datetime, Offset};

use super::{Flow, NoAnswer, Want};
use crate::authority::Scheme;
use crate::config::json;
use crate::config::reader::{At, Entry, Node, Read, Reader, join, table, words};
use crate::config::value::Text;

words!(
    FlowWord, "a flow",
    "continue" => FlowWord(Flow::Continue), "edit" => FlowWord(Flow::Edit), "respond" => FlowWord(Flow::Respond),
    "refuse" => FlowWord(Flow::Refuse), "fail" => FlowWord(Flow::Fail),
);
words!(SchemeWord, "a scheme", "https" => SchemeWord(Scheme::Https), "http" => SchemeWord(Scheme::Http));

#[derive(Debug)]
pub(crate) struct FlowWord(pub(crate) Flow);

words!(
    ErrorWord, "a failure",
    "connect" => ErrorWord(NoAnswer::Connect), "resolve" => ErrorWord(NoAnswer::Resolve),
    "tls" => ErrorWord(NoAnswer::Tls), "timeout" => ErrorWord(NoAnswer::Timeout),
    "protocol" => ErrorWord(NoAnswer::Protocol), "too-large" => ErrorWord(NoAnswer::TooLarge),
    "address-not-allowed" => ErrorWord(NoAnswer::AddressNotAllowed),
);

#[derive(Debug)]
pub(crate) struct ErrorWord(pub(crate) NoAnswer);

#[derive(Debug)]
pub(crate) struct SchemeWord(pub(crate) Scheme);

/// Any value, as JSON text.
#[derive(Debug)]
pub(crate) struct Json(pub(crate) String);

impl Read for Json {
    const NOUN: &'static str = "a value";
    const EXAMPLE: &'static str = "{ name = \"value\" }";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        json::text(node, reader).map(|(text, _)| Self(text))
    }
}

/// A point in time.
#[derive(Debug)]
pub(crate) struct Moment(pub(crate) SystemTime);

impl Read for Moment {
    const NOUN: &'static str = "a date with a time and an offset";
    const EXAMPLE: &'static str = "2026-01-31T12:00:00Z";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        let moment = match node.value {
            DeValue::Datetime(date) => moment(date),
            _ => None,
        };
        if moment.is_none() {
            reader.mismatch(node, Self::NOUN, Self::EXAMPLE);
        }
        moment.map(Self)
    }
}

/// None before 1970 and for a date that is not a whole one.
fn moment(date: &Datetime) -> Option<SystemTime> {
    let (day, time, offset) = (date.date?, date.time?, date.offset?);
    // Days since 1970-01-01 of the Gregorian calendar, by years that begin in March: the leap day is their last.
    let (year, month) = (i64::from(day.year), i64::from(day.month));
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = days + (153 * month + 2) / 5 + i64::from(day.day) - 1 - 719_468;
    let minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let minute = days * 1440 + i64::from(time.hour) * 60 + i64::from(time.minute) - minutes;
    let second = u64::try_from(minute * 60 + i64::from(time.second.unwrap_or(0))).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(second, time.nanosecond.unwrap_or(0)))
}

/// Names of any form, each with a text.
#[derive(Debug, Default)]
pub(crate) struct Texts(pub(crate) Vec<(String, String)>);

impl Read for Texts {
    const NOUN: &'static str = "a table of names and texts";
    const EXAMPLE: &'static str = "{ name = \"value\" }";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        let texts = each(node, reader, Self::NOUN, Self::EXAMPLE, Text::read)?;
        Some(Self(texts.into_iter().map(|(name, text)| (name.value, text.0)).collect()))
    }
}

/// Header fields that are sent.
#[derive(Debug, Default)]
pub(crate) struct Given(pub(crate) Vec<(HeaderName, HeaderValue)>);

impl Read for Given {
    const NOUN: &'static str = "a table of header fields";
    const EXAMPLE: &'static str = "{ accept = \"*/*\" }";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        let lists = each(node, reader, Self::NOUN, Self::EXAMPLE, |node, reader| match node.value {
            DeValue::Array(_) => Vec::<At<Text>>::read(node, reader),
            _ => {
                let value = Text::read(node, reader)?;
                Some(vec![At { value, span: node.span.clone(), path: node.path.clone() }])
            }
        })?;
        let mut fields = Vec::new();
        for (name, values) in lists {
            let known = HeaderName::from_lowercase(name.value.as_bytes());
            if known.is_err() {
                reader.error(&name, format!("{:?} is not the name of a header in lower case", name.value));
            }
            for value in values {
                let bytes = HeaderValue::from_str(&value.value.0);
                if bytes.is_err() {
                    reader.error(&value, "a value of a header has no control characters");
                }
                fields.extend(known.as_ref().ok().cloned().zip(bytes.ok()));
            }
        }
        Some(Self(fields))
    }
}

/// What fields, attributes or entries have to be.
#[derive(Debug, Default)]
pub(crate) struct Wanted(pub(crate) Vec<(String, Want)>);

impl Read for Wanted {
    const NOUN: &'static str = "a table of names and values";
    const EXAMPLE: &'static str = "{ name = \"value\" }";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        let wanted = each(node, reader, Self::NOUN, Self::EXAMPLE, WantedValue::read)?;
        Some(Self(wanted.into_iter().map(|(name, want)| (name.value, want.0)).collect()))
    }
}

/// What one value has to be.
#[derive(Debug)]
pub(crate) struct WantedValue(pub(crate) Want);

table! {
    /// What a value has to be, as a table.
    "a matcher" "{ regex = \"…\" }"
    pub(crate) struct Matcher {
        /// A regular expression that takes the whole value.
        "regex" regex: Regex,
        /// Whether it is there, whatever its value.
        "present" present: bool,
    }
}

impl Read for WantedValue {
    const NOUN: &'static str = "a value or a matcher";
    const EXAMPLE: &'static str = "\"value\", { regex = \"…\" } or { present = false }";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        match node.value {
            DeValue::String(_) => Text::read(node, reader).map(|text| Self(Want::Values(vec![text.0]))),
            DeValue::Array(_) => {
                let values = Vec::<At<Text>>::read(node, reader)?;
                Some(Self(Want::Values(values.into_iter().map(|at| at.value.0).collect())))
            }
            DeValue::Table(_) => {
                let matcher = Matcher::read(node, reader)?;
                match (matcher.regex, matcher.present) {
                    (Entry::Is(regex), Entry::Absent) => Some(Self(Want::Regex(regex.value))),
                    (Entry::Absent, Entry::Is(present)) => Some(Self(Want::Present(present.value))),
                    (Entry::Wrong, _) | (_, Entry::Wrong) => None,
                    _ => {
                        let at = At { value: (), span: node.span.clone(), path: node.path.clone() };
                        reader.error(&at, "exactly one of `regex` and `present` is needed");
                        None
                    }
                }
            }
            _ => {
                reader.mismatch(node, Self::NOUN, Self::EXAMPLE);
                None
            }
        }
    }
}

/// Reads a table of names that may have any form. Wrong values are left out after they were reported.
fn each<T>(
    node: &Node<'_, '_>,
    reader: &mut Reader<'_>,
    noun: &str,
    example: &str,
    mut read: impl FnMut(&Node<'_, '_>, &mut Reader<'_>) -> Option<T>,
) -> Option<Vec<(At<String>, T)>> {
    let DeValue::Table(table) = node.value else {
        reader.mismatch(node, noun, example);
        return None;
    };
    let mut out = Vec::new();
    for (key, value) in table {
        let name = key.get_ref().to_string();
        let path = join(&node.path, &name);
        let inner = Node { value: value.get_ref(), span: value.span(), path: path.clone() };
        if let Some(value) = read(&inner, reader) {
            out.push((At { value: name, span: key.span(), path }, value));
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_as_seconds_since_1970() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2000-03-01T01:00:00+01:00", 951_868_800),
            ("2026-11-24T03:04:05-00:30", 1_795_491_245),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            let date: Datetime = text.parse().expect("a date");
            let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(moment(&date), Some(expected), "{text}");
        }
        for text in ["1969-12-31T23:59:59Z", "2026-01-01T00:00:00", "2026-01-01", "12:00:00"] {
            assert_eq!(moment(&text.parse().expect("a date")), None, "{text}");
        }
    }
}
