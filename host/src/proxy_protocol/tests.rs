use proptest::prelude::*;

use super::*;

fn client(from: &str, to: &str) -> Source {
    Source::Client(from.parse().unwrap(), to.parse().unwrap())
}

/// Reads as a connection does: never more than what is asked for.
fn piece_by_piece(bytes: &[u8]) -> Result<(usize, Source), &'static str> {
    let mut have = 0;
    loop {
        match read(&bytes[..have])? {
            Step::Whole(length, source) => {
                assert_eq!(length, have, "nothing behind the header was read");
                return Ok((length, source));
            }
            Step::More(more) => {
                assert!(more > 0);
                if have + more > bytes.len() {
                    return Err("cut");
                }
                have += more;
            }
        }
    }
}

/// Version 2 with a command, a family, and what follows the length.
fn second(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut out = SIGNATURE.to_vec();
    out.extend_from_slice(&[command, family]);
    out.extend_from_slice(&(body.len() as u16).to_be_bytes());
    out.extend_from_slice(body);
    out
}

#[test]
fn the_first_version_is_a_line() {
    let four = client("192.168.0.1:56324", "192.168.0.11:443");
    let six = client("[2001:db8::1]:1", "[::1]:65535");
    for (line, source) in [
        ("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443", four),
        ("PROXY TCP6 2001:db8::1 ::1 1 65535", six),
        ("PROXY UNKNOWN", Source::Unknown),
        ("PROXY UNKNOWN ffff::1 whatever it is 1", Source::Unknown),
    ] {
        let bytes = format!("{line}\r\nGET / HTTP/1.1\r\n");
        assert_eq!(piece_by_piece(bytes.as_bytes()), Ok((line.len() + 2, source)), "{line}");
    }
    for line in [
        "PROXY",
        "PROXY ",
        "PROXY TCP4",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 ",
        "PROXY  TCP4 1.1.1.1 2.2.2.2 1 2",
        "PROXY TCP4 ::1 ::1 1 2",
        "PROXY TCP6 1.1.1.1 2.2.2.2 1 2",
        "PROXY TCP4 1.1.1.01 2.2.2.2 1 2",
        "PROXY TCP4 1.1.1.1 2.2.2.2 +1 2",
        "PROXY TCP4 1.1.1.1 2.2.2.2 01 2",
        "PROXY TCP4 1.1.1.1 2.2.2.2 65536 2",
        "PROXY TCP4 a.example 2.2.2.2 1 2",
        "PROXY UDP4 1.1.1.1 2.2.2.2 1 2",
        "proxy TCP4 1.1.1.1 2.2.2.2 1 2",
        "PROXYTCP4 1.1.1.1 2.2.2.2 1 2",
        "POST / HTTP/1.1",
        "GET / HTTP/1.1",
    ] {
        assert!(read(format!("{line}\r\n").as_bytes()).is_err(), "{line}");
    }
    assert!(read(b"PROXY UNKNOWN\n").is_err(), "a bare line feed");
    assert!(read(&[b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat()).is_err(), "without an end");
}

#[test]
fn the_second_version_is_sixteen_bytes_and_addresses() {
    let four = [1, 2, 3, 4, 5, 6, 7, 8, 0x12, 0x34, 0, 80];
    let with = |more: &[u8]| [&four[..], more].concat();
    let source = client("1.2.3.4:4660", "5.6.7.8:80");
    for (bytes, source) in [
        (second(0x21, 0x11, &four), source),
        (second(0x21, 0x11, &with(&[1, 0, 2, b'h', b'2', 4, 0, 0])), source),
        (second(0x20, 0x11, &four), Source::Unknown),
        (second(0x20, 0x00, &[]), Source::Unknown),
        (second(0x20, 0x11, &[]), Source::Unknown),
        (second(0x21, 0x00, b"anything"), Source::Unknown),
        (second(0x21, 0x31, &[0; UNIX]), Source::Unknown),
    ] {
        let length = bytes.len();
        assert_eq!(piece_by_piece(&[bytes, b"GET".to_vec()].concat()), Ok((length, source)));
    }
    for bytes in [
        second(0x11, 0x11, &four),
        second(0x22, 0x11, &four),
        second(0x21, 0x13, &four),
        second(0x21, 0x41, &four),
        second(0x21, 0x12, &four),
        second(0x21, 0x11, &four[..11]),
        second(0x21, 0x21, &four),
        second(0x21, 0x11, &with(&[1, 0])),
        second(0x21, 0x11, &with(&[1, 0, 9, 0])),
        second(0x21, 0x11, &with(&[3, 0, 4, 0, 0, 0, 0])),
        second(0x21, 0x11, &with(&[3, 0, 3, 0, 0, 0])),
        second(0x21, 0x11, &[0; LONGEST]),
    ] {
        assert!(read(&bytes).is_err(), "{bytes:02x?}");
    }
}

#[test]
fn who_speaks_for_nobody_says_so() {
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let bytes = write(version, Source::Unknown);
        assert_eq!(piece_by_piece(&bytes), Ok((bytes.len(), Source::Unknown)));
    }
    assert_eq!(write(ProxyVersion::V2, Source::Unknown)[12], 0x20, "LOCAL");
}

