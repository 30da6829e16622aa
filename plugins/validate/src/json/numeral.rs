//! How numbers are read.

use super::number::{MOST_PLAIN, POWERS, Plain};
use super::wrong::{EXPONENT_DIGITS, Wrong};

/// The most digits of a short number.
pub(super) const SHORT_DIGITS: u32 = 14;

/// A number that has up to seven digits before its point, up to seven behind it, and no exponent, as nearly all have. None
/// where it is another one, or near the end of the text.
#[inline(always)]
pub(super) fn short_number(bytes: &[u8], start: usize) -> Option<(Plain, usize)> {
    let around = bytes.get(start..)?.first_chunk::<17>()?;
    let negative = around[0] == b'-';
    let word = |at: usize| around.get(at..)?.first_chunk().map(|word| u64::from_le_bytes(*word));
    let mut at = usize::from(negative);
    let first = word(at)?;
    let (count, mut value, mut next) = leading_digits(first)?;
    if count > 1 && first as u8 == b'0' {
        return None;
    }
    at += count;
    let mut places = 0;
    if next == b'.' {
        let fraction;
        (places, fraction, next) = leading_digits(word(at + 1)?)?;
        value = value * POWERS[places] + fraction;
        at += 1 + places;
    }
    if next | 0x20 == b'e' {
        return None;
    }
    let digits = if negative { -value } else { value };
    Some((Plain { digits, places: places as u8 }, start + at))
}

/// How many digits a word begins with, one to seven, what number they make, and what follows them.
#[inline(always)]
fn leading_digits(word: u64) -> Option<(usize, i64, u8)> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let values = word ^ (ONES * 0x30);
    // The high bit of each byte that is no digit: what is carried goes upwards, and the lowest one is right.
    let others = (values.wrapping_add(ONES * 0x76) | values) & (ONES << 7);
    let bits = others.trailing_zeros() & !7;
    if others == 0 || bits == 0 {
        return None;
    }
    // The digits as the last ones of eight, then pairs of them, then fours, then all.
    let eight = values << (64 - bits);
    let pairs = (eight.wrapping_mul(10).wrapping_add(eight >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100).wrapping_add(pairs >> 16)) & 0x0000_ffff_0000_ffff;
    let value = fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff;
    Some((bits as usize / 8, value as i64, (word >> bits) as u8))
}

/// Reads a number of at most so many digits, and tells where it ends, and what it is where it is written plainly.
pub(super) fn number(bytes: &[u8], start: usize, most: u32) -> Result<(Option<Plain>, usize), Wrong> {
    let negative = bytes[start] == b'-';
    let first = start + usize::from(negative);
    let (mut at, mut value) = (first + 1, 0);
    if bytes.get(first) != Some(&b'0') {
        (at, value) = digits(bytes, first, 0)?;
    }
    let (mut count, mut places, mut plain) = (at - first, 0, true);
    if bytes.get(at) == Some(&b'.') {
        let fraction = at + 1;
        (at, value) = digits(bytes, fraction, value)?;
        places = at - fraction;
        count += places;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let sign = matches!(bytes.get(at + 1), Some(b'+' | b'-'));
        let first = at + 1 + usize::from(sign);
        (at, _) = digits(bytes, first, 0)?;
        if at - first > EXPONENT_DIGITS {
            return Err(Wrong::Exponent);
        }
        count += at - first;
        plain = false;
    }
    if count > most as usize {
        return Err(Wrong::Digits(most));
    }
    let plain = (plain && at - first <= MOST_PLAIN).then(|| {
        let digits = if negative { -(value as i64) } else { value as i64 };
        Plain { digits, places: places as u8 }
    });
    Ok((plain, at))
}

/// Where digits end, of which there must be one at least, and what number they make behind those before. Of more digits
/// than fit, that says nothing.
#[inline(always)]
fn digits(bytes: &[u8], start: usize, before: u64) -> Result<(usize, u64), Wrong> {
    let (mut at, mut value) = (start, before);
    while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    if at == start { Err(Wrong::Expected("a digit", at)) } else { Ok((at, value)) }
}
