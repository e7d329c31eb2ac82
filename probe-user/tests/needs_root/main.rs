//! The kernel programs against what the kernel itself, or the program that causes the load, counts.
//!
//! They need root, and a probe that was built with programs; else each trial is ignored, with the reason. Trials run one
//! by one, since all watch this process. Mounts are made in a mount namespace of its own and vanish with it.
#![expect(clippy::print_stdout, reason = "figures, for whoever looks with --nocapture")]

mod cost;
mod detach;
mod disk;
mod fsync;
mod page_cache;
mod stage;
mod tcp;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    if let Some(code) = detach::run_as_child() {
        return code;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let lack = stage::prepare();
    let trials =
        [page_cache::trials(), fsync::trials(), disk::trials(), tcp::trials(), cost::trials(), detach::trials()];
    let trials = trials.into_iter().flatten().map(|(name, run)| stage::trial(name, lack.clone(), run)).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
