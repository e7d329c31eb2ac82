//! SIGINT, SIGTERM and SIGHUP, so that the demo can end in order.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Whether somebody wants the demo to end.
#[derive(Debug)]
pub(super) struct Interrupt {
    signals: Receiver<()>,
    came: std::cell::Cell<bool>,
}

impl Interrupt {
    /// From now on the first signal is only noted. A second one ends the process at once.
    pub(super) fn listen() -> Result<Self> {
        let (sender, signals) = channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut interrupt, mut terminate, mut hangup) = {
            let _context = runtime.enter();
            let listen = |kind| signal(kind).context("cannot listen to signals");
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?)
        };
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async {
                for number in 0.. {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                        _ = hangup.recv() => {}
                    }
                    if number > 0 {
                        std::process::exit(130);
                    }
                    _ = sender.send(());
                }
            });
        })?;
        Ok(Self { signals, came: false.into() })
    }

    /// Waits up to `limit` for a signal; true as well if one came before.
    pub(super) fn came(&self, limit: Duration) -> bool {
        if !self.came.get() {
            // The sender lives as long as the process.
            self.came.set(!matches!(self.signals.recv_timeout(limit), Err(RecvTimeoutError::Timeout)));
        }
        self.came.get()
    }
}
