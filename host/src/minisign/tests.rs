use proptest::prelude::*;

use super::*;

/// Made by minisign 0.11.
const PUBLIC: &str = include_str!("vectors/a.pub");
const SECRET: &str = include_str!("vectors/a.key");
const HASHED_FILE: &str = include_str!("vectors/hashed.minisig");
const PLAIN_FILE: &str = include_str!("vectors/legacy.minisig");
const OF_ANOTHER_KEY: &str = include_str!("vectors/other.minisig");

fn message() -> Message {
    Message::new(Bytes::from_static(include_bytes!("vectors/message")))
}

fn verify(text: &str) -> Result<(), Mismatch> {
    let signature = Signature::parse(text.as_bytes()).unwrap();
    PublicKey::parse(PUBLIC).unwrap().verify(&message(), &signature)
}

#[test]
fn what_minisign_signed_is_verified() {
    assert_eq!(verify(HASHED_FILE), Ok(()));
    assert_eq!(verify(PLAIN_FILE), Ok(()));
    let signature = Signature::parse(HASHED_FILE.as_bytes()).unwrap();
    assert_eq!(signature.comment(), "timestamp:1 file:greeting.wasm");
    let key = PublicKey::parse(PUBLIC).unwrap();
    assert!(PUBLIC.starts_with(&format!("{UNTRUSTED}minisign public key {}\n", key.id)), "{}", key.id);
    assert_eq!(PublicKey::parse(&key.to_string()).unwrap(), key, "the line alone");
    assert_eq!(verify(&HASHED_FILE.replace('\n', "\r\n")), Ok(()));
    assert_eq!(verify(HASHED_FILE.trim_end()), Ok(()));
    let anything = HASHED_FILE.replace("untrusted comment: signature", "untrusted comment: nonsense");
    assert_eq!(verify(&anything), Ok(()), "nobody signed that comment");
}

#[test]
fn what_is_signed_here_is_verified() {
    let key = SecretKey::parse(SECRET).unwrap();
    assert_eq!(key.public(), PublicKey::parse(PUBLIC).unwrap());
    assert_eq!(verify(&key.sign(&message(), "a comment\nof two lines")), Ok(()));
    let new = SecretKey::generate().unwrap();
    let read = SecretKey::parse(&new.to_file()).unwrap();
    assert_eq!(read.public(), new.public());
    assert_ne!(new.public(), key.public());
    let signature = Signature::parse(read.sign(&message(), "").as_bytes()).unwrap();
    assert_eq!(new.public().verify(&message(), &signature), Ok(()));
}

#[test]
fn what_is_not_signed_by_this_key_is_not_verified() {
    let key = PublicKey::parse(PUBLIC).unwrap();
    assert!(matches!(verify(OF_ANOTHER_KEY), Err(Mismatch::Key(id)) if id != key.id));
    // One that only says that it is by this key.
    let mut other = Signature::parse(OF_ANOTHER_KEY.as_bytes()).unwrap();
    other.id = key.id;
    assert_eq!(key.verify(&message(), &other), Err(Mismatch::Message));
    let signature = Signature::parse(HASHED_FILE.as_bytes()).unwrap();
    let another = Message::new(Bytes::from_static(b"another component"));
    assert_eq!(key.verify(&another, &signature), Err(Mismatch::Message));
    assert_eq!(verify(&HASHED_FILE.replace("timestamp:1", "timestamp:2")), Err(Mismatch::Comment));
    // A signature of a digest is none of a file, and none of the digest as a file.
    let plain = Signature { hashed: false, ..signature.clone() };
    assert_eq!(key.verify(&message(), &plain), Err(Mismatch::Message));
    let hashed = Signature { hashed: true, ..Signature::parse(PLAIN_FILE.as_bytes()).unwrap() };
    assert_eq!(key.verify(&message(), &hashed), Err(Mismatch::Message));
    // Two right ones, put together.
    let other = Signature::parse(PLAIN_FILE.as_bytes()).unwrap();
    let mixed = Signature { comment: other.comment, whole: other.whole, ..signature };
    assert_eq!(key.verify(&message(), &mixed), Err(Mismatch::Comment));
}

