//! `kafkascope-proxy`: see `--help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Context;
use kafkascope_proxy::{Config, ConfigError, Ended, Proxy, StartError, top};
use kafkascope_service::exit;
use tokio::signal::unix::{SignalKind, signal};

/// As a shell reports a process that SIGTERM ended: connections were cut.
const EX_STOPPED: u8 = 143;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|command| command == "top") {
        return top::run(std::env::args_os().skip(1));
    }
    let config = match Config::load(std::env::args_os()) {
        Ok(config) => config,
        Err(ConfigError::Usage(message)) => return exit::told(&message),
        Err(error) => {
            eprintln!("kafkascope-proxy: {error}");
            return exit::USAGE.into();
        }
    };
    kafkascope_service::log::init();
    match run(config) {
        Ok(Ended::Drained) => ExitCode::SUCCESS,
        Ok(Ended::AtOnce) => EX_STOPPED.into(),
        Err(error) => {
            eprintln!("kafkascope-proxy: {error}");
            match error.downcast_ref() {
                Some(StartError::Export(_)) => exit::USAGE.into(),
                Some(StartError::Bind { .. } | StartError::System(_)) => exit::OSERR.into(),
                None => ExitCode::FAILURE,
            }
        }
    }
}

fn run(config: Config) -> anyhow::Result<Ended> {
    let proxy = Proxy::bind(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("no signal handler")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("no signal handler")?;
        let stop = async || {
            tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
        };
        Ok(proxy.serve(stop).await?)
    })
}
