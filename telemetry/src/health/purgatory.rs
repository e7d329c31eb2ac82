//! What waits in brokers for others: Produce requests for the in-sync replicas, Fetch requests for records.
//!
//! From here it cannot be told whether a request waits or is being worked on, so all that are in flight and may have to wait
//! are taken: an upper bound. Kafka's `NumDelayedOperations` is the same of all clients together; its `PurgatorySize` counts
//! an operation once for each of its partitions, and those that have ended until they are swept out.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::attribute::{Attribute, Scalar, Value};
use crate::metric::Metric;
use crate::readings::Reading;
use crate::series::{Attributes, Series};
use crate::snapshot;

/// What tells purgatories apart, of the attributes of requests in flight.
const KEYS: [Attribute; 5] =
    [Attribute::Cluster, Attribute::ServerAddress, Attribute::ServerPort, Attribute::BrokerId, Attribute::Api];

/// The gauges, from the series of [requests in flight](Metric::RequestsInFlight) that live.
pub(crate) fn readings<'a>(
    series: impl Iterator<Item = (&'a Arc<Series>, &'a snapshot::Value)>,
) -> Vec<(Metric, Attributes, Reading)> {
    let mut sizes: HashMap<Vec<(Attribute, Scalar<'a>)>, (i64, &'a Series)> = HashMap::new();
    for (series, value) in series.filter(|(series, _)| waits(series)) {
        let snapshot::Value::UpDown(in_flight) = value else { continue };
        sizes.entry(series.scalars(&KEYS)).or_insert((0, series)).0 += in_flight;
    }
    let gauges = sizes.into_values().map(|(size, series)| {
        let attributes = KEYS.iter().filter_map(|&key| Some((key, series.value(key)?.clone()))).collect();
        (Metric::PurgatorySize, attributes, Reading::State(size))
    });
    gauges.collect()
}

fn waits(series: &Series) -> bool {
    let is = |key, text| matches!(series.value(key), Some(Value::Static(value)) if *value == text);
    match series.value(Attribute::Api) {
        Some(Value::Static("Produce")) => is(Attribute::Acks, "all"),
        Some(Value::Static("FetchConsumer" | "FetchFollower")) => true,
        _ => false,
    }
}