#[test]
fn a_checksum_has_to_be_right() {
    assert_eq!(crc32c(b"123456789".iter()), 0xe306_9283);
    let body = [&[1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0, 2][..], &[4, 0, 1, 0], &[3, 0, 4, 0, 0, 0, 0], &[5, 0, 0]].concat();
    let mut bytes = second(0x21, 0x11, &body);
    let sum = crc32c(bytes.iter());
    let place = bytes.len() - 7;
    bytes[place..place + 4].copy_from_slice(&sum.to_be_bytes());
    assert!(matches!(read(&bytes), Ok(Step::Whole(..))));
    bytes[20] ^= 1;
    assert_eq!(read(&bytes), Err("its checksum is wrong"));
}

proptest! {
    #[test]
    fn what_is_written_is_read(from: SocketAddr, to: SocketAddr, text: bool) {
        let bytes = write(if text { ProxyVersion::V1 } else { ProxyVersion::V2 }, Source::Client(from, to));
        let Ok((length, Source::Client(read_from, read_to))) = piece_by_piece(&bytes) else { panic!("{bytes:02x?}") };
        prop_assert_eq!(length, bytes.len());
        for (read, wrote) in [(read_from, from), (read_to, to)] {
            prop_assert_eq!(read.ip().to_canonical(), wrote.ip().to_canonical());
            prop_assert_eq!(read.port(), wrote.port());
        }
    }

    /// Wherever the network cuts it, what was read so far is the begin of it and asks for no more than what is missing.
    #[test]
    fn it_is_the_same_at_every_split_point(from: SocketAddr, to: SocketAddr, text: bool, more: [u8; 8]) {
        let header = write(if text { ProxyVersion::V1 } else { ProxyVersion::V2 }, Source::Client(from, to));
        let bytes = [&header[..], &more].concat();
        for cut in 0..=bytes.len() {
            match read(&bytes[..cut]) {
                Ok(Step::More(more)) => prop_assert!(cut < header.len() && more <= header.len() - cut, "{cut}"),
                Ok(Step::Whole(length, Source::Client(..))) => prop_assert!(length == header.len() && cut >= length),
                other => prop_assert!(false, "{cut}: {other:?}"),
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), version in 0..3) {
        let begin: &[u8] = match version {
            0 => &[],
            1 => b"PROXY TCP4 ",
            _ => &SIGNATURE,
        };
        let bytes = [begin, &bytes].concat();
        let whole = read(&bytes);
        if let Ok(Step::Whole(length, _)) = whole {
            prop_assert!(length <= bytes.len());
            prop_assert_eq!(read(&bytes[..length]), whole, "what follows has no part in it");
            for cut in 0..length {
                prop_assert!(matches!(read(&bytes[..cut]), Ok(Step::More(more)) if more <= length - cut));
            }
        }
    }
}
