//! What a hostile client costs in memory, measured at the real process.

use std::io::{Read, Write};
use std::thread;

use super::{Origin, Running, config, folder};

/// What a bomb may take beyond what there was: by its bytes alone it is less than two.
const MOST: u64 = 10 << 20;

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field as HPACK has it without any art, kept in the table or not.
fn field(first: u8, name: &str, value: &str) -> Vec<u8> {
    [&[first, name.len() as u8][..], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

/// The replay of CVE-2026-49975 and CVE-2026-47774: a hundred heads, each of so many references of one byte to a tiny
/// field, from a client that makes no room for answers.
fn bomb(name: &str, value: &str, references: usize) -> Vec<u8> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    // SETTINGS_INITIAL_WINDOW_SIZE is 0.
    let mut out = [PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])].concat();
    for number in 0..100 {
        let stream = number * 2 + 1;
        let begin = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/a")];
        let mut block: Vec<u8> = begin.iter().flat_map(|(name, value)| field(0, name, value)).collect();
        if number == 0 {
            block.extend(field(0x40, name, value));
        }
        // The newest entry of the table.
        block.extend(vec![0xbe; references]);
        let mut pieces = block.chunks(16_384).peekable();
        let mut kind = HEADERS;
        while let Some(piece) = pieces.next() {
            let end = if pieces.peek().is_none() { END_HEADERS } else { 0 };
            let flags = if kind == HEADERS { END_STREAM | end } else { end };
            out.extend(frame(kind, flags, stream, piece));
            kind = CONTINUATION;
        }
    }
    out.extend(frame(PING, 0, 0, b"all sent"));
    out
}

/// Bytes, by the name of a line of `/proc/PID/status`.
fn memory(running: &Running, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.child.id())).expect("it runs");
    let line = status.lines().find_map(|found| found.strip_prefix(line)).expect("a line");
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<u64>().expect("a number") << 10
}

#[test]
fn a_bomb_of_references_costs_less_than_ten_mebibytes() {
    let origin = Origin::start();
    let folder = folder(&config(&origin.address, "/a"));
    let running = Running::start(&folder);
    // What is made once is not the bomb's.
    assert_eq!(running.get("/a", "").0, 200);
    for (what, bomb) in [
        ("a tiny field", bomb("a", "", 15_000)),
        ("crumbs of a cookie", bomb("cookie", "", 15_000)),
        ("a longer cookie", bomb("cookie", "a=b", 15_000)),
        ("as many as the library lets through", bomb("a", "", 2_900)),
        ("as many crumbs", bomb("cookie", "", 2_500)),
        ("as many as we let through", bomb("a", "", 90)),
    ] {
        // From here on the peak is counted anew.
        std::fs::write(format!("/proc/{}/clear_refs", running.child.id()), "5").expect("our own process");
        let before = memory(&running, "VmRSS");
        let mut stream = running.connect();
        let mut reader = stream.try_clone().expect("a socket");
        // It must not wait for us while we wait for it.
        let reader = thread::spawn(move || {
            let mut piece = [0; 4096];
            // The answer to our PING is the last of what it says for now, where it does not end the connection.
            while let Ok(read @ 1..) = reader.read(&mut piece) {
                if piece[..read].windows(8).any(|part| part == b"all sent") {
                    return;
                }
            }
        });
        // The end of the connection is an answer, too.
        let _ = stream.write_all(&bomb);
        reader.join().expect("no panic");
        let most = memory(&running, "VmHWM").saturating_sub(before);
        assert!(most < MOST, "{what}: {most} bytes more for {} that were sent", bomb.len());
        assert_eq!(running.get("/a", "").0, 200, "{what}: others are served");
        drop(stream);
    }
}
