//! Durations and sizes as configurations write them, with their unit: `"250ms"`, `"16MiB"`. The same forms as in the rest
//! of the operator's file.

use std::time::Duration;

/// A whole number and one of ms, s, m, h, d; none for anything else, or for more than fits.
///
/// ```
/// use std::time::Duration;
/// use tollgate_sdk::units::duration;
///
/// assert_eq!(duration("90s"), Some(Duration::from_secs(90)));
/// assert_eq!(duration("90"), None);
/// ```
pub fn duration(text: &str) -> Option<Duration> {
    const MILLISECONDS: [(&str, u64); 5] =
        [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    quantity(text, &MILLISECONDS).map(Duration::from_millis)
}

/// A whole number and one of B, KiB, MiB, GiB, in bytes; none for anything else, or for more than fits.
///
/// ```
/// assert_eq!(tollgate_sdk::units::size("64KiB"), Some(65536));
/// ```
pub fn size(text: &str) -> Option<u64> {
    quantity(text, &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)])
}

fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|one: char| !one.is_ascii_digit())?);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, milliseconds) in [
            ("0s", Some(0)),
            ("250ms", Some(250)),
            ("1m", Some(60_000)),
            ("24h", Some(86_400_000)),
            ("31d", Some(2_678_400_000)),
            ("", None),
            ("s", None),
            ("5", None),
            ("1m30s", None),
            ("1.5s", None),
            ("-1s", None),
            ("+1s", None),
            ("1 s", None),
            ("1S", None),
            ("\u{663}s", None),
            ("99999999999999999999s", None),
            ("9999999999999999d", None),
        ] {
            assert_eq!(duration(text), milliseconds.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn sizes_have_a_unit() {
        for (text, bytes) in [
            ("512B", Some(512)),
            ("64KiB", Some(65_536)),
            ("2MiB", Some(2 << 20)),
            ("1GiB", Some(1 << 30)),
            ("", None),
            ("KiB", None),
            ("64", None),
            ("64KB", None),
            ("64kib", None),
            ("-1B", None),
            ("18446744073709551615KiB", None),
        ] {
            assert_eq!(size(text), bytes, "{text:?}");
        }
    }
}
