//! Exit statuses of `sysexits.h`.

use std::process::ExitCode;

/// Wrong flags or settings.
pub const USAGE: u8 = 64;
/// What is needed does not answer.
pub const UNAVAILABLE: u8 = 69;
/// The system refuses something.
pub const OSERR: u8 = 71;

/// Says what clap has to say of the flags. That is `--help` and `--version`, too, which are no mistakes.
#[must_use]
pub fn told(message: &clap::Error) -> ExitCode {
    // Nobody may be reading.
    _ = message.print();
    if message.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS }
}
