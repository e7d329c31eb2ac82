//! The oracle for system calls and for who sent segments again: the kernel's own tracing, in an instance of its own
//! (Documentation/trace/ftrace.rst).

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Traces events of the whole machine.
pub(super) struct Tracing {
    instance: PathBuf,
}

/// Calls of a process that have ended, and the seconds that they took as far as their beginning was seen.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Calls {
    pub(super) count: u64,
    pub(super) seconds: f64,
}

/// Ends first: what is under way at the beginning is seen to end, at least.
const CALLS: [&str; 4] = [
    "syscalls/sys_exit_fsync",
    "syscalls/sys_exit_fdatasync",
    "syscalls/sys_enter_fsync",
    "syscalls/sys_enter_fdatasync",
];

impl Tracing {
    /// `fsync` and `fdatasync`.
    pub(super) fn calls() -> Result<Self> {
        Self::begin(&CALLS)
    }

    /// Segments that are sent again.
    pub(super) fn retransmits() -> Result<Self> {
        Self::begin(&["tcp/tcp_retransmit_skb"])
    }

    fn begin(events: &[&str]) -> Result<Self> {
        let instance = Path::new("/sys/kernel/tracing/instances").join(format!("kafkascope-{}", std::process::id()));
        fs::create_dir(&instance).with_context(|| format!("cannot make {}", instance.display()))?;
        let tracing = Self { instance };
        fs::write(tracing.instance.join("buffer_size_kb"), "4096")?;
        fs::write(tracing.instance.join("trace_clock"), "mono")?;
        for event in events {
            fs::write(tracing.instance.join("events").join(event).join("enable"), "1")?;
        }
        Ok(tracing)
    }

    /// The calls of a process since the beginning.
    pub(super) fn of_process(&self, process: u32) -> Result<Calls> {
        let threads = fs::read_dir(format!("/proc/{process}/task"))?;
        let threads: Vec<String> =
            threads.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<Result<_>>()?;
        Ok(calls(&self.text()?, &threads))
    }

    /// Segments that were sent again to a port since the beginning.
    pub(super) fn to_port(&self, port: u16) -> Result<usize> {
        let to_port = format!(" dport={port} ");
        Ok(self.text()?.lines().filter(|line| line.contains(&to_port)).count())
    }

    fn text(&self) -> Result<String> {
        Ok(fs::read_to_string(self.instance.join("trace"))?)
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        // Switches off what is on in it.
        _ = fs::remove_dir(&self.instance);
    }
}

/// Lines are `NAME-THREAD [CPU] FLAGS SECONDS: sys_fsync(fd: 3)` and, at the end, `.. SECONDS: sys_fsync -> 0x0`.
fn calls(text: &str, threads: &[String]) -> Calls {
    let mut calls = Calls::default();
    let mut begun: HashMap<&str, f64> = HashMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((head, what)) = line.split_once(": sys_f") else { continue };
        let Some((task, rest)) = head.split_once(" [") else { continue };
        let Some(thread) = task.rsplit('-').next().map(str::trim) else { continue };
        let Some(time) = rest.rsplit(' ').next().and_then(|time| time.parse::<f64>().ok()) else { continue };
        if !threads.iter().any(|known| known == thread) {
            continue;
        }
        if !what.contains("->") {
            begun.insert(thread, time);
        } else {
            calls.count += 1;
            calls.seconds += begun.remove(thread).map_or(0.0, |start| time - start);
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_the_threads_of_a_process_are_counted_from_begin_to_end() {
        let text = "# tracer: nop\n\
            \u{20}data-plane-kafk-3121    [001] .....   99.000000: sys_fsync -> 0x0\n\
            \u{20}data-plane-kafk-3121    [001] .....   100.000000: sys_fsync(fd: 99)\n\
            \u{20}other-77    [000] .....   100.000100: sys_fsync(fd: 3)\n\
            \u{20}data-plane-kafk-3121    [001] .....   100.002000: sys_fsync -> 0x0\n\
            \u{20}other-77    [000] .....   100.003000: sys_fsync -> 0x0\n\
            \u{20}a b-3122    [001] .....   101.000000: sys_fdatasync(fd: 99)\n\
            \u{20}a b-3122    [001] .....   101.500000: sys_fdatasync -> 0x0\n\
            \u{20}a b-3122    [001] .....   102.000000: sys_fsync(fd: 99)\n";
        let calls = calls(text, &["3121".to_owned(), "3122".to_owned()]);
        assert_eq!(calls.count, 3, "one had begun before");
        assert!((calls.seconds - 0.502).abs() < 1e-9, "{calls:?}");
    }
}
