//! `kafkascope-probe`: see `--help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Context;
use kafkascope_probe::{Config, ConfigError, Probe, StartError, Task, doctor};
use kafkascope_service::exit;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let task = match Task::load(std::env::args_os()) {
        Ok(task) => task,
        Err(ConfigError::Usage(message)) => return exit::told(&message),
        Err(error) => {
            eprintln!("kafkascope-probe: {error}");
            return exit::USAGE.into();
        }
    };
    let config = match task {
        Task::Doctor(config) => return doctor::run(&config),
        Task::Watch(config) => config,
    };
    kafkascope_service::log::init();
    match run(*config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kafkascope-probe: {error}");
            match error.downcast_ref() {
                Some(StartError::Export(_)) => exit::USAGE.into(),
                Some(StartError::Bind { .. } | StartError::System(_)) => exit::OSERR.into(),
                None => ExitCode::FAILURE,
            }
        }
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    let probe = Probe::start(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("no signal handler")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("no signal handler")?;
        let stop = async {
            tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
        };
        Ok(probe.serve(stop).await?)
    })
}
