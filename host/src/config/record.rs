//! Which passes of a plugin are recorded.

use std::path::PathBuf;

use super::bounds::{count, size};
use super::file;
use super::reader::{At, Entry, Node, Read, Reader, Wrong};

/// `record` of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginRecord {
    /// Of a million passes.
    pub share: u32,
    /// Whether passes in which it fails are kept always.
    pub failures: bool,
    /// Where files go.
    pub directory: PathBuf,
    /// The size of one, in bytes.
    pub size: u64,
    /// How many are kept.
    pub files: usize,
}

/// A part of the passes, of a million.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PassShare(u32);

impl Read for PassShare {
    const NOUN: &'static str = "a part of the passes";
    const EXAMPLE: &'static str = "\"1%\"";

    fn read(node: &Node<'_, '_>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(node, share)
    }
}

fn share(text: &str) -> Result<PassShare, Wrong> {
    let Some(number) = text.strip_suffix('%') else {
        return Err(Wrong::because("it ends with a percent sign").help("write \"1%\""));
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole, 3) || !digits(part, 4) {
        return Err(Wrong::because("it has a number, and up to four digits after a dot"));
    }
    // Few enough digits: what is left always parses.
    let number = |text: &str| text.parse::<u32>().unwrap_or_default();
    let share = number(whole) * 10_000 + number(&format!("{part:0<4}"));
    if (1..=1_000_000).contains(&share) {
        Ok(PassShare(share))
    } else {
        Err(Wrong::because("it is not between 0.0001% and 100%"))
    }
}

/// `record` of a plugin, or none after its problems were reported.
pub(crate) fn record(entry: Entry<file::Record>, reader: &mut Reader<'_>) -> Option<PluginRecord> {
    let Entry::Is(At { value: written, span, path }) = entry else { return None };
    let here = At { value: (), span, path };
    let nothing = written.share.is_absent() && written.failures.get().is_none_or(|failures| !failures.value);
    if nothing {
        reader.error(&here, "it records nothing: it needs a `share`, or `failures = true`");
    }
    let directory = written.directory.value().map_or_else(|| "recordings".to_owned(), |path| path.0);
    Some(PluginRecord {
        share: written.share.value().map_or(0, |share| share.0),
        failures: written.failures.or(false),
        directory: reader.locate(&directory),
        size: size(reader, written.size, 16 << 20, 64 << 10..=1 << 30) as u64,
        files: count(reader, written.files, 4, 1..=100).0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact() {
        for (text, millionths) in
            [("1%", 10_000), ("100%", 1_000_000), ("0.5%", 5_000), ("0.0001%", 1), ("12.25%", 122_500)]
        {
            assert_eq!(share(text).ok().map(|share| share.0), Some(millionths), "{text}");
        }
        for text in ["", "%", "1", "0%", "100.1%", "-1%", "+1%", "1.%", ".5%", "0.00001%", "1 %", "one%", "9999%"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
