//! Which versions of which APIs clients use: what has to be known before brokers are upgraded.
//!
//! It follows from the series of requests that live, so a version that a client has stopped to use is forgotten with its
//! series, after the expiry time.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::attribute::{Attribute, Scalar, Value};
use crate::metric::Metric;
use crate::readings::Reading;
use crate::series::{Attributes, Series};

/// Lowest and highest version of an API that a client uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    lowest: i64,
    highest: i64,
}

/// The gauges of versions, from the series that live.
pub(crate) fn readings<'a>(series: impl Iterator<Item = &'a Arc<Series>>) -> Vec<(Metric, Attributes, Reading)> {
    let mut ranges: HashMap<Vec<(Attribute, Scalar<'a>)>, (Range, &'a Series)> = HashMap::new();
    for series in series.filter(|series| series.metric() == Metric::Requests) {
        // One that is `other` is not known.
        let Some(&Value::Integer(version)) = series.value(Attribute::ApiVersion) else { continue };
        let first = Range { lowest: version, highest: version };
        let (range, _) = ranges.entry(series.scalars(&KEYS)).or_insert((first, series));
        *range = Range { lowest: range.lowest.min(version), highest: range.highest.max(version) };
    }
    let gauges = ranges.into_values().flat_map(|(range, series)| {
        [(Metric::ClientApiVersionMin, range.lowest), (Metric::ClientApiVersionMax, range.highest)]
            .map(|(metric, version)| (metric, attributes(metric, series), Reading::State(version)))
    });
    gauges.collect()
}

/// What tells ranges apart, of the attributes of requests.
const KEYS: [Attribute; 5] =
    [Attribute::ClientId, Attribute::PeerAddress, Attribute::UserName, Attribute::Cluster, Attribute::Api];

/// Those of a series of requests, and the client's software.
fn attributes(metric: Metric, of: &Series) -> Attributes {
    let value = |key| match (key, of.value(Attribute::ClientId)) {
        (Attribute::ClientSoftware, Some(Value::ClientId(client))) => Some(Value::Text(client.software()?.into())),
        _ => of.value(key).cloned(),
    };
    metric.descriptor().keys().filter_map(|key| Some((key, value(key)?))).collect()
}
