//! Everything that is not plain cargo: one module for each command.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command line program")]

mod bench;
mod demo;
mod fuzz;
mod kernels;
mod lint;
mod setup;
mod step;
mod test;
mod truth;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What kafkascope's developers and users run besides plain cargo.
///
/// Start with `cargo xtask test`: it fetches and builds what the tests need, then runs every test.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Setup(setup::Args),
    Lint(lint::Args),
    Test(test::Args),
    Fuzz(fuzz::Args),
    Truth(truth::Args),
    Bench(bench::Args),
    Kernels(kernels::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Setup(args) => setup::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Truth(args) => truth::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Kernels(args) => kernels::run(&args),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
