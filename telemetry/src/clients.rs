//! Clients as `/api/clients` shows them.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use kafkascope_protocol::Timestamp;
use serde::Serialize;

use crate::attribute::{Attribute, Value as AttributeValue};
use crate::dictionary::Client;
use crate::histogram::Histogram;
use crate::metric::Metric;
use crate::rates::{self, Rate, Subject, Totals};
use crate::registry::Registry;
use crate::snapshot::{Point, Snapshot, Value};

/// A client.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct ClientRow {
    /// Its id; `(none)` when null or empty, `other` for all above the cap.
    pub client_id: String,
    /// Its host; empty when clients are told apart by id only.
    pub address: String,
    /// `name/version` as it says of itself (ApiVersions v3+).
    pub software: Option<String>,
    /// Whom it has authenticated as; only with `--principal on`.
    pub principals: Vec<String>,
    /// Connections that it has open.
    pub connections: u64,
    /// Age of the oldest of them, in seconds.
    pub oldest_connection_s: Option<f64>,
    /// TCP round-trip times by side: `client` (between it and the proxy) and `broker`.
    pub rtt_ms: BTreeMap<String, Latency>,
    /// TCP segments that the proxy sent again, by side.
    pub retransmits: Counts,
    /// The APIs that it uses.
    pub apis: BTreeMap<String, ApiUse>,
    /// Requests in versions that Kafka 4.0 does not serve any more, by API. Empty: an upgrade does not break it.
    pub removed_in_4_0: Counts,
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
    /// The same by direction.
    #[serde(flatten)]
    pub rate: Rate,
    /// The topics that it moved most bytes of, at most 50.
    pub topics: Vec<TopicUse>,
    /// How many more topics it uses.
    pub more_topics: u64,
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
pub type Counts = BTreeMap<String, u64>;

/// How a client uses an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct ApiUse {
    /// Requests.
    pub requests: u64,
    /// Lowest version.
    pub min_version: Option<i64>,
    /// Highest version.
    pub max_version: Option<i64>,
}

/// What passed between a client and a topic since both are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct TopicUse {
    /// Name of the topic.
    pub topic: String,
    /// Its amounts.
    #[serde(flatten)]
    pub moved: Moved,
}

/// Amounts since the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct Moved {
    /// Record batch bytes produced.
    pub bytes_in: u64,
    /// Record batch bytes consumed.
    pub bytes_out: u64,
    /// Messages produced.
    pub records_in: u64,
    /// Messages consumed.
    pub records_out: u64,
}

impl From<Totals> for Moved {
    fn from([bytes_in, bytes_out, records_in, records_out]: Totals) -> Self {
        Self { bytes_in, bytes_out, records_in, records_out }
    }
}

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
        for ((id, address), client) in &mut clients {
            let rate = rates.of(&Subject::Client(id.clone(), address.clone()));
            client.row.rate = rate;
            client.row.records_per_s = rate.records_in_per_s + rate.records_out_per_s;
            client.row.bytes_per_s = rate.bytes_in_per_s + rate.bytes_out_per_s;
        }
    });
    let mut rows: Vec<ClientRow> = clients.into_values().map(|client| client.finish(now)).collect();
    rows.sort_by(|a, b| (&a.client_id, &a.address).cmp(&(&b.client_id, &b.address)));
    rows
}

#[derive(Debug, Default)]
struct Gathered {
    row: ClientRow,
    /// One for each principal.
    clients: Vec<Arc<Client>>,
    topics: HashMap<String, Totals>,
    rtt: BTreeMap<String, Histogram>,
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
                ..ClientRow::default()
            },
            ..Gathered::default()
        });
        if !gathered.clients.iter().any(|known| Arc::ptr_eq(known, client)) {
            gathered.clients.push(client.clone());
        }
        gathered.add(point);
    }
    clients
}

impl Gathered {
    fn add(&mut self, point: &Point) {
        let text = |key| point.series.value(key).map(|value| value.scalar().to_string());
        if let (Some(place), Value::Counter(total)) = (rates::place(&point.series), &point.value)
            && let Some(AttributeValue::Topic(topic)) = point.series.value(Attribute::Topic)
        {
            let totals = self.topics.entry_ref(topic.label()).or_default();
            if let Some(sum) = totals.get_mut(place) {
                *sum += total;
            }
        }
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
            (Metric::Requests, Value::Counter(total)) => {
                let api = self.row.apis.entry(text(Attribute::Api).unwrap_or_default()).or_default();
                api.requests += total;
                if let Some(&AttributeValue::Integer(version)) = point.series.value(Attribute::ApiVersion) {
                    api.min_version = Some(api.min_version.map_or(version, |lowest| lowest.min(version)));
                    api.max_version = api.max_version.max(Some(version));
                }
            }
            (Metric::ClientRemovedIn40, Value::Counter(total)) => {
                count(&mut self.row.removed_in_4_0, text(Attribute::Api), *total);
            }
            (Metric::ConnectionRtt, Value::Histogram(times)) => {
                self.rtt.entry(text(Attribute::Side).unwrap_or_default()).or_default().merge(times);
            }
            (Metric::ConnectionRetransmits, Value::Counter(total)) => {
                count(&mut self.row.retransmits, text(Attribute::Side), *total);
            }
            _ => {}
        }
    }

    fn finish(self, now: Timestamp) -> ClientRow {
        let (topics, more_topics) = rates::busiest(self.topics.into_iter());
        let connections = self.clients.iter().map(|client| client.connections());
        let (connections, oldest) = connections
            .fold((0, None), |(sum, oldest), (count, at)| (sum + count, [oldest, at].into_iter().flatten().min()));
        let mut principals: Vec<String> =
            self.clients.iter().filter_map(|client| client.principal()).map(ToString::to_string).collect();
        principals.sort_unstable();
        ClientRow {
            software: self.clients.iter().find_map(|client| client.software()),
            principals,
            connections,
            oldest_connection_s: oldest.map(|oldest| now.since(oldest) as f64 / 1e9),
            rtt_ms: self.rtt.iter().filter_map(|(side, rtt)| Some((side.clone(), Latency::of(rtt)?))).collect(),
            topics: topics.into_iter().map(|(topic, moved)| TopicUse { topic, moved: moved.into() }).collect(),
            more_topics,
            batch_bytes_mean: mean(&self.batch_bytes),
            batch_records_mean: mean(&self.batch_records),
            produce_ms: Latency::of(&self.produce),
            fetch_ms: Latency::of(&self.fetch),
            ..self.row
        }
    }
}

pub(crate) fn count(counts: &mut Counts, value: Option<String>, more: u64) {
    if let Some(value) = value {
        *counts.entry(value).or_default() += more;
    }
}

pub(crate) fn mean(histogram: &Histogram) -> Option<f64> {
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
