#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| instar_fuzz::admission_review(input));

// One in four is changed as libFuzzer does it, which mostly leaves no JSON.
libfuzzer_sys::fuzz_mutator!(|input: &mut [u8], size: usize, most: usize, seed: u32| {
    let changed = (seed % 4 > 0).then(|| instar_fuzz::changed_review(&input[..size], seed.into()));
    match changed.flatten() {
        Some(changed) if changed.len() <= most => {
            input[..changed.len()].copy_from_slice(&changed);
            changed.len()
        }
        _ => libfuzzer_sys::fuzzer_mutate(input, size, most),
    }
});
