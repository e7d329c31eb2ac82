//! The probe takes what privileges it is given, gives up most of them, and says what it cannot see without the others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kafkascope_tests::port::Port;
use kafkascope_tests::probe::{self, Probe};
use kafkascope_tests::proxy::{Proxy, ProxySpec};
use libtest_mimic::Trial;
use rustix::process::geteuid;
use tempfile::TempDir;

use super::{KERNEL_SAMPLERS, PATIENCE, privileged, samplers, told};
use crate::trial::trial;

/// Goes before a program. As in `tied` of the harness, it dies with the test: a change of user would undo that.
pub(super) const AS_NOBODY: &[&str] =
    &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig=KILL", "--"];

/// `CAP_DAC_READ_SEARCH` and `CAP_SYS_PTRACE`, as bits.
const KEPT: u64 = 1 << 2 | 1 << 19;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("probe::privileges::without_any_the_rest_works_and_what_is_off_is_named", &[], as_nobody),
        privileged(
            ("probe::privileges::five_capabilities_are_enough_and_two_are_kept", five_capabilities),
            &[],
            &["setpriv", "unshare"],
        ),
        privileged(("probe::privileges::root_keeps_two_capabilities", root_keeps_two), &[], &["unshare"]),
        privileged(
            ("probe::privileges::without_tracefs_only_fsync_is_off_and_is_named", without_tracefs),
            &[],
            &["unshare"],
        ),
    ]
}

/// A program where everybody may read it: folders above the build's may be closed to others.
pub(super) struct Public {
    _folder: TempDir,
    program: String,
}

impl Public {
    pub(super) fn new() -> Result<Self> {
        Self::of(probe::program()?)
    }

    pub(super) fn of(built: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kafkascope-public-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let program = folder.path().join(built.file_name().context("a path without a name")?);
        // A link takes no time, but not every two folders are on one file system.
        if fs::hard_link(built, &program).is_err() {
            fs::copy(built, &program)?;
        }
        Ok(Self { program: program.to_str().context("a path that is not text")?.to_owned(), _folder: folder })
    }

    pub(super) fn program(&self) -> &str {
        &self.program
    }

    /// What goes before the probe's own path, which it then does not run.
    fn instead(&self, before: &[&str]) -> Vec<String> {
        let instead = ["sh".to_owned(), "-c".to_owned(), format!("exec {} \"$@\"", self.program)];
        before.iter().map(|&word| word.to_owned()).chain(instead).collect()
    }
}

fn as_nobody() -> Result<()> {
    let front = Port::claim()?;
    let mut proxy = Proxy::start(&ProxySpec::new([(front.address(), front.address())]))?;
    let public = Public::new()?;
    let probe = if geteuid().is_root() {
        Probe::start_by(&public.instead(AS_NOBODY), ["--slow=1s"])?
    } else {
        Probe::start(["--slow=1s"])?
    };
    let name = format!("proxy-{}", front.number());
    let scrape = told(&probe, "the proxy to be found", PATIENCE, |scrape| {
        scrape.sum("process_cpu_time_seconds_total", &[("kafkascope_process_name", &name)]).is_some()
    })?;
    ensure!(scrape.sum("kafkascope_process_up", &[("kafkascope_process_name", &name)]) == Some(1.0), "not up");
    let resident = scrape.sum("process_memory_usage_bytes", &[("kafkascope_process_name", &name)]);
    ensure!(resident.is_some_and(|bytes| bytes > 1e6), "{resident:?}");
    for metric in [
        "system_cpu_time_seconds_total",
        "system_memory_linux_available_bytes",
        "system_network_io_bytes_total",
        "kafkascope_page_cache_dirty_bytes",
        "kafkascope_self_memory_bytes",
    ] {
        ensure!(scrape.sum(metric, &[]).is_some(), "no {metric}");
    }

    let samplers = samplers(&scrape);
    let mut all = KERNEL_SAMPLERS.map(str::to_owned);
    all.sort();
    ensure!(samplers.iter().map(|(name, ..)| name).eq(&all), "{samplers:?}");
    let log = probe.log();
    for (name, is_up, reason) in &samplers {
        ensure!(!is_up && reason.len() > 5, "{name}: {is_up} {reason}");
        let lines = log.lines().filter(|line| names(line, name));
        ensure!(lines.count() == 1, "not one line of log names {name}:\n{log}");
    }
    proxy.process().must_run()
}

