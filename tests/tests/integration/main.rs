//! The proxy between real clients, real brokers, a real collector, and peers that misbehave.
//!
//! Trials that need a program which this machine lacks are ignored, with the reason. Clusters are started by the first
//! trial that needs them and shared; a trial on a cluster has it for itself, so that what passes the taps is its own.
#![forbid(unsafe_code)]

mod collector;
mod command_line;
mod connections;
mod faults;
mod figures;
mod foreign;
mod groups;
mod health;
mod host;
mod java;
mod librdkafka;
mod load;
mod namespace;
mod outages;
mod probe;
mod records;
mod sink;
mod spans;
mod stage;
mod top;
mod trial;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::Arguments;

use crate::stage::Stages;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Brokers and clients take processor time too. More trials at once would only make each other late.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let stages = Arc::new(Stages::default());
    let trials = [
        command_line::trials(),
        connections::trials(),
        top::trials(),
        outages::trials(),
        librdkafka::trials(&stages),
        java::trials(&stages),
        foreign::trials(&stages),
        groups::trials(&stages),
        spans::trials(),
        collector::trials(),
        faults::trials(),
        health::trials(),
        load::trials(&stages),
        host::trials(),
        probe::trials(),
    ];
    let conclusion = libtest_mimic::run(&arguments, trials.into_iter().flatten().collect());
    // Ends the clusters and removes their data.
    drop(stages);
    conclusion.exit_code()
}
