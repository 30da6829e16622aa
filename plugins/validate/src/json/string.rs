//! What stands between two quotes.

use super::wrong::Wrong;

/// The length of a string of up to fifteen bytes without escapes, which most are, from its opening quote on, and its first
/// eight bytes and the others as [`Name`](super::Name) has them. None where it is another string, or near the end of the text.
#[inline(always)]
pub(super) fn short(bytes: &[u8], at: usize) -> Option<(usize, u64, u64)> {
    let (quote, words) = bytes.get(at..)?.first_chunk::<17>()?.split_first()?;
    let [first, second] = words.as_chunks::<8>().0 else { return None };
    let (first, second) = (u64::from_le_bytes(*first), u64::from_le_bytes(*second));
    let (word, before) = if special(first) != 0 { (first, 0) } else { (second, 8) };
    let special = special(word);
    let bits = special.trailing_zeros() & !7;
    if special == 0 || *quote != b'"' || (word >> bits) as u8 != b'"' {
        return None;
    }
    let part = word & !(u64::MAX << bits);
    let len = before + bits as usize / 8;
    Some(if before == 0 { (len, part, 0) } else { (len, first, part) })
}

/// Where bytes end, from here on, that need no attention in a string: no quote, no backslash, no control character. Eight
/// at a time, since long strings are where the bytes of a body are.
#[inline(always)]
pub(super) fn plain(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(word) = bytes.get(at..).and_then(|from| from.first_chunk()) {
        let special = special(u64::from_le_bytes(*word));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    end(bytes, at)
}

/// The high bit of the first byte of a word that needs attention. Bits above it may be wrong.
#[inline(always)]
fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit);
    // What is borrowed goes upwards. Bytes that have a high bit themselves are no such bytes.
    (below(word, 0x20) | below(word ^ (ONES * 0x22), 1) | below(word ^ (ONES * 0x5c), 1)) & !word & (ONES << 7)
}

/// The same for the last few bytes of a text.
#[cold]
fn end(bytes: &[u8], at: usize) -> usize {
    let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    at + bytes[at..].iter().position(special).unwrap_or(bytes.len() - at)
}

/// Reads a string with escapes from behind its opening quote on, the first thing that is not plain being at `at`: what it
/// means is added to `out`, and the answer is where it ends. `nul`: whether it may hold U+0000.
pub(super) fn unescape(bytes: &[u8], start: usize, at: usize, nul: bool, out: &mut Vec<u8>) -> Result<usize, Wrong> {
    let (mut from, mut at) = (start, at);
    loop {
        out.extend_from_slice(&bytes[from..at]);
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => {
                let (character, end) = escape(bytes, at, nul)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                from = end;
            }
            Some(_) => return Err(Wrong::Control(at)),
            None => return Err(Wrong::Expected("the end of a string", at)),
        }
        at = plain(bytes, from);
    }
}

/// What an escape means, and where it ends.
fn escape(bytes: &[u8], at: usize, nul: bool) -> Result<(char, usize), Wrong> {
    let character = match bytes.get(at + 1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return code(bytes, at, nul),
        _ => return Err(Wrong::Escape(at)),
    };
    Ok((character, at + 2))
}

/// The character of `\uXXXX`, or of two of them that are one.
fn code(bytes: &[u8], at: usize, nul: bool) -> Result<(char, usize), Wrong> {
    let four = |start: usize| {
        let digits = bytes.get(start..start + 4).ok_or(Wrong::Escape(at))?;
        let digit = |digit: &u8| char::from(*digit).to_digit(16).ok_or(Wrong::Escape(at));
        digits.iter().try_fold(0, |code, next| Ok(code << 4 | digit(next)?))
    };
    let first = four(at + 2)?;
    let (code, end) = match first {
        0 if !nul => return Err(Wrong::Nul(at)),
        0xd800..=0xdbff => {
            if bytes.get(at + 6..at + 8) != Some(br"\u") {
                return Err(Wrong::LoneSurrogate(at));
            }
            let second = four(at + 8)?;
            if !(0xdc00..=0xdfff).contains(&second) {
                return Err(Wrong::LoneSurrogate(at));
            }
            (0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00), at + 12)
        }
        code => (code, at + 6),
    };
    Ok((char::from_u32(code).ok_or(Wrong::LoneSurrogate(at))?, end))
}
