//! The real `kafkascope-probe` as a child process.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::port::Port;
use crate::program::Program;
use crate::served::Served;
use crate::testbed::which;

/// Loading and checking kernel programs takes a second or two on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running probe. Killed when dropped.
#[derive(Debug)]
pub struct Probe(Served);

impl Probe {
    /// Starts one with more flags and waits until it is ready.
    pub fn start<S: AsRef<str>>(flags: impl IntoIterator<Item = S>) -> Result<Self> {
        Self::start_by::<String, S>(&[], flags)
    }

    /// The same by way of another program, such as one that enters a namespace first.
    pub fn start_by<B: AsRef<str>, S: AsRef<str>>(before: &[B], flags: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut command = match before.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first.as_ref());
                command.args(rest.iter().map(AsRef::as_ref)).arg(program()?);
                command
            }
            None => command()?,
        };
        flags.into_iter().for_each(|flag| _ = command.arg(flag.as_ref()));
        Ok(Self(Served::start("kafkascope-probe", command, Port::claim()?, START_LIMIT)?))
    }
}

impl Deref for Probe {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.0
    }
}

impl DerefMut for Probe {
    fn deref_mut(&mut self) -> &mut Served {
        &mut self.0
    }
}

/// Goes before the probe's program where the kernel's tracing is not mounted: a mount namespace of its own in which it
/// is, as far as it can be, and which is gone with the probe. The process id stays the same.
#[must_use]
pub fn with_tracing() -> &'static [&'static str] {
    const IN_OWN_MOUNTS: [&str; 6] = [
        "unshare",
        "--mount",
        "--propagation=private",
        "sh",
        "-c",
        "mount -t tracefs tracefs /sys/kernel/tracing; exec \"$0\" \"$@\"",
    ];
    let is_mounted =
        ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"].iter().any(|path| Path::new(path).exists());
    if is_mounted || which("unshare").is_none() { &[] } else { &IN_OWN_MOUNTS }
}

/// The bare command, for tests of flags and of `doctor`.
pub fn command() -> Result<Command> {
    Ok(Command::new(program()?))
}

/// The probe's program.
pub fn program() -> Result<&'static PathBuf> {
    static PROGRAM: Program = Program::new("kafkascope-probe", "KAFKASCOPE_PROBE");
    PROGRAM.path()
}
