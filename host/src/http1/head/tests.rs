use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { bytes: 1024, fields: 10 };

/// The head, which is found with the same lines when it comes in two parts at any point, and byte by byte.
fn read(bytes: &[u8]) -> Result<Option<RequestHead>, BadHead> {
    let scan = |parts: &mut dyn Iterator<Item = usize>| {
        let mut scan = Scan::default();
        for end in parts {
            let mut lines = Lines::new();
            if let Some((begin, length)) = scan.request(&bytes[..end], LIMITS.bytes, &mut lines)? {
                return Ok(Some((begin, length, lines)));
            }
        }
        Ok(None)
    };
    let whole = scan(&mut [bytes.len()].into_iter());
    assert_eq!(scan(&mut (0..=bytes.len())), whole, "byte by byte: {bytes:?}");
    for at in 0..=bytes.len() {
        assert_eq!(scan(&mut [at, bytes.len()].into_iter()), whole, "split at {at}: {bytes:?}");
    }
    let Some((begin, length, lines)) = whole? else { return Ok(None) };
    request(&Bytes::copy_from_slice(&bytes[begin..begin + length]), &lines, LIMITS).map(Some)
}

fn refused(bytes: &str) -> Option<BadHead> {
    read(bytes.as_bytes()).err()
}

#[test]
fn a_request_is_what_it_says() {
    let head = read(b"\r\nPOST /a?b=%20 HTTP/1.1\r\nHost: x\r\nX-Y:  z \t\r\nx-y:\r\nContent-Length: 5\r\nTE: gzip, trailers\r\nExpect: 100-Continue\r\n\r\nhello");
    let head = head.unwrap().unwrap();
    assert_eq!((head.request.method(), head.request.uri()), (&Method::POST, &Uri::from_static("/a?b=%20")));
    assert_eq!((head.request.version(), head.length, head.keep_alive), (Version::HTTP_11, Length::Sized(5), true));
    assert!(head.expects_continue && head.takes_trailers);
    let values: Vec<_> = head.request.headers().get_all("x-y").iter().map(HeaderValue::as_bytes).collect();
    assert_eq!(values, [&b"z"[..], b""]);
    for (rest, length, keep_alive) in [
        ("/ HTTP/1.1\r\n\r\n", Length::None, true),
        ("/ HTTP/1.1\r\nConnection: a, Close\r\n\r\n", Length::None, false),
        ("/ HTTP/1.1\r\nContent-Length: 0\r\n\r\n", Length::None, true),
        ("/ HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n", Length::Chunked, true),
        ("/ HTTP/1.0\r\n\r\n", Length::None, false),
        ("/ HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 7\r\n\r\n", Length::Sized(7), true),
        ("/ HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", Length::None, false),
        ("http://a:80/ HTTP/1.1\r\n\r\n", Length::None, true),
        ("a:80 HTTP/1.1\r\n\r\n", Length::None, true),
        ("* HTTP/1.1\r\n\r\n", Length::None, true),
    ] {
        let head = read(format!("ANY {rest}").as_bytes()).unwrap().unwrap();
        assert_eq!((head.length, head.keep_alive, head.expects_continue), (length, keep_alive, false), "{rest:?}");
    }
    for half in
        ["", "\r", "\r\n", "G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\na: b\r\n", "GET / HTTP/1.1\r\na: b\r\n\r"]
    {
        assert!(read(half.as_bytes()).unwrap().is_none(), "{half:?}");
    }
}

