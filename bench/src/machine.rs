//! What the figures depend on besides the programs.

use std::{fs, process::Command, time::SystemTime};

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that 5,000 connections need at the clients and the sink together, with some to spare.
const FILES: u64 = 16_384;

/// Raises the limit of open files of this process and those that it starts.
pub fn raise_file_limit() -> Result<()> {
    let now = getrlimit(Resource::Nofile);
    let hard = now.maximum.unwrap_or(u64::MAX);
    let wanted = Rlimit { current: Some(FILES.max(now.current.unwrap_or(FILES)).min(hard)), maximum: now.maximum };
    setrlimit(Resource::Nofile, wanted).context("raising the limit of open files")
}

/// One paragraph with date, size of the machine, kernel, congestion control and peers.
pub fn describe() -> Result<String> {
    let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let date = date.split('T').next().unwrap_or_default();
    let cpus = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let control = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")?;
    let model = fs::read_to_string("/proc/cpuinfo")?;
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown CPU", |(_, name)| name);
    let memory = fs::read_to_string("/proc/meminfo")?;
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    let memory = memory.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) / 1e6;
    let haproxy = Command::new("haproxy").arg("-v").output().context("running haproxy")?;
    let haproxy = String::from_utf8_lossy(&haproxy.stdout);
    let haproxy = haproxy.split_whitespace().nth(2).unwrap_or("?");
    Ok(format!(
        "Measured on {date}: {cpus} CPUs ({}), {memory:.0} GB, Linux {}, loopback, congestion control {}, HAProxy {haproxy}; one worker thread each.",
        model.trim(),
        kernel.trim(),
        control.trim(),
    ))
}
