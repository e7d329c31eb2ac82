//! The whole process: bind, start, serve, drain.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use kafkascope_protocol::Timestamp;
use kafkascope_service::admin::{self, Admin, Readiness, Totals};
use kafkascope_service::listener;
use kafkascope_telemetry::otlp::{Exporter, TransportError};
use kafkascope_telemetry::{Dictionary, Measurer, Registry};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use crate::acceptor::{Acceptor, HOME};
use crate::api;
use crate::config::{Config, ListenAddress, Route};
use crate::descriptors;
use crate::forward::Clock;
use crate::lane::Lane;
use crate::live::Live;
use crate::peers;
use crate::rounds::Rounds;
use crate::worker::{self, Command};

/// Of the time for a drain, the share that is kept for the last export, and the most that is.
const FLUSH_SHARE: u32 = 5;
const FLUSH_MOST: Duration = Duration::from_secs(5);

/// Rates are sampled so often; also the age of what `/api/clients` shows.
const PULSE: Duration = Duration::from_secs(1);

/// Everything is bound, nothing is accepted yet.
#[derive(Debug)]
pub struct Proxy {
    config: Config,
    clock: Clock,
    registry: Arc<Registry>,
    exporter: Option<Exporter>,
    lanes: Vec<(Arc<Lane>, TcpListener)>,
    admin: Option<TcpListener>,
}

