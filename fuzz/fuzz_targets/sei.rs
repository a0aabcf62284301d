#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| synoptic_sim::fuzz::run("sei", data));
