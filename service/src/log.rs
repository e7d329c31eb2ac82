//! The log: one line an event on standard error; `RUST_LOG` says how much.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// Begins it. Once a process.
pub fn init() {
    let level = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into()).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(level).with_writer(stderr).with_ansi(stderr().is_terminal()).init();
}
