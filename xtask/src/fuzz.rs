//! `cargo xtask fuzz`: the decoder against libFuzzer, with the stable compiler.
//!
//! libFuzzer itself is compiled by the C++ compiler from the `libfuzzer-sys` crate. Coverage comes from LLVM's own pass,
//! which stable `rustc` can be told to run; build scripts are not instrumented, because a target is named.

use std::collections::VecDeque;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{step, workspace};

const TARGETS: [&str; 3] = ["body", "connection", "differential_chunking"];

/// What makes an instrumented build of a stable compiler.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Ccodegen-units=1";

/// Longest input. A frame's header and a few batches fit many times.
const MAX_LENGTH: usize = 8192;

/// One input may take so long, in seconds, and the program so much memory, in MB.
const TIMEOUT: u32 = 20;
const MEMORY: u32 = 1024;

/// A sign of life this often.
const PULSE: Duration = Duration::from_secs(10);

/// Fuzz the decoder: each kind of body, any calls on a connection, and the same bytes in different pieces.
///
/// Builds the targets in `protocol/fuzz`, lets them write seeds from the tests' fixtures, and runs one after the other.
/// What was found is kept in `target/fuzz/corpus` and used by the next run. Exits with 1 when an input fails and says
/// where that input is and how to run it again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only this target: body, connection or differential_chunking
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
}

/// What libFuzzer said of its work.
#[derive(Debug, Default, PartialEq, Eq)]
struct Progress {
    executions: u64,
    edges: u64,
    reproducer: Option<String>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let chosen: Vec<&str> =
        TARGETS.into_iter().filter(|name| args.target.as_deref().is_none_or(|only| only == *name)).collect();
    if chosen.is_empty() {
        bail!("no such target: there are {}", TARGETS.join(", "));
    }
    let folder = folder();
    let programs = build(&folder)?;
    let mut failed = 0;
    for name in chosen {
        if !fuzz(name, &programs.join(name), &folder, args.seconds)? {
            failed += 1;
        }
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Everything of this command is in one folder of the target directory.
fn folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace::root().join("target"), PathBuf::from).join("fuzz")
}

/// Builds all targets; returns the folder with the programs.
fn build(folder: &Path) -> Result<PathBuf> {
    let version = step::answer(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--release", "--bins", "--manifest-path", "protocol/fuzz/Cargo.toml", "--target", host]);
    cargo.arg("--target-dir").arg(folder).env("RUSTFLAGS", FLAGS);
    step::quietly("Building the fuzz targets", &mut cargo)?;
    Ok(folder.join(host).join("release"))
}

/// Runs one target. Whether all inputs passed.
fn fuzz(name: &str, program: &Path, folder: &Path, seconds: u64) -> Result<bool> {
    let [seeds, corpus, failures] = ["seeds", "corpus", "failures"].map(|kind| folder.join(kind).join(name));
    if seeds.exists() {
        fs::remove_dir_all(&seeds)?;
    }
    for path in [&seeds, &corpus, &failures] {
        fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    step::answer(Command::new(program).env("KAFKASCOPE_SEEDS", &seeds)).context("cannot write seeds")?;

    println!("{name}: {seconds} s ...");
    let mut command = Command::new(program);
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={MAX_LENGTH}"));
    command.arg(format!("-timeout={TIMEOUT}")).arg(format!("-rss_limit_mb={MEMORY}"));
    command.arg(format!("-artifact_prefix={}/", failures.display())).args([&corpus, &seeds]);
    let started = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let output = child.stderr.take().context("no standard error")?;
    let (mut progress, mut last, mut told) = (Progress::default(), VecDeque::new(), started);
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        progress.read(&line);
        if told.elapsed() >= PULSE {
            told = Instant::now();
            println!("{name}: {} s, {progress}", started.elapsed().as_secs());
        }
        last.push_back(line);
        if last.len() > 60 {
            last.pop_front();
        }
    }
    let status = child.wait()?;
    if status.success() {
        let known = fs::read_dir(&corpus)?.count();
        println!("{name}: {progress}, {known} inputs kept, nothing failed");
        return Ok(true);
    }
    for line in last {
        println!("    {line}");
    }
    println!("{name}: FAILED ({status}) after {progress}");
    if let Some(reproducer) = &progress.reproducer {
        println!("{name}: the input is {reproducer}; run it again with: {} {reproducer}", program.display());
    }
    Ok(false)
}

impl Progress {
    /// Takes up a line such as `#4096 pulse  cov: 912 ft: 3021 corp: 310/45Kb exec/s: 1365 rss: 52Mb`.
    fn read(&mut self, line: &str) {
        if let Some(path) = line.split_once("Test unit written to ").map(|(_, path)| path) {
            self.reproducer = Some(path.trim().to_owned());
        }
        let Some(rest) = line.strip_prefix('#') else { return };
        let mut words = rest.split_whitespace();
        if let Some(executions) = words.next().and_then(|word| word.parse().ok()) {
            self.executions = executions;
        }
        if let Some(edges) = words.skip_while(|word| *word != "cov:").nth(1).and_then(|word| word.parse().ok()) {
            self.edges = edges;
        }
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} executions, {} edges covered", self.executions, self.edges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_libfuzzer_says() {
        let mut progress = Progress::default();
        progress.read("INFO: Seed: 123");
        progress.read("#4096\tpulse  cov: 912 ft: 3021 corp: 310/45Kb lim: 8192 exec/s: 1365 rss: 52Mb");
        assert_eq!((progress.executions, progress.edges), (4096, 912));
        progress.read("#5000\tDONE   cov: 913 ft: 3021 corp: 310/45Kb lim: 8192 exec/s: 1365 rss: 52Mb");
        assert_eq!((progress.executions, progress.edges), (5000, 913));
        progress.read("artifact_prefix='/t/'; Test unit written to /t/crash-0a");
        assert_eq!(progress.reproducer.as_deref(), Some("/t/crash-0a"));
    }
}
