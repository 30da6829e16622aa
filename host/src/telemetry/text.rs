//! Text that others chose, made fit for one line of a log.

use std::fmt;
use std::io::Write;
use std::time::{Duration, SystemTime};

/// How text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// As the inside of a JSON string (RFC 8259, section 7).
    Quoted,
    /// As it stands, but without control characters.
    Plain,
}

/// Writes at most `most` bytes of `text`, cut between two characters and then followed by `…`.
///
/// The result is UTF-8 in one line that a terminal shows as it is: control characters, and those that change the
/// direction of text or end a line, become escapes; bytes that are no UTF-8 become U+FFFD.
pub(super) fn escape(out: &mut Vec<u8>, text: &[u8], most: usize, style: Style) {
    let cut = cut(text, most);
    // Nearly all text is like this, and then needs no look at its characters.
    let quoted = style == Style::Quoted;
    if text[..cut].iter().all(|byte| matches!(byte, b' '..=b'~') && !(quoted && matches!(byte, b'"' | b'\\'))) {
        out.extend_from_slice(&text[..cut]);
    } else {
        escape_bytes(out, &text[..cut], style);
    }
    if cut < text.len() {
        out.extend_from_slice("…".as_bytes());
    }
}

fn escape_bytes(out: &mut Vec<u8>, text: &[u8], style: Style) {
    for chunk in text.utf8_chunks() {
        escape_str(out, chunk.valid(), style);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn escape_str(out: &mut Vec<u8>, text: &str, style: Style) {
    let mut clean = 0;
    for (at, char) in text.char_indices() {
        let quoted = style == Style::Quoted && matches!(char, '"' | '\\');
        if !quoted && !misleads(char) {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[clean..at]);
        clean = at + char.len_utf8();
        match char {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            // All of them are in the basic plane, so that four digits suffice.
            _ => write!(out, "\\u{:04x}", u32::from(char)).expect("a Vec takes every write"),
        }
    }
    out.extend_from_slice(&text.as_bytes()[clean..]);
}

/// Control characters (C0, DEL, C1), line and paragraph separators, marks that change the direction of text, and the
/// byte order mark: with them, one line can look like two, or like another one.
fn misleads(char: char) -> bool {
    match char {
        ' '..='~' => false,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => true,
        _ => char.is_control(),
    }
}

/// The largest end of at most `most` bytes that does not cut a character.
pub(super) fn cut(text: &[u8], most: usize) -> usize {
    if text.len() <= most {
        return text.len();
    }
    // A character has at most three continuation bytes. More of them are no UTF-8, and may be cut anywhere.
    let start = (most.saturating_sub(3)..=most).rev().find(|&at| text[at] & 0xc0 != 0x80);
    start.unwrap_or(most)
}

/// A time as in RFC 3339, in UTC, with milliseconds.
pub(super) struct Time(pub(super) SystemTime);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second, milli) =
            (second / 3600, second / 60 % 60, second % 60, u64::from(since.subsec_millis()));
        let mut text = *b"0000-00-00T00:00:00.000Z";
        // A year of five digits is shown by its last four.
        for (last, mut number, digits) in
            [(3, year, 4), (6, month, 2), (9, day, 2), (12, hour, 2), (15, minute, 2), (18, second, 2), (22, milli, 3)]
        {
            for place in 0..digits {
                text[last - place] += (number % 10) as u8;
                number /= 10;
            }
        }
        f.write_str(std::str::from_utf8(&text).expect("digits"))
    }
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar: `civil_from_days` of Howard
/// Hinnant's "chrono-Compatible Low-Level Date Algorithms", for days that are not negative.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &[u8], most: usize, style: Style) -> String {
        let mut out = Vec::new();
        escape(&mut out, text, most, style);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn what_misleads_becomes_an_escape() {
        let text = "a\n\r\t\x1b[2J\x07\x7f\u{9b}\u{202e}\u{2028}\u{feff}\"\\ä€😀".as_bytes();
        assert_eq!(
            escaped(text, 1000, Style::Plain),
            "a\\n\\r\\t\\u001b[2J\\u0007\\u007f\\u009b\\u202e\\u2028\\ufeff\"\\ä€😀"
        );
        assert!(escaped(text, 1000, Style::Quoted).ends_with("\\\"\\\\ä€😀"));
        assert_eq!(escaped(b"a\xff\xfeb\xe2\x82", 1000, Style::Plain), "a\u{fffd}\u{fffd}b\u{fffd}");
    }

    #[test]
    fn long_text_is_cut_between_two_characters() {
        assert_eq!(escaped("ää".as_bytes(), 4, Style::Plain), "ää");
        assert_eq!(escaped("ää".as_bytes(), 3, Style::Plain), "ä…");
        assert_eq!(escaped("😀".as_bytes(), 3, Style::Plain), "…");
        assert_eq!(escaped(&[0x80; 10], 5, Style::Plain), "\u{fffd}".repeat(5) + "…");
        assert_eq!(escaped(b"abc", 0, Style::Plain), "…");
        assert_eq!(escaped(&vec![b'x'; 1 << 20], 1024, Style::Quoted).len(), 1024 + "…".len());
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let text = |seconds: u64, millis: u64| {
            Time(SystemTime::UNIX_EPOCH + Duration::from_millis(seconds * 1000 + millis)).to_string()
        };
        assert_eq!(text(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(text(951_782_399, 999), "2000-02-28T23:59:59.999Z");
        assert_eq!(text(951_782_400, 0), "2000-02-29T00:00:00.000Z");
        assert_eq!(text(1_709_251_199, 1), "2024-02-29T23:59:59.001Z");
        assert_eq!(text(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
        assert_eq!(text(1_794_000_000, 123), "2026-11-06T21:20:00.123Z");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn quoted_text_is_the_inside_of_a_json_string(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let json = format!("\"{}\"", escaped(&text, 1000, Style::Quoted));
            let parsed: String = serde_json::from_str(&json).expect("a JSON string");
            prop_assert_eq!(parsed, String::from_utf8_lossy(&text));
        }

        #[test]
        fn a_cut_keeps_characters_whole(text in "\\PC*", most in 0..50usize) {
            let end = cut(text.as_bytes(), most);
            prop_assert!(text.is_char_boundary(end) && end <= most.min(text.len()) && end + 4 > most.min(text.len()));
        }
    }
}
