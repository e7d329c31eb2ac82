//! One step of a longer work: says what it does, shows that it is alive, and keeps its output for when it fails.

use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Without a terminal, a running step is named again this often.
const REMINDER: Duration = Duration::from_secs(30);

/// Runs `command` with its output in a log file; fails with the end of the log.
pub(crate) fn quietly(title: &str, command: &mut Command) -> Result<()> {
    let log = log_path(title)?;
    let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let started = Instant::now();
    let status = watch(title, command)?;
    if !status.success() {
        println!("{title}: failed after {:.0} s, the end of {}:", started.elapsed().as_secs_f64(), log.display());
        for line in tail(&fs::read_to_string(&log).unwrap_or_default(), 30) {
            println!("    {line}");
        }
        bail!("{title}: {status}");
    }
    println!("{title}: done in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Runs `command` in the open, as if the user had typed it.
pub(crate) fn openly(title: &str, command: &mut Command) -> Result<()> {
    println!("==> {title}");
    let started = Instant::now();
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot run {command:?}"))?;
    println!("    {title}: {:.0} s", started.elapsed().as_secs_f64());
    if status.success() { Ok(()) } else { bail!("{title}: {status}") }
}

/// What `command` prints, trimmed; an error when it fails.
pub(crate) fn answer(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn watch(title: &str, command: &mut Command) -> Result<ExitStatus> {
    let terminal = std::io::stdout().is_terminal();
    let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
    let started = Instant::now();
    let mut reminded = started;
    if !terminal {
        println!("{title} ...");
    }
    loop {
        if let Some(status) = child.try_wait()? {
            if terminal {
                print!("\r\x1b[K");
            }
            return Ok(status);
        }
        if terminal {
            print!("\r\x1b[K{title} ... {} s", started.elapsed().as_secs());
            std::io::stdout().flush()?;
        } else if reminded.elapsed() >= REMINDER {
            println!("{title} ... {} s", started.elapsed().as_secs());
            reminded = Instant::now();
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn log_path(title: &str) -> Result<PathBuf> {
    let folder = workspace::testbed().join("logs");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let name: String = title.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    Ok(folder.join(format!("{name}.log")))
}

fn tail(text: &str, lines: usize) -> impl Iterator<Item = &str> {
    let skip = text.lines().count().saturating_sub(lines);
    text.lines().skip(skip)
}
