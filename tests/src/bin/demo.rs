//! `kafkascope-demo`: what `cargo xtask demo` builds and runs.
#![forbid(unsafe_code)]

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};
use kafkascope_tests::{
    demo::{self, Ended, Kafka, Options},
    kafka::Version,
    mock::{self, Topic},
};

/// Kafka, the proxy before it, a collector, and clients with habits, good and bad.
#[derive(Debug, Parser)]
#[command(name = "kafkascope-demo", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    /// End after this many seconds
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Print only the final state, as JSON
    #[arg(long)]
    json: bool,
    /// Use Apache Kafka instead of the embedded one
    #[arg(long, value_name = "VERSION", conflicts_with = "bootstrap")]
    kafka: Option<Apache>,
    /// Use your own cluster
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap: Option<String>,
    /// Export to your own collector
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Apache {
    #[value(name = "4")]
    V4,
    #[value(name = "3.9")]
    V39,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Be the embedded cluster
    #[command(hide = true)]
    MockCluster {
        #[arg(long)]
        brokers: i32,
        #[arg(long = "topic", value_name = "NAME:PARTITIONS", value_parser = topic)]
        topics: Vec<Topic>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(Ended::InTime) => ExitCode::SUCCESS,
        Ok(Ended::Interrupted) => ExitCode::from(130),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<Ended> {
    if let Some(Role::MockCluster { brokers, topics }) = cli.role {
        match mock::serve(brokers, &topics)? {}
    }
    let kafka = match (cli.kafka, cli.bootstrap) {
        (Some(Apache::V4), _) => Kafka::Apache(Version::V4),
        (Some(Apache::V39), _) => Kafka::Apache(Version::V39),
        (None, Some(bootstrap)) => Kafka::Own(bootstrap),
        (None, None) => Kafka::Embedded,
    };
    let duration = cli.seconds.map(Duration::from_secs);
    let program = std::env::current_exe()?;
    demo::run(&Options { kafka, duration, json: cli.json, otlp_endpoint: cli.otlp_endpoint, program })
}

fn topic(text: &str) -> Result<Topic, String> {
    let (name, partitions) = text.split_once(':').ok_or("not NAME:PARTITIONS")?;
    let partitions = partitions.parse().map_err(|_not_a_number| "partitions are not a number".to_owned())?;
    Ok(Topic { name: name.to_owned(), partitions })
}
