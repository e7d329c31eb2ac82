//! The life of one connection on its worker.

use std::net::TcpStream as StdTcpStream;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use tokio::net::TcpStream;
use tracing::{debug, warn};

use crate::acceptor::Accepted;
use crate::forward::{Direction, Ending, Place, Tap, UnixNanos, forward, reset_on_close};
use crate::upstream::{connect, match_direct_connection};
use crate::worker::Worker;

/// Connects to the upstream and forwards until the connection has ended.
pub(crate) async fn serve(accepted: Accepted, worker: Rc<Worker>) {
    let Accepted { socket, peer, route, place: _place } = accepted;
    let client = match TcpStream::from_std(StdTcpStream::from(socket)) {
        Ok(client) => client,
        Err(error) => {
            debug!(%peer, %error, "connection lost before it was served");
            return;
        }
    };
    match_direct_connection(&client);
    let upstream = match connect(&route.upstream, worker.connect_timeout).await {
        Ok(upstream) => upstream,
        Err(error) => {
            // The nearest to the refusal that the client would have met without us.
            reset_on_close(&client);
            worker.counts.connect_failed.fetch_add(1, Ordering::Relaxed);
            if let Some(suppressed) = worker.connect_failed.pass() {
                warn!(upstream = %route.upstream, %peer, %error, suppressed, "no connection to the upstream, so the client's was closed");
            }
            return;
        }
    };
    debug!(%peer, upstream = %route.upstream, "connection opened");
    let ending = forward(client, upstream, &mut Blind, &worker.resources, &worker.drain).await;
    if let Ending::Drained { discarded } = ending {
        worker.counts.discarded.fetch_add(discarded, Ordering::Relaxed);
    }
    debug!(%peer, upstream = %route.upstream, ?ending, "connection ended");
}

/// Looks at nothing.
struct Blind;

impl Tap for Blind {
    fn on_bytes(&mut self, _: Direction, _: UnixNanos, _: &[u8]) -> u64 {
        u64::MAX
    }

    fn on_opaque(&mut self, _: Direction, _: UnixNanos, _: u64) -> u64 {
        u64::MAX
    }

    fn on_written(&mut self, _: Direction, _: UnixNanos, _: u64) {}

    fn place(&self) -> Option<Place> {
        None
    }
}
