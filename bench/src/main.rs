//! What the proxy costs, beside HAProxy and no proxy at all, under the same load and in one run.
//!
//! `cargo xtask bench` builds what is needed, makes a network namespace and starts this in it.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::{env, fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

use kafkascope_bench::{
    cases, decoder,
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
        let known = name == cases::DECODER || cases.iter().any(|case| case.name == name);
        ensure!(known, "there is no case {name}: {}, {}", names(&cases), cases::DECODER);
    }
    let wanted = |case: &str| arguments.only.is_empty() || arguments.only.iter().any(|name| name == case);
    cases.retain(|case| wanted(case.name));
    let count_decoder = wanted(cases::DECODER);
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
    let folder = env::temp_dir().join(format!("kafkascope-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let around = Surroundings { proxy: arguments.proxy, folder, sink: sink.address, otlp: receiver.address };

    let results = run::all(&cases, &kinds, plan, &around, &sink, |step| eprintln!("{step}"))?;
    let decoder = match count_decoder {
        true => {
            eprintln!("the decoder's instructions");
            Some(decoder::count(&env::current_exe()?.with_file_name("kafkascope-bench-decoder"))?)
        }
        false => None,
    };
    let mut verdicts = report::verdicts(&cases::goals(), &cases, &kinds, &results)?;
    verdicts.extend(decoder.iter().flat_map(report::decoder_verdicts));
    let figures = report::markdown_figures(&cases, &kinds, &results);
    let judged = report::markdown_verdicts(&verdicts);
    println!("{figures}{judged}");
    let (exports, bytes) = receiver.received();
    println!("\nkafkascope exported {exports} times, {bytes} bytes of OTLP.");
    if let Some(seen) = results.seen {
        println!(
            "It counted {} of {} requests (those in flight when a window ends are on one side only).",
            seen.counted, seen.sent
        );
        // Without it the figures would be those of a proxy that does not look.
        ensure!(seen.counted * 100 >= seen.sent * 95, "kafkascope did not observe what it forwarded");
    }
    if let Some(path) = arguments.json {
        let text = serde_json::to_string_pretty(&report::machine_readable(&results, decoder.as_ref(), &verdicts))?;
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
