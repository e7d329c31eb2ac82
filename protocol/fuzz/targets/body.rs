//! A whole body of any API, version and direction: see `support::body`.
#![no_main]

mod seeds;
#[path = "../../tests/support/mod.rs"]
mod support;

use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: {
        seeds::write_if_asked(support::body::seeds);
    },
    |input: &[u8]| {
        support::body::run(input);
    }
);
