#![no_main]
//! Runs [`dps_fuzz::journal`].
libfuzzer_sys::fuzz_target!(|data: &[u8]| dps_fuzz::journal(data));
