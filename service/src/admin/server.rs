//! Connections of the admin server: few at a time, none for ever, so that nobody can exhaust the proxy through it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::pin;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::RateLimit;

/// Connections at a time. More wait until one ends.
const CONNECTIONS: usize = 64;

/// How long a client may take for the head of a request, and pause between requests.
const HEAD: Duration = Duration::from_secs(10);

/// After this a connection takes no further request, and after [`LAST`] more it is cut.
const LIFE: Duration = Duration::from_secs(60);
const LAST: Duration = Duration::from_secs(30);

/// How long nothing is accepted when the system has no descriptor or memory for it.
const BREATH: Duration = Duration::from_millis(100);

/// Serves until dropped.
pub(super) async fn serve(listener: TcpListener, routes: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let refused = RateLimit::default();
    // Nobody closes the semaphore.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let service = TowerToHyperService::new(routes.clone());
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, service).await {
                        debug!(%peer, %error, "admin connection ended");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                if let Some(suppressed) = refused.pass() {
                    warn!(%error, suppressed, "cannot accept admin connections now");
                }
                sleep(BREATH).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, service: TowerToHyperService<Router>) -> hyper::Result<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    pin!(connection);
    if let Ok(ended) = timeout(LIFE, connection.as_mut()).await {
        return ended;
    }
    connection.as_mut().graceful_shutdown();
    // Cut: whoever does not read its answer in all this time does not want it.
    timeout(LAST, connection).await.unwrap_or(Ok(()))
}
