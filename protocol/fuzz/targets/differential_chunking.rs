//! The same bytes in two kinds of pieces, opaque runs shown or announced: the observations are equal.
#![no_main]

mod seeds;
#[path = "../../tests/support/mod.rs"]
mod support;

use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: {
        seeds::write_if_asked(|| {
            seeds::conversations(|turns, options| {
                let mut seed = vec![options; 8];
                seed.extend_from_slice(support::script::seed(turns, 0).get(1..).unwrap_or_default());
                seed
            })
        });
    },
    |input: &[u8]| {
        support::script::compare(input);
    }
);
