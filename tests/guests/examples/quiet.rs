//! Has the hooks of the plugins that misbehave, and does nothing in them.
use guests::{In, Misbehaviour};
use tollgate_sdk::plugin;

struct Quiet;

impl Misbehaviour for Quiet {
    fn misbehave() {}
}
plugin!(In<Quiet>);
