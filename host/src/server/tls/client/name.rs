//! Names of X.509 as text (RFC 4514).

use crate::certificate::field;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT: u8 = 0x06;

/// The types that have a short name there, and the address that is in many old certificates.
const TYPES: [(&[u8], &str); 10] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
];

/// The content of a name, without its outer tag, with the last part first, as the RFC wants it: `CN=alice,O=Example`.
/// None where it is no name, or in parts that no text stands for.
pub(super) fn text(mut name: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    while !name.is_empty() {
        let (mut set, rest) = field(name, SET)?;
        name = rest;
        let mut same = Vec::new();
        while !set.is_empty() {
            let (pair, rest) = field(set, SEQUENCE)?;
            set = rest;
            same.push(part(pair)?);
        }
        parts.push(same.join("+"));
    }
    parts.reverse();
    Some(parts.join(","))
}

fn part(pair: &[u8]) -> Option<String> {
    let (kind, value) = field(pair, OBJECT)?;
    let (_, name) = TYPES.iter().find(|(object, _)| *object == kind)?;
    let tag = *value.first()?;
    let (value, _) = field(value, tag)?;
    let value = match tag {
        // UTF8String, and those that are parts of it: NumericString, PrintableString, IA5String.
        0x0c | 0x12 | 0x13 | 0x16 => str::from_utf8(value).ok()?.to_owned(),
        // T61String as everybody writes it, in Latin-1.
        0x14 => value.iter().map(|byte| char::from(*byte)).collect(),
        0x1e if value.len().is_multiple_of(2) => {
            let units = value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()?
        }
        _ => return None,
    };
    Some(format!("{name}={}", escaped(&value)?))
}

/// None for a value with control characters: whoever has NUL in its name wants to be taken for somebody else.
fn escaped(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    for (place, c) in value.char_indices() {
        if c.is_control() {
            return None;
        }
        let at_an_end = place == 0 || place + c.len_utf8() == value.len();
        if matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\') || (c == ' ' && at_an_end) || (c == '#' && place == 0)
        {
            out.push('\\');
        }
        out.push(c);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    use webpki::EndEntityCert;

    use super::*;

    fn subject(parts: &[(DnType, &str)]) -> Option<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        text(EndEntityCert::try_from(made.der()).unwrap().subject())
    }

    #[test]
    fn a_name_is_written_from_its_end() {
        let parts =
            [(DnType::CountryName, "DE"), (DnType::OrganizationName, "Ex, Inc."), (DnType::CommonName, " #alice+bob ")];
        assert_eq!(subject(&parts).as_deref(), Some(r"CN=\ #alice\+bob\ ,O=Ex\, Inc.,C=DE"));
        assert_eq!(subject(&[(DnType::CommonName, "#ä")]).as_deref(), Some(r"CN=\#ä"));
        assert_eq!(subject(&[]).as_deref(), Some(""));
    }

    #[test]
    fn what_could_be_taken_for_another_name_is_none() {
        assert_eq!(subject(&[(DnType::CommonName, "alice\0.example")]), None);
        assert_eq!(subject(&[(DnType::CommonName, "alice\n")]), None);
        assert_eq!(subject(&[(DnType::CustomDnType(vec![2, 5, 4, 46]), "x")]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = text(&bytes);
        }

        #[test]
        fn a_name_says_all_of_its_value(value in "[^\\x00-\\x1f\\x7f-\\u{9f}]{1,20}") {
            let text = subject(&[(DnType::CommonName, &value)]).unwrap();
            let mut escaped = false;
            let plain: String = text.strip_prefix("CN=").unwrap().chars().filter(|c| {
                escaped = *c == '\\' && !escaped;
                !escaped
            }).collect();
            prop_assert_eq!(plain, value);
        }
    }
}
