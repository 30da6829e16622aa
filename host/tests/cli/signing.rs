//! Keys, signatures, and what verifies them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use super::{ends, folder};

#[test]
fn what_is_signed_with_a_key_is_verified_by_its_other_half() {
    let here = folder("");
    let path = |name: &str| here.path().join(name);
    fs::write(path("filter.wasm"), "a component").expect("a file");
    let made = ends(&here, &["plugin", "keygen", "release"]);
    assert_eq!(made.status, Some(0), "{}", made.err);
    let mode = fs::metadata(path("release.key")).expect("a key").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "nobody else reads it");
    let public = fs::read_to_string(path("release.pub")).expect("the other half");
    let line = public.lines().nth(1).expect("a key");
    assert_eq!(made.out, format!("[key.release]\npublic-key = \"{line}\"\n"));
    let again = ends(&here, &["plugin", "keygen", "release"]);
    assert_eq!((again.status, again.out.as_str()), (Some(2), ""), "nothing is written over: {}", again.err);
    assert_eq!(ends(&here, &["plugin", "keygen", "../evil"]).status, Some(2));

    let unsigned = ends(&here, &["plugin", "verify", "--key", "release.pub", "filter.wasm"]);
    assert_eq!(unsigned.status, Some(2), "{}", unsigned.err);
    let signed = ends(&here, &["plugin", "sign", "--key", "release.key", "filter.wasm", "--comment", "build 7"]);
    assert_eq!(signed.status, Some(0), "{}", signed.err);
    for key in ["release.pub", line] {
        let verified = ends(&here, &["plugin", "verify", "--key", key, "filter.wasm"]);
        assert_eq!((verified.status, verified.out.as_str()), (Some(0), "build 7\n"), "{}", verified.err);
    }
    fs::write(path("filter.wasm"), "another").expect("a file");
    let other = ends(&here, &["plugin", "verify", "--key", "release.pub", "filter.wasm"]);
    assert_eq!((other.status, other.out.as_str()), (Some(1), ""));
    assert!(other.err.contains("it is not of this file"), "{}", other.err);
    // The wrong half.
    for arguments in [
        ["plugin", "sign", "--key", "release.pub", "filter.wasm"],
        ["plugin", "verify", "--key", "release.key", "filter.wasm"],
    ] {
        let wrong = ends(&here, &arguments);
        assert_eq!(wrong.status, Some(2), "{}", wrong.err);
        let secret = fs::read_to_string(path("release.key")).expect("a key");
        assert!(!wrong.err.contains(secret.lines().nth(1).expect("a key")), "{}", wrong.err);
    }
}

/// What minisign makes is taken here, and what is made here is taken by minisign, where it is.
#[test]
fn minisign_reads_and_writes_the_same() {
    let here = folder("");
    let minisign = |arguments: &[&str]| {
        let mut command = Command::new("minisign");
        let command = command.args(arguments).current_dir(here.path()).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null()).status()
    };
    if minisign(&["-v"]).is_err() {
        eprintln!("there is no minisign here, so it is not tried; what it made is in the unit tests");
        return;
    }
    let right = |arguments: &[&str]| minisign(arguments).expect("it is here").success();
    fs::write(here.path().join("filter.wasm"), "a component").expect("a file");
    assert_eq!(ends(&here, &["plugin", "keygen", "ours"]).status, Some(0));
    assert_eq!(ends(&here, &["plugin", "sign", "--key", "ours.key", "filter.wasm"]).status, Some(0));
    assert!(right(&["-V", "-p", "ours.pub", "-m", "filter.wasm"]), "what is signed here");
    assert!(right(&["-S", "-s", "ours.key", "-m", "filter.wasm"]), "with a key that was made here");
    assert_eq!(ends(&here, &["plugin", "verify", "--key", "ours.pub", "filter.wasm"]).status, Some(0));
    assert!(right(&["-G", "-W", "-p", "theirs.pub", "-s", "theirs.key"]));
    assert!(right(&["-S", "-s", "theirs.key", "-m", "filter.wasm"]));
    assert_eq!(ends(&here, &["plugin", "verify", "--key", "theirs.pub", "filter.wasm"]).status, Some(0));
    assert_eq!(ends(&here, &["plugin", "verify", "--key", "ours.pub", "filter.wasm"]).status, Some(1));
    assert_eq!(ends(&here, &["plugin", "sign", "--key", "theirs.key", "filter.wasm"]).status, Some(0));
    assert!(right(&["-V", "-p", "theirs.pub", "-m", "filter.wasm"]));
}