#[test]
fn what_is_not_exactly_a_request_is_refused_by_name() {
    use BadHead as B;
    for (line, why) in [
        ("GET / HTTP/1.1\n\n", B::LineEnd),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", B::LineEnd),
        ("\nGET / HTTP/1.1\r\n\r\n", B::LineEnd),
        (" GET / HTTP/1.1\r\n\r\n", B::NotHttp),
        ("\rGET / HTTP/1.1\r\n\r\n", B::NotHttp),
        ("\u{16}\u{3}\u{1}\r\n\r\n", B::NotHttp),
        ("GET / HTTP/1.1\rX: y\r\n\r\n", B::LineEnd),
        ("GET\r\n\r\n", B::RequestLine),
        ("GET /\r\n\r\n", B::RequestLine),
        ("GET  / HTTP/1.1\r\n\r\n", B::RequestLine),
        ("GET /  HTTP/1.1\r\n\r\n", B::RequestLine),
        ("GET / HTTP/1.1 \r\n\r\n", B::LineEnd),
        ("GET /a b HTTP/1.1\r\n\r\n", B::RequestLine),
        ("GET\t/ HTTP/1.1\r\n\r\n", B::Method),
        ("G{T / HTTP/1.1\r\n\r\n", B::Method),
        ("GET /a\tb HTTP/1.1\r\n\r\n", B::Target),
        ("GET /a\0b HTTP/1.1\r\n\r\n", B::Target),
        ("GET /a\u{1}b HTTP/1.1\r\n\r\n", B::Target),
        ("GET /a\u{7f} HTTP/1.1\r\n\r\n", B::Target),
        ("GET /ü HTTP/1.1\r\n\r\n", B::Target),
        ("GET /a#b HTTP/1.1\r\n\r\n", B::Target),
        ("GET a/b HTTP/1.1\r\n\r\n", B::Target),
        ("GET / http/1.1\r\n\r\n", B::RequestLine),
        ("GET / HTTP/1\r\n\r\n", B::RequestLine),
        ("GET / HTTP/11\r\n\r\n", B::RequestLine),
        ("GET / HTTP/1.10\r\n\r\n", B::LineEnd),
        ("GET / HTTP/1.2\r\n\r\n", B::Version),
        ("GET / HTTP/2.0\r\n\r\n", B::Version),
        ("GET / HTTP/9.9\r\n\r\n", B::Version),
    ] {
        assert_eq!(refused(line), Some(why), "{line:?}");
    }
    for (field, why) in [
        (": x", B::Name),
        ("X : y", B::Name),
        ("X\t: y", B::Name),
        (" X: y", B::Name),
        ("X: y\r\n z", B::Name),
        ("X Y: z", B::Name),
        ("no colon", B::Name),
        ("ü: y", B::Name),
        ("X\0: y", B::Name),
        ("X: \0", B::Value),
        ("X: \u{1}", B::Value),
        ("X: \u{7f}", B::Value),
        ("X: a\rb", B::Value),
        ("X: a\r\rb", B::Value),
        ("\rX: y", B::LineEnd),
        ("Transfer-Encoding:\u{b}chunked", B::Value),
        ("Transfer-Encoding : chunked", B::Name),
        ("Transfer-Encoding: xchunked", B::Coding),
        ("Transfer-Encoding: chunked, identity", B::Coding),
        ("Transfer-Encoding: gzip, chunked", B::Coding),
        ("Transfer-Encoding: chunked, chunked", B::Coding),
        ("Transfer-Encoding: \"chunked\"", B::Coding),
        ("Transfer-Encoding:", B::Coding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: cow", B::Coding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", B::Coding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4", B::LengthAndCoding),
        ("Content-Length: 6\r\nTransfer-Encoding: chunked", B::LengthAndCoding),
        ("Content-Length: 0\r\nTransfer-Encoding: chunked", B::LengthAndCoding),
        ("Content-Length: 5\r\nContent-Length: 6", B::Lengths),
        ("Content-Length: 5\r\nContent-Length: 5", B::Lengths),
        ("Content-Length: 5, 5", B::Length),
        ("Content-Length: +5", B::Length),
        ("Content-Length: -1", B::Length),
        ("Content-Length: 0x5", B::Length),
        ("Content-Length:", B::Length),
        ("Content-Length: 18446744073709551621", B::Length),
        ("Content-Length: \u{a0}5", B::Length),
    ] {
        assert_eq!(refused(&format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n")), Some(why), "{field:?}");
    }
    let old = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(refused(old), Some(B::CodingVersion));
}

#[test]
fn heads_have_limits_to_the_byte() {
    let with = |length: usize| {
        let rest = "GET / HTTP/1.1\r\nX: \r\n\r\n".len();
        refused(&format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(length - rest)))
    };
    assert_eq!((with(1024), with(1025), with(1500)), (None, Some(BadHead::TooLarge), Some(BadHead::TooLarge)));
    let target = "x".repeat(1024);
    assert_eq!(refused(&format!("GET /{target} HTTP/1.1\r\n\r\n")), Some(BadHead::TargetTooLong));
    assert_eq!(refused(&format!("GET /{target}")), Some(BadHead::TargetTooLong));
    assert_eq!(refused(&format!("GET / HTTP/1.1\r\nX: {target}")), Some(BadHead::TooLarge));
    let fields = |count| refused(&format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(count)));
    assert_eq!((fields(10), fields(11)), (None, Some(BadHead::TooManyFields)));
}

/// A response to this method.
fn answer(bytes: &str, method: &Method) -> Result<Option<ResponseHead>, BadHead> {
    let mut lines = Lines::new();
    let Some(length) = Scan::default().response(bytes.as_bytes(), LIMITS.bytes, &mut lines)? else { return Ok(None) };
    response(&Bytes::copy_from_slice(&bytes.as_bytes()[..length]), &lines, LIMITS, method).map(Some)
}

#[test]
fn a_response_ends_where_its_head_and_its_request_say() {
    use Length as L;
    let get = Method::GET;
    for (head, method, length, keep_alive) in [
        ("1.1 200 OK\r\nContent-Length: 5\r\n", &get, L::Sized(5), true),
        ("1.1 200\r\nContent-Length: 5\r\nContent-Length: 5\r\n", &get, L::Sized(5), true),
        ("1.1 200 \r\nTransfer-Encoding: chunked\r\n", &get, L::Chunked, true),
        ("1.1 200 OK\r\nConnection: close\r\n", &get, L::UntilClose, false),
        ("1.0 200 OK\r\n", &get, L::UntilClose, false),
        ("1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n", &get, L::None, true),
        ("1.1 204 No\r\nContent-Length: 5\r\n", &get, L::None, true),
        ("1.1 304 Same\r\nContent-Length: 5\r\n", &get, L::None, true),
        ("1.1 200 OK\r\nContent-Length: 5\r\n", &Method::HEAD, L::None, true),
        ("1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", &Method::HEAD, L::None, true),
        ("1.1 103 Early\r\n", &get, L::None, true),
    ] {
        let read = answer(&format!("HTTP/{head}\r\n"), method).unwrap().unwrap();
        assert_eq!((read.length, read.keep_alive), (length, keep_alive), "{head:?}");
        let headers = read.response.headers();
        assert!(!headers.contains_key("transfer-encoding"), "{head:?}");
        let told = usize::from(head.contains("Length") && read.response.status() != StatusCode::NO_CONTENT);
        assert_eq!(headers.get_all("content-length").iter().count(), told, "{head:?}");
    }
}

#[test]
fn what_is_not_exactly_a_response_is_refused_by_name() {
    use BadHead as B;
    for (head, why) in [
        ("hello\r\n\r\n", B::NotHttp),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", B::NotHttp),
        ("HTTP/9.9 200 OK\r\n\r\n", B::NotHttp),
        ("HTTP/1.1 200 OK\n\n", B::LineEnd),
        ("HTTP/1.1 200 OK\r\nX: y\n\r\n", B::LineEnd),
        ("HTTP/1.1 20 OK\r\n\r\n", B::Status),
        ("HTTP/1.1 099 OK\r\n\r\n", B::Status),
        ("HTTP/1.1 1000 OK\r\n\r\n", B::Status),
        ("HTTP/1.1 600 OK\r\n\r\n", B::Status),
        ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", B::Name),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", B::Lengths),
        ("HTTP/1.1 204 No\r\nContent-Length: x\r\n\r\n", B::Length),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", B::LengthAndCoding),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", B::CodingVersion),
    ] {
        assert_eq!(answer(head, &Method::GET).err(), Some(why), "{head:?}");
    }
}

#[test]
fn every_fault_has_a_reason_that_closes() {
    use BadHead as B;
    for (bad, status) in [
        (B::NotHttp, 400),
        (B::Name, 400),
        (B::Target, 400),
        (B::TargetTooLong, 414),
        (B::Version, 505),
        (B::TooManyFields, 431),
        (B::TooLarge, 431),
        (B::LengthAndCoding, 400),
    ] {
        assert_eq!(bad.reason().status().as_u16(), status, "{bad}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_the_same_however_they_come(
        begin in "(\r\n)?(GET / HTTP/1.1\r\n)?",
        rest in prop::collection::vec(prop::sample::select(b"GET /:aX\r\n\r\n\t\0\xff;".to_vec()), 0..60),
    ) {
        let bytes = [begin.as_bytes(), &rest].concat();
        let _ = read(&bytes);
        let _ = read(&rest);
    }

    #[test]
    fn what_passes_has_no_byte_that_could_end_a_line(rest in "[ -~\r\n\t\0]{0,40}") {
        if let Ok(Some(head)) = read(format!("GET / HTTP/1.1\r\nX: {rest}\r\n\r\n").as_bytes()) {
            for (_, value) in head.request.headers() {
                prop_assert!(!value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
            }
        }
    }
}