/// Why the proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is taken, foreign or not allowed.
    #[error("cannot listen at {address} ({key}): {source}")]
    Bind {
        /// Which.
        address: ListenAddress,
        /// The setting that asked for it.
        key: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The collector's address, or a certificate for it, cannot be used.
    #[error("cannot export: {0}")]
    Export(#[from] TransportError),
    /// The system grants no thread or reactor.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

impl Proxy {
    /// Binds all listeners, or none.
    ///
    /// # Errors
    /// An address cannot be bound, or what is configured for export cannot be used; then nothing was bound.
    pub fn bind(config: Config) -> Result<Self, StartError> {
        let clock = Clock::start();
        let dictionary = Dictionary::new(config.telemetry.clone());
        let registry = Registry::new(dictionary, config.resource.clone(), Timestamp(clock.now().0));
        let exporter =
            config.otlp.clone().map(|settings| Exporter::new(settings, Arc::clone(&registry))).transpose()?;
        let open = |address: &ListenAddress, key| {
            listener(address).map_err(|source| StartError::Bind { address: address.clone(), key, source })
        };
        let lanes = config.routes.iter().map(|route| Ok((Lane::new(route.clone()), open(&route.listen, "--route")?)));
        let lanes = lanes.collect::<Result<_, StartError>>()?;
        let admin = config.admin.as_ref().map(|address| open(address, "--admin")).transpose()?;
        Ok(Self { config, clock, registry, exporter, lanes, admin })
    }

    /// Where it listens for clients, in the order of the routes.
    ///
    /// # Errors
    /// The system does not say.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.lanes.iter().map(|(_, listener)| listener.local_addr()).collect()
    }

    /// Where the admin server listens, if there is one.
    ///
    /// # Errors
    /// The system does not say.
    pub fn admin_address(&self) -> io::Result<Option<SocketAddr>> {
        self.admin.as_ref().map(TcpListener::local_addr).transpose()
    }

    /// Serves until `stop` returns, then drains; when `stop` returns again, ends at once. Runs in a tokio runtime with
    /// I/O and time.
    ///
    /// # Errors
    /// The system grants no thread or reactor.
    pub async fn serve(self, mut stop: impl AsyncFnMut()) -> Result<Ended, StartError> {
        let Self { config, clock, registry, exporter, lanes, admin } = self;
        let workers = (0..config.workers.get())
            .map(|number| worker::start(number, clock, config.connect_timeout, Arc::clone(registry.dictionary())))
            .collect::<io::Result<Vec<_>>>()?;
        let measurer = Measurer::start(&registry)?;
        let live = Live::new(limit(&config), workers.len());
        let rounds = Rounds {
            registry: Arc::clone(&registry),
            workers: workers.iter().map(|worker| worker.commands.downgrade()).collect(),
            clock,
        };
        peers::follow(&config.peers, &registry, clock);
        let readiness = Readiness::default();
        let totals = Totals { registry: Arc::clone(&registry), source: rounds.clone(), pulse: PULSE };
        let admin = admin::start(admin, readiness.clone(), totals, api::routes(rounds), exporter)?;
        let acceptor = Acceptor {
            live: Arc::clone(&live),
            workers: workers.iter().map(|worker| worker.commands.clone()).collect(),
            registry: Arc::clone(&registry),
        };
        let home = acceptor.workers.get(HOME).ok_or_else(|| io::Error::other("there is no worker"))?.clone();
        let mut open = Vec::new();
        for (lane, listener) in lanes {
            open.push((listener.local_addr()?, Arc::clone(&lane)));
            let (answer, accepts) = oneshot::channel();
            _ = home.send(Command::Accept(acceptor.clone(), listener, lane, answer));
            accepts.await.map_err(io::Error::other)??;
        }
        drop(acceptor);
        readiness.set(true);
        for (listen, lane) in open {
            let Route { upstream, observe, .. } = &lane.route;
            info!(%listen, %upstream, ?observe, "route open");
        }

        stop().await;
        readiness.set(false);
        let (answer, closed) = oneshot::channel();
        _ = home.send(Command::StopAccepting(answer));
        drop(home);
        // A worker that is gone does not accept any more.
        _ = closed.await;
        tokio::select! {
            () = drain(config.drain_timeout, &live, workers, &registry, measurer, admin) => Ok(Ended::Drained),
            () = stop() => {
                warn!(connections = live.count(), "told again to stop: ending at once");
                Ok(Ended::AtOnce)
            }
        }
    }
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By a drain, within its time.
    Drained,
    /// By being told a second time.
    AtOnce,
}

/// Connections that may live at once.
fn limit(config: &Config) -> usize {
    let room = descriptors::room_for_connections(config.workers.get());
    match config.max_connections.map(usize::from) {
        Some(limit) => {
            if limit > room {
                warn!(limit, room, "--max-connections is more than the limit on open files (ulimit -Hn) has room for");
            }
            limit
        }
        None => room,
    }
}

/// Lets the connections end, cuts those that do not, and lets the exporter have its last word: all in `time`.
async fn drain(
    time: Duration,
    live: &Live,
    workers: Vec<worker::Handle>,
    registry: &Registry,
    measurer: Measurer,
    admin: Admin,
) {
    let deadline = Instant::now() + time;
    info!(connections = live.count(), timeout = ?time, "draining");
    for worker in &workers {
        // One that is gone has no connections.
        _ = worker.commands.send(Command::Drain);
    }
    if timeout_at(deadline - (time / FLUSH_SHARE).min(FLUSH_MOST), live.none_left()).await.is_err() {
        warn!(connections = live.count(), "drain timed out: the remaining connections are cut");
    }
    let mut discarded = 0_u64;
    for worker in workers {
        drop(worker.commands);
        match worker.thread.join() {
            Ok(Ok(legacy)) => {
                registry.absorb(legacy.delta);
                discarded = discarded.saturating_add(legacy.discarded);
            }
            // A worker that could not start was never one.
            Ok(Err(_)) => {}
            Err(_panic) => warn!("a worker ended by a panic; what it counted last is lost"),
        }
    }
    measurer.finish();
    // An admin thread that panicked has ended, too.
    if admin.stop.send(deadline.saturating_duration_since(Instant::now())).is_ok()
        && timeout_at(deadline, admin.ended).await.is_err()
    {
        warn!("the last export timed out");
    }
    info!(discarded_bytes = discarded, "drained");
}
