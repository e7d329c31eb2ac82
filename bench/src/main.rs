//! What the proxy costs, beside HAProxy and no proxy at all, under the same load and in one run.
//!
//! `cargo xtask bench` builds what is needed, makes a network namespace and starts this in it.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

use kafkascope_bench::{
    cases,
    load::Timing,
    machine,
    receiver::Receiver,
    report, run,
    run::Plan,
    sink::Sink,
    targets::{Kind, Surroundings},
};

/// Measures the proxy beside HAProxy and no proxy.
#[derive(Debug, Parser)]
struct Arguments {
    /// The kafkascope-proxy to measure.
    #[arg(long)]
    proxy: PathBuf,
    /// Fewer and shorter windows: enough to see a large change.
    #[arg(long)]
    quick: bool,
    /// Only these cases.
    #[arg(long, value_delimiter = ',', value_name = "CASE")]
    only: Vec<String>,
    /// Only these targets; goals that compare with others are then not judged.
    #[arg(long, value_delimiter = ',', value_name = "TARGET")]
    targets: Vec<Kind>,
    /// Windows for each case and target.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Write every window of every round to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the tables to this file.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut cases = cases::all();
    for name in &arguments.only {
        ensure!(cases.iter().any(|case| case.name == name), "there is no case {name}: {}", names(&cases));
    }
    cases.retain(|case| arguments.only.is_empty() || arguments.only.iter().any(|name| name == case.name));
    let plan = match arguments.quick {
        true => Plan {
            rounds: 2,
            timing: Timing { warm_up: Duration::from_millis(200), window: Duration::from_millis(800) },
        },
        false => {
            Plan { rounds: 5, timing: Timing { warm_up: Duration::from_millis(300), window: Duration::from_secs(2) } }
        }
    };
    let plan = Plan { rounds: arguments.rounds.unwrap_or(plan.rounds), ..plan };

    let kinds = if arguments.targets.is_empty() { Kind::ALL.to_vec() } else { arguments.targets };

    machine::raise_file_limit()?;
    let machine = machine::describe()?;
    println!("{machine}\n");
    let exchanges: Vec<_> = cases.iter().map(|case| case.work.exchange().clone()).collect();
    let sink = Sink::start(&exchanges)?;
    let receiver = Receiver::start()?;
    let folder = std::env::temp_dir().join(format!("kafkascope-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let around = Surroundings { proxy: arguments.proxy, folder, sink: sink.address, otlp: receiver.address };

    let results = run::all(&cases, &kinds, plan, &around, &sink, |step| eprintln!("{step}"))?;
    let verdicts = report::verdicts(&cases::goals(), &cases, &kinds, &results)?;
    let figures = report::markdown_figures(&cases, &kinds, &results);
    let judged = report::markdown_verdicts(&verdicts);
    println!("{figures}{judged}");
    let (exports, bytes) = receiver.received();
    println!("\nkafkascope exported {exports} times, {bytes} bytes of OTLP.");
    if let Some(seen) = results.seen {
        println!("It counted {} of {} requests.", seen.counted, seen.sent);
    }
    if let Some(path) = arguments.json {
        let text = serde_json::to_string_pretty(&report::machine_readable(&results, &verdicts))?;
        fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = arguments.markdown {
        fs::write(&path, format!("{machine}\n\n{judged}\n{figures}")).with_context(|| path.display().to_string())?;
    }
    fs::remove_dir_all(&around.folder)?;
    Ok(())
}

fn names(cases: &[cases::Case]) -> String {
    cases.iter().map(|case| case.name).collect::<Vec<_>>().join(", ")
}
