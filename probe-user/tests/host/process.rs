//! Accounts of processes against processes that know what they took.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kafkascope_probe::discovery::{Cgroup, Discovery, Rule};
use kafkascope_probe::process::Figures;
use kafkascope_probe::process::cgroup::CgroupFigures;
use kafkascope_probe::process::up::Up;
use kafkascope_probe::roots::{Pid, Roots};
use libtest_mimic::Trial;

use crate::child::{Talker, eventually};
use crate::role;
use crate::{not_root, nothing, trial};

const MIB: u64 = 1 << 20;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("process::processor_time_is_what_a_child_burnt", nothing, processor),
        trial("process::memory_is_what_a_child_touched", nothing, memory),
        trial("process::files_are_what_a_child_opened_and_wrote", nothing, files),
        trial("process::a_control_group_has_what_its_member_burnt", no_cgroup, control_group),
        trial("process::a_kill_and_a_restart_are_seen_within_two_seconds", nothing, killed),
    ]
}

fn figures(child: &Talker) -> Result<Figures> {
    Ok(Figures::of(&Roots::default(), child.pid())?)
}

fn step(child: &mut Talker, amount: u64) -> Result<String> {
    child.say(&amount.to_string())?;
    child.line()
}

fn processor() -> Result<()> {
    let mut child = role::start("burn")?;
    let theirs: u64 = step(&mut child, 700)?.parse()?;
    let ours = figures(&child)?;
    let sum = ours.cpu_user + ours.cpu_system;
    ensure!(sum.abs_diff(theirs) < theirs / 50 + 50_000_000, "{ours:?}, it says {theirs}");
    ensure!(ours.cpu_user > theirs / 10 && ours.threads == 1, "{ours:?}");
    child.kill()
}

fn memory() -> Result<()> {
    let mut child = role::start("touch")?;
    let before = figures(&child)?;
    step(&mut child, 64)?;
    let after = figures(&child)?;
    let grown = after.resident - before.resident;
    ensure!(grown.abs_diff(64 * MIB) < 2 * MIB, "{before:?} {after:?}");
    ensure!(after.resident_peak >= after.resident && after.virtual_size >= after.resident, "{after:?}");
    child.kill()
}

fn files() -> Result<()> {
    let mut child = role::start("open")?;
    let before = figures(&child)?.open_files.context("no open files")?;
    step(&mut child, 25)?;
    let after = figures(&child)?.open_files.context("no open files")?;
    ensure!(after == before + 25, "{before} {after}");
    // Not in /tmp, which may be memory.
    let folder = tempfile::tempdir_in(Path::new(env!("CARGO_MANIFEST_DIR")))?;
    let mut command = role::command("write")?;
    command.env("KAFKASCOPE_TRIAL_FILE", folder.path().join("file"));
    let mut child = Talker::start(&mut command)?;
    child.line()?;
    step(&mut child, 16)?;
    let written = figures(&child)?.disk_written.context("no disk accounts")?;
    ensure!((16 * MIB..18 * MIB).contains(&written), "{written}");
    child.kill()
}

/// The folder of the version 2 hierarchy, beside those of version 1 or alone.
fn hierarchy() -> Option<PathBuf> {
    let folders = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from);
    folders.into_iter().find(|folder| folder.join("cgroup.procs").exists())
}

fn no_cgroup() -> Option<&'static str> {
    if hierarchy().is_none() {
        return Some("no version 2 control groups on this machine");
    }
    not_root()
}

fn control_group() -> Result<()> {
    let name = format!("kafkascope-trial-{}", std::process::id());
    let folder = hierarchy().context("no hierarchy")?.join(&name);
    fs::create_dir(&folder)?;
    let outcome = in_control_group(&folder);
    eventually("the control group to be empty", || Ok(fs::remove_dir(&folder).ok()))?;
    outcome
}

fn in_control_group(folder: &Path) -> Result<()> {
    let mut child = role::start("burn")?;
    fs::write(folder.join("cgroup.procs"), child.pid().to_string())?;
    let before: u64 = step(&mut child, 1)?.parse()?;
    let theirs = step(&mut child, 500)?.parse::<u64>()? - before;
    let found = find(child.pid())?;
    let cgroup: &Cgroup = &found.1.cgroup;
    ensure!(cgroup.folder.as_deref() == Some(folder), "{cgroup:?}");
    let ours = CgroupFigures::of(cgroup).cpu.context("no processor time")?;
    // On hybrid hosts version 1 accounts for the processor; a group of version 2 still has this.
    ensure!(ours.abs_diff(theirs) < theirs / 50 + 50_000_000, "{ours}, it says {theirs}");
    child.kill()
}

fn find(pid: Pid) -> Result<(Discovery, std::sync::Arc<kafkascope_probe::discovery::Process>)> {
    let mut discovery = Discovery::new(Roots::default(), vec![rule()?])?;
    discovery.scan(Instant::now())?;
    let process = discovery.processes().find(|process| process.pid == pid).cloned().context("not found")?;
    Ok((discovery, process))
}

/// Finds this program, whatever it plays.
fn rule() -> Result<Rule> {
    let name = std::env::current_exe()?.to_string_lossy().into_owned();
    let command_line = Some(regex::bytes::Regex::new(&format!("^{}$", regex::escape(&name)))?);
    Ok(Rule { name: "trial".to_owned(), command_line, cgroup: None, port: None })
}

fn killed() -> Result<()> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let command_line = Some(regex::bytes::Regex::new(&format!(" {port}$"))?);
    let rule = Rule { name: "listener".to_owned(), command_line, cgroup: None, port: None };
    let mut discovery = Discovery::new(Roots::default(), vec![rule])?;
    let mut up = Up::new(Roots::default(), Vec::new(), Duration::from_secs(60));
    let start = || -> Result<Talker> {
        // The argument means nothing to it, but makes it the one that the rule finds.
        let mut command = role::command("listen")?;
        let mut child = Talker::start(command.arg(port.to_string()))?;
        child.line()?;
        Ok(child)
    };
    let mut look = |up: &mut Up| -> Result<_> {
        discovery.scan(Instant::now())?;
        up.observe(discovery.processes(), Instant::now());
        Ok(up.states().find(|state| state.name == "listener"))
    };
    let mut child = start()?;
    let state = look(&mut up)?.context("not found")?;
    ensure!(state.up && state.listening.is_empty(), "{state:?}");
    step(&mut child, port.into())?;
    let state = look(&mut up)?.context("not found")?;
    ensure!(state.listening == [(port, true)], "{state:?}");
    let clock = Instant::now();
    child.kill()?;
    ensure!(up.wait(Duration::from_secs(2))?, "its death was not seen");
    let took = clock.elapsed();
    let state = up.states().find(|state| state.name == "listener").context("forgotten")?;
    ensure!(!state.up && state.listening == [(port, false)], "{state:?}");
    ensure!(took < Duration::from_secs(2), "{took:?}");
    let mut child = start()?;
    step(&mut child, port.into())?;
    let state = look(&mut up)?.context("forgotten")?;
    ensure!(state.up && state.restarts == 1 && state.listening == [(port, true)], "{state:?}");
    child.kill()
}
