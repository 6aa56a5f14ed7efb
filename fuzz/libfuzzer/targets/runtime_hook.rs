#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| instar_fuzz::runtime_hook(input));
