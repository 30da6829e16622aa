//! Values that say how much: durations, sizes, numbers.

use std::num::NonZeroUsize;
use std::time::Duration;

use toml::de::DeValue;

use super::super::problem::Problem;
use super::super::reader::{Node, Read, Reader};
use super::super::{Part, units};

impl Read for Duration {
    const NOUN: &'static str = "a duration";
    const EXAMPLE: &'static str = "\"250ms\" or \"1m\"";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        if is_number(node) {
            unit_missing(node, reader, "a duration", |n| {
                format!("write \"{n}s\" for seconds or \"{n}ms\" for milliseconds")
            });
            return None;
        }
        reader.parsed(node, units::duration)
    }
}

/// Bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size(pub(crate) u64);

impl Read for Size {
    const NOUN: &'static str = "a size";
    const EXAMPLE: &'static str = "\"64KiB\" or \"16MiB\"";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        if is_number(node) {
            unit_missing(node, reader, "a size", bytes);
            return None;
        }
        reader.parsed(node, |text| units::size(text).map(Self))
    }
}

/// A size, or none for `"unlimited"`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodySize(pub(crate) Option<u64>);

impl Read for BodySize {
    const NOUN: &'static str = "a size or \"unlimited\"";
    const EXAMPLE: &'static str = "\"10MiB\"";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        if is_number(node) {
            unit_missing(node, reader, "a size", bytes);
            return None;
        }
        reader.parsed(node, |text| match text {
            "unlimited" => Ok(Self(None)),
            text => units::size(text).map(|size| Self(Some(size))),
        })
    }
}

fn is_number(node: &Node<'_, '_>) -> bool {
    matches!(node.value, DeValue::Integer(_) | DeValue::Float(_))
}

fn bytes(number: u64) -> String {
    format!("if it is bytes, write {:?}", units::show_size(number))
}

/// Notes that a number stands where a quantity should.
fn unit_missing(node: &Node<'_, '_>, reader: &mut Reader<'_>, noun: &str, help: impl Fn(u64) -> String) {
    let number = reader.source().written(&node.span);
    let problem = Problem::error(format!("expected {noun} with its unit, found the number {number}"))
        .at(reader.source().place(&node.span), &*node.path);
    let whole = number.replace('_', "").parse::<u64>().ok();
    reader.report(Problem { help: whole.map(help), ..problem });
}

/// How many of something: 1 or more, where a key does not say otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count(pub(crate) usize);

impl Count {
    /// For values that were checked to be at least 1.
    pub(crate) fn non_zero(self) -> NonZeroUsize {
        NonZeroUsize::new(self.0).unwrap_or(NonZeroUsize::MIN)
    }
}

impl Read for Count {
    const NOUN: &'static str = "a whole number of 0 or more";
    const EXAMPLE: &'static str = "64";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        integer(node, reader, Self::NOUN, Self::EXAMPLE).map(Self)
    }
}

/// Which route is looked at first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Priority(pub(crate) i32);

impl Read for Priority {
    const NOUN: &'static str = "a whole number";
    const EXAMPLE: &'static str = "10";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        integer(node, reader, "a whole number from -2147483648 to 2147483647", Self::EXAMPLE).map(Self)
    }
}

impl Read for Part {
    const NOUN: &'static str = "a number from 0 to 100";
    const EXAMPLE: &'static str = "5";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        let number = match node.value {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(|it| it as f64),
            DeValue::Float(number) => number.as_str().replace('_', "").parse().ok(),
            _ => {
                let text = node.value.as_str().map(|text| text.trim_end_matches(['%', ' ']));
                let help = text.filter(|text| text.parse::<f64>().is_ok()).map(|text| format!("write {text} alone"));
                reader.mismatch_with(node, Self::NOUN, Self::EXAMPLE, help);
                return None;
            }
        };
        if let Some(number) = number.filter(|number: &f64| (0.0..=100.0).contains(number)) {
            return Some(Self((number * 1000.0).round() as u32));
        }
        let written = reader.source().written(&node.span);
        let problem = Problem::error(format!("{written} is not {}", Self::NOUN));
        reader.report(problem.at(reader.source().place(&node.span), &*node.path));
        None
    }
}

/// A number, or a string with nothing but a reference that stands for one.
fn integer<T: TryFrom<i64>>(node: &Node<'_, '_>, reader: &mut Reader<'_>, noun: &str, example: &str) -> Option<T> {
    let number = match node.value {
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
        DeValue::String(text) if text.starts_with("${") => {
            let (text, _) = reader.text(node, noun, example)?;
            text.parse().ok()
        }
        _ => {
            let help = node.value.as_str().and_then(|text| text.parse::<i64>().ok());
            reader.mismatch_with(node, noun, example, help.map(|number| format!("write {number} without quotes")));
            return None;
        }
    };
    let number = number.and_then(|number| T::try_from(number).ok());
    if number.is_none() {
        let written = reader.source().written(&node.span);
        let problem = Problem::error(format!("{written} is not {noun}, such as {example}"));
        reader.report(problem.at(reader.source().place(&node.span), &*node.path));
    }
    number
}
