//! The whole process: bind, attach, give up what is not needed any more, read until told to stop.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use kafkascope_service::admin::{self, Admin, Readiness, Totals};
use kafkascope_service::listener;
use kafkascope_telemetry::otlp::{Exporter, TransportError};
use kafkascope_telemetry::{Dictionary, Registry};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::clock;
use crate::config::{Config, ListenAddress};
use crate::kernel::{Kernel, lacking};
use crate::privileges::{self, Kept};
use crate::roots::Roots;
use crate::sampling::{Rounds, Sampling};

/// Totals are brought up to date so often when nobody asks: a ratio over a minute needs no more.
const PULSE: Duration = Duration::from_secs(5);

/// How long the last export may take.
const FLUSH: Duration = Duration::from_secs(5);

/// Everything is bound and attached.
#[derive(Debug)]
pub struct Probe {
    registry: Arc<Registry>,
    exporter: Option<Exporter>,
    admin: Option<TcpListener>,
    sampling: Sampling,
}

/// Why the probe could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is taken, foreign or not allowed.
    #[error("cannot listen at {address} (--admin): {source}")]
    Bind {
        /// Which.
        address: ListenAddress,
        /// Why.
        source: io::Error,
    },
    /// The collector's address, or a certificate for it, cannot be used.
    #[error("cannot export: {0}")]
    Export(#[from] TransportError),
    /// The system grants no thread or reactor, or shows no processes.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

impl Probe {
    /// Binds, attaches what can be attached, and drops the capabilities for it. To be called before there are other
    /// threads.
    ///
    /// # Errors
    /// The admin address cannot be bound, what is configured for export cannot be used, or there is no /proc. Programs
    /// that cannot be loaded are no error.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let dictionary = Dictionary::new(config.telemetry.clone());
        let registry = Registry::new(dictionary, config.resource.clone(), clock::now());
        let exporter =
            config.otlp.clone().map(|settings| Exporter::new(settings, Arc::clone(&registry))).transpose()?;
        let open = |address: &ListenAddress| {
            listener(address).map_err(|source| StartError::Bind { address: address.clone(), source })
        };
        let admin = config.admin.as_ref().map(open).transpose()?;
        let kernel = Kernel::load(config.limits(), config.samplers);
        for (reason, samplers) in lacking(kernel.samplers()) {
            warn!(samplers = samplers.join(","), reason, "not seen, or not wholly");
        }
        let sampling = Sampling::new(config, Roots::default(), kernel, Arc::clone(&registry))?;
        match privileges::drop_after_attaching(|| sampling.kernel_is_readable()) {
            Ok(Kept::Reading) => {}
            Ok(Kept::ReadingAndBpf) => info!("this kernel asks for CAP_BPF to read maps: it is kept"),
            Err(error) => warn!(%error, "cannot drop capabilities"),
        }
        Ok(Self { registry, exporter, admin, sampling })
    }

    /// Where the admin server listens, if there is one.
    ///
    /// # Errors
    /// The system does not say.
    pub fn admin_address(&self) -> io::Result<Option<SocketAddr>> {
        self.admin.as_ref().map(TcpListener::local_addr).transpose()
    }

    /// Reads and exports until `stop`, then exports once more. Runs in a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// The system grants no thread or reactor.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), StartError> {
        let Self { registry, exporter, admin, sampling } = self;
        let (rounds, thread) = Rounds::start(sampling)?;
        let totals = Totals { registry, source: rounds, pulse: PULSE };
        let readiness = Readiness::default();
        readiness.set(true);
        let Admin { stop: end, ended } = admin::start(admin, readiness.clone(), totals, Router::new(), exporter)?;
        stop.await;
        readiness.set(false);
        info!("stopping");
        // The thread that reads answers until the last export is done, and ends when nobody can ask any more.
        if end.send(FLUSH).is_ok() && timeout(FLUSH, ended).await.is_err() {
            warn!("the last export timed out");
        }
        if thread.join().is_err() {
            warn!("the thread that reads had ended by a panic");
        }
        Ok(())
    }
}
