#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| synoptic_sim::fuzz::run("m3u8", data));
