//! What was read off a host: totals, states and distributions that were counted outside, by a kernel or a JVM.
//!
//! Unlike a [`Shard`](crate::Shard), which counts on the path of the data, whoever reads comes seldom, finds a number that
//! somebody else keeps, and hands it over with its name.

use std::sync::Arc;

use kafkascope_protocol::Timestamp;

use crate::attribute::{Attribute, Value};
use crate::dictionary::Dictionary;
use crate::histogram::Histogram;
use crate::metric::Metric;
use crate::series::Series;
use crate::span::{Event, Span};

/// What was read at a time.
#[derive(Debug)]
#[must_use = "what is not given to the registry is lost"]
pub struct Readings {
    dictionary: Arc<Dictionary>,
    /// When the interval began for what is counted.
    pub(crate) since: Timestamp,
    /// When it was read.
    pub(crate) at: Timestamp,
    pub(crate) read: Vec<(Arc<Series>, Reading)>,
    pub(crate) spans: Vec<Span>,
    /// Spans that were too many.
    pub(crate) spans_dropped: u64,
}

/// A number that was read.
#[derive(Debug, Clone)]
pub(crate) enum Reading {
    /// What a counter stands at that began at a time. When it is lower than before, it has begun again.
    Total { total: u64, since: Timestamp },
    /// How much a counter grew.
    More(u64),
    /// How it is now.
    State(i64),
    /// More values of a histogram.
    Values(Histogram),
}

impl Readings {
    /// Nothing yet, read at `at`; what is counted was counted since `since`.
    pub fn new(dictionary: Arc<Dictionary>, since: Timestamp, at: Timestamp) -> Self {
        Self { dictionary, since, at, read: Vec::new(), spans: Vec::new(), spans_dropped: 0 }
    }

    /// When it is read.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The dictionary that names come from.
    #[must_use]
    pub fn dictionary(&self) -> &Arc<Dictionary> {
        &self.dictionary
    }

    /// A counter that somebody else began at `since` stands at `total`.
    pub fn total(&mut self, metric: Metric, attributes: &[(Attribute, Value)], total: u64, since: Timestamp) {
        self.push(metric, attributes, Reading::Total { total, since });
    }

    /// A counter grew by `more`.
    pub fn more(&mut self, metric: Metric, attributes: &[(Attribute, Value)], more: u64) {
        if more > 0 {
            self.push(metric, attributes, Reading::More(more));
        }
    }

    /// A gauge, or an up-down counter, stands at `state`. Forgotten soon after it is no longer read.
    pub fn state(&mut self, metric: Metric, attributes: &[(Attribute, Value)], state: i64) {
        self.push(metric, attributes, Reading::State(state));
    }

    /// A histogram has more values.
    pub fn values(&mut self, metric: Metric, attributes: &[(Attribute, Value)], values: Histogram) {
        if values.count() > 0 {
            self.push(metric, attributes, Reading::Values(values));
        }
    }

    /// Something happened that is worth a span.
    pub fn span(&mut self, event: Event) {
        if self.dictionary.settings().spans.is_some() {
            self.spans.push(Span::Event(event));
        }
    }

    /// Spans were not made because they were too many.
    pub fn spans_dropped(&mut self, count: u64) {
        self.spans_dropped += count;
    }

    /// Attributes come in the order of the metric's row; those that the metric does not have are left out.
    fn push(&mut self, metric: Metric, attributes: &[(Attribute, Value)], reading: Reading) {
        let keys = metric.descriptor().attributes.iter();
        let attributes = keys.filter_map(|key| attributes.iter().find(|(known, _)| known == key).cloned()).collect();
        self.read.push((self.dictionary.series(metric, attributes), reading));
    }
}
