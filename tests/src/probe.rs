//! The real `kafkascope-probe` as a child process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::http;
use crate::port::Port;
use crate::process::{Memory, Process};
use crate::program::Program;
use crate::prometheus::Scrape;
use crate::testbed::which;

/// Loading and checking kernel programs takes a second or two on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running probe. Killed when dropped.
#[derive(Debug)]
pub struct Probe {
    process: Process,
    admin: Port,
    _folder: TempDir,
}

impl Probe {
    /// Starts one with more flags and waits until it is ready.
    pub fn start<S: AsRef<str>>(flags: impl IntoIterator<Item = S>) -> Result<Self> {
        Self::start_by::<String, S>(&[], flags)
    }

    /// The same by way of another program, such as one that enters a namespace first.
    pub fn start_by<B: AsRef<str>, S: AsRef<str>>(before: &[B], flags: impl IntoIterator<Item = S>) -> Result<Self> {
        let admin = Port::claim()?;
        let folder = tempfile::Builder::new().prefix("kafkascope-probe-").tempdir()?;
        let mut command = match before.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first.as_ref());
                command.args(rest.iter().map(AsRef::as_ref)).arg(program()?);
                command
            }
            None => command()?,
        };
        command.arg("--admin").arg(admin.address().to_string());
        flags.into_iter().for_each(|flag| _ = command.arg(flag.as_ref()));
        let process = Process::start("kafkascope-probe", &command, &folder.path().join("log"))?;
        let mut probe = Self { process, admin, _folder: folder };
        let admin = probe.admin.address();
        probe.process.until("the probe to be ready", START_LIMIT, || Ok(http::ask(admin, "/readyz")?.0 == 200))?;
        Ok(probe)
    }

    /// Address of its admin endpoint.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin.address()
    }

    /// `/metrics` now.
    pub fn metrics(&self) -> Result<Scrape> {
        Scrape::parse(&http::get(self.admin.address(), "/metrics")?)
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its memory.
    pub fn memory(&self) -> Result<Memory> {
        self.process.memory()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) -> Result<()> {
        self.process.signal(Signal::TERM)
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.wait(limit)
    }

    /// Ends it at once, as the kernel does when memory is short.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.output()
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
