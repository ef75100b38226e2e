//! [`tidegate_fuzz::chunked`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidegate_fuzz::chunked(data));
