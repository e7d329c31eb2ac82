//! `cargo xtask truth`: sets Kafka up, builds the proxy and the runner, then becomes the runner.

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::workspace;

/// Compare every figure with what brokers and clients say of themselves in the same run.
///
/// Starts real Apache Kafka with three brokers, the proxy in front of each, and real Java and librdkafka clients; needs
/// Java, and Maven the first time. Takes about two minutes. Prints a row or more for each of the 45 items with true,
/// FALSE or absent (not built yet); exit code 1 if any row is FALSE. Keep the machine quiet: latency is compared too.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Line of Apache Kafka
    #[arg(long, value_enum, value_name = "VERSION", default_value = "4")]
    kafka: Version,
    /// Only these items: `wire`, `host`, `cluster`, or numbers such as `7,20`
    #[arg(long, value_name = "ITEMS")]
    only: Option<String>,
    /// Print only the rows, as JSON; progress goes to standard error
    #[arg(long)]
    json: bool,
    /// Change reality (not the numbers) so that the rows of this item must become FALSE
    #[arg(long, value_name = "ITEM")]
    r#break: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Version {
    #[value(name = "4")]
    V4,
    #[value(name = "3.9")]
    V39,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    set_up()?;
    eprintln!("building the proxy and the runner (some minutes the first time)");
    let mut build = workspace::cargo();
    build.args(["build", "--package", "kafkascope-proxy", "--bin", "kafkascope-proxy"]);
    build.args(["--package", "kafkascope-tests", "--bin", "kafkascope-truth"]);
    let status = build.stdin(Stdio::null()).stdout(io::stderr()).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("the build failed; besides Rust it needs a C compiler and make (Debian: apt-get install gcc g++ make)");
    }
    // This program stands beside what was built. It becomes the runner: a signal to the one is a signal to the other.
    let folder = env::current_exe()?.parent().context("this program is in no folder")?.to_owned();
    let mut truth = Command::new(folder.join("kafkascope-truth"));
    truth.env("KAFKASCOPE_PROXY", folder.join("kafkascope-proxy"));
    truth.arg(match args.kafka {
        Version::V4 => "--kafka=4",
        Version::V39 => "--kafka=3.9",
    });
    truth.args(args.only.as_ref().map(|items| format!("--only={items}")));
    truth.args(args.json.then_some("--json"));
    truth.args(args.r#break.as_ref().map(|item| format!("--break={item}")));
    Err(truth.exec()).context("cannot run the comparison")
}

/// As a process of its own: what it tells must not come between the user and `--json`.
fn set_up() -> Result<()> {
    let mut setup = Command::new(env::current_exe()?);
    let status = setup.args(["setup", "--only", "system,kafka"]).stdin(Stdio::null()).stdout(io::stderr()).status()?;
    if status.success() { Ok(()) } else { bail!("Apache Kafka could not be set up") }
}
