//! The admin thread: health, readiness and metrics over HTTP, the exporter, and the pulse that keeps totals up to date.

mod server;

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use kafkascope_telemetry::otlp::{Exporter, Source};
use kafkascope_telemetry::{Registry, prometheus};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::info;

/// Scrapes at a time: each holds a copy of all totals while it is read.
const SCRAPES: usize = 4;

/// How long a scrape waits for its turn.
const SCRAPE_WAIT: Duration = Duration::from_secs(5);

/// Whether the program is ready for what it is there for.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says it.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }
}

/// The admin thread.
#[derive(Debug)]
pub struct Admin {
    /// Asks it to end, and says how long the last flush may take.
    pub stop: oneshot::Sender<Duration>,
    /// Completes when it has ended.
    pub ended: oneshot::Receiver<()>,
}

/// Totals that can be brought up to date, and where they are kept.
#[derive(Debug, Clone)]
pub struct Totals<S> {
    /// Where they are kept.
    pub registry: Arc<Registry>,
    /// Where they come from.
    pub source: S,
    /// They are brought up to date so often, also when nobody asks.
    pub pulse: Duration,
}

/// Starts it: a thread of its own, so that nobody who works for clients ever waits for a scrape. `routes` are served
/// beside those that every program has.
///
/// # Errors
/// The system grants no thread or reactor.
pub fn start<S: Source + Clone + 'static>(
    listener: Option<TcpListener>,
    readiness: Readiness,
    totals: Totals<S>,
    routes: Router,
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
            tokio::spawn(pulse(totals.clone()));
            if let Some(listener) = listener {
                tokio::spawn(server::serve(listener, routes.merge(own_routes(readiness, totals.clone()))));
            }
            // Gone without a word: the process was told twice to stop.
            let stopped = async { stopped.await.unwrap_or_default() };
            match exporter {
                // It says itself what was lost.
                Some(exporter) => _ = exporter.run(totals.source, stopped).await,
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

async fn pulse<S: Source>(totals: Totals<S>) -> Infallible {
    let mut ticks = interval(totals.pulse);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = totals.source.collect().await;
        totals.registry.settle(now);
    }
}

fn own_routes<S: Source + Clone + 'static>(readiness: Readiness, totals: Totals<S>) -> Router {
    let scrapes = Arc::new(Semaphore::new(SCRAPES));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/metrics", get(metrics::<S>).with_state((totals, scrapes)))
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, &'static str) {
    if readiness.0.load(Ordering::Acquire) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    }
}

async fn metrics<S: Source>(State((totals, scrapes)): State<(Totals<S>, Arc<Semaphore>)>) -> Response {
    let Ok(Ok(turn)) = timeout(SCRAPE_WAIT, scrapes.acquire_owned()).await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many scrapes at a time\n").into_response();
    };
    let now = totals.source.collect().await;
    let text = prometheus::chunks(totals.registry.snapshot(now)).map(move |chunk| {
        let _until_the_end = &turn;
        Ok::<_, Infallible>(chunk)
    });
    ([(CONTENT_TYPE, prometheus::CONTENT_TYPE)], Body::from_stream(tokio_stream::iter(text))).into_response()
}
