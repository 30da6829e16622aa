//! Waits for an hour.
use std::time::Duration;

use guests::{In, Misbehaviour};
use tollgate_sdk::plugin;

struct Stall;

impl Misbehaviour for Stall {
    #[expect(clippy::disallowed_methods, reason = "to block is what this plugin does wrong")]
    fn misbehave() {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
plugin!(In<Stall>);