#[test]
fn what_is_no_signature_says_why() {
    let lines: Vec<_> = HASHED_FILE.lines().collect();
    let of = |lines: &[&str]| Signature::parse(lines.join("\n").as_bytes()).unwrap_err().0;
    for (wrong, why) in [
        (of(&lines[..3]), "it has not four lines"),
        (of(&[""]), "it has not four lines"),
        (of(&[lines[1], lines[1], lines[2], lines[3]]), "its first line does not begin with \"untrusted comment: \""),
        (of(&[lines[0], lines[1], lines[0], lines[3]]), "its third line does not begin with \"trusted comment: \""),
        (of(&[lines[0], &lines[1][4..], lines[2], lines[3]]), "its second line stands for 71 bytes, and not for 74"),
        (
            of(&[lines[0], lines[1], "trusted comment: \u{1b}[2J", lines[3]]),
            "its trusted comment has control characters",
        ),
        (of(&[lines[0], "!", lines[2], lines[3]]), "its second line is not Base64"),
        (of(&[lines[0], lines[1], lines[2], lines[1]]), "its fourth line stands for 74 bytes, and not for 64"),
        (
            of(&[lines[0], &format!("QQ{}", &lines[1][2..]), lines[2], lines[3]]),
            "its second line does not begin as signatures by Ed25519 do",
        ),
    ] {
        assert_eq!(wrong, why);
    }
    assert!(Signature::parse(&[0xff; 10]).unwrap_err().0.contains("UTF-8"));
    assert!(Signature::parse(&[b'a'; LONGEST + 1]).unwrap_err().0.contains("longer"));
}

#[test]
fn what_is_no_key_says_why() {
    for (text, why) in [
        ("", "stands for 0 bytes"),
        ("RWTb3", "not Base64"),
        (SECRET, "secret key"),
        (HASHED_FILE, "more lines"),
        ("UldUYjNoSnNwSEpaanl3aGJTaFJxZmFuT2lBV2kzbHhUd2dpR20rQmg1c3E=", "bytes"),
    ] {
        let wrong = PublicKey::parse(text).unwrap_err().0;
        assert!(wrong.contains(why), "{text}: {wrong}");
    }
    let encrypted = SECRET.replace("RWQAAEIy", "RWRTY0Iy");
    assert!(SecretKey::parse(&encrypted).unwrap_err().0.contains("encrypted"));
    let mut bytes = STANDARD.decode(SECRET.lines().nth(1).unwrap()).unwrap();
    bytes[120] ^= 1;
    assert!(SecretKey::parse(&STANDARD.encode(bytes)).unwrap_err().0.contains("two halves"));
}

proptest! {
    /// Whatever is changed in the lines that count, it is no signature any more.
    #[test]
    fn no_other_bytes_are_a_signature(at in 0usize..400, bit in 0u8..8, hashed: bool) {
        let right = if hashed { HASHED_FILE } else { PLAIN_FILE };
        let begin = right.find('\n').unwrap() + 1;
        let at = begin + at % (right.trim_end().len() - begin);
        let mut bytes = right.as_bytes().to_vec();
        bytes[at] ^= 1 << bit;
        if let Ok(signature) = Signature::parse(&bytes) {
            let key = PublicKey::parse(PUBLIC).unwrap();
            prop_assert!(key.verify(&message(), &signature).is_err(), "{at} {bit}");
        }
    }

    #[test]
    fn any_message_is_signed_and_verified(bytes: Vec<u8>, comment in "[^\\p{Cc}]{0,40}") {
        let (secret, message) = (SecretKey::parse(SECRET).unwrap(), Message::new(bytes.clone().into()));
        let signature = Signature::parse(secret.sign(&message, &comment).as_bytes()).unwrap();
        prop_assert_eq!(secret.public().verify(&message, &signature), Ok(()));
        prop_assert_eq!(signature.comment(), comment);
        let longer = Message::new([&bytes[..], b"x"].concat().into());
        prop_assert_eq!(secret.public().verify(&longer, &signature), Err(Mismatch::Message));
    }

    #[test]
    fn nothing_panics(bytes: Vec<u8>, text: String) {
        let _ = Signature::parse(&bytes);
        let _ = PublicKey::parse(&text);
        let _ = SecretKey::parse(&text);
    }
}
