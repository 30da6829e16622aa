//! Panics, with a text that no client may see.
use guests::{In, Misbehaviour};
use tollgate_sdk::plugin;

struct Trap;

impl Misbehaviour for Trap {
    fn misbehave() {
        panic!("the secret words of a trap");
    }
}
plugin!(In<Trap>);
