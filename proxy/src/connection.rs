//! The life of one connection on its worker.

use std::net::TcpStream as StdTcpStream;
use std::rc::Rc;

use kafkascope_telemetry::CloseReason;
use tokio::net::TcpStream;
use tracing::{debug, warn};

use crate::acceptor::Accepted;
use crate::forward::{Ending, forward, reset_on_close};
use crate::observer::Observer;
use crate::upstream::{ConnectError, connect, match_direct_connection};
use crate::worker::Worker;

/// Connects to the upstream and forwards until the connection has ended.
pub(crate) async fn serve(accepted: Accepted, worker: Rc<Worker>) {
    let Accepted { socket, peer, lane, place: _place } = accepted;
    let mut observer = Observer::open(&worker, &lane, peer.ip());
    let client = match TcpStream::from_std(StdTcpStream::from(socket)) {
        Ok(client) => client,
        Err(error) => {
            debug!(%peer, %error, "connection lost before it was served");
            return observer.close(CloseReason::Io);
        }
    };
    match_direct_connection(&client);
    let upstream = match connect(&lane.route.upstream, worker.connect_timeout).await {
        Ok(upstream) => upstream,
        Err(error) => {
            // The nearest to the refusal that the client would have met without us.
            reset_on_close(&client);
            if let Some(suppressed) = worker.connect_failed.pass() {
                let upstream = &lane.route.upstream;
                warn!(%peer, %upstream, %error, suppressed, "client's connection closed: none to the upstream");
            }
            return observer.close(match error {
                ConnectError::Unresolved(_) => CloseReason::Resolve,
                ConnectError::Failed(_) => CloseReason::Connect,
                ConnectError::TimedOut => CloseReason::ConnectTimeout,
            });
        }
    };
    debug!(%peer, upstream = %lane.route.upstream, "connection opened");
    let Some(sockets) = observer.connected(client, upstream) else { return };
    let ending = forward(&sockets.client, &sockets.upstream, &mut observer, &worker.resources, &worker.drain).await;
    debug!(%peer, upstream = %lane.route.upstream, ?ending, "connection ended");
    if let Ending::Drained { discarded } = ending {
        worker.discarded.set(worker.discarded.get().saturating_add(discarded));
    }
    observer.ended(ending);
}
