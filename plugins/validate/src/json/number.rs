//! Numbers as they are written: compared, tested and divided exactly, whatever their size.
//!
//! A number of JSON is decimal, and JSON Schema speaks of its mathematical value. Doubles would take 2^53 + 1 for 2^53
//! and 1e400 for infinity, so nothing here is converted to one.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use super::{part, text};

/// A number: the text that the parser accepted, and what it is where it is written plainly.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number<'a> {
    /// The text around it, and where in it.
    pub(super) around: &'a [u8],
    pub(super) start: u32,
    pub(super) len: u32,
    pub(super) plain: Option<Plain>,
}

/// A number that is kept, as those of a schema are.
#[derive(Debug)]
pub(crate) struct Kept {
    text: String,
    plain: Option<Plain>,
}

/// `±digits × 10^exponent`, where the digits are `head` and then `tail`, begin and end with another digit than zero,
/// and are none at all for zero.
#[derive(Debug, Clone, Copy)]
struct Decimal<'a> {
    negative: bool,
    head: &'a [u8],
    tail: &'a [u8],
    exponent: i64,
}

/// `digits / 10^places`, of at most 18 digits: a number that is written without an exponent, which nearly all are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain {
    pub(super) digits: i64,
    pub(super) places: u8,
}

/// The longest text of a plain number without its sign.
pub(super) const MOST_PLAIN: usize = 18;

/// Powers of ten, as many as a plain number has places.
pub(super) const POWERS: [i64; MOST_PLAIN] = {
    let mut powers = [1; MOST_PLAIN];
    let mut at = 1;
    while at < MOST_PLAIN {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// The largest number that each of these powers can be a factor of.
const LARGEST: [i64; MOST_PLAIN] = {
    let mut largest = [i64::MAX; MOST_PLAIN];
    let mut at = 0;
    while at < MOST_PLAIN {
        largest[at] /= POWERS[at];
        at += 1;
    }
    largest
};

impl Plain {
    /// Which is larger; none where they have so many digits and places that they do not fit one beside the other.
    fn compare(self, other: Self) -> Option<Ordering> {
        let places = self.places.max(other.places);
        let scaled = |number: Self| {
            let by = usize::from(places - number.places);
            (number.digits.abs() <= LARGEST[by]).then(|| number.digits * POWERS[by])
        };
        Some(scaled(self)?.cmp(&scaled(other)?))
    }
}

/// What `multipleOf` divides by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Divisor {
    digits: u64,
    exponent: i64,
}

impl<'a> Number<'a> {
    /// The number that stands there, which must be one by the grammar of RFC 8259 with an exponent of at most 18 digits.
    pub(super) fn new(around: &'a [u8], start: u32, len: u32, plain: Option<Plain>) -> Self {
        Self { around, start, len, plain }
    }

    pub(crate) fn text(self) -> &'a str {
        text(part(self.around, self.start, self.len))
    }

    /// Whether its mathematical value is an integer: `1.0` and `1e2` are.
    pub(crate) fn is_integer(self) -> bool {
        match self.plain {
            Some(plain) => plain.places == 0 || plain.digits % POWERS[usize::from(plain.places)] == 0,
            None => self.decimal().exponent >= 0,
        }
    }

    /// Its value, if that is a whole number from 0 on that fits.
    pub(crate) fn to_u64(self) -> Option<u64> {
        let decimal = self.decimal();
        let zeros = usize::try_from(decimal.exponent).ok().filter(|zeros| *zeros < 20 && !decimal.negative)?;
        let digits = decimal.head.iter().chain(decimal.tail).chain(std::iter::repeat_n(&b'0', zeros));
        let mut digits = digits.map(|digit| u64::from(digit - b'0'));
        digits.try_fold(0_u64, |so_far, digit| so_far.checked_mul(10)?.checked_add(digit))
    }

    /// Whether it is a whole multiple.
    pub(crate) fn is_multiple_of(self, divisor: Divisor) -> bool {
        // Whole numbers by whole ones, cents by cents.
        if let Some(plain) = self.plain.filter(|plain| divisor.exponent == -i64::from(plain.places)) {
            return plain.digits.unsigned_abs().is_multiple_of(divisor.digits);
        }
        let decimal = self.decimal();
        if decimal.is_zero() {
            return true;
        }
        // With a zero at the end of the divisor's multiple and none at the end of the digits, nothing can be left over.
        let Ok(shift) = u64::try_from(decimal.exponent - divisor.exponent) else { return false };
        let modulus = u128::from(divisor.digits);
        let times_ten = |so_far: u128, digit: &u8| (so_far * 10 + u128::from(digit - b'0')) % modulus;
        let digits = decimal.head.iter().chain(decimal.tail).fold(0, times_ten);
        (digits * power_of_ten(shift, modulus)).is_multiple_of(modulus)
    }

    /// Which is larger, however they are written.
    #[inline(never)]
    fn compare(self, other: Number<'_>) -> Ordering {
        let plain = self.plain.zip(other.plain).and_then(|(one, other)| one.compare(other));
        plain.unwrap_or_else(|| self.decimal().cmp(&other.decimal()))
    }

    fn decimal(self) -> Decimal<'a> {
        let (negative, unsigned) = match self.text().strip_prefix('-') {
            Some(unsigned) => (true, unsigned),
            None => (false, self.text()),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            // At most 18 digits, by the parser.
            Some((mantissa, exponent)) => (mantissa, exponent.parse().unwrap_or(i64::MAX / 4)),
            None => (unsigned, 0),
        };
        let (head, tail) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut exponent: i64 = exponent - tail.len() as i64;
        let mut head = head.trim_start_matches('0');
        let mut tail = tail;
        if head.is_empty() {
            tail = tail.trim_start_matches('0');
        }
        let kept = tail.trim_end_matches('0');
        exponent += (tail.len() - kept.len()) as i64;
        tail = kept;
        if tail.is_empty() {
            let kept = head.trim_end_matches('0');
            exponent += (head.len() - kept.len()) as i64;
            head = kept;
        }
        if head.is_empty() && tail.is_empty() {
            return Decimal { negative: false, head: b"", tail: b"", exponent: 0 };
        }
        Decimal { negative, head: head.as_bytes(), tail: tail.as_bytes(), exponent }
    }
}

