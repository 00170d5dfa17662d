#![no_main]
//! Runs [`dps_fuzz::manifest`].
libfuzzer_sys::fuzz_target!(|data: &[u8]| dps_fuzz::manifest(data));
