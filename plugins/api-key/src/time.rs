//! Moments as operators write them: RFC 3339 timestamps, such as `2026-01-31T08:00:00Z` or `2026-01-31T09:00:00+01:00`.

/// What [`parse`] takes, for complaints.
pub(crate) const ACCEPTED: &str = "expected a time with its offset, such as \"2026-01-31T08:00:00Z\"";

/// Seconds since 1970 in UTC. Fractions of a second are dropped; a leap second is no moment here.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let text = text.trim_ascii().as_bytes();
    let (moment, rest) = text.split_at_checked(19)?;
    let separators = [(4, b"--"), (7, b"--"), (10, b"Tt"), (13, b"::"), (16, b"::")];
    if !separators.iter().all(|(at, either)| either.contains(&moment[*at])) {
        return None;
    }
    let field = |from, to, least, most| number(&moment[from..to]).filter(|value| (least..=most).contains(value));
    let (year, month) = (field(0, 4, 0, 9999)?, field(5, 7, 1, 12)?);
    let day = field(8, 10, 1, days(year, month))?;
    let (hour, minute, second) = (field(11, 13, 0, 23)?, field(14, 16, 0, 59)?, field(17, 19, 0, 59)?);
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(seconds - offset(fraction_dropped(rest)?)?)
}

fn fraction_dropped(rest: &[u8]) -> Option<&[u8]> {
    let Some(fraction) = rest.strip_prefix(b".") else {
        return Some(rest);
    };
    let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0).then(|| &fraction[digits..])
}

fn offset(text: &[u8]) -> Option<i64> {
    match text {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), hours @ .., b':', m1, m2] if hours.len() == 2 => {
            let hours = number(hours).filter(|hours| *hours <= 23)?;
            let minutes = number(&[*m1, *m2]).filter(|minutes| *minutes <= 59)?;
            let seconds = hours * 3600 + minutes * 60;
            Some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

fn days(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// In the proleptic Gregorian calendar, by counting a year from March on, so that the leap day is its last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year * 365 + year / 4 - year / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_mean_what_rfc_3339_says() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01t00:00:01z", 1),
            ("1969-12-31T23:59:59Z", -1),
            ("1985-04-12T23:20:50.52Z", 482_196_050),
            ("1996-12-19T16:39:57-08:00", 851_042_397),
            ("1996-12-20T00:39:57Z", 851_042_397),
            ("1937-01-01T12:00:27.87+00:20", -1_041_337_173),
            ("2000-02-29T00:00:00Z", 951_782_400),
            ("2026-01-01T00:00:00Z", 1_767_225_600),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
            ("0000-01-01T00:00:00Z", -62_167_219_200),
            (" 2026-01-01T00:00:00Z\n", 1_767_225_600),
        ] {
            assert_eq!(parse(text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut expected = days_since_1970(1899, 12, 31);
        for year in 1900..=2105 {
            for month in 1..=12 {
                for day in 1..=days(year, month) {
                    expected += 1;
                    assert_eq!(days_since_1970(year, month, day), expected, "{year}-{month}-{day}");
                }
            }
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01 00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+0100",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+01:60",
            "2026-01-01T00:00:00Zx",
            "+026-01-01T00:00:00Z",
            "2026-1-01T00:00:00Z",
            "٢٠٢٦-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
