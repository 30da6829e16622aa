//! Never comes back.
use std::hint::black_box;

use guests::{In, Misbehaviour};
use tollgate_sdk::plugin;

struct Spin;

impl Misbehaviour for Spin {
    fn misbehave() {
        while black_box(true) {}
    }
}
plugin!(In<Spin>);
