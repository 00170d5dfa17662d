#![no_main]
//! Runs [`dps_fuzz::command`].
libfuzzer_sys::fuzz_target!(|data: &[u8]| dps_fuzz::command(data));