/// `samplers="disk,tcp" reason=".."` names both.
fn names(line: &str, sampler: &str) -> bool {
    let named = line.split_once("samplers=\"").and_then(|(_, rest)| rest.split_once('"'));
    line.contains("reason=") && named.is_some_and(|(names, _)| names.split(',').any(|name| name == sampler))
}

fn five_capabilities() -> Result<()> {
    const FIVE: &str = "-all,+bpf,+perfmon,+sys_ptrace,+dac_read_search,+net_admin";
    let sets = ["inh-caps", "ambient-caps", "bounding-set"].map(|set| format!("--{set}={FIVE}"));
    let mut before: Vec<&str> = probe::with_tracing().to_vec();
    before.extend(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig=KILL"]);
    before.extend(sets.iter().map(String::as_str));
    before.push("--");
    let public = Public::new()?;
    let mut probe = Probe::start_by(&public.instead(&before), ["--slow=1s"])?;
    all_work(&probe)?;
    let id = probe.process().id();
    ensure!(status(id, "Uid:")?.split_whitespace().all(|id| id == "65534"), "it is not nobody");
    kept_two(id)
}

fn root_keeps_two() -> Result<()> {
    let mut probe = Probe::start_by(probe::with_tracing(), ["--slow=1s"])?;
    all_work(&probe)?;
    kept_two(probe.process().id())
}

fn all_work(probe: &Probe) -> Result<()> {
    let samplers = samplers(&probe.metrics()?);
    ensure!(samplers.len() == KERNEL_SAMPLERS.len(), "{samplers:?}");
    ensure!(samplers.iter().all(|(_, is_up, _)| *is_up), "{samplers:?}\n{}", probe.log());
    Ok(())
}

/// Capabilities belong to threads: all of them.
fn kept_two(id: u32) -> Result<()> {
    let mut threads = 0;
    for thread in fs::read_dir(format!("/proc/{id}/task"))? {
        let thread = thread?.file_name().to_string_lossy().parse()?;
        for (set, expected) in [("CapEff:", KEPT), ("CapPrm:", KEPT), ("CapInh:", 0), ("CapAmb:", 0)] {
            let has = u64::from_str_radix(status(thread, set)?.trim(), 16)?;
            ensure!(has == expected, "{set} {has:#x} instead of {expected:#x}");
        }
        threads += 1;
    }
    ensure!(threads > 1, "the thread that reads was not looked at");
    Ok(())
}

fn status(id: u32, field: &str) -> Result<String> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).with_context(|| format!("no {field}"))?;
    Ok(line.to_owned())
}

fn without_tracefs() -> Result<()> {
    // Something empty over each place where it may be.
    let covered = ["/sys/kernel/tracing", "/sys/kernel/debug"].into_iter().filter(|path| Path::new(path).exists());
    let covered: Vec<_> = covered.map(|path| format!("mount -t tmpfs none {path} && ")).collect();
    let script = format!("{} exec \"$0\" \"$@\"", covered.concat());
    let probe = Probe::start_by(&["unshare", "--mount", "--propagation=private", "sh", "-c", &script], ["--slow=1s"])?;
    for (name, is_up, reason) in samplers(&probe.metrics()?) {
        ensure!(is_up == (name != "fsync"), "{name}: {reason}\n{}", probe.log());
        ensure!(is_up || reason.contains("tracefs is not mounted"), "{name}: {reason}");
    }
    let log = probe.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("reason=")).collect();
    ensure!(lines.len() == 1 && lines.iter().all(|line| names(line, "fsync") && line.contains("tracefs")), "{log}");
    Ok(())
}
