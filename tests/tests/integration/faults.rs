//! Peers that misbehave, and what must hold all the same: the bytes pass, the memory stays, the figures say so.

mod crowds;
mod frames;
mod streams;

use libtest_mimic::Trial;

pub(crate) fn trials() -> Vec<Trial> {
    [streams::trials(), frames::trials(), crowds::trials()].into_iter().flatten().collect()
}
