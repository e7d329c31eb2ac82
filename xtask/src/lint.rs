//! `cargo xtask lint`: everything that can be said about the code without running it.

mod architecture;
mod no_std;

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{step, workspace};

/// Check form: format, clippy, docs, the direction of dependencies, `no_std`, licences.
///
/// All checks run, even after one has failed. Each failure names what to change. In a checkout that passes, nothing is
/// modified; `cargo fmt` repairs the format, `cargo clippy --fix` much of the rest.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

type Check = (&'static str, fn() -> Result<()>);

const CHECKS: [Check; 8] = [
    ("format", format),
    ("every member inherits the lints", architecture::lints_are_inherited),
    ("dependencies point one way", architecture::dependencies_point_one_way),
    ("the forwarder knows no Kafka", architecture::forwarder_knows_no_kafka),
    ("clippy", clippy),
    ("protocol needs no operating system", no_std::protocol),
    ("docs", docs),
    ("licences and sources of dependencies", deny),
];

/// Runs the command.
pub(crate) fn run(_args: &Args) -> Result<ExitCode> {
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        if let Err(error) = check() {
            println!("lint: {name}: FAILED: {error:#}");
            failed.push(name);
        } else {
            println!("lint: {name}: ok");
        }
    }
    if failed.is_empty() {
        println!("lint: {} checks, all ok", CHECKS.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!("lint: {} checks, failed: {}", CHECKS.len(), failed.join(", "));
    Ok(ExitCode::FAILURE)
}

fn format() -> Result<()> {
    step::openly("cargo fmt", workspace::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    let mut clippy = workspace::cargo();
    clippy.args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]);
    step::openly("cargo clippy", &mut clippy)
}

fn docs() -> Result<()> {
    let mut doc = workspace::cargo();
    doc.args(["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"]);
    step::openly("cargo doc", doc.env("RUSTDOCFLAGS", "-D warnings"))
}

fn deny() -> Result<()> {
    if step::answer(Command::new("cargo-deny").arg("--version")).is_err() {
        println!("lint: cargo-deny is not installed, so licences are not checked here (cargo install cargo-deny)");
        return Ok(());
    }
    step::openly("cargo deny", workspace::cargo().args(["deny", "check"]))
}
