//! Child processes that do not outlive the test, whichever way it ends.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};

use crate::eventually::eventually;
use crate::testbed::which;

/// A running program. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub resident: u64,
    /// Most that was resident at any time since the start.
    pub peak: u64,
}

impl Process {
    /// Starts `command` with its output appended to the file `log`.
    pub fn start(name: &str, command: &Command, log: &Path) -> Result<Self> {
        let mut command = tied(command);
        let output = File::options().create(true).append(true).open(log);
        let output = output.with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = spawn(command).with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// An error, with the end of its log, if it has ended.
    pub fn must_run(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(anyhow!("{} ended: {status}\n{}", self.name, self.log_tail(30))),
        }
    }

    /// Waits for `condition`, but not any longer when the process has ended.
    pub fn until(&mut self, what: &str, limit: Duration, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
        eventually(what, limit, || match self.must_run() {
            Ok(()) => Ok(condition()?.then_some(Ok(()))),
            Err(ended) => Ok(Some(Err(ended))),
        })?
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = Pid::from_raw(i32::try_from(self.child.id())?).context("no process id")?;
        kill_process(id, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        eventually(&what, limit, || Ok(self.child.try_wait()?))
    }

    /// Ends it at once and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// How much memory it has.
    pub fn memory(&self) -> Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| name.to_owned())?;
            let kib = line.split_whitespace().find_map(|word| word.parse::<u64>().ok()).context("not a number")?;
            Ok(kib * 1024)
        };
        Ok(Memory { resident: field("VmRSS:")?, peak: field("VmHWM:")? })
    }

    /// Processor time so far, user and system.
    pub fn cpu_time(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Fields 14 and 15, counted after the name, which may hold spaces.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        let per_second = rustix::param::clock_ticks_per_second();
        Ok(Duration::from_millis((ticks(11) + ticks(12)) * 1000 / per_second))
    }

    /// All that it has printed.
    #[must_use]
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines that it has printed.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let output = self.output();
        let skip = output.lines().count().saturating_sub(lines);
        output.lines().skip(skip).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            // Nothing can be done about a process that cannot be killed.
            _ = self.kill();
        }
    }
}

/// Spawns a [`tied`] command from the one thread that lives as long as this process: the kernel ties a child to the
/// *thread* that made it.
pub fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, Sender<io::Result<Child>>);
    static ORDERS: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
        let (orders, work) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in work {
                // Whoever asked has gone: the child goes too.
                if let Err(unwanted) = answer.send(command.spawn())
                    && let Ok(mut child) = unwanted.0
                {
                    _ = child.kill();
                }
            }
        });
        Mutex::new(orders)
    });
    let gone = || io::Error::other("the thread that starts processes is gone");
    let (answer, child) = channel();
    let orders = ORDERS.lock().map_err(|_poisoned| gone())?;
    orders.send((command, answer)).map_err(|_nobody| gone())?;
    drop(orders);
    child.recv().map_err(|_nobody| gone())?
}

/// `command`, but killed by the kernel when this process is gone, however that came about: `setpriv` (util-linux) sets
/// that and then becomes the program, under the same process id. Give it its standard streams afterwards.
#[must_use]
pub fn tied(command: &Command) -> Command {
    let mut tied = if which("setpriv").is_some() {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
        setpriv
    } else {
        Command::new(command.get_program())
    };
    tied.args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(key, value),
            None => tied.env_remove(key),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        tied.current_dir(folder);
    }
    tied
}
