//! `make fuzz` runs it; what it checks is in `src/contract.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tollgate_fuzz::contract::check(bytes));
