//! Compares every figure with an oracle that was read in the same run, and says which are true.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command line program")]

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use kafkascope_tests::{
    kafka::Version,
    truth::{self, Comparison},
};

/// Compares what kafkascope reports with what brokers and clients say of themselves.
///
/// For the wire it starts real Apache Kafka with three brokers, the proxy in front of each, and real Java and librdkafka
/// clients, and takes about two minutes; for the host (root needed) one broker and the probe, two minutes more. Exit code
/// 1 if any row is FALSE.
#[derive(Debug, Parser)]
#[command(name = "kafkascope-truth", version)]
struct Options {
    /// Line of Apache Kafka
    #[arg(long, value_enum, default_value = "4")]
    kafka: Line,
    /// Only these items: `wire`, `host`, `cluster`, or numbers such as `7,20`
    #[arg(long, value_name = "ITEMS")]
    only: Option<String>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Change reality so that the rows of this item must become FALSE; shows only them unless --only says otherwise
    #[arg(long, value_name = "ITEM")]
    r#break: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Line {
    /// 4.3.1
    #[value(name = "4")]
    V4,
    /// 3.9.2
    #[value(name = "3.9")]
    V39,
}

fn main() -> ExitCode {
    match truth::act_if_asked() {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    let options = Options::parse();
    match comparison(&options) {
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(64)
        }
        Ok(comparison) => {
            let report = comparison.run();
            if options.json {
                println!("{}", report.json());
            } else {
                print!("{}", report.table());
            }
            if report.has_false() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
    }
}

fn comparison(options: &Options) -> Result<Comparison> {
    let mut comparison = Comparison::new(match options.kafka {
        Line::V4 => Version::V4,
        Line::V39 => Version::V39,
    });
    if let Some(item) = &options.r#break {
        let item = truth::number(item).context("--break")?;
        let change =
            truth::breaking(item).with_context(|| format!("--break: item {item} is not built, so it cannot break"))?;
        eprintln!("truth: to make item {item} false, {change}");
        comparison = Comparison { breaking: Some(item), ..comparison.only(vec![item]) };
    }
    if let Some(items) = &options.only {
        comparison = comparison.only(truth::selection(items).context("--only")?);
    }
    Ok(comparison)
}
