//! `make fuzz` runs it; what it checks is in `src/proxy_protocol.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tollgate_fuzz::proxy_protocol::check(bytes);
});
