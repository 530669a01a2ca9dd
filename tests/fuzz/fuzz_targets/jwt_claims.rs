#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| soproxy_fuzz::jwt_claims::check(data));
