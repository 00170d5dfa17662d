#![no_main]
//! Runs [`dps_fuzz::node_events`].
libfuzzer_sys::fuzz_target!(|data: &[u8]| dps_fuzz::node_events(data));
