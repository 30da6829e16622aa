use proptest::prelude::*;

use super::*;

#[test]
fn corpus() {
    use PathError as E;
    let table: &[(&str, Result<&str, PathError>)] = &[
        ("/", Ok("/")),
        ("/a", Ok("/a")),
        ("/a/", Ok("/a/")),
        ("/a/b.c/~d-e_f", Ok("/a/b.c/~d-e_f")),
        ("/a:b@c!$&'()*+,;=", Ok("/a:b@c!$&'()*+,;=")),
        // Dot segments and slashes.
        ("//", Ok("/")),
        ("//admin", Ok("/admin")),
        ("/a///b//", Ok("/a/b/")),
        ("/./admin", Ok("/admin")),
        ("/x/../admin", Ok("/admin")),
        ("/x/%2e%2e/admin", Ok("/admin")),
        ("/x/.%2E/admin", Ok("/admin")),
        ("/../../admin", Ok("/admin")),
        ("/a/.", Ok("/a/")),
        ("/a/b/..", Ok("/a/")),
        ("/..", Ok("/")),
        ("/a//../b", Ok("/b")),
        ("/public/%2e%2e/admin", Ok("/admin")),
        ("/a/...", Ok("/a/...")),
        ("/api../admin", Ok("/api../admin")),
        ("/api%2e%2e/admin", Ok("/api../admin")),
        ("/.well-known/x", Ok("/.well-known/x")),
        ("/..a/.b", Ok("/..a/.b")),
        // Escapes.
        ("/%61dmin", Ok("/admin")),
        ("/%7eme", Ok("/~me")),
        ("/caf%c3%a9", Ok("/caf%C3%A9")),
        ("/caf%C3%A9", Ok("/caf%C3%A9")),
        ("/%E9", Ok("/%E9")),
        ("/%2561dmin", Ok("/%2561dmin")),
        ("/%252e%252e/admin", Ok("/%252e%252e/admin")),
        ("/a%3bb", Ok("/a%3Bb")),
        ("/a%20b", Ok("/a%20b")),
        ("/a b", Ok("/a%20b")),
        ("/{id}|[x]^`\"<>", Ok("/%7Bid%7D%7C%5Bx%5D%5E%60%22%3C%3E")),
        ("/a?b", Ok("/a%3Fb")),
        ("/a#b", Ok("/a%23b")),
        // Refused.
        ("", Err(E::NotAbsolute)),
        ("*", Err(E::NotAbsolute)),
        ("admin", Err(E::NotAbsolute)),
        ("@evil/", Err(E::NotAbsolute)),
        ("http://a/b", Err(E::NotAbsolute)),
        ("/admin%00", Err(E::Control)),
        ("/admin%0a", Err(E::Control)),
        ("/admin%0D%0A", Err(E::Control)),
        ("/admin%7f", Err(E::Control)),
        ("/a\tb", Err(E::Control)),
        ("/a\0", Err(E::Control)),
        ("/caf\u{e9}", Err(E::Control)),
        ("\\admin", Err(E::NotAbsolute)),
        ("/\\admin", Err(E::Backslash)),
        ("/x%5c..%5cadmin", Err(E::Backslash)),
        ("/x%5C", Err(E::Backslash)),
        ("/%", Err(E::Escape)),
        ("/%6", Err(E::Escape)),
        ("/%6g", Err(E::Escape)),
        ("/%%36", Err(E::Escape)),
        ("/%+1", Err(E::Escape)),
        ("/%u002e", Err(E::Escape)),
        ("/admin%2f", Err(E::EncodedSlash)),
        ("/%2fadmin", Err(E::EncodedSlash)),
        ("/x%2F..%2fadmin", Err(E::EncodedSlash)),
        ("/x/..;/admin", Err(E::DotParameter)),
        ("/x/..;a=b/admin", Err(E::DotParameter)),
        ("/x/.;/admin", Err(E::DotParameter)),
        ("/x/%2e%2e;/admin", Err(E::DotParameter)),
        ("/x/..%3b/admin", Err(E::DotParameter)),
        ("/%c0%ae%c0%ae/admin", Err(E::Overlong)),
        ("/%e0%80%ae", Err(E::Overlong)),
        ("/%f0%80%80%ae", Err(E::Overlong)),
        ("/%C1%9C", Err(E::Overlong)),
    ];
    for (raw, expected) in table {
        assert_eq!(canonical(raw, false).as_deref(), expected.as_deref(), "{raw:?}");
    }
}

