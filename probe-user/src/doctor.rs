//! `kafkascope-probe doctor`: what can be read on this host, what cannot, and how to get the rest. Changes nothing.

use std::fmt::{self, Display};
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use crate::config::Config;
use crate::discovery::{Discovery, Process, network_namespace};
use crate::jvm::Jvm;
use crate::kernel::{Kernel, PROGRAMS, State};
use crate::privileges::{self, CAPABILITIES};
use crate::report::older::OlderConnections;
use crate::roots::{Pid, Roots};

/// Says it all. The exit status is 1 when anything is missing.
#[must_use]
#[expect(clippy::print_stdout, reason = "a command that answers a person")]
pub fn run(config: &Config) -> ExitCode {
    let report = Report::of(config);
    print!("{report}");
    if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether something is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Good,
    /// Something is missing for it.
    Lacking,
    /// Neither: it is said for information.
    Note,
}

#[derive(Debug)]
struct Line {
    mark: Mark,
    what: String,
    /// Of what is lacking: why, and the way to get it.
    text: String,
}

#[derive(Debug, Default)]
struct Report {
    sections: Vec<(&'static str, Vec<Line>)>,
}

impl Report {
    fn of(config: &Config) -> Self {
        let mut report = Self::default();
        report.section("host", host());
        report.section("capabilities", capabilities());
        let roots = Roots::default();
        let found = find(&roots, config);
        report.section("samplers", samplers(config, &roots, found.as_deref().unwrap_or_default()));
        report.section("processes", processes(&roots, found));
        report
    }

    fn section(&mut self, title: &'static str, lines: Vec<Line>) {
        self.sections.push((title, lines));
    }

    fn is_whole(&self) -> bool {
        !self.sections.iter().flat_map(|(_, lines)| lines).any(|line| line.mark == Mark::Lacking)
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, lines) in &self.sections {
            writeln!(f, "{title}")?;
            let width = lines.iter().map(|line| line.what.chars().count()).max().unwrap_or_default();
            for Line { mark, what, text } in lines {
                let mark = match mark {
                    Mark::Good => "ok",
                    Mark::Lacking => "--",
                    Mark::Note => "  ",
                };
                writeln!(f, "  {mark} {what:width$}  {text}")?;
            }
        }
        let missing =
            self.sections.iter().flat_map(|(_, lines)| lines).filter(|line| line.mark == Mark::Lacking).count();
        match missing {
            0 => writeln!(f, "everything works"),
            1 => writeln!(f, "1 thing is missing (--); everything else works"),
            more => writeln!(f, "{more} things are missing (--); everything else works"),
        }
    }
}

fn line(mark: Mark, what: impl Into<String>, text: impl Into<String>) -> Line {
    Line { mark, what: what.into(), text: text.into() }
}

fn good_if(is_good: bool) -> Mark {
    if is_good { Mark::Good } else { Mark::Lacking }
}

fn host() -> Vec<Line> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let mut lines = vec![line(Mark::Note, "kernel", read("/proc/sys/kernel/osrelease"))];
    lines.push(match PROGRAMS {
        Ok(object) => line(Mark::Good, "kernel programs", format!("built in, {} KiB", object.len() / 1024)),
        Err(reason) => line(Mark::Lacking, "kernel programs", format!("{reason}; everything that needs none works")),
    });
    let btf = Path::new("/sys/kernel/btf/vmlinux").exists();
    let without_btf = "this kernel does not describe its types: programs cannot be loaded (CONFIG_DEBUG_INFO_BTF)";
    lines.push(line(good_if(btf), "BTF", if btf { "/sys/kernel/btf/vmlinux" } else { without_btf }));
    let tracing = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    lines.push(match tracing.into_iter().find(|folder| Path::new(folder).join("events").exists()) {
        Some(folder) => line(Mark::Good, "tracefs", folder),
        None => line(
            Mark::Lacking,
            "tracefs",
            "not mounted, so fsync is not seen: mount -t tracefs tracefs /sys/kernel/tracing",
        ),
    });
    let cgroups = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    lines.push(
        match cgroups.lines().find(|mount| mount.contains(" - cgroup2 ")).and_then(|mount| mount.split(' ').nth(4)) {
            Some(folder) => line(Mark::Good, "cgroup2", folder),
            None => line(
                Mark::Lacking,
                "cgroup2",
                "not mounted, so TCP is read by sock_diag only: mount -t cgroup2 cgroup2 /sys/fs/cgroup",
            ),
        },
    );
    let lockdown = read("/sys/kernel/security/lockdown");
    let is_locked = lockdown.contains("[confidentiality]");
    if !lockdown.is_empty() {
        let text =
            if is_locked { "confidentiality: kernel programs may not read kernel memory" } else { lockdown.as_str() };
        lines.push(line(if is_locked { Mark::Lacking } else { Mark::Note }, "lockdown", text));
    }
    let statistics = read("/proc/sys/kernel/bpf_stats_enabled") == "1" || privileges::is_root();
    let how = "the cost of each kernel program is not known: sysctl kernel.bpf_stats_enabled=1";
    lines.push(line(Mark::Note, "BPF statistics", if statistics { "available" } else { how }));
    lines
}

fn capabilities() -> Vec<Line> {
    let capability = |capability: &privileges::Capability| {
        let kept = if capability.kept { "kept" } else { "dropped after attaching" };
        let text = format!("{} ({kept})", capability.purpose);
        line(good_if(capability.is_there()), format!("CAP_{}", capability.name), text)
    };
    CAPABILITIES.iter().map(capability).collect()
}

fn find(roots: &Roots, config: &Config) -> io::Result<Vec<Arc<Process>>> {
    let mut discovery = Discovery::new(roots.clone(), config.rules.clone())?;
    discovery.scan(Instant::now())?;
    Ok(discovery.processes().cloned().collect())
}

fn samplers(config: &Config, roots: &Roots, found: &[Arc<Process>]) -> Vec<Line> {
    let kernel = Kernel::load(config.limits(), config.samplers);
    let mut older = OlderConnections::default();
    let own = network_namespace(roots, Pid(std::process::id()));
    for process in found {
        older.open(roots, own, process);
    }
    let samplers = kernel.samplers().iter().cloned().chain([older.sampler()]);
    let lines = samplers.map(|sampler| {
        let mark = good_if(matches!(sampler.state, State::On { .. }));
        line(mark, sampler.name, sampler.state.to_string())
    });
    lines.collect()
}

fn processes(roots: &Roots, found: io::Result<Vec<Arc<Process>>>) -> Vec<Line> {
    let found = match found {
        Ok(found) => found,
        Err(error) => return vec![line(Mark::Lacking, "/proc", format!("processes cannot be listed: {error}"))],
    };
    if found.is_empty() {
        return vec![line(
            Mark::Note,
            "none found",
            "no broker, ZooKeeper server or kafkascope-proxy runs here; see --watch",
        )];
    }
    let mut lines = Vec::new();
    for process in found {
        let cluster = process.cluster.as_deref().map_or_else(String::new, |cluster| format!(", cluster {cluster}"));
        let ports: Vec<_> = process.listeners.iter().map(|listener| listener.port().to_string()).collect();
        let container = process.cgroup.container.as_deref().map_or_else(String::new, |id| format!(", container {id}"));
        let text = format!("pid {}{cluster}, ports {}{container}", process.pid, ports.join(" "));
        lines.push(line(Mark::Good, process.name.clone(), text));
        if process.jvm
            && let Err(error) = Jvm::open(roots, &process)
        {
            lines.push(line(Mark::Lacking, format!("{}: JVM", process.name), error.to_string()));
        }
    }
    lines
}
