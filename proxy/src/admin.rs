//! The admin server: health, readiness.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::sync::oneshot;
use tracing::{info, warn};

/// Whether clients should be sent here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    pub(crate) fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }
}

/// The admin server's thread. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Admin {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Serves on a thread of its own, so that neither a worker nor the acceptor ever waits for it.
pub(crate) fn start(listener: TcpListener, readiness: Readiness) -> io::Result<Admin> {
    info!(listen = %listener.local_addr()?, "admin server open");
    let (stop, stopped) = oneshot::channel::<()>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _context = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let thread = Builder::new().name("admin".to_owned()).spawn(move || {
        let served = runtime.block_on(async {
            tokio::select! {
                served = axum::serve(listener, routes(readiness)) => served,
                _ = stopped => Ok(()),
            }
        });
        if let Err(error) = served {
            warn!(%error, "admin server ended");
        }
    })?;
    Ok(Admin { stop: Some(stop), thread: Some(thread) })
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("the admin server ended by a panic");
        }
    }
}

fn routes(readiness: Readiness) -> Router {
    Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready)).with_state(readiness)
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, &'static str) {
    if readiness.0.load(Ordering::Acquire) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    }
}
