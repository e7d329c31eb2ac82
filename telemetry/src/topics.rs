//! Topics as `/api/topics` shows them.

use hashbrown::HashMap;
use kafkascope_protocol::Timestamp;
use serde::Serialize;

use crate::attribute::{Attribute, Value as AttributeValue};
use crate::clients::{Counts, Moved, count, mean};
use crate::histogram::Histogram;
use crate::learned::Learned;
use crate::metric::Metric;
use crate::rates::{self, Rate, Subject, Totals};
use crate::registry::Registry;
use crate::snapshot::{Point, Value};
use crate::topic::Topic;

/// A topic.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct TopicRow {
    /// Its name; `other` for all above the cap, the base64 of its id where no name was learned.
    pub topic: String,
    /// Its cluster's name, or its id; `null` while it is not known.
    pub cluster: Option<String>,
    /// What passes.
    #[serde(flatten)]
    pub rate: Rate,
    /// What has passed.
    #[serde(flatten)]
    pub moved: Moved,
    /// Mean size of a batch sent, in bytes.
    pub batch_bytes_mean: Option<f64>,
    /// Mean number of records in a batch sent.
    pub batch_records_mean: Option<f64>,
    /// Batches sent by codec.
    pub codecs: Counts,
    /// Clients that sent batches to it.
    pub producers: u64,
    /// Clients that were given records of it.
    pub consumers: u64,
    /// The clients that moved most bytes, at most 50.
    pub clients: Vec<ClientUse>,
    /// How many more clients use it.
    pub more_clients: u64,
}

/// What passed between a topic and a client since both are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct ClientUse {
    /// Id of the client.
    pub client_id: String,
    /// Its host.
    pub address: String,
    /// Its amounts.
    #[serde(flatten)]
    pub moved: Moved,
}

#[derive(Debug, Default)]
struct Gathered {
    row: TopicRow,
    batch_bytes: Histogram,
    batch_records: Histogram,
    clients: HashMap<(String, String), Part>,
}

/// A client's part.
#[derive(Debug, Default)]
struct Part {
    totals: Totals,
    produces: bool,
}

/// All topics that have series, ordered by cluster and name.
#[must_use]
pub fn view(registry: &Registry, now: Timestamp) -> Vec<TopicRow> {
    let snapshot = registry.snapshot(now);
    let mut topics: HashMap<Subject, Gathered> = HashMap::new();
    for point in &snapshot.points {
        let Some(AttributeValue::Topic(topic)) = point.series.value(Attribute::Topic) else { continue };
        let subject = Subject::Topic(topic.cluster().cloned(), topic.label().into());
        topics.entry(subject).or_insert_with(|| Gathered::new(topic, &snapshot.learned)).add(point);
    }
    registry.with_rates(|rates| topics.iter_mut().for_each(|(subject, topic)| topic.row.rate = rates.of(subject)));
    let mut rows: Vec<TopicRow> = topics.into_values().map(Gathered::finish).collect();
    rows.sort_by(|a, b| (&a.cluster, &a.topic).cmp(&(&b.cluster, &b.topic)));
    rows
}

impl Gathered {
    fn new(topic: &Topic, learned: &Learned) -> Self {
        let cluster = topic.cluster().or(learned.cluster()).map(ToString::to_string);
        Self { row: TopicRow { topic: topic.label().to_owned(), cluster, ..TopicRow::default() }, ..Self::default() }
    }

    fn add(&mut self, point: &Point) {
        let Some(AttributeValue::ClientId(client)) = point.series.value(Attribute::ClientId) else { return };
        let part = self.clients.entry((client.id().to_owned(), client.address().to_owned())).or_default();
        match (point.series.metric(), &point.value) {
            (Metric::BatchSize, Value::Histogram(sizes)) => {
                let codec = point.series.value(Attribute::Codec).map(|codec| codec.scalar().to_string());
                count(&mut self.row.codecs, codec, sizes.count());
                self.batch_bytes.merge(sizes);
                part.produces = true;
            }
            (Metric::BatchRecords, Value::Histogram(records)) => self.batch_records.merge(records),
            (_, Value::Counter(total)) => {
                let sum = rates::place(&point.series).and_then(|place| part.totals.get_mut(place));
                *sum.unwrap_or(&mut 0) += total;
            }
            _ => {}
        }
    }

    fn finish(self) -> TopicRow {
        let parts = || self.clients.values();
        let totals = parts().fold(Totals::default(), |sum, part| std::array::from_fn(|at| sum[at] + part.totals[at]));
        let producers = parts().filter(|part| part.produces).count() as u64;
        let consumers = parts().filter(|part| part.totals[1] > 0).count() as u64;
        let (clients, more_clients) =
            rates::busiest(self.clients.into_iter().map(|(client, part)| (client, part.totals)));
        let uses = clients.into_iter();
        let uses = uses.map(|((client_id, address), moved)| ClientUse { client_id, address, moved: moved.into() });
        TopicRow {
            moved: totals.into(),
            batch_bytes_mean: mean(&self.batch_bytes),
            batch_records_mean: mean(&self.batch_records),
            producers,
            consumers,
            clients: uses.collect(),
            more_clients,
            ..self.row
        }
    }
}
