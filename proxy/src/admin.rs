//! The admin thread: health, readiness, metrics and clients over HTTP, the exporter, and the pulse that keeps totals
//! up to date.

mod server;

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use kafkascope_telemetry::otlp::Exporter;
use kafkascope_telemetry::{clients, prometheus};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::info;

use crate::rounds::Rounds;

/// Rates are sampled so often; also the age of what `/api/clients` shows.
const PULSE: Duration = Duration::from_secs(1);

/// Scrapes at a time: each holds a copy of all totals while it is read.
const SCRAPES: usize = 4;

/// How long a scrape waits for its turn.
const SCRAPE_WAIT: Duration = Duration::from_secs(5);

/// Whether clients should be sent here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    pub(crate) fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }
}

/// The admin thread.
#[derive(Debug)]
pub(crate) struct Admin {
    /// Asks it to end, and says how long the last flush may take.
    pub(crate) stop: oneshot::Sender<Duration>,
    /// Completes when it has ended.
    pub(crate) ended: oneshot::Receiver<()>,
}

/// Starts it: a thread of its own, so that no worker ever waits for a scrape.
pub(crate) fn start(
    listener: Option<TcpListener>,
    readiness: Readiness,
    rounds: Rounds,
    exporter: Option<Exporter>,
) -> io::Result<Admin> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build()?;
    let listener = match listener {
        Some(listener) => {
            info!(listen = %listener.local_addr()?, "admin server open");
            let _context = runtime.enter();
            Some(tokio::net::TcpListener::from_std(listener)?)
        }
        None => None,
    };
    let (stop, stopped) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    Builder::new().name("admin".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::spawn(pulse(rounds.clone()));
            if let Some(listener) = listener {
                tokio::spawn(server::serve(listener, routes(readiness, rounds.clone())));
            }
            // Gone without a word: the process was told twice to stop.
            let stopped = async { stopped.await.unwrap_or_default() };
            match exporter {
                // It says itself what was lost.
                Some(exporter) => _ = exporter.run(rounds, stopped).await,
                None => _ = stopped.await,
            }
        });
        // A scraper that does not read must not hold up the end.
        runtime.shutdown_background();
        // Nobody waits any more when the process was told twice to stop.
        _ = end.send(());
    })?;
    Ok(Admin { stop, ended })
}

async fn pulse(rounds: Rounds) -> Infallible {
    let mut ticks = interval(PULSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        rounds.collect_and_settle().await;
    }
}

fn routes(readiness: Readiness, rounds: Rounds) -> Router {
    let scrapes = Arc::new(Semaphore::new(SCRAPES));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/metrics", get(metrics).with_state((rounds.clone(), scrapes)))
        .route("/api/clients", get(client_rows).with_state(rounds))
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, &'static str) {
    if readiness.0.load(Ordering::Acquire) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    }
}

async fn metrics(State((rounds, scrapes)): State<(Rounds, Arc<Semaphore>)>) -> Response {
    let Ok(Ok(turn)) = timeout(SCRAPE_WAIT, scrapes.acquire_owned()).await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many scrapes at a time\n").into_response();
    };
    let now = rounds.collect().await;
    let text = prometheus::chunks(rounds.registry.snapshot(now)).map(move |chunk| {
        let _until_the_end = &turn;
        Ok::<_, Infallible>(chunk)
    });
    ([(CONTENT_TYPE, prometheus::CONTENT_TYPE)], Body::from_stream(tokio_stream::iter(text))).into_response()
}

async fn client_rows(State(rounds): State<Rounds>) -> impl IntoResponse {
    let now = rounds.collect().await;
    Json(clients::view(&rounds.registry, now))
}
