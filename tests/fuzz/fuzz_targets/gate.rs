#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| soproxy_fuzz::gate::check(data));
