//! Connecting to the broker.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use crate::config::{Host, UpstreamAddress};

/// Why there is no connection to the upstream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("its name could not be resolved: {0}")]
    Unresolved(io::Error),
    #[error("connecting failed: {0}")]
    Failed(io::Error),
    #[error("connecting took too long")]
    TimedOut,
}

/// Connects to the first address of `upstream` that answers. A name is resolved anew: its addresses may have changed.
pub(crate) async fn connect(upstream: &UpstreamAddress, timeout: Duration) -> Result<TcpStream, ConnectError> {
    let deadline = Instant::now() + timeout;
    let addresses = match upstream.host() {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, upstream.port())],
        Host::Name(name) => match timeout_at(deadline, lookup_host((name.as_str(), upstream.port()))).await {
            Err(_) => return Err(ConnectError::TimedOut),
            Ok(Err(error)) => return Err(ConnectError::Unresolved(error)),
            Ok(Ok(addresses)) => addresses.collect(),
        },
    };
    let mut last = ConnectError::Unresolved(io::ErrorKind::NotFound.into());
    for (tried, address) in addresses.iter().enumerate() {
        // One that does not answer must leave time for the others.
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                match_direct_connection(&stream);
                return Ok(stream);
            }
            Ok(Err(error)) => last = ConnectError::Failed(error),
            Err(_) => last = ConnectError::TimedOut,
        }
    }
    Err(last)
}

/// Options that Kafka's clients and brokers set on their own sockets (`org.apache.kafka.common.network.Selector`,
/// librdkafka's `socket.nagle.disable`), so that small frames are not held back and dead peers are noticed.
pub(crate) fn match_direct_connection(stream: &TcpStream) {
    // They fail only on a socket that is broken already, which shows at its first use.
    _ = sockopt::set_tcp_nodelay(stream, true);
    _ = sockopt::set_socket_keepalive(stream, true);
}
