//! CPU time and memory of processes, from /proc.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// Whose time is read together.
#[derive(Debug, Clone, Copy)]
pub struct Accounts {
    /// The proxy's first process, if there is a proxy.
    pub proxy: Option<u32>,
    /// The sink's thread in this process. The generator is the calling thread.
    pub sink: i32,
}

/// CPU time, user and system, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Usage {
    /// The proxy with all its descendants.
    pub proxy: u64,
    pub sink: u64,
    pub generator: u64,
    /// All processes of the machine that are not of this measurement.
    pub foreign: u64,
}

impl Usage {
    pub fn since(self, before: Self) -> Self {
        Self {
            proxy: self.proxy.saturating_sub(before.proxy),
            sink: self.sink.saturating_sub(before.sink),
            generator: self.generator.saturating_sub(before.generator),
            foreign: self.foreign.saturating_sub(before.foreign),
        }
    }

    /// Of all that take part.
    pub fn sum(self) -> u64 {
        self.proxy + self.sink + self.generator
    }
}

impl Accounts {
    /// What has been used until now.
    pub fn read(&self) -> Result<Usage> {
        let proxy = self.proxy.map_or(Ok(0), process_tree)?;
        let own = clock(ClockId::ProcessCPUTime);
        Ok(Usage {
            proxy,
            sink: run_time(&format!("/proc/self/task/{}/schedstat", self.sink))?,
            generator: clock(ClockId::ThreadCPUTime),
            foreign: machine()?.saturating_sub(proxy + own),
        })
    }
}

fn clock(id: ClockId) -> u64 {
    let time = clock_gettime(id);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32).as_nanos() as u64
}

/// Time of `pid` and all its descendants.
fn process_tree(pid: u32) -> Result<u64> {
    let (mut own, mut children_time) = (0, 0);
    for task in fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} is gone"))? {
        let task = task?.path();
        // A thread may end between the listing and the reading. Its time is in the process's, see below.
        own += run_time(&task.join("schedstat").to_string_lossy()).unwrap_or(0);
        let children = fs::read_to_string(task.join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            children_time += process_tree(child).unwrap_or(0);
        }
    }
    // Threads that have ended are only here, in ticks of 10 ms.
    Ok(own.max(ended_included(pid)?) + children_time)
}

/// User and system time of a process with its ended threads, to a tick.
fn ended_included(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may contain anything; the fields after its closing parenthesis are numbers.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).context("/proc/PID/stat");
    Ok((ticks(11)? + ticks(12)?) * tick())
}

/// Nanoseconds that a thread has run, the first number of its schedstat.
fn run_time(path: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
    text.split_whitespace().next().and_then(|field| field.parse().ok()).with_context(|| format!("{path}: {text}"))
}

/// Time that all CPUs were not idle.
fn machine() -> Result<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let fields: Vec<u64> =
        stat.lines().next().unwrap_or_default().split_whitespace().skip(1).filter_map(|f| f.parse().ok()).collect();
    let [user, nice, system, _idle, _wait, irq, softirq, steal, ..] = fields[..] else {
        anyhow::bail!("/proc/stat has another form than expected");
    };
    Ok((user + nice + system + irq + softirq + steal) * tick())
}

fn tick() -> u64 {
    1_000_000_000 / rustix::param::clock_ticks_per_second()
}

/// Resident memory of a process, in bytes.
pub fn resident(pid: u32) -> Result<u64> {
    status(pid, "VmRSS:")
}

/// Most resident memory since [`forget_peak`], in bytes.
pub fn peak(pid: u32) -> Result<u64> {
    status(pid, "VmHWM:")
}

/// Makes what is resident now the peak.
pub fn forget_peak(pid: u32) -> Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("resetting the peak of resident memory")
}

fn status(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} is gone"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line in /proc/PID/status")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}
