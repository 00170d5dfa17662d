#![no_main]
//! Runs [`dps_fuzz::boot_record`].
libfuzzer_sys::fuzz_target!(|data: &[u8]| dps_fuzz::boot_record(data));
