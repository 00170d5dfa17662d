#![no_main]
//! Runs [`dps_fuzz::any_disk`].
libfuzzer_sys::fuzz_target!(|data: &[u8]| dps_fuzz::any_disk(data));
