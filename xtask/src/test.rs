//! `cargo xtask test`: set-up, then every test of every crate, then the commands that test by running the product, and
//! one line at the end that adds them all up.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::setup::{self, Group};
use crate::workspace;

/// Run every test, real Kafka and real clients included; does its own set-up.
///
/// A test that cannot run on this machine is ignored, with the reason beside its name; with CI=true in the
/// environment that is a failure. The first run takes about half an hour on two cores, most of it for compiling. To
/// run a part: `cargo xtask test broker`, or one crate's: `cargo test -p kafkascope-protocol`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only tests with this in their name
    filter: Option<String>,
    /// Take what is there: no downloads, nothing built for the tests beforehand
    #[arg(long)]
    no_setup: bool,
}

/// What tests by running the product, and counts as one test each. The programs are run as `cargo test` has built them:
/// built alone, they would have their dependencies compiled once more, with other features.
///
/// Of the comparison with the truth on the wire only what is exact: a busy machine spoils latencies. And it has to see when
/// it is deceived.
const PROGRAMS: [Program; 8] = [
    Program::new("fuzz", "xtask", &["fuzz", "--seconds=10"], 0),
    Program::new("truth", "kafkascope-truth", &["--kafka=4", EXACT], 0).on_kafka(),
    Program::new("truth", "kafkascope-truth", &["--kafka=3.9", EXACT], 0).on_kafka(),
    Program::new("truth", "kafkascope-truth", &["--kafka=4", "--break=27"], 1).on_kafka(),
    Program::new("truth", "kafkascope-truth", &["--kafka=4", "--only=40,44", "--break=44"], 1).on_kafka(),
    Program::new("truth", "kafkascope-truth", &["--kafka=4", "--only=host"], 0).on_kafka().for_root(),
    Program::new("truth", "kafkascope-truth", &["--kafka=3.9", "--only=11,15,16,37,41"], 0).on_kafka().for_root(),
    Program::new("truth", "kafkascope-truth", &["--kafka=4", "--break=11"], 1).on_kafka().for_root(),
];
const EXACT: &str = "--only=5,9,10,17,18,19,21,23,24,25,26,27,28,39,40,42,44";

/// A program that stands beside this one.
struct Program {
    command: &'static str,
    file: &'static str,
    arguments: &'static [&'static str],
    /// The exit code of a run that is as it should be.
    exit: i32,
    needs_java: bool,
    needs_root: bool,
}

impl Program {
    const fn new(command: &'static str, file: &'static str, arguments: &'static [&'static str], exit: i32) -> Self {
        Self { command, file, arguments, exit, needs_java: false, needs_root: false }
    }

    const fn on_kafka(self) -> Self {
        Self { needs_java: true, ..self }
    }

    const fn for_root(self) -> Self {
        Self { needs_root: true, ..self }
    }

    /// What it needs and this machine does not have.
    fn lacks(&self) -> Option<&'static str> {
        let has_java = workspace::which("java").is_some() && workspace::which("mvn").is_some();
        if self.needs_java && !has_java {
            return Some("no java or mvn on this machine");
        }
        (self.needs_root && !workspace::is_root()).then_some("needs root")
    }

    /// Runs it as the test `name`.
    fn run(&self, name: &str, folder: &Path, sum: &mut Sum) -> Result<()> {
        let mut command = Command::new(folder.join(self.file));
        command.args(self.arguments).envs(programs(folder));
        let mut told = Vec::new();
        let status = listen(&format!("{} {}", self.file, self.arguments.join(" ")), &mut command, |line| {
            if line.contains("FALSE") {
                told.push(line.to_owned());
            }
        })?;
        if status.code() == Some(self.exit) {
            println!("test {name} ... ok");
            sum.passed += 1;
        } else {
            told.push(format!("{status}, expected was {}", self.exit));
            sum.failures.append(&mut told);
            sum.fail(&format!("test {name} ... FAILED"));
        }
        Ok(())
    }
}

