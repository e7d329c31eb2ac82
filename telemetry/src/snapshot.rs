//! All totals at a moment, as exporters and the text endpoint show them.

use std::sync::Arc;

use kafkascope_protocol::Timestamp;

use crate::exemplar::Exemplar;
use crate::histogram::Histogram;
use crate::learned::Learned;
use crate::resource::Resource;
use crate::series::Series;

/// All totals at a moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When.
    pub at: Timestamp,
    /// Who reports.
    pub resource: Arc<Resource>,
    /// What more is known of brokers than their series say.
    pub learned: Arc<Learned>,
    /// Every series, those of a metric together, in the order of the metric table.
    pub points: Vec<Point>,
    /// Series that have ended.
    pub gone: Vec<Gone>,
}

/// A series and its total.
#[derive(Debug, Clone)]
pub struct Point {
    /// Which series.
    pub series: Arc<Series>,
    /// Since when it counts.
    pub start: Timestamp,
    /// What it counted.
    pub value: Value,
    /// One of its values with its span; histograms of latency only.
    pub exemplar: Option<Arc<Exemplar>>,
}

/// A series that has ended.
#[derive(Debug, Clone)]
pub struct Gone {
    /// Rises from end to end.
    pub number: u64,
    /// Which series.
    pub series: Arc<Series>,
    /// What was known of brokers then.
    pub learned: Arc<Learned>,
    /// When it ended.
    pub at: Timestamp,
}

/// A total, in recorded integers (see [`Unit::per_unit`](crate::metric::Unit::per_unit)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Of a counter.
    Counter(u64),
    /// Of an up-down counter.
    UpDown(i64),
    /// Of a gauge.
    Gauge(i64),
    /// Of a histogram.
    Histogram(Histogram),
}

impl Value {
    /// The total of a counter.
    #[must_use]
    pub fn as_count(&self) -> Option<u64> {
        match self {
            Self::Counter(total) => Some(*total),
            _ => None,
        }
    }

    /// The distribution of a histogram.
    #[must_use]
    pub fn as_histogram(&self) -> Option<&Histogram> {
        match self {
            Self::Histogram(histogram) => Some(histogram),
            _ => None,
        }
    }
}
