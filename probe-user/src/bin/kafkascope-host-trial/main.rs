//! A workload of known truth for the probe's samplers.
//!
//! It starts `kafkascope-probe`, does things whose number it knows or the kernel counts elsewhere, and prints what the
//! probe says of them beside the truth: a JSON object a line, `{sampler, ours, truth, verdict, why}`. It is made for
//! virtual machines without anything but a shell, so it needs no Kafka, no broker and no collector.
#![expect(clippy::print_stdout, reason = "a command line program")]

mod actor;
mod cpu;
mod disk;
mod exposition;
mod fsync;
mod judge;
mod older;
mod page_cache;
mod probe;
mod sys;
mod tcp;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use judge::Report;
use older::Older;
use probe::Probe;

/// Try the probe's samplers with a workload of known truth.
///
/// Prints a JSON object for each figure. Exit code 1 if one of them is FALSE.
#[derive(Debug, Parser)]
#[command(name = "kafkascope-host-trial")]
struct Cli {
    /// The program to try
    #[arg(long, value_name = "PROGRAM")]
    probe: Option<PathBuf>,
    /// Where to write files: on a disk, for a file system in memory has no page cache to miss
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// What the trial runs in processes of their own
    #[command(hide = true)]
    Act {
        #[arg(value_enum)]
        role: actor::Role,
    },
    /// Becomes a program that ends with this process's parent
    #[command(hide = true)]
    Become {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.part {
        Some(Part::Act { role }) => actor::act(role).map(|()| true),
        Some(Part::Become { command }) => sys::become_mortal(&command).map(|never| match never {}),
        None => try_all(cli.probe, cli.folder),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

type Trial<'a> = &'a dyn Fn(&mut Report) -> Result<()>;

/// Whether no figure was false.
fn try_all(probe: Option<PathBuf>, folder: Option<PathBuf>) -> Result<bool> {
    let probe = probe.context("which probe? (--probe PROGRAM)")?;
    let folder = folder.context("where are files to be written? (--folder FOLDER)")?;
    let mut report = Report::new(std::io::stdout());
    let older = Older::connect()?;
    match Probe::start(&probe) {
        Ok(probe) => {
            // One that fails does not keep the others from being tried.
            let trials: [(&str, Trial<'_>); 7] = [
                ("sock_diag", &|report| older.try_it(&probe, report)),
                ("page_cache", &|report| page_cache::try_it(&probe, &folder, report)),
                ("fsync", &|report| fsync::try_it(&probe, &folder, report)),
                ("disk", &|report| disk::try_it(&probe, &folder, report)),
                ("tcp", &|report| tcp::try_it(&probe, report)),
                ("cpu", &|report| cpu::try_it(&probe, report)),
                ("process_up", &|report| up::try_it(&probe, report)),
            ];
            for (name, trial) in trials {
                if let Err(error) = trial(&mut report) {
                    report.failed(name, &format!("{error:#}"))?;
                }
            }
            report.others(&probe.scrape()?)?;
        }
        Err(error) => report.failed("probe", &format!("{error:#}"))?,
    }
    Ok(report.is_good())
}
