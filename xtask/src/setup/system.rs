//! System packages: found, or installed by apt-get where that is possible, or named.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Absent, step};
use crate::workspace::{self, which};

/// A program that must be there.
pub(super) struct Tool {
    pub(super) program: &'static str,
    pub(super) package: &'static str,
    pub(super) consequence: &'static str,
}

/// What building and testing need.
pub(super) fn build_tools(absent: &mut Vec<Absent>) -> Result<()> {
    let without_rdkafka = "librdkafka, and so the tests and the demo, cannot be built";
    let without_kafka = "the tests against Apache Kafka are ignored";
    let tool = |program, package, consequence| Tool { program, package, consequence };
    ensure(
        &[
            tool("cc", "gcc", without_rdkafka),
            tool("c++", "g++", without_rdkafka),
            tool("make", "make", without_rdkafka),
            tool("javac", "openjdk-17-jdk-headless", without_kafka),
            tool("mvn", "maven", without_kafka),
        ],
        absent,
    )
}

/// What the benchmark needs.
pub(super) fn bench_tools(absent: &mut Vec<Absent>) -> Result<()> {
    let tool = |program, package, consequence| Tool { program, package, consequence };
    ensure(
        &[
            tool("haproxy", "haproxy", "the benchmark has nothing to compare with"),
            tool("ip", "iproute2", "the benchmark cannot make its own network namespace"),
            tool("valgrind", "valgrind", "the instructions of the decoder are not counted"),
        ],
        absent,
    )
}

/// What lint needs besides cargo.
pub(super) fn lint_tools(absent: &mut Vec<Absent>) -> Result<()> {
    pip("the Kubernetes manifests are not checked", absent)?;
    let consequence = "the systemd units are not checked";
    ensure(&[Tool { program: "systemd-analyze", package: "systemd", consequence }], absent)
}

/// What fetches Python modules.
pub(super) fn pip(consequence: &'static str, absent: &mut Vec<Absent>) -> Result<()> {
    ensure(&[Tool { program: "pip3", package: "python3-pip", consequence }], absent)
}

/// kcat, a client on an old librdkafka.
pub(super) fn kcat(absent: &mut Vec<Absent>) -> Result<()> {
    ensure(&[Tool { program: "kcat", package: "kcat", consequence: "the test with kcat is ignored" }], absent)
}

pub(super) fn ensure(tools: &[Tool], absent: &mut Vec<Absent>) -> Result<()> {
    let missing = || tools.iter().filter(|tool| !is_there(tool.program));
    let packages: Vec<_> = missing().map(|tool| tool.package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    if can_install() {
        let title = format!("Installing {}", packages.join(", "));
        let mut install = apt_get();
        install.args(["install", "--yes", "--no-install-recommends"]).args(&packages);
        if step::quietly("Reading the list of packages", apt_get().arg("update")).is_ok() {
            // What is still missing afterwards is reported below.
            let _reported_below = step::quietly(&title, &mut install).is_ok();
        }
    }
    absent.extend(missing().map(|tool| Absent {
        what: tool.program.to_owned(),
        remedy: format!("On Debian or Ubuntu: apt-get install {}", tool.package),
        consequence: tool.consequence,
    }));
    Ok(())
}

/// macOS has stand-ins for `java` and `javac` that only say where to get it.
fn is_there(program: &str) -> bool {
    which(program).is_some() && (program != "javac" || step::answer(Command::new(program).arg("-version")).is_ok())
}

fn can_install() -> bool {
    Path::new("/etc/debian_version").exists() && which("apt-get").is_some() && workspace::is_root()
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet");
    // Another one may be at work, and a mirror may fail for a moment.
    command.args(["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"]);
    command
}
