//! What we need to know of a certificate: its names, and when it is valid; and one of our own with its key.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rustls::InconsistentKeys;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::pem::{self, PemError};

/// Reads a certificate of ours with those that lead to its root, and its key.
///
/// # Errors
/// A file that cannot be read, a key of another certificate, a time that is over or has not begun.
pub(crate) fn pair(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, PemError> {
    let chain = pem::certificates(certificate)?;
    let now = SystemTime::now();
    for (place, one) in chain.iter().enumerate() {
        valid_at(one, now)
            .map_err(|problem| PemError::new(certificate, format!("certificate {}: {problem}", place + 1)))?;
    }
    CertifiedKey::from_der(chain, pem::private_key(key)?, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            PemError::new(key, format!("is not the key of {}", certificate.display()))
        }
        rustls::Error::InvalidCertificate(_) => PemError::new(certificate, error.to_string()),
        error => PemError::new(key, format!("is not a key that we can sign with: {error}")),
    })
}

/// The host names of a certificate, wildcards among them, in lower case. Names are its subject alternative names; the
/// common name has not counted for clients since RFC 6125.
pub(crate) fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, String> {
    let parsed = EndEntityCert::try_from(certificate).map_err(|error| format!("is not a certificate: {error}"))?;
    Ok(parsed.valid_dns_names().map(str::to_ascii_lowercase).collect())
}

/// Whether a certificate is valid at a time. The other side would refuse it otherwise.
fn valid_at(certificate: &CertificateDer<'_>, now: SystemTime) -> Result<(), &'static str> {
    let (begins, ends) = validity(certificate).ok_or("has no readable times of validity")?;
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    if now > ends {
        return Err("has expired");
    }
    if now < begins {
        return Err("is not valid yet");
    }
    Ok(())
}

/// The last second of a certificate, since 1970.
pub(crate) fn ends(certificate: &CertificateDer<'_>) -> Option<u64> {
    validity(certificate).map(|(_, ends)| ends)
}

/// The first and the last second, since 1970. rustls does not tell them, so the few fields before them are walked over
/// here (RFC 5280, section 4.1).
fn validity(certificate: &[u8]) -> Option<(u64, u64)> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (whole, _) = field(certificate, SEQUENCE)?;
    let (signed, _) = field(whole, SEQUENCE)?;
    let rest = match field(signed, VERSION) {
        Some((_, rest)) => rest,
        None => signed,
    };
    let (_serial, rest) = field(rest, 0x02)?;
    let (_algorithm, rest) = field(rest, SEQUENCE)?;
    let (_issuer, rest) = field(rest, SEQUENCE)?;
    let (validity, _) = field(rest, SEQUENCE)?;
    let (begins, rest) = time(validity)?;
    let (ends, _) = time(rest)?;
    Some((begins, ends))
}

/// The content of a DER field with this tag, and what follows it.
pub(crate) fn field(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        // Longer than 64 KiB is no certificate.
        0x81 | 0x82 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length - 0x80))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    (*found == tag).then(|| rest.split_at_checked(length)).flatten()
}

/// `UTCTime` with two digits of the year, from 1950 to 2049, or `GeneralizedTime` with four (RFC 5280, section 4.1.2.5).
fn time(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (text, rest, year) = match (field(bytes, 0x17), field(bytes, 0x18)) {
        (Some((text, rest)), _) => {
            let year = number(text.get(..2)?)?;
            (text.get(2..)?, rest, if year < 50 { 2000 + year } else { 1900 + year })
        }
        (None, Some((text, rest))) => (text.get(4..)?, rest, number(text.get(..4)?)?),
        (None, None) => return None,
    };
    let (digits, b"Z") = text.split_at_checked(10)? else {
        return None;
    };
    let part = |place: usize| number(&digits[place..place + 2]);
    let (month, day, hour, minute, second) = (part(0)?, part(2)?, part(4)?, part(6)?, part(8)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some((seconds.try_into().unwrap_or(0), rest))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
}

/// Days since 1970 in the Gregorian calendar, counted in years that begin in March so that the odd day comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 719_469
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(from: i32, to: i32, names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 12, 31));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn times_are_read_in_both_forms() {
        let day = |year, month, day| u64::try_from(days(year, month, day) * 86_400).unwrap();
        assert_eq!(day(1970, 1, 1), 0);
        assert_eq!(day(2000, 2, 29), 951_782_400);
        assert_eq!(day(2026, 11, 23), 1_795_392_000);
        for (from, to) in [(1999, 2049), (2020, 2050), (2051, 2100)] {
            let found = validity(&certificate(from, to, &["a.example"])).unwrap();
            assert_eq!(found, (day(from.into(), 1, 1), day(to.into(), 12, 31)), "{from} to {to}");
        }
    }

    #[test]
    fn a_certificate_is_valid_between_its_times_only() {
        let certificate = certificate(2020, 2030, &["a.example"]);
        let year =
            |year| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(days(year, 6, 1) * 86_400).unwrap());
        assert_eq!(valid_at(&certificate, year(2019)), Err("is not valid yet"));
        assert_eq!(valid_at(&certificate, year(2025)), Ok(()));
        assert_eq!(valid_at(&certificate, year(2031)), Err("has expired"));
    }

    #[test]
    fn names_are_those_of_hosts() {
        let certificate = certificate(2020, 2030, &["A.example", "*.b.example", "127.0.0.1"]);
        assert_eq!(names(&certificate).unwrap(), ["a.example", "*.b.example"]);
        assert!(names(&CertificateDer::from(&b"nonsense"[..])).is_err());
    }

    #[test]
    fn a_cut_certificate_has_no_times_and_does_no_harm() {
        let certificate = certificate(2020, 2030, &["a.example"]);
        for length in 0..certificate.len() {
            assert_eq!(validity(&certificate[..length]), None);
        }
    }
}
