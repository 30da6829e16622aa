//! How new versions of components come into use.

use http::header::HeaderName;

use super::reader::{At, Entry, Node, Read, Reader, Wrong, no_word};
use super::{Part, Rollout, RolloutKey, file};

/// `rollout` of a plugin; none where there is none, or after its problems were reported.
pub(crate) fn rollout(entry: Entry<file::Rollout>, reader: &mut Reader<'_>) -> Option<Rollout> {
    let Entry::Is(At { value: written, span, path }) = entry else { return None };
    let canary = reader.require(written.canary, "canary", &At { value: (), span, path })?;
    Some(Rollout { canary: canary.value.0, key: written.key.or(RolloutKey::Address) })
}

/// A part of the requests that leaves the larger part to the old version.
#[derive(Debug)]
pub(crate) struct Share(Part);

impl Read for Share {
    const NOUN: &'static str = "a part of the requests";
    const EXAMPLE: &'static str = "\"5%\"";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(node, share)
    }
}

fn share(text: &str) -> Result<Share, Wrong> {
    let Some(number) = text.strip_suffix('%') else {
        return Err(Wrong::because("it ends with a percent sign").help("write \"5%\""));
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return Err(Wrong::because("it has a number of up to two digits, and up to two more after a dot"));
    }
    // Two digits each: what is between 0 and 99 always parses.
    let number = |text: &str| text.parse::<u32>().unwrap_or_default();
    let share = Part(number(whole) * 1000 + number(part) * if part.len() == 1 { 100 } else { 10 });
    if share > Part(0) && share.0 <= Part::ALL.0 / 2 {
        Ok(Share(share))
    } else {
        Err(Wrong::because("it is not between 0.01% and 50%, so that the old version can be compared with"))
    }
}

impl Read for RolloutKey {
    const NOUN: &'static str = "what a version is chosen by";
    const EXAMPLE: &'static str = "\"header:x-user\"";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(node, rollout_key)
    }
}

fn rollout_key(text: &str) -> Result<RolloutKey, Wrong> {
    match text.split_once(':') {
        None if text == "address" => Ok(RolloutKey::Address),
        Some(("header", name)) => match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => Ok(RolloutKey::Header(name)),
            Err(_) => Err(Wrong::because("the name of the header is not a token of RFC 9110")),
        },
        _ => Err(no_word(text, &["address", "header:NAME"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_written_in_percent() {
        for (text, share) in [("5%", 5000), ("0.5%", 500), ("0.05%", 50), ("12.34%", 12_340), ("50%", 50_000)] {
            assert_eq!(super::share(text).map(|share| share.0.0).ok(), Some(share), "{text}");
        }
        for text in ["", "%", "5", "0%", "50.01%", "100%", "-1%", "+5%", "1.%", ".5%", "1.234%", "5 %", "five%"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