impl Kept {
    pub(crate) fn new(number: Number<'_>) -> Self {
        Self { text: number.text().to_owned(), plain: number.plain }
    }

    pub(crate) fn number(&self) -> Number<'_> {
        Number::new(self.text.as_bytes(), 0, self.text.len() as u32, self.plain)
    }
}

impl Ord for Number<'_> {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.plain, other.plain) {
            // Zero is zero however many places it has.
            (Some(one), Some(other)) if one.places == other.places || one.digits == 0 || other.digits == 0 => {
                one.digits.cmp(&other.digits)
            }
            _ => self.compare(*other),
        }
    }
}

impl PartialOrd for Number<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number<'_> {}

impl Hash for Number<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let decimal = self.decimal();
        decimal.negative.hash(state);
        decimal.exponent.hash(state);
        state.write_usize(decimal.len());
        decimal.head.iter().chain(decimal.tail).for_each(|digit| state.write_u8(*digit));
    }
}

impl Decimal<'_> {
    fn is_zero(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    fn cmp(&self, other: &Self) -> Ordering {
        match (self.is_zero(), other.is_zero(), self.negative, other.negative) {
            (true, true, ..) => Ordering::Equal,
            (true, false, _, negative) | (false, false, false, negative @ true) => {
                if negative {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (false, true, negative, _) | (false, false, negative @ true, false) => {
                if negative {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            (false, false, false, false) => self.cmp_magnitude(other),
            (false, false, true, true) => other.cmp_magnitude(self),
        }
    }

    fn cmp_magnitude(&self, other: &Self) -> Ordering {
        // Where the first digit stands decides, and then the digits from the front: none of them ends in a zero.
        let place = |one: &Self| one.len() as i64 + one.exponent;
        let digits = |one: &Self| (one.head, one.tail);
        let (one_head, one_tail) = digits(self);
        let (other_head, other_tail) = digits(other);
        place(self)
            .cmp(&place(other))
            .then_with(|| one_head.iter().chain(one_tail).cmp(other_head.iter().chain(other_tail)))
    }
}

impl Divisor {
    /// The number as a divisor: greater than zero, with at most 18 significant digits.
    pub(crate) fn new(number: Number<'_>) -> Option<Self> {
        let decimal = number.decimal();
        if decimal.is_zero() || decimal.negative || decimal.len() > 18 {
            return None;
        }
        let digits = decimal.head.iter().chain(decimal.tail);
        let digits = digits.fold(0, |so_far: u64, digit| so_far * 10 + u64::from(digit - b'0'));
        Some(Self { digits, exponent: decimal.exponent })
    }
}

/// `10^exponent` modulo a number below 2^64.
fn power_of_ten(mut exponent: u64, modulus: u128) -> u128 {
    let mut base = 10 % modulus;
    let mut result = 1 % modulus;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result * base % modulus;
        }
        base = base * base % modulus;
        exponent >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::numeral::number;
    use super::*;

    fn read(text: &str) -> Number<'_> {
        let (plain, _) = number(text.as_bytes(), 0, u32::MAX).expect("a number");
        Number::new(text.as_bytes(), 0, text.len() as u32, plain)
    }

    fn cmp(one: &str, other: &str) -> Ordering {
        let order = read(one).cmp(&read(other));
        assert_eq!(order.reverse(), read(other).cmp(&read(one)), "{one} {other}");
        order
    }

    #[test]
    fn numbers_are_compared_by_value() {
        for (one, other) in [("1", "1.0"), ("100", "1e2"), ("0", "-0.0e9"), ("0.001", "1E-3"), ("12.50", "125e-1")] {
            assert_eq!(cmp(one, other), Ordering::Equal, "{one} {other}");
        }
        for (one, other) in [
            ("9007199254740992", "9007199254740993"),
            ("18446744073709551615", "18446744073709551616"),
            ("1e400", "2e400"),
            ("-1e400", "-1e399"),
            ("-1", "0"),
            ("0", "1e-400"),
            ("-1e-400", "0"),
            ("-5", "3"),
            ("1.9", "2"),
            ("0.1", "0.11"),
            ("0.5", "3"),
            ("-1.25", "-1.2"),
            ("0.0000000000000001", "123456789012345678"),
            ("123456789012345678", "123456789012345678.5"),
            ("99999999999999999.9", "999999999999999999"),
            ("99999999999999999999", "1e20"),
        ] {
            assert_eq!(cmp(one, other), Ordering::Less, "{one} {other}");
        }
    }

    #[test]
    fn integers_are_told_by_value() {
        for integer in ["0", "-0", "1.0", "1e2", "1.50e1", "1e400", "123456789012345678901234567890", "0.0"] {
            assert!(read(integer).is_integer(), "{integer}");
        }
        for other in [
            "0.1",
            "-12.25",
            "0.0000000000000001",
            "1e-1",
            "1.5",
            "1.05e1",
            "1e-400",
            "123456789012345678901234567890.5",
        ] {
            assert!(!read(other).is_integer(), "{other}");
        }
    }

    proptest! {
        /// Numbers that are written plainly are what the general reading says that they are.
        #[test]
        fn plain_numbers_are_no_other_numbers(
            one in r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,8})?",
            other in r"-?(0|[1-9][0-9]{0,3})(\.[0-9]{1,3})?",
            divisor in r"[1-9][0-9]{0,2}(\.[0-9]{0,2}[1-9])?",
        ) {
            let general = |text| Number { plain: None, ..read(text) };
            let divisor = Divisor::new(read(&divisor)).unwrap();
            for (one, other) in [(&one, &other), (&other, &one), (&other, &other)] {
                let number = read(one);
                prop_assert_eq!(number.cmp(&read(other)), general(one).cmp(&general(other)), "{} {}", one, other);
                prop_assert_eq!(number.is_integer(), general(one).is_integer(), "{}", one);
                prop_assert_eq!(number.is_multiple_of(divisor), general(one).is_multiple_of(divisor), "{}", one);
            }
        }
    }

    #[test]
    fn counts_are_read_however_they_are_written() {
        for (text, count) in [("0", 0), ("2.0", 2), ("1e3", 1000), ("18446744073709551615", u64::MAX), ("12.5e1", 125)]
        {
            assert_eq!(read(text).to_u64(), Some(count), "{text}");
        }
        for none in ["-1", "0.5", "18446744073709551616", "1e20", "1e400"] {
            assert_eq!(read(none).to_u64(), None, "{none}");
        }
    }

    #[test]
    fn multiples_are_exact() {
        let multiple = |number: &str, of: &str| read(number).is_multiple_of(Divisor::new(read(of)).expect("a divisor"));
        assert!(multiple("0.0075", "0.0001") && !multiple("0.00751", "0.0001"));
        assert!(multiple("4.02", "0.01") && multiple("1070468.14", "0.01"));
        assert!(multiple("0", "7") && multiple("-21", "7") && !multiple("-20", "7"));
        assert!(multiple("9007199254740993", "3") && !multiple("9007199254740992", "3"));
        assert!(multiple("1e400", "1e-308") && multiple("1e308", "0.5") && !multiple("1e308", "0.123456789"));
        assert!(!multiple("1", "2") && !multiple("1", "10") && multiple("70", "10"));
        for none in ["0", "-1", "1234567890123456789", "0.0"] {
            assert!(Divisor::new(read(none)).is_none(), "{none}");
        }
    }
}
