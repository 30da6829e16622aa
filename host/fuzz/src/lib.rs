//! What must hold for every input, one module for each fuzz target, and the seeds that fuzzing begins with.
//!
//! A check panics where a promise is broken. `cargo test` runs each of them on its seeds, which hold every input that
//! ever broke one; `make fuzz` lets libFuzzer look for more.
//!
//! A target is a module here, its entry in `targets/` and `Cargo.toml`, a dictionary and seeds. What fuzzing found lies in
//! `target/fuzz/TARGET/found/`; `target/debug/fuzz-TARGET FILE` repeats it, and `-minimize_crash=1` makes it small.

pub mod configuration;
pub mod contract;
pub mod framing;
pub mod head;
pub mod hide;
pub mod json;
pub mod names;
pub mod path;
pub mod recording;
pub mod schema;
pub mod xml;
