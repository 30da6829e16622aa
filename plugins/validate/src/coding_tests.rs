use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Br, Coding::Zstd];
const MOST: u32 = 1 << 20;

fn encode(coding: Coding, plain: &[u8]) -> Vec<u8> {
    match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Coding::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Coding::Br => brotli_of(plain, 20),
        Coding::Zstd => compress_to_vec(plain, CompressionLevel::Fastest),
    }
}

fn brotli_of(plain: &[u8], window: i32) -> Vec<u8> {
    let params = brotli::enc::BrotliEncoderParams { quality: 5, lgwin: window, ..Default::default() };
    let mut coded = Vec::new();
    brotli::BrotliCompress(&mut { plain }, &mut coded, &params).unwrap();
    coded
}

/// Bytes that no coder makes much shorter.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let next = |_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    (0..len).map(next).collect()
}

#[test]
fn what_was_encoded_comes_back() {
    for coding in ALL {
        for plain in [b"".to_vec(), b"{\"a\":1}".to_vec(), noise(300_000), b"{\"name\":\"value\"}".repeat(40)] {
            assert_eq!(decode(coding, &encode(coding, &plain), MOST, 100).as_ref(), Ok(&plain), "{coding:?}");
        }
    }
}

#[test]
fn the_most_that_comes_out_passes_and_one_byte_more_does_not() {
    for coding in ALL {
        let coded = encode(coding, &noise(5000));
        assert_eq!(decode(coding, &coded, 5000, 100).map(|plain| plain.len()), Ok(5000), "{coding:?}");
        assert_eq!(decode(coding, &coded, 4999, 100), Err(Undecodable::TooLarge), "{coding:?}");
    }
    // The ratio, exactly: 300 zeros of how many bytes?
    for coding in [Coding::Gzip, Coding::Deflate, Coding::Br] {
        let mut plain = noise(64);
        plain.extend(vec![0; 4000]);
        let coded = encode(coding, &plain);
        let ratio = plain.len().div_ceil(coded.len()) as u32;
        assert!(decode(coding, &coded, MOST, ratio).is_ok(), "{coding:?}");
        assert_eq!(decode(coding, &coded, MOST, ratio - 1), Err(Undecodable::TooLarge), "{coding:?}");
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let zeros = vec![0; 10 << 20];
    for coding in ALL {
        let bomb = encode(coding, &zeros);
        assert_eq!(decode(coding, &bomb, MOST, 100), Err(Undecodable::TooLarge), "{coding:?}");
        assert_eq!(decode(coding, &bomb, MOST, u32::MAX), Err(Undecodable::TooLarge), "{coding:?}");
    }
}

#[test]
fn a_zstd_bomb_of_repeated_bytes_stops_at_the_limit() {
    // RLE blocks of 128 KiB that cost four bytes each, in a frame that asks for a window of 100 GiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xd8];
    for _ in 0..1000 {
        let block = (128 << 10 << 3) | 1 << 1;
        frame.extend(&u32::to_le_bytes(block)[..3]);
        frame.push(b'x');
    }
    assert_eq!(decode(Coding::Zstd, &frame, MOST, u32::MAX), Err(Undecodable::TooLarge));
}

#[test]
fn what_is_not_whole_or_not_alone_is_refused() {
    for coding in ALL {
        let coded = encode(coding, b"{\"some\":\"json\",\"of\":[\"some\",\"length\"]}");
        for end in 0..coded.len() {
            decode(coding, &coded[..end], MOST, 100).expect_err("cut");
        }
        let mut trailing = coded.clone();
        trailing.push(0);
        assert_eq!(decode(coding, &trailing, MOST, 100), Err(Undecodable::Broken), "{coding:?}");
        let twice = [coded.clone(), coded].concat();
        assert_eq!(decode(coding, &twice, MOST, 100), Err(Undecodable::Broken), "{coding:?}");
        decode(coding, b"{\"plain\":\"json\"}", MOST, 100).expect_err("no magic number");
    }
}

#[test]
fn brotli_windows_are_bounded() {
    let plain = noise(100);
    for (window, fits) in [(10, true), (16, true), (17, true), (18, true), (22, true), (23, false), (24, false)] {
        let coded = brotli_of(&plain, window);
        let expected = if fits { Ok(plain.clone()) } else { Err(Undecodable::Window) };
        // Some encoders shrink a window that is larger than their input.
        if brotli_window(coded[0]) == Some(window as u8) {
            assert_eq!(decode(Coding::Br, &coded, MOST, 100), expected, "{window}");
        }
    }
    assert_eq!(brotli_window(0x0f), Some(24));
    assert_eq!(decode(Coding::Br, &[0x0f, 0, 0], MOST, 100), Err(Undecodable::Window));
    assert_eq!(decode(Coding::Br, &[0x11, 0x3e], MOST, 100), Err(Undecodable::Window));
}

#[test]
fn codings_are_read_in_their_order() {
    let read = |fields: &[&str]| codings(fields.iter().map(|field| field.as_bytes()), &ALL);
    assert_eq!(read(&[]), Some(vec![]));
    assert_eq!(read(&["", " identity , ,IDENTITY"]), Some(vec![]));
    assert_eq!(read(&["gzip, BR"]), Some(vec![Coding::Gzip, Coding::Br]));
    assert_eq!(read(&["x-gzip", "zstd"]), Some(vec![Coding::Gzip, Coding::Zstd]));
    assert_eq!(read(&["gzip,gzip,gzip"]), None);
    assert_eq!(read(&["gzip"; 100]), None);
    for unknown in ["compress", "gzip;q=1", "dcb", "g zip", "\u{e9}"] {
        assert_eq!(read(&[unknown]), None, "{unknown}");
    }
    assert_eq!(codings([b"gzip".as_slice()].into_iter(), &[Coding::Br]), None);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_pass_the_limit(coding in prop::sample::select(&ALL[..]), bytes: Vec<u8>, magic: bool) {
        let mut body = match coding {
            Coding::Zstd if magic => vec![0x28, 0xb5, 0x2f, 0xfd],
            Coding::Gzip if magic => vec![0x1f, 0x8b, 8],
            Coding::Deflate if magic => vec![0x78, 0x9c],
            _ => Vec::new(),
        };
        body.extend(bytes);
        if let Ok(plain) = decode(coding, &body, 1000, 10) {
            prop_assert!(plain.len() <= 1000 && plain.len() <= body.len() * 10);
        }
    }

    #[test]
    fn damage_does_no_harm(coding in prop::sample::select(&ALL[..]), at: prop::sample::Index, with: u8) {
        let mut coded = encode(coding, &b"{\"name\":\"some value\",\"list\":[1,2,3]}".repeat(20));
        let at = at.index(coded.len());
        coded[at] = with;
        let _ = decode(coding, &coded, 10_000, 100);
    }
}
