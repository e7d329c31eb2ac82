//! Clients as `/api/clients` shows them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use kafkascope_protocol::Timestamp;
use serde::Serialize;

use crate::attribute::{Attribute, Value as AttributeValue};
use crate::histogram::Histogram;
use crate::metric::Metric;
use crate::registry::Registry;
use crate::series::Series;
use crate::snapshot::{Point, Snapshot, Value};

/// The time that rates are taken over.
const WINDOW: Duration = Duration::from_secs(10);

/// Closer samples replace each other.
const STEP: Duration = Duration::from_millis(500);

/// A client.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct ClientRow {
    /// Its id; `(none)` when null or empty, `other` for all above the cap.
    pub client_id: String,
    /// Its host; empty when clients are told apart by id only.
    pub address: String,
    /// `name/version` as it says of itself (ApiVersions v3+).
    pub software: Option<String>,
    /// Produce requests by acks.
    pub acks: Counts,
    /// Batches sent by codec.
    pub codecs: Counts,
    /// Mean size of a batch sent, in bytes.
    pub batch_bytes_mean: Option<f64>,
    /// Mean number of records in a batch sent.
    pub batch_records_mean: Option<f64>,
    /// Messages produced and consumed per second, over the last ten seconds.
    pub records_per_s: f64,
    /// Record batch bytes produced and consumed per second, over the last ten seconds.
    pub bytes_per_s: f64,
    /// Duration of Produce requests.
    pub produce_ms: Option<Latency>,
    /// Duration of fetches that were served at once.
    pub fetch_ms: Option<Latency>,
    /// Consumer fetches by wait.
    pub fetch_wait: Counts,
    /// Responses with an error, by error.
    pub errors: Counts,
}

/// Counts by value.
pub type Counts = std::collections::BTreeMap<String, u64>;

/// A distribution of durations, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
}

/// Id and address.
type Name = (Box<str>, Box<str>);

/// All clients that have series, ordered by id and address.
#[must_use]
pub fn view(registry: &Registry, now: Timestamp) -> Vec<ClientRow> {
    let snapshot = registry.snapshot(now);
    let mut clients = gather(&snapshot);
    registry.with_rates(|rates| {
        for (name, client) in &mut clients {
            (client.row.records_per_s, client.row.bytes_per_s) = rates.of(name);
        }
    });
    let mut rows: Vec<ClientRow> = clients.into_values().map(Gathered::finish).collect();
    rows.sort_by(|a, b| (&a.client_id, &a.address).cmp(&(&b.client_id, &b.address)));
    rows
}

#[derive(Debug, Default)]
struct Gathered {
    row: ClientRow,
    batch_bytes: Histogram,
    batch_records: Histogram,
    produce: Histogram,
    fetch: Histogram,
}

fn gather(snapshot: &Snapshot) -> HashMap<Name, Gathered> {
    let mut clients: HashMap<Name, Gathered> = HashMap::new();
    for point in &snapshot.points {
        let Some(AttributeValue::ClientId(client)) = point.series.value(Attribute::ClientId) else { continue };
        let name = (client.id().into(), client.address().into());
        let gathered = clients.entry(name).or_insert_with(|| Gathered {
            row: ClientRow {
                client_id: client.id().to_owned(),
                address: client.address().to_owned(),
                software: client.software(),
                ..ClientRow::default()
            },
            ..Gathered::default()
        });
        gathered.add(point);
    }
    clients
}

