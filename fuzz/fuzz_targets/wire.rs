#![no_main]
//! Runs [`dps_fuzz::wire`].
libfuzzer_sys::fuzz_target!(|data: &[u8]| dps_fuzz::wire(data));
