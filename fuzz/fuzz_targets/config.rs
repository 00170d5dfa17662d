#![no_main]
//! Runs [`dps_fuzz::config`].
libfuzzer_sys::fuzz_target!(|data: &[u8]| dps_fuzz::config(data));
