//! Calls itself until there is no stack.
use std::hint::black_box;

use guests::{In, Misbehaviour};
use tollgate_sdk::plugin;

struct Recurse;

impl Misbehaviour for Recurse {
    fn misbehave() {
        black_box(deeper(black_box(1)));
    }
}

fn deeper(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if black_box(true) { deeper(depth + 1).wrapping_add(black_box(frame)[7]) } else { 0 }
}
plugin!(In<Recurse>);
