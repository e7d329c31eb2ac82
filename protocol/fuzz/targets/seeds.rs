//! Seeds: the conversations that the tests use, written in the form that a target reads.

use std::path::PathBuf;
use std::{env, fs, process};

use crate::support::conversation::{Turn, random_conversation};
use crate::support::random::Random;

/// Where seeds are wanted; the program ends once they are written.
const FOLDER: &str = "KAFKASCOPE_SEEDS";
const CONVERSATIONS: u64 = 900;

/// Writes seeds if the environment names a folder for them. `encode` is told what passes and one byte of options.
pub(crate) fn write_if_asked(encode: impl Fn(&[Turn], u8) -> Vec<u8>) {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else { return };
    fs::create_dir_all(&folder).expect("a folder for seeds");
    for number in 0..CONVERSATIONS {
        // Most are single exchanges, so that each kind is there in few bytes.
        let exchanges = if number % 4 == 0 { 5 } else { 1 };
        let turns = random_conversation(&mut Random::new(number), exchanges);
        let seed = encode(&turns, (number / 3 % 8) as u8);
        fs::write(folder.join(format!("{number:04}")), seed).expect("a seed");
    }
    process::exit(0);
}
