//! A file of recordings is read up to where it is damaged, and what was read is what would be written.

use tollgate::recording::{Frames, MAGIC, encode};

/// A file.
pub fn check(bytes: &[u8]) {
    file(bytes);
    // What is behind the first bytes is where mistakes are.
    file(&[&MAGIC[..], bytes].concat());
    if let Ok(length) = u32::try_from(bytes.len()) {
        file(&[&MAGIC[..], &length.to_le_bytes(), bytes].concat());
    }
}

fn file(bytes: &[u8]) {
    let Ok(mut frames) = Frames::new(bytes) else { return };
    let mut read = Vec::new();
    while let Some(Ok(frame)) = frames.next() {
        read.push(frame);
    }
    assert!(frames.at() <= bytes.len());
    assert_eq!(frames.next(), None, "one mistake ends it");
    let mut written = MAGIC.to_vec();
    for frame in &read {
        written.extend(encode(frame).expect("what was read fits"));
    }
    let again: Result<Vec<_>, _> = Frames::new(&written).expect("a file").collect();
    assert_eq!(again, Ok(read));
}
