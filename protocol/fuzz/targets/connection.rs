//! Any calls in any order: nothing panics, every request ends once, captures give back their budget, memory is bounded.
#![no_main]

mod seeds;
#[path = "../../tests/support/mod.rs"]
mod support;

use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: {
        seeds::write_if_asked(|| seeds::conversations(support::script::seed));
    },
    |script: &[u8]| {
        support::script::run(script);
    }
);
