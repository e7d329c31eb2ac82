//! The task that exports: metrics at their interval, spans as they come, both on their own so that one that is stuck does
//! not delay the other.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kafkascope_protocol::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::metrics::{self, Shape};
use super::settings::Settings;
use super::spans;
use super::temporality::Baseline;
use super::transport::{Payload, Transport, TransportError};
use crate::registry::{Registry, Signal};
use crate::span::Span;

/// Spans in a request: some 300 KB.
const SPAN_BATCH: usize = 512;

/// How often spans are looked for.
const SPAN_INTERVAL: Duration = Duration::from_secs(1);

/// Where totals come from.
pub trait Source: Send + Sync {
    /// Collects what all workers counted into the registry. Returns up to when; must answer when there are no workers
    /// any more.
    fn collect(&self) -> impl Future<Output = Timestamp> + Send;
}

/// Exports a registry.
#[derive(Debug)]
pub struct Exporter {
    registry: Arc<Registry>,
    interval: Duration,
    shape: Shape,
    metrics: Option<Transport>,
    traces: Option<Transport>,
}

/// What the last flush could not deliver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Data points of the last totals.
    pub points: u64,
    /// Spans.
    pub spans: u64,
}

impl Report {
    /// Whether all was delivered.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        *self == Self::default()
    }
}

impl Exporter {
    /// An exporter of `registry`. From now on series wait for their last total to be delivered.
    ///
    /// # Errors
    /// When an endpoint or a file with a certificate cannot be used.
    pub fn new(settings: Settings, registry: Arc<Registry>) -> Result<Self, TransportError> {
        let metrics = settings.metrics.map(Transport::new).transpose()?;
        let traces = settings.traces.map(Transport::new).transpose()?;
        if metrics.is_some() {
            registry.exporting();
        }
        Ok(Self { registry, interval: settings.interval, shape: settings.shape, metrics, traces })
    }

    /// Exports until `shutdown` says how long the last flush may take, then flushes.
    pub async fn run(self, source: impl Source, shutdown: impl Future<Output = Duration> + Send) -> Report {
        let (stop, stopped) = watch::channel(None);
        let metrics = async {
            match self.metrics {
                Some(transport) => {
                    let baseline = Baseline::default();
                    let link = Link::new(Signal::Metrics, transport, self.registry.clone());
                    let totals = Totals { link, shape: self.shape, baseline, told: 0 };
                    totals.run(&source, self.interval, stopped.clone()).await
                }
                None => 0,
            }
        };
        let traces = async {
            match self.traces {
                Some(transport) => {
                    let link = Link::new(Signal::Traces, transport, self.registry.clone());
                    Traces { link, waiting: Vec::new() }.run(&source, stopped.clone()).await
                }
                None => 0,
            }
        };
        let ending = async {
            let limit = shutdown.await;
            stop.send_replace(Some(Instant::now() + limit));
        };
        let (points, spans, ()) = tokio::join!(metrics, traces, ending);
        self.registry.exporting_no_more();
        let report = Report { points, spans };
        if !report.is_complete() {
            tracing::warn!(points, spans, "the last OTLP export did not get through; its totals and spans are lost");
        }
        report
    }
}

/// When the flush must have ended; `None` while there is none.
type Stop = watch::Receiver<Option<Instant>>;

/// Waits for the next tick. The deadline if it is time to end instead.
async fn next(ticks: &mut tokio::time::Interval, stop: &mut Stop) -> Option<Instant> {
    tokio::select! {
        biased;
        deadline = stopping(stop) => Some(deadline),
        _ = ticks.tick() => None,
    }
}

async fn stopping(stop: &mut Stop) -> Instant {
    match stop.wait_for(Option::is_some).await {
        Ok(deadline) => deadline.unwrap_or_else(Instant::now),
        // Whoever could tell is gone.
        Err(_) => Instant::now(),
    }
}

