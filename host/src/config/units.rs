//! Durations and sizes, with their unit written out.

use std::time::Duration;

use super::reader::Wrong;

/// `"250ms"`, `"10s"`, `"1m"`: a whole number and one of us, ms, s, m, h, d.
pub(crate) fn duration(text: &str) -> Result<Duration, Wrong> {
    const UNITS: &[(&str, u64)] =
        &[("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];
    quantity(text, UNITS, "us, ms, s, m, h or d", |unit| match unit {
        "sec" | "secs" | "second" | "seconds" | "S" => Some("s"),
        "min" | "mins" | "minute" | "minutes" | "M" => Some("m"),
        "hr" | "hour" | "hours" | "H" => Some("h"),
        "day" | "days" | "D" => Some("d"),
        "msec" | "millis" | "milliseconds" | "MS" | "Ms" => Some("ms"),
        "µs" | "μs" | "usec" | "micros" => Some("us"),
        _ => None,
    })
    .map(Duration::from_micros)
}

/// `"512B"`, `"64KiB"`, `"16MiB"`, `"1GiB"`: a whole number of powers of 1024, in bytes.
pub(crate) fn size(text: &str) -> Result<u64, Wrong> {
    const UNITS: &[(&str, u64)] = &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    quantity(text, UNITS, "B, KiB, MiB or GiB", |unit| match unit.to_ascii_lowercase().as_str() {
        "k" | "kb" | "kib" => Some("KiB"),
        "m" | "mb" | "mib" => Some("MiB"),
        "g" | "gb" | "gib" => Some("GiB"),
        "b" | "byte" | "bytes" => Some("B"),
        _ => None,
    })
}

/// A whole number with a unit, in the smallest unit. `meant` knows other spellings of units, to suggest ours.
fn quantity(
    text: &str,
    units: &[(&str, u64)],
    allowed: &str,
    meant: impl Fn(&str) -> Option<&'static str>,
) -> Result<u64, Wrong> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        let why = if text.starts_with('-') { "it cannot be negative" } else { "it begins with a whole number" };
        return Err(Wrong::because(why));
    }
    if unit.starts_with('.') {
        return Err(Wrong::because("only whole numbers are taken").help("write it in a smaller unit"));
    }
    if unit.is_empty() {
        return Err(Wrong::because(format!("the unit is missing: {allowed}")));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        let wrong = Wrong::because(format!("the unit is one of {allowed}"));
        return Err(
            match meant(unit.trim()).or_else(|| units.iter().map(|(name, _)| *name).find(|u| *u == unit.trim())) {
                Some(unit) => wrong.help(format!("write \"{number}{unit}\"")),
                None => wrong,
            },
        );
    };
    let number: Option<u64> = number.parse().ok();
    number.and_then(|number| number.checked_mul(*factor)).ok_or_else(|| Wrong::because("it is too large"))
}

/// A duration as the file writes it, in its largest whole unit.
pub(crate) fn show_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000)]
        .into_iter()
        .find(|(_, factor)| micros > 0 && micros.is_multiple_of(*factor))
        .map_or_else(|| format!("{micros}us"), |(unit, factor)| format!("{}{unit}", micros / factor))
}

/// A size as the file writes it, in its largest whole unit.
pub(crate) fn show_size(bytes: u64) -> String {
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        .into_iter()
        .find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor))
        .map_or_else(|| format!("{bytes}B"), |(unit, factor)| format!("{}{unit}", bytes / factor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_numbers_with_a_unit() {
        assert_eq!(duration("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(duration("0s").unwrap(), Duration::ZERO);
        assert_eq!(duration("1m").unwrap(), Duration::from_secs(60));
        assert_eq!(duration("500us").unwrap(), Duration::from_micros(500));
        assert_eq!(duration("31d").unwrap(), Duration::from_secs(31 * 86_400));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for wrong in
            ["", "s", "10", "1.5s", "-1s", "1 s", "1sec", "1m30s", "１s", "99999999999999999999s", "9999999999999d"]
        {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(duration("5 minutes").unwrap_err().help.as_deref(), Some("write \"5m\""));
        assert_eq!(duration("1 s").unwrap_err().help.as_deref(), Some("write \"1s\""));
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(size("16MiB").unwrap(), 16 << 20);
        assert_eq!(size("512B").unwrap(), 512);
        assert_eq!(size("10MB").unwrap_err().help.as_deref(), Some("write \"10MiB\""));
        assert!(size("17179869184GiB").is_err());
        assert!(size("18446744073709551616B").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in ".*") {
            let _ = (duration(&text), size(&text));
        }

        #[test]
        fn what_is_shown_is_read_again(number in 0..1_000_000_000_u64) {
            let micros = Duration::from_micros(number);
            prop_assert_eq!(duration(&show_duration(micros)).unwrap(), micros);
            prop_assert_eq!(size(&show_size(number)).unwrap(), number);
        }
    }
}