impl Gathered {
    fn add(&mut self, point: &Point) {
        let text = |key| point.series.value(key).map(|value| value.scalar().to_string());
        match (point.series.metric(), &point.value) {
            (Metric::ProduceRequests, Value::Counter(total)) => {
                count(&mut self.row.acks, text(Attribute::Acks), *total)
            }
            (Metric::BatchSize, Value::Histogram(sizes)) => {
                count(&mut self.row.codecs, text(Attribute::Codec), sizes.count());
                self.batch_bytes.merge(sizes);
            }
            (Metric::BatchRecords, Value::Histogram(records)) => self.batch_records.merge(records),
            (Metric::RequestDuration, Value::Histogram(durations)) => {
                count(&mut self.row.errors, text(Attribute::Error), durations.count());
                let wait = text(Attribute::FetchWait);
                match text(Attribute::Api).as_deref() {
                    Some("Produce") => self.produce.merge(durations),
                    Some("FetchConsumer") => {
                        if wait.as_deref() == Some("served") {
                            self.fetch.merge(durations);
                        }
                        count(&mut self.row.fetch_wait, wait, durations.count());
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn finish(self) -> ClientRow {
        ClientRow {
            batch_bytes_mean: mean(&self.batch_bytes),
            batch_records_mean: mean(&self.batch_records),
            produce_ms: Latency::of(&self.produce),
            fetch_ms: Latency::of(&self.fetch),
            ..self.row
        }
    }
}

fn count(counts: &mut Counts, value: Option<String>, more: u64) {
    if let Some(value) = value {
        *counts.entry(value).or_default() += more;
    }
}

fn mean(histogram: &Histogram) -> Option<f64> {
    match histogram.count() {
        0 => None,
        count => Some(histogram.sum() as f64 / count as f64),
    }
}

impl Latency {
    fn of(nanos: &Histogram) -> Option<Self> {
        let ms = |quantile| nanos.quantile(quantile).map(|seconds| seconds * 1e3);
        Some(Self { count: nanos.count(), mean: mean(nanos)? / 1e6, p50: ms(0.5)?, p99: ms(0.99)? })
    }
}

/// What clients produced and consumed during the last seconds.
#[derive(Debug)]
pub(crate) struct Rates {
    began: Timestamp,
    /// The oldest first; the last one is the newest, the first at most [`WINDOW`] older, give or take a sample.
    samples: VecDeque<Sample>,
}

#[derive(Debug)]
struct Sample {
    at: Timestamp,
    totals: HashMap<Name, Totals>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    records: u64,
    bytes: u64,
}

impl Rates {
    pub(crate) fn new(began: Timestamp) -> Self {
        Self { began, samples: VecDeque::new() }
    }

    pub(crate) fn sample<'a>(&mut self, at: Timestamp, counters: impl Iterator<Item = (&'a Arc<Series>, u64)>) {
        let mut totals: HashMap<Name, Totals> = HashMap::new();
        for (series, total) in counters {
            let (records, bytes) = match series.metric() {
                Metric::ProducedMessages | Metric::ConsumedMessages => (total, 0),
                Metric::RecordIo => (0, total),
                _ => continue,
            };
            let Some(AttributeValue::ClientId(client)) = series.value(Attribute::ClientId) else { continue };
            let totals = totals.entry((client.id().into(), client.address().into())).or_default();
            totals.records += records;
            totals.bytes += bytes;
        }
        // The one before stays where it is, or frequent callers would keep the window from filling.
        let close = |earlier: &Sample| at.since(earlier.at) < STEP.as_nanos() as u64;
        if self.samples.len() > 1 && self.samples.iter().rev().nth(1).is_some_and(close) {
            self.samples.pop_back();
        }
        self.samples.push_back(Sample { at, totals });
        while self.samples.get(1).is_some_and(|second| at.since(second.at) >= WINDOW.as_nanos() as u64) {
            self.samples.pop_front();
        }
    }

    /// Records and bytes per second of a client.
    fn of(&self, name: &Name) -> (f64, f64) {
        let Some(last) = self.samples.back() else { return (0.0, 0.0) };
        let first = self.samples.front().filter(|first| first.at < last.at);
        let began = first.map_or(self.began, |first| first.at);
        let seconds = last.at.since(began) as f64 / 1e9;
        if seconds <= 0.0 {
            return (0.0, 0.0);
        }
        let at = |sample: &Sample| sample.totals.get(name).copied().unwrap_or_default();
        let (now, then) = (at(last), first.map(at).unwrap_or_default());
        // Less than before: its series expired in between.
        let rate = |now: u64, then: u64| now.checked_sub(then).unwrap_or(now) as f64 / seconds;
        (rate(now.records, then.records), rate(now.bytes, then.bytes))
    }
}
