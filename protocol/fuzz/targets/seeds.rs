//! Seeds: what the tests use, written in the form that a target reads.
#![allow(dead_code, reason = "each target uses its own part of it")]

use std::path::PathBuf;
use std::{env, fs, process};

use crate::support::conversation::{Turn, random_conversation};
use crate::support::random::Random;

/// Where seeds are wanted; the program ends once they are written.
const FOLDER: &str = "KAFKASCOPE_SEEDS";
const CONVERSATIONS: u64 = 900;

/// Writes the seeds that `make` makes if the environment names a folder for them.
pub(crate) fn write_if_asked(make: impl FnOnce() -> Vec<Vec<u8>>) {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else { return };
    fs::create_dir_all(&folder).expect("a folder for seeds");
    for (number, seed) in make().into_iter().enumerate() {
        fs::write(folder.join(format!("{number:04}")), seed).expect("a seed");
    }
    process::exit(0);
}

/// Conversations. `encode` is told what passes and one byte of options.
pub(crate) fn conversations(encode: impl Fn(&[Turn], u8) -> Vec<u8>) -> Vec<Vec<u8>> {
    (0..CONVERSATIONS)
        .map(|number| {
            // Most are single exchanges, so that each kind is there in few bytes.
            let exchanges = if number % 4 == 0 { 5 } else { 1 };
            let turns = random_conversation(&mut Random::new(number), exchanges);
            encode(&turns, (number / 3 % 8) as u8)
        })
        .collect()
}
