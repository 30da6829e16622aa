//! Takes memory until there is none.
use std::hint::black_box;

use guests::{In, Misbehaviour};
use tollgate_sdk::plugin;

struct Allocate;

impl Misbehaviour for Allocate {
    fn misbehave() {
        let mut all = Vec::new();
        while black_box(true) {
            all.push(black_box(vec![1_u8; 1 << 16]));
        }
        black_box(all);
    }
}
plugin!(In<Allocate>);
