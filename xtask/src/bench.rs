//! `cargo xtask bench`: builds the proxy as it is shipped and measures it beside HAProxy and no proxy; or the probe, and
//! measures a broker with and without it.
//!
//! The measuring itself is the workspace's package `bench`, for the probe the program `kafkascope-overhead` of the package
//! `tests`, where real brokers are. The former runs in a network namespace of its own, because the
//! congestion control is a property of the namespace: bbr, the default of some kernels, paces by timers even on loopback
//! and doubles the CPU time per GB of everything.

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::setup::{self, Group};
use crate::{step, workspace};

/// Measure the proxy beside HAProxy and no proxy: CPU, throughput, latency, memory, instructions; or what the probe costs.
///
/// The proxy takes about twenty minutes, with --quick five; the probe five, and needs root. Prints what was measured, and
/// PASS or MISS for each goal; a missed goal is a result, not a failure. Keep the machine quiet: what others use of it is
/// printed, and spoils latencies first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to measure
    #[arg(value_enum, default_value = "proxy")]
    subject: Subject,
    /// Fewer and shorter windows: enough to see a large change
    #[arg(long)]
    quick: bool,
    /// Only these cases: produce-1m, produce-64x16k, produce-64k, produce-1k, fetch-1m, open-loop, connections, idle,
    /// peak-1m, peak-8m, decoder
    #[arg(long, value_name = "CASE,..")]
    only: Option<String>,
    /// Windows for each case and each target; for the probe, pairs of windows with it and without
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Write every window to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the tables to this file
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// kafkascope-proxy
    Proxy,
    /// kafkascope-probe
    Probe,
}

/// Prepares the namespace that it finds itself in, then becomes the command that it is given.
const IN_NAMESPACE: &str = "ip link set lo up \
    && { echo reno > /proc/sys/net/ipv4/tcp_congestion_control; echo '1024 65000' > /proc/sys/net/ipv4/ip_local_port_range; exec \"$@\"; }";

/// Mounts the kernel's tracing if need be, then becomes the command that it is given.
const WITH_TRACING: &str =
    "test -d /sys/kernel/tracing/events || mount -t tracefs tracefs /sys/kernel/tracing; exec \"$0\" \"$@\"";

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match args.subject {
        Subject::Proxy => proxy(args),
        Subject::Probe => probe(args),
    }
}

fn proxy(args: &Args) -> Result<ExitCode> {
    setup::provide(&[Group::Bench])?;
    let mut build = workspace::cargo();
    build.args(["build", "--profile", "dist", "-p", "kafkascope-proxy", "-p", "kafkascope-bench"]);
    step::openly("cargo build --profile dist", &mut build)?;
    let built = target_folder()?.join("dist");

    let mut bench = match namespace() {
        Some(mut namespace) => {
            namespace.args(["sh", "-c", IN_NAMESPACE, "sh"]).arg(built.join("kafkascope-bench"));
            namespace
        }
        None => {
            println!("No network namespace can be made here: measuring with this machine's settings, see below.");
            Command::new(built.join("kafkascope-bench"))
        }
    };
    bench.arg("--proxy").arg(built.join("kafkascope-proxy"));
    if args.quick {
        bench.arg("--quick");
    }
    if let Some(only) = &args.only {
        bench.args(["--only", only]);
    }
    if let Some(rounds) = args.rounds {
        bench.args(["--rounds", &rounds.to_string()]);
    }
    for (flag, file) in [("--json", &args.json), ("--markdown", &args.markdown)] {
        if let Some(file) = file {
            bench.arg(flag).arg(file);
        }
    }
    let status = bench.status().with_context(|| format!("cannot run {bench:?}"))?;
    if !status.success() {
        bail!("a measurement could not be made");
    }
    Ok(ExitCode::SUCCESS)
}

fn probe(args: &Args) -> Result<ExitCode> {
    if args.quick || args.only.is_some() || args.json.is_some() || args.markdown.is_some() {
        bail!("of these, only --rounds is for the probe");
    }
    if !workspace::is_root() {
        println!("What the probe costs was not measured: needs root.");
        return Ok(ExitCode::SUCCESS);
    }
    setup::provide(&[Group::System, Group::Kafka, Group::Bpf])?;
    let mut build = workspace::cargo();
    build.args(["build", "--profile", "dist", "-p", "kafkascope-probe"]);
    step::openly("cargo build --profile dist", &mut build)?;
    // Its load is C for the most part, and what it waits for is the broker: as tests build it.
    let mut build = workspace::cargo();
    build.args(["build", "-p", "kafkascope-tests", "--bin", "kafkascope-overhead"]);
    step::openly("cargo build", &mut build)?;
    let built = target_folder()?;
    // Where the kernel's tracing is mounted fsync is seen, too; nobody else is to see the mount.
    let mut overhead = Command::new("unshare");
    overhead.args(["--mount", "--propagation", "private", "sh", "-c", WITH_TRACING]);
    overhead.arg(built.join("debug/kafkascope-overhead"));
    overhead.env("KAFKASCOPE_PROBE", built.join("dist/kafkascope-probe"));
    if let Some(rounds) = args.rounds {
        overhead.args(["--rounds", &rounds.to_string()]);
    }
    let status = overhead.status().with_context(|| format!("cannot run {overhead:?}"))?;
    if !status.success() {
        bail!("a measurement could not be made");
    }
    Ok(ExitCode::SUCCESS)
}

/// `unshare` with the flags that work for this user.
fn namespace() -> Option<Command> {
    let unshare = |flags: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(flags);
        command
    };
    let flags: [&[&str]; 2] = [&["--net"], &["--net", "--map-root-user"]];
    let works = |flags: &&&[&str]| step::answer(unshare(flags).args(["ip", "link", "set", "lo", "up"])).is_ok();
    flags.iter().find(works).map(|flags| unshare(flags))
}

/// Where cargo puts what it builds.
fn target_folder() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("CARGO_TARGET_DIR") {
        return Ok(workspace::root().join(folder));
    }
    let metadata = step::answer(workspace::cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    metadata["target_directory"].as_str().map(PathBuf::from).context("cargo metadata names no target directory")
}
