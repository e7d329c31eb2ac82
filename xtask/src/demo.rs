//! `cargo xtask demo`: builds the proxy, the probe and the demo, then becomes the demo.

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::workspace;

/// Watch Kafka clients, good and bad, through the proxy.
///
/// Starts an embedded Kafka, the proxy before it, an OTLP receiver and real clients that behave differently, and shows
/// what the proxy sees of them. As root it shows what the probe sees of the host, too: CPU, memory, files, garbage
/// collections, page cache and disks of brokers and proxy. Needs Rust, a C compiler and make; the first build takes some
/// minutes. Ctrl-C ends everything.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// End after this many seconds
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Print only the final state, as JSON; progress goes to standard error
    #[arg(long)]
    json: bool,
    /// Use Apache Kafka instead of the embedded one (needs Java, and Maven the first time)
    #[arg(long, value_name = "VERSION", conflicts_with = "bootstrap")]
    kafka: Option<Version>,
    /// Use your own cluster (plain text listeners); topics kafkascope-demo-* are made in it and deleted at the end
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap: Option<String>,
    /// Export to your own collector
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
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
    if args.kafka.is_some() {
        set_up_kafka()?;
    }
    eprintln!("building the proxy, the probe and the demo (some minutes the first time)");
    let mut build = workspace::cargo();
    build.args(["build", "--package", "kafkascope-proxy", "--bin", "kafkascope-proxy"]);
    build.args(["--package", "kafkascope-probe", "--bin", "kafkascope-probe"]);
    build.args(["--package", "kafkascope-tests", "--bin", "kafkascope-demo"]);
    let status = build.stdin(Stdio::null()).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("the build failed; besides Rust it needs a C compiler and make (Debian: apt-get install gcc g++ make)");
    }
    // This program stands beside what was built. It becomes the demo instead of waiting for it: a signal to the one is
    // a signal to the other.
    let folder = env::current_exe()?.parent().context("this program is in no folder")?.to_owned();
    let mut demo = Command::new(folder.join("kafkascope-demo"));
    demo.env("KAFKASCOPE_PROXY", folder.join("kafkascope-proxy"));
    demo.env("KAFKASCOPE_PROBE", folder.join("kafkascope-probe"));
    demo.args(args.seconds.map(|seconds| format!("--seconds={seconds}")));
    demo.args(args.json.then_some("--json"));
    demo.args(args.kafka.map(|version| match version {
        Version::V4 => "--kafka=4",
        Version::V39 => "--kafka=3.9",
    }));
    demo.args(args.bootstrap.as_ref().map(|bootstrap| format!("--bootstrap={bootstrap}")));
    demo.args(args.otlp_endpoint.as_ref().map(|endpoint| format!("--otlp-endpoint={endpoint}")));
    Err(demo.exec()).context("cannot run the demo")
}

/// As a process of its own: what it tells must not come between the user and `--json`.
fn set_up_kafka() -> Result<()> {
    let mut setup = Command::new(env::current_exe()?);
    let status = setup.args(["setup", "--only", "kafka"]).stdin(Stdio::null()).stdout(io::stderr()).status()?;
    if status.success() { Ok(()) } else { bail!("Apache Kafka could not be set up") }
}
