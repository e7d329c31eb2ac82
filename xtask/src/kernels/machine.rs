//! One run of the trial: in a virtual machine, or on this one.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::guest::Programs;
use super::report::{Line, Outcome};
use crate::workspace;

/// How often a running one is named again.
const REMINDER: Duration = Duration::from_secs(30);

/// Boots a kernel with what `folder` holds, and waits until it turns itself off.
///
/// The processor is emulated (TCG): slow, but it works on every machine and needs no privilege.
pub(super) fn boot(name: &str, image: &Path, folder: &Path, patience: Duration) -> Result<Outcome> {
    let log = folder.join("console.log");
    if log.exists() {
        // Of the try before.
        fs::rename(&log, folder.join("console.old.log"))?;
    }
    let qemu = workspace::which("qemu-system-x86_64").context("no qemu-system-x86_64")?;
    let mut command = mortal(&qemu, true);
    command.args(["-accel", "tcg", "-smp", "2", "-m", "1G", "-nodefaults", "-display", "none", "-no-reboot"]);
    command.arg("-kernel").arg(image).arg("-initrd").arg(folder.join("initramfs"));
    // On a busy machine the kernel may find the emulated timer too slow, and give up, unless it takes it on trust.
    let options = "console=ttyS0 loglevel=5 panic=-1 no_timer_check mitigations=off nokaslr";
    command.args(["-append", options]);
    command.arg("-drive").arg(format!("file={},if=virtio,format=raw", folder.join("disk").display()));
    command.arg("-serial").arg(format!("file:{}", log.display()));
    command.args(["-serial", "stdio"]);
    let told = || {
        let said = fs::read(&log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
        format!("{}, which ends with: {}", log.display(), last.trim())
    };
    let (outcome, _status) = run(name, command, &folder.join("qemu.log"), patience).with_context(told)?;
    if outcome.ended.is_none() {
        bail!("it ended before the trial was over, after {} rows; {}", outcome.rows.len(), told());
    }
    Ok(outcome)
}

/// Runs the trial on this machine, below `folder`.
pub(super) fn native(programs: &Programs, folder: &Path, patience: Duration) -> Result<Outcome> {
    let log = folder.join("log");
    let mut command = mortal(&programs.trial, Path::new("/sys/kernel/tracing/events").exists());
    command.arg("--probe").arg(&programs.probe).arg("--folder").arg(folder);
    let (mut outcome, status) =
        run("native", command, &log, patience).with_context(|| format!("what it said: {}", log.display()))?;
    outcome.ended = status.code().map(i64::from);
    outcome.release = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    outcome.btf = Path::new("/sys/kernel/btf/vmlinux").exists();
    Ok(outcome)
}

/// A command that ends with this program, however that ends. Without `setpriv` it does so upon Ctrl-C only, which the
/// terminal sends to both. Where tracefs is not mounted it is for this program alone, and gone with it.
fn mortal(program: &Path, has_tracing: bool) -> Command {
    let tied =
        workspace::which("setpriv").map(|setpriv| [setpriv.into_os_string(), "--pdeathsig".into(), "KILL".into()]);
    let mount = "mount -t tracefs tracefs /sys/kernel/tracing; exec \"$0\" \"$@\"";
    let unshare = workspace::which("unshare").filter(|_| !has_tracing && workspace::is_root());
    let apart = unshare.map(|unshare| {
        [unshare.into_os_string()]
            .into_iter()
            .chain(["--mount", "--propagation", "private", "sh", "-c", mount].map(Into::into))
    });
    let words: Vec<OsString> =
        tied.into_iter().flatten().chain(apart.into_iter().flatten()).chain([program.into()]).collect();
    let mut command = Command::new(words.first().map_or(program.as_os_str(), OsString::as_os_str));
    command.args(words.iter().skip(1));
    command
}

/// Ends it when it goes out of sight, so that no way out of a function leaves it behind.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill().and_then(|()| self.0.wait()).is_ok();
    }
}

/// Takes in the lines that it writes to standard output until it ends.
fn run(name: &str, mut command: Command, log: &Path, patience: Duration) -> Result<(Outcome, ExitStatus)> {
    let errors = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
    let started = Instant::now();
    let mut child = Owned(command.spawn().with_context(|| format!("cannot run {command:?}"))?);
    let output = child.0.stdout.take().context("no standard output")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(output).split(b'\n').map_while(Result::ok);
        // Nobody listens any more when the time is up.
        let _ended = lines.map(|line| sender.send(line)).all(|sent| sent.is_ok());
    });
    let mut outcome = Outcome::default();
    let mut reminded = started;
    loop {
        match lines.recv_timeout(Duration::from_secs(1)) {
            Ok(line) => {
                let text = String::from_utf8_lossy(&line);
                match Line::parse(text.trim()) {
                    Some(Line::Kernel { release, btf }) => {
                        eprintln!("{name}: {release} is up after {:.0} s", started.elapsed().as_secs_f64());
                        outcome.booted = Some(started.elapsed());
                        outcome.release = release;
                        outcome.btf = btf;
                    }
                    Some(Line::Row(row)) => {
                        eprintln!("{name}: {row}");
                        outcome.rows.push(row);
                    }
                    Some(Line::End { code }) => outcome.ended = Some(code),
                    None => {}
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if started.elapsed() > patience {
            bail!("not done after {} s, {} rows until then", patience.as_secs(), outcome.rows.len());
        }
        if reminded.elapsed() > REMINDER {
            reminded = Instant::now();
            eprintln!("{name}: {} s, {} rows", started.elapsed().as_secs(), outcome.rows.len());
        }
    }
    // It has closed its output.
    let status = child.0.wait()?;
    outcome.took = started.elapsed();
    Ok((outcome, status))
}
