#![no_main]
//! Runs [`dps_fuzz::filter`].
libfuzzer_sys::fuzz_target!(|data: &[u8]| dps_fuzz::filter(data));