#[test]
fn corpus_with_encoded_slashes() {
    use PathError as E;
    let table: &[(&str, Result<&str, PathError>)] = &[
        ("/projects/group%2fname", Ok("/projects/group%2Fname")),
        ("/projects/group%2Fname", Ok("/projects/group%2Fname")),
        ("/folder%2F", Ok("/folder%2F")),
        ("/a%2Fb%2Fc", Ok("/a%2Fb%2Fc")),
        ("/%252F", Ok("/%252F")),
        ("/public/..%2fadmin", Err(E::EncodedSlash)),
        ("/strip/..%2f..%2fadmin", Err(E::EncodedSlash)),
        ("/admin%2f..", Err(E::EncodedSlash)),
        ("/admin%2f.%2fx", Err(E::EncodedSlash)),
        ("/admin%2f..;x%2fy", Err(E::EncodedSlash)),
        ("/%2fadmin", Err(E::EncodedSlash)),
        ("/%2Fadmin", Err(E::EncodedSlash)),
        ("/a%2F%2Fb", Err(E::EncodedSlash)),
        ("/a%2F/b", Err(E::EncodedSlash)),
        ("/a/%2Fb", Err(E::EncodedSlash)),
        ("/x%2e%2e%2f", Ok("/x..%2F")),
        ("/a/b%2F../c", Err(E::EncodedSlash)),
    ];
    for (raw, expected) in table {
        assert_eq!(canonical(raw, true).as_deref(), expected.as_deref(), "{raw:?}");
    }
}

#[test]
fn borrows_what_is_canonical() {
    for path in ["/", "/a/b", "/a/", "/caf%C3%A9", "/a;b=c", "/%2561", "/a%20b", "/...", "/a%3Bb"] {
        assert!(matches!(canonical(path, false), Ok(Cow::Borrowed(_))), "{path}");
    }
    assert!(matches!(canonical("/a%2Fb", true), Ok(Cow::Borrowed(_))));
}

/// Paths made of the pieces that matter, so that most of them reach the interesting branches.
fn likely_path() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/", "/", ".", "..", "a", "Z", "%2e", "%2E", "%2f", "%2F", "%5c", "%41", "%61", "%25", "%252e", "%3b", ";",
        "%c0", "%ae", "%C3%A9", "%00", "%", "[", " ", "~", "%7e", "%e0", "%80", "//", "/./", "/../", "\\", "\u{e9}",
        "b=c",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

fn holds(raw: &str, keep: bool) -> Result<(), TestCaseError> {
    let Ok(once) = canonical(raw, keep) else { return Ok(()) };
    prop_assert_eq!(matches!(once, Cow::Borrowed(_)), once == raw, "borrowed exactly if unchanged: {}", raw);
    let twice = canonical(&once, keep);
    prop_assert!(matches!(&twice, Ok(Cow::Borrowed(twice)) if *twice == once), "not idempotent: {} {:?}", raw, twice);
    prop_assert!(once.starts_with('/') && once.is_ascii());
    prop_assert!(!once.contains("//") && !once.contains('\\'));
    let slashes = once.replace("%2F", "/");
    for path in [&*once, &slashes] {
        for segment in path[1..].split('/') {
            let name = segment.split(';').next().unwrap_or_default();
            prop_assert!(!is_dots(name.as_bytes()), "a dot segment in {}", once);
        }
    }
    prop_assert_eq!(keep || !has_encoded_slash(&once), true);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn canonical_paths_are_a_fixed_point(raw in likely_path(), keep: bool) {
        holds(&raw, keep)?;
    }

    #[test]
    fn any_text_is_answered(raw in any::<String>(), keep: bool) {
        holds(&raw, keep)?;
        holds(&format!("/{raw}"), keep)?;
    }

    /// What a path means does not change: its segments, decoded and resolved by the simplest means, stay the same.
    #[test]
    fn meaning_is_kept(raw in likely_path()) {
        if let Ok(canonical) = canonical(&raw, false) {
            prop_assert_eq!(meaning(&raw), meaning(&canonical));
        }
    }
}

/// The decoded segments after resolution of dot segments, empty ones aside.
fn meaning(path: &str) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let bytes = segment.as_bytes();
        let mut decoded = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            if bytes[at] == b'%' {
                decoded.push(u8::from_str_radix(&segment[at + 1..at + 3], 16).unwrap());
                at += 3;
            } else {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
        match decoded.as_slice() {
            b"." => {}
            b".." => drop(out.pop()),
            _ => out.push(decoded),
        }
    }
    out
}
