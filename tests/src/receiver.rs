//! An OTLP receiver inside the test process: gRPC and HTTP/protobuf on loopback, and what arrived, ready to be asked.
//!
//! It runs on a thread of its own, so that blocking code can use it. It folds every export into running totals
//! the way a backend would (start times, resets and "no recorded value" included) and keeps a list of what
//! contradicts the data model, because a backend would silently draw a wrong line from it.

mod distribution;
mod server;
mod store;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

pub use distribution::Distribution;
pub use store::{Attributes, Exemplar, Kind, Link, Series, Span, Value};

use server::Server;
use store::Store;

/// A receiver with its two endpoints; the endpoints close when it is dropped.
#[derive(Debug)]
pub struct Receiver {
    store: Arc<Mutex<Store>>,
    grpc: SocketAddr,
    http: SocketAddr,
    server: Option<Server>,
}

impl Receiver {
    /// Opens both endpoints on free loopback ports.
    pub fn start() -> Result<Self> {
        let store = Arc::new(Mutex::new(Store::default()));
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let server = Server::start(any, any, Arc::clone(&store))?;
        Ok(Self { store, grpc: server.grpc, http: server.http, server: Some(server) })
    }

    /// Closes both endpoints and every connection at once, as a collector that was killed. What arrived is kept.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Opens the endpoints again, on the same ports.
    pub fn resume(&mut self) -> Result<()> {
        if self.server.is_none() {
            let server = Server::start(self.grpc, self.http, Arc::clone(&self.store));
            self.server = Some(server.context("cannot open the receiver again")?);
        }
        Ok(())
    }

    /// Value for `--otlp-endpoint` with protocol `grpc`.
    pub fn grpc_endpoint(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// Value for `--otlp-endpoint` with protocol `http/protobuf`: the base URL, without `/v1/metrics`.
    pub fn http_endpoint(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Sum over all series of a counter, up-down counter or gauge that carry all the given attributes.
    /// `None` when there is no such series: absent is not zero.
    pub fn sum(&self, name: &str, filter: &[(&str, &str)]) -> Option<f64> {
        let store = self.store();
        let mut numbers = store.matching(name, filter).filter_map(|series| series.value.number()).peekable();
        numbers.peek().is_some().then(|| numbers.sum())
    }

    /// All series of a histogram that carry all the given attributes, merged. `None` when there is no such series.
    pub fn histogram(&self, name: &str, filter: &[(&str, &str)]) -> Option<Distribution> {
        let store = self.store();
        let mut parts = store.matching(name, filter).filter_map(|series| series.value.distribution());
        let first = parts.next()?.clone();
        Some(parts.fold(first, |mut merged, part| {
            merged.merge(part);
            merged
        }))
    }

    /// Every series of one metric that carries all the given attributes.
    pub fn series(&self, name: &str, filter: &[(&str, &str)]) -> Vec<Series> {
        self.store().matching(name, filter).cloned().collect()
    }

    /// Names of the metrics received so far, with their units and the number of series each has.
    pub fn metrics(&self) -> BTreeMap<String, (String, usize)> {
        self.store().metrics()
    }

    /// Metric points received, repeated exports of one series included.
    pub fn metric_points(&self) -> u64 {
        self.store().points
    }

    /// Export requests with metrics that were received.
    pub fn metric_exports(&self) -> u64 {
        self.store().exports
    }

    /// Spans received since the start, those that [`Receiver::spans`] no longer holds included.
    pub fn span_count(&self) -> u64 {
        self.store().span_count
    }

    /// The most recent spans, oldest first.
    pub fn spans(&self) -> Vec<Span> {
        self.store().spans.iter().cloned().collect()
    }

    /// The most recent exemplars of histograms, oldest first.
    pub fn exemplars(&self) -> Vec<Exemplar> {
        self.store().exemplars.iter().cloned().collect()
    }

    /// Attributes of the resources that sent metrics or spans.
    pub fn resources(&self) -> Vec<Attributes> {
        self.store().resources.iter().cloned().collect()
    }

    /// What contradicted the OTLP data model: a counter that fell without a new start time, a point before its
    /// start, one series twice in an export, buckets that do not add up to the count. At most the first hundred.
    pub fn violations(&self) -> Vec<String> {
        self.store().violations.clone()
    }

    /// Forgets everything received.
    pub fn clear(&self) {
        *self.store() = Store::default();
    }

    /// Asks again and again until the answer is there; `None` when it is not within `limit`.
    pub fn wait_for<T>(&self, limit: Duration, mut ask: impl FnMut(&Self) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(answer) = ask(self) {
                return Some(answer);
            }
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