fn ticks(interval: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// A transport that says once that its collector is away, and once that it is back.
struct Link {
    signal: Signal,
    transport: Transport,
    registry: Arc<Registry>,
    away: bool,
    incomplete: bool,
}

impl Link {
    fn new(signal: Signal, transport: Transport, registry: Arc<Registry>) -> Self {
        Self { signal, transport, registry, away: false, incomplete: false }
    }

    async fn send(&mut self, payload: Payload, deadline: Option<Instant>) -> Result<(), TransportError> {
        let limit = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        let (signal, result) = (self.signal.name(), self.transport.send(payload, limit).await);
        match result {
            Ok(accepted) => {
                if std::mem::take(&mut self.away) {
                    tracing::info!(signal, url = self.transport.url(), "OTLP export works again");
                }
                if accepted.rejected > 0 && !std::mem::replace(&mut self.incomplete, true) {
                    let (rejected, message) = (accepted.rejected, accepted.message);
                    tracing::warn!(signal, rejected, message, "the collector rejects part of what it is sent");
                }
                Ok(())
            }
            Err(error) => {
                self.registry.export_failed(self.signal);
                if !std::mem::replace(&mut self.away, true) {
                    let url = self.transport.url();
                    tracing::warn!(signal, url, %error, "OTLP export fails; totals are sent again, spans wait while there is room");
                }
                Err(error)
            }
        }
    }
}

/// Export of metrics.
struct Totals {
    link: Link,
    shape: Shape,
    baseline: Baseline,
    /// Number of the last ended series that was told.
    told: u64,
}

impl Totals {
    async fn run(mut self, source: &impl Source, interval: Duration, mut stop: Stop) -> u64 {
        let mut ticks = ticks(interval);
        loop {
            if let Some(deadline) = next(&mut ticks, &mut stop).await {
                return self.export(source, Some(deadline)).await;
            }
            // Whatever fails is sent again. A flush does not wait for it longer than its own time.
            let stopping = stopping(&mut stop);
            let export = self.export(source, None);
            tokio::select! {
                _undelivered = export => {}
                deadline = stopping => return self.export(source, Some(deadline)).await,
            }
        }
    }

    /// Returns how many points were not delivered.
    async fn export(&mut self, source: &impl Source, deadline: Option<Instant>) -> u64 {
        let now = source.collect().await;
        if deadline.is_some() {
            self.link.registry.settle_at_last();
        }
        let snapshot = self.link.registry.snapshot(now);
        let last_gone = snapshot.gone.last().map_or(self.told, |gone| gone.number);
        let parts = metrics::parts(&snapshot, self.told, &self.baseline, self.shape);
        let mut undelivered: u64 = parts.iter().map(|part| part.points).sum();
        for mut part in parts {
            let request = std::mem::take(&mut part.request);
            match self.link.send(Payload::Metrics(request), deadline).await {
                Ok(()) => {}
                // It would be refused again: what else there is goes on.
                Err(TransportError::Refused(_)) => continue,
                Err(_) => return undelivered,
            }
            undelivered -= part.points;
            part.exemplars.iter().for_each(|exemplar| exemplar.has_been_told());
            self.baseline.delivered(&mut part, snapshot.at);
        }
        if undelivered == 0 {
            self.told = last_gone;
            self.link.registry.exported(snapshot.at, last_gone);
        }
        self.baseline.retain(&snapshot);
        undelivered
    }
}

/// Export of spans.
struct Traces {
    link: Link,
    /// Taken from the queue and not yet delivered.
    waiting: Vec<Span>,
}

impl Traces {
    async fn run(mut self, source: &impl Source, mut stop: Stop) -> u64 {
        let mut ticks = ticks(SPAN_INTERVAL);
        loop {
            if let Some(deadline) = next(&mut ticks, &mut stop).await {
                return self.flush(source, deadline).await;
            }
            tokio::select! {
                () = self.export(None) => {}
                deadline = stopping(&mut stop) => return self.flush(source, deadline).await,
            }
        }
    }

    async fn flush(&mut self, source: &impl Source, deadline: Instant) -> u64 {
        source.collect().await;
        self.export(Some(deadline)).await;
        let lost = (self.waiting.len() + self.link.registry.take_spans(usize::MAX, true).len()) as u64;
        self.link.registry.spans_lost(lost);
        lost
    }

    /// Sends what there is, until it is away or fails.
    async fn export(&mut self, deadline: Option<Instant>) {
        loop {
            if self.waiting.is_empty() {
                self.waiting = self.link.registry.take_spans(SPAN_BATCH, deadline.is_some());
            }
            if self.waiting.is_empty() {
                return;
            }
            let request = spans::request(&self.waiting, self.link.registry.resource());
            match self.link.send(Payload::Traces(request), deadline).await {
                Ok(()) => self.waiting.clear(),
                Err(TransportError::Refused(_)) => {
                    self.link.registry.spans_lost(self.waiting.len() as u64);
                    self.waiting.clear();
                }
                Err(_) => return,
            }
        }
    }
}
