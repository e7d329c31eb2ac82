//! Measures what the probe costs: see `--help`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command line program")]

use std::process::ExitCode;

use clap::Parser;
use kafkascope_tests::overhead::{self, Effort};

/// Measures what the probe costs a broker that works at full speed, and an idle one.
///
/// Starts a real broker, loads it with a producer and a consumer, and compares windows with the probe and without. Needs
/// root; takes about five minutes. Keep the machine quiet. A missed goal is a result, not a failure.
#[derive(Debug, Parser)]
#[command(name = "kafkascope-overhead", version)]
struct Options {
    /// Pairs of windows, one of them with the probe [default: 24]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(why) = overhead::impossible() {
        println!("What the probe costs was not measured: {why}.");
        return ExitCode::SUCCESS;
    }
    match overhead::run(Effort { pairs: options.rounds }) {
        Ok(report) => {
            print!("{}", report.table());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
