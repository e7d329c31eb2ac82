//! Our side of every row: what the OTLP receiver holds, and nothing else.

use super::row::{Figure, Measured};
use crate::receiver::{Distribution, Receiver};

/// Attribute keys, as they arrive.
pub(crate) mod key {
    pub(crate) const CLIENT: &str = "messaging.client.id";
    pub(crate) const TOPIC: &str = "messaging.destination.name";
    pub(crate) const API: &str = "kafka.api";
    pub(crate) const VERSION: &str = "kafka.api.version";
    pub(crate) const DIRECTION: &str = "direction";
    pub(crate) const SEGMENT: &str = "kafkascope.segment";
    pub(crate) const FETCH_WAIT: &str = "kafkascope.fetch.wait";
    pub(crate) const ERROR: &str = "error.type";
}

/// Attributes that the series must carry.
pub(crate) type Filter<'a> = &'a [(&'a str, &'a str)];

/// A counter, summed over the series that carry the attributes.
pub(crate) fn counter(receiver: &Receiver, name: &str, filter: Filter<'_>) -> Measured {
    receiver.sum(name, filter).map(Figure::count).ok_or_else(|| missing(name, filter))
}

/// A histogram, merged over the series that carry the attributes.
pub(crate) fn histogram(receiver: &Receiver, name: &str, filter: Filter<'_>) -> Result<Distribution, String> {
    receiver.histogram(name, filter).ok_or_else(|| missing(name, filter))
}

/// The mean of a histogram times `scale` (1000 makes milliseconds of seconds).
pub(crate) fn mean(receiver: &Receiver, name: &str, filter: Filter<'_>, scale: f64) -> Measured {
    histogram(receiver, name, filter).map(|found| Figure::mean(found.mean() * scale, found.count as f64))
}

/// Why there is no figure.
pub(crate) fn missing(name: &str, filter: Filter<'_>) -> String {
    let attributes: Vec<_> = filter.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("no series {name}{{{}}}", attributes.join(","))
}
