#![no_main]
//! Runs [`dps_fuzz::volume`].
libfuzzer_sys::fuzz_target!(|data: &[u8]| dps_fuzz::volume(data));
