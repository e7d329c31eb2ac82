//! What the programs cost.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

/// What the programs have cost since they were loaded.
#[derive(Debug, Clone, Default)]
pub struct Cost {
    /// Programs that are loaded.
    pub programs: Vec<ProgramCost>,
    /// Why their times are not known.
    pub untimed: Option<String>,
    /// Maps that can be full.
    pub maps: Vec<MapFill>,
    /// What was lost, by sampler.
    pub lost: Vec<(&'static str, u64)>,
}

/// A program.
#[derive(Debug, Clone)]
pub struct ProgramCost {
    /// Its name.
    pub name: String,
    /// How often it has run.
    pub runs: u64,
    /// For how long, all runs together.
    pub time: Duration,
}

/// A map.
#[derive(Debug, Clone, Copy)]
pub struct MapFill {
    /// Its name.
    pub name: &'static str,
    /// Entries in it.
    pub entries: u32,
    /// Entries that it has room for.
    pub capacity: u32,
}

/// Run count and time of a program, as the kernel tells the owner of its descriptor.
pub(super) fn of_program(name: &str, program: &impl AsFd) -> Option<ProgramCost> {
    let descriptor: BorrowedFd<'_> = program.as_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd())).ok()?;
    let value = |key| info.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok());
    Some(ProgramCost {
        name: name.to_owned(),
        runs: value("run_cnt:").unwrap_or(0),
        time: Duration::from_nanos(value("run_time_ns:").unwrap_or(0)),
    })
}
