#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| soproxy_fuzz::rsa_key_value::check(data));
