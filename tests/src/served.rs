//! A program with an admin endpoint, as a child process: what the proxy and the probe have in common.

use std::net::SocketAddr;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::http;
use crate::port::Port;
use crate::process::{Memory, Process};
use crate::prometheus::Scrape;

/// A running program. Killed when dropped.
#[derive(Debug)]
pub struct Served {
    process: Process,
    admin: Port,
    _folder: TempDir,
}

impl Served {
    /// Starts `command` with its admin endpoint at `admin`, and waits until it is ready.
    pub(crate) fn start(name: &str, mut command: Command, admin: Port, limit: Duration) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir()?;
        command.arg("--admin").arg(admin.address().to_string());
        let process = Process::start(name, &command, &folder.path().join("log"))?;
        let mut served = Self { process, admin, _folder: folder };
        let admin = served.admin.address();
        let what = format!("{name} to be ready");
        served.process.until(&what, limit, || Ok(http::ask(admin, "/readyz")?.0 == 200))?;
        Ok(served)
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

    /// The end of what it has logged.
    #[must_use]
    pub fn last_words(&self) -> String {
        self.process.log_tail(12)
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.output()
    }
}
