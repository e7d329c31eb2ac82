//! `cargo xtask lint`: everything that can be said about the code without running it.

mod architecture;
mod deploy;
mod no_std;

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::setup::{self, Group};
use crate::{step, workspace};

/// Check form: format, clippy, docs, the direction of dependencies, `no_std`, licences, files for deployment.
///
/// All checks run, even after one has failed. Each failure names what to change. In a checkout that passes, nothing is
/// modified; `cargo fmt` repairs the format, `cargo clippy --fix` much of the rest.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// What a check found out, other than that all is well.
enum Verdict {
    Ok,
    /// It could not be made here, because of this.
    NotChecked(&'static str),
}

type Check = (&'static str, fn() -> Result<Verdict>);

const CHECKS: [Check; 12] = [
    ("format", format),
    ("every member inherits the lints", || architecture::lints_are_inherited().map(ok)),
    ("dependencies point one way", || architecture::dependencies_point_one_way().map(ok)),
    ("the forwarder knows no Kafka", || architecture::forwarder_knows_no_kafka().map(ok)),
    ("clippy", clippy),
    ("protocol needs no operating system", || no_std::protocol().map(ok)),
    ("docs", docs),
    ("licences and sources of dependencies", licences),
    ("advisories against dependencies", advisories),
    ("Kubernetes manifests", deploy::manifests),
    ("systemd units", deploy::units),
    ("the collector's configuration", deploy::collector),
];

fn ok((): ()) -> Verdict {
    Verdict::Ok
}

/// Runs the command.
pub(crate) fn run(_args: &Args) -> Result<ExitCode> {
    setup::provide(&[Group::Lint, Group::Collector])?;
    let (mut failed, mut not_checked) = (Vec::new(), Vec::new());
    for (name, check) in CHECKS {
        match check() {
            Ok(Verdict::Ok) => println!("lint: {name}: ok"),
            Ok(Verdict::NotChecked(why)) => {
                println!("lint: {name}: not checked: {why}");
                not_checked.push(name);
            }
            Err(error) => {
                println!("lint: {name}: FAILED: {error:#}");
                failed.push(name);
            }
        }
    }
    let passed = CHECKS.len() - failed.len() - not_checked.len();
    println!("lint: {passed} checks ok, failed: [{}], not checked: [{}]", failed.join(", "), not_checked.join(", "));
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn format() -> Result<Verdict> {
    step::openly("cargo fmt", workspace::cargo().args(["fmt", "--all", "--check"])).map(ok)
}

fn clippy() -> Result<Verdict> {
    let mut clippy = workspace::cargo();
    clippy.args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]);
    step::openly("cargo clippy", &mut clippy).map(ok)
}

fn docs() -> Result<Verdict> {
    let mut doc = workspace::cargo();
    doc.args(["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"]);
    step::openly("cargo doc", doc.env("RUSTDOCFLAGS", "-D warnings")).map(ok)
}

fn licences() -> Result<Verdict> {
    check_with_deny(&["bans", "licenses", "sources"])
}

fn advisories() -> Result<Verdict> {
    if deny().is_some_and(|mut fetch| step::answer(fetch.args(["fetch", "db"])).is_err()) {
        return Ok(Verdict::NotChecked("their database cannot be fetched"));
    }
    check_with_deny(&["advisories"])
}

fn check_with_deny(what: &[&str]) -> Result<Verdict> {
    let Some(mut deny) = deny() else { return Ok(Verdict::NotChecked("cargo-deny is missing")) };
    let check = deny.args(["check", "--hide-inclusion-graph"]).args(what);
    step::openly(&format!("cargo deny check {}", what.join(" ")), check).map(ok)
}

/// The program that set-up has built, if it could.
fn deny() -> Option<Command> {
    let program = setup::cargo_deny();
    program.is_file().then(|| {
        let mut command = Command::new(program);
        command.current_dir(workspace::root());
        command
    })
}
