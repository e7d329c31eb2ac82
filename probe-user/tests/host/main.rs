//! The probe's user-space part against real processes, a real JVM, and the kernel's own accounting.
#![forbid(unsafe_code)]

mod child;
mod jvm;
mod namespaces;
mod process;
mod role;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// What a trial needs that a machine may lack: the reason to leave it out.
type Lack = fn() -> Option<&'static str>;

fn main() -> ExitCode {
    // The trials start this program again, to have processes of which they know what they do.
    if let Ok(role) = std::env::var(role::VARIABLE) {
        return role::play(&role).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let mut arguments = Arguments::from_args();
    // Trials that burn a known amount of time want a processor.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let trials = [jvm::trials(), process::trials(), namespaces::trials()];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code()
}

fn nothing() -> Option<&'static str> {
    None
}

fn not_root() -> Option<&'static str> {
    (!rustix::process::geteuid().is_root()).then_some("not root")
}

fn trial(name: impl Into<String>, lack: Lack, run: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || {
        if let Some(reason) = lack() {
            return Ok(Completion::ignored_with(reason));
        }
        run().map(|()| Completion::Completed).map_err(|error| Failed::from(format!("{error:#}")))
    })
}
