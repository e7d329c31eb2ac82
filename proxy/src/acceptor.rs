//! Accepts connections and hands each to the least loaded worker.
//!
//! Kafka's clients keep few, long and heavy connections: the kernel's way of spreading them (hashing) would be uneven. One
//! worker accepts for all. A thread of its own would cost each connection the waking of two threads, a sixth of its CPU
//! time when it is made and closed at once.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kafkascope_service::RateLimit;
use kafkascope_telemetry::{RefusalReason, Registry};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::{spawn_local, yield_now};
use tracing::{debug, warn};

use crate::connection;
use crate::forward::reset_on_close;
use crate::lane::Lane;
use crate::live::{Live, Place};
use crate::worker::{Command, Worker};

/// How long nothing is accepted when the system has no descriptor or memory for it. Connections wait in the backlog.
const BREATH: Duration = Duration::from_millis(100);

/// Connections that are accepted before the worker's other connections get their turn.
const ACCEPT_AT_ONCE: u64 = 16;

/// A new connection.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) socket: OwnedFd,
    pub(crate) peer: SocketAddr,
    pub(crate) lane: Arc<Lane>,
    pub(crate) place: Place,
}

/// The worker that accepts.
pub(crate) const HOME: usize = 0;

/// What all acceptors share.
#[derive(Debug, Clone)]
pub(crate) struct Acceptor {
    pub(crate) live: Arc<Live>,
    pub(crate) workers: Vec<mpsc::UnboundedSender<Command>>,
    pub(crate) registry: Arc<Registry>,
}

impl Acceptor {
    /// Accepts on the worker [`HOME`] until dropped. Never gives up: whatever the system lacks may come back.
    pub(crate) async fn run(self, listener: AsyncFd<TcpListener>, lane: Arc<Lane>, home: Rc<Worker>) {
        let (over_limit, no_descriptor) = (RateLimit::default(), RateLimit::default());
        for count in 1_u64.. {
            if count.is_multiple_of(ACCEPT_AT_ONCE) {
                yield_now().await;
            }
            let accepted = match listener.readable().await {
                Ok(mut ready) => match ready.try_io(|listener| Ok(accept(listener.get_ref())?)) {
                    Ok(accepted) => accepted,
                    Err(_would_block) => continue,
                },
                Err(error) => Err(error),
            };
            match accepted {
                Ok((socket, peer)) => match self.live.take_place() {
                    Some(place) => self.hand_over(Accepted { socket, peer, lane: Arc::clone(&lane), place }, &home),
                    None => {
                        reset_on_close(&socket);
                        self.registry.refused(&lane.broker, RefusalReason::MaxConnections);
                        if let Some(suppressed) = over_limit.pass() {
                            let limit = self.live.limit();
                            warn!(%peer, limit, suppressed, "connection closed: --max-connections live already");
                        }
                    }
                },
                // The client is gone already.
                Err(error) if is_of_connection(&error) => debug!(%error, "connection lost before it was accepted"),
                Err(error) => {
                    self.registry.refused(&lane.broker, RefusalReason::OutOfDescriptors);
                    if let Some(suppressed) = no_descriptor.pass() {
                        warn!(%error, listen = %lane.route.listen, suppressed, "cannot accept connections now");
                    }
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    fn hand_over(&self, accepted: Accepted, home: &Rc<Worker>) {
        if accepted.place.worker == HOME {
            spawn_local(connection::serve(accepted, Rc::clone(home)));
        } else if let Some(worker) = self.workers.get(accepted.place.worker) {
            // A worker that is gone takes its connections with it: the process is ending.
            _ = worker.send(Command::Serve(accepted));
        }
    }
}

fn accept(listener: &TcpListener) -> Result<(OwnedFd, SocketAddr), Errno> {
    let (socket, peer) = acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok()).ok_or(Errno::CONNABORTED)?;
    // An IPv4 client of an IPv6 listener is known by its IPv4 address.
    Ok((socket, SocketAddr::new(peer.ip().to_canonical(), peer.port())))
}

/// Errors of the connection that was to be accepted, not of accepting: see accept(2), "Error handling".
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::CONNABORTED
                | Errno::PROTO
                | Errno::PERM
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::OPNOTSUPP
                | Errno::NETUNREACH
                | Errno::INTR
        )
    )
}
