//! `kafkascope-probe`: see `--help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Context;
use kafkascope_probe::{Config, ConfigError, Probe, StartError, Task, doctor};
use tokio::signal::unix::{SignalKind, signal};

/// Exit statuses of `sysexits.h`.
const EX_USAGE: u8 = 64;
const EX_OSERR: u8 = 71;

fn main() -> ExitCode {
    let task = match Task::load(std::env::args_os()) {
        Ok(task) => task,
        Err(ConfigError::Usage(message)) => {
            // Also `--help` and `--version`, which are no mistakes; nobody may be reading.
            _ = message.print();
            return if message.use_stderr() { EX_USAGE.into() } else { ExitCode::SUCCESS };
        }
        Err(error) => {
            eprintln!("kafkascope-probe: {error}");
            return EX_USAGE.into();
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
                Some(StartError::Export(_)) => EX_USAGE.into(),
                Some(StartError::Bind { .. } | StartError::System(_)) => EX_OSERR.into(),
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