/// Where the programs are that the tests start.
fn programs(folder: &Path) -> [(&'static str, PathBuf); 2] {
    [("KAFKASCOPE_PROXY", folder.join("kafkascope-proxy")), ("KAFKASCOPE_PROBE", folder.join("kafkascope-probe"))]
}

/// What the runners counted, and what they told of tests that did not pass.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    passed: u64,
    failed: u64,
    ignored: u64,
    failures: Vec<String>,
    /// Whether the runner is telling of failures.
    telling: bool,
    skipped: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let started = Instant::now();
    let mut sum = Sum::default();
    if !args.no_setup {
        println!("==> set-up");
        let groups = [Group::System, Group::Kafka, Group::Archives, Group::Collector, Group::Clients, Group::Bpf];
        let groups = groups.into_iter().filter(|&group| !(group == Group::Archives && workspace::is_ci()));
        setup::provide(&groups.collect::<Vec<_>>())?;
        println!("    set-up: {:.0} s", started.elapsed().as_secs_f64());
    }
    let mut build = workspace::cargo();
    build.args(["test", "--workspace", "--no-run"]);
    crate::step::openly("cargo test --no-run", &mut build)?;
    let built = env::current_exe()?.parent().context("this program is in no folder")?.to_owned();
    let mut tests = workspace::cargo();
    tests.args(["test", "--workspace", "--no-fail-fast"]).args(&args.filter).envs(programs(&built));
    let tested = listen("cargo test", &mut tests, |line| sum.hear(line))?;
    if !tested.success() && sum.failed == 0 {
        sum.fail("cargo test failed, but no test did: see above");
    }
    for program in &PROGRAMS {
        let name = format!("cargo xtask {} {}", program.command, program.arguments.join(" "));
        if args.filter.as_ref().is_some_and(|filter| !name.contains(filter)) {
            continue;
        }
        if let Some(lack) = program.lacks() {
            println!("test {name} ... ignored, {lack}");
            sum.skipped.push(name);
            sum.ignored += 1;
        } else {
            program.run(&name, &built, &mut sum)?;
        }
    }
    if workspace::is_ci() && sum.ignored > 0 {
        println!("In CI every test must run. Ignored were:\n    {}", sum.skipped.join("\n    "));
        sum.failed += sum.ignored;
        sum.ignored = 0;
    }
    if !sum.failures.is_empty() {
        println!("==> what failed, once more\n{}", sum.failures.join("\n"));
    }
    println!("==> all tests: {:.0} s", started.elapsed().as_secs_f64());
    println!("{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.ignored);
    Ok(if sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs `command` in the open, with an ear for each line of its standard output.
fn listen(title: &str, command: &mut Command, mut hear: impl FnMut(&str)) -> Result<ExitStatus> {
    println!("==> {title}");
    let started = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
    let output = child.stdout.take().context("no standard output")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        hear(&line);
    }
    let status = child.wait()?;
    println!("    {title}: {status}, {:.0} s", started.elapsed().as_secs_f64());
    Ok(status)
}

impl Sum {
    /// A line of a runner: what it tells of failures stands between `failures:` and the result.
    fn hear(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.add(result);
            self.telling = false;
        } else if line.starts_with("test ") && line.contains("... ignored") {
            self.skipped.push(line.to_owned());
        }
        self.telling |= line == "failures:";
        if self.telling {
            self.failures.push(line.to_owned());
        }
    }

    /// A test of our own.
    fn fail(&mut self, why: &str) {
        println!("{why}");
        self.failures.push(why.to_owned());
        self.failed += 1;
    }

    /// Adds `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s`.
    fn add(&mut self, result: &str) {
        for part in result.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(Ok(number)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_the_results_of_several_runners() {
        let told = "test a ... ok\n\
                    test b ... ignored, no java\n\
                    test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s\n\
                    test c ... FAILED\n\
                    failures:\n\
                    ---- c ----\n\
                    why\n\
                    test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.30s\n\
                    test d ... ok\n";
        let mut sum = Sum::default();
        told.lines().for_each(|line| sum.hear(line));
        let failures = ["failures:", "---- c ----", "why"].map(str::to_owned).to_vec();
        let skipped = vec!["test b ... ignored, no java".to_owned()];
        assert_eq!(sum, Sum { passed: 13, failed: 2, ignored: 1, failures, telling: false, skipped });
    }
}
