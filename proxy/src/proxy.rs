//! The whole process: bind, start, serve, drain.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::acceptor::{Acceptor, listener};
use crate::admin::{self, Readiness};
use crate::config::{Config, ListenAddress, Route};
use crate::descriptors;
use crate::forward::Clock;
use crate::live::Live;
use crate::worker::{self, Command, Counts};

/// Everything is bound, nothing is accepted yet.
#[derive(Debug)]
pub struct Proxy {
    config: Config,
    routes: Vec<(Arc<Route>, TcpListener)>,
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
    /// The system grants no thread or reactor.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

impl Proxy {
    /// Binds all listeners, or none.
    ///
    /// # Errors
    /// An address cannot be bound.
    pub fn bind(config: Config) -> Result<Self, StartError> {
        let open = |address: &ListenAddress, key| {
            listener(address).map_err(|source| StartError::Bind { address: address.clone(), key, source })
        };
        let routes = config.routes.iter().map(|route| Ok((Arc::new(route.clone()), open(&route.listen, "--route")?)));
        let routes = routes.collect::<Result<_, StartError>>()?;
        let admin = config.admin.as_ref().map(|address| open(address, "--admin")).transpose()?;
        Ok(Self { config, routes, admin })
    }

    /// Where it listens for clients, in the order of the routes.
    ///
    /// # Errors
    /// The system does not say.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.routes.iter().map(|(_, listener)| listener.local_addr()).collect()
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
    pub async fn serve(self, mut stop: impl AsyncFnMut()) -> Result<(), StartError> {
        let Self { config, routes, admin } = self;
        let room = descriptors::room_for_connections(config.workers.get());
        let limit = config.max_connections.map_or(room, usize::from);
        if limit > room {
            warn!(limit, room, "--max-connections is more than the limit on open files (ulimit -Hn) has room for");
        }
        let counts = Arc::new(Counts::default());
        let clock = Clock::start();
        let workers = (0..config.workers.get())
            .map(|number| worker::start(number, clock, config.connect_timeout, Arc::clone(&counts)))
            .collect::<io::Result<Vec<_>>>()?;
        let live = Live::new(limit, workers.len());
        let readiness = Readiness::default();
        let admin = admin.map(|listener| admin::start(listener, readiness.clone())).transpose()?;

        let acceptor = Acceptor {
            live: Arc::clone(&live),
            workers: workers.iter().map(|worker| worker.commands.clone()).collect(),
            counts: Arc::clone(&counts),
        };
        let mut accepting = JoinSet::new();
        for (route, listener) in routes {
            info!(listen = %listener.local_addr()?, upstream = %route.upstream, observe = ?route.observe, "route open");
            #[expect(
                deprecated,
                reason = "its unsafe successor wants a promise that std's listener keeps: the descriptor stays open"
            )]
            let listener = AsyncFd::new(listener)?;
            accepting.spawn(acceptor.clone().run(listener, route));
        }
        drop(acceptor);
        readiness.set(true);

        stop().await;
        readiness.set(false);
        accepting.shutdown().await;
        info!(connections = live.count(), timeout = ?config.drain_timeout, "draining");
        for worker in &workers {
            // One that is gone has no connections.
            _ = worker.commands.send(Command::Drain);
        }
        tokio::select! {
            drained = timeout(config.drain_timeout, live.none_left()) => if drained.is_err() {
                warn!(connections = live.count(), "drain timed out: the remaining connections are cut");
            },
            () = stop() => {
                warn!(connections = live.count(), "stopped again: ending at once");
                return Ok(());
            }
        }
        for worker in workers {
            drop(worker.commands);
            if worker.thread.join().is_err() {
                warn!("a worker ended by a panic");
            }
        }
        drop(admin);
        info!(discarded = counts.discarded.load(Ordering::Relaxed), "ended");
        Ok(())
    }
}
