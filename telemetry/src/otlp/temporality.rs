//! Delta temporality: what has been delivered, so that the rest can be told.
//!
//! Only what the collector has taken moves the baseline, part by part, so totals survive an absence of the collector. A
//! request that it took but whose answer was lost is told twice: delta temporality cannot avoid that.

use std::collections::HashMap;

use kafkascope_protocol::Timestamp;

use super::metrics::Part;
use crate::snapshot::{Point, Snapshot, Value};

/// Totals as delivered.
#[derive(Debug, Default)]
pub(super) struct Baseline {
    totals: HashMap<u64, Delivered>,
}

#[derive(Debug)]
struct Delivered {
    /// When the series began: one that came back begins anew under the same number.
    start: Timestamp,
    at: Timestamp,
    value: Value,
}

impl Baseline {
    /// What a point has counted that was not delivered, and since when; `None` if that is nothing.
    pub(super) fn since(&self, point: &Point) -> Option<(Timestamp, Value)> {
        let known = self.totals.get(&point.series.number()).filter(|known| known.start == point.start);
        let Some(Delivered { at, value: delivered, .. }) = known else {
            return Some((point.start, point.value.clone()));
        };
        let rest = match (&point.value, delivered) {
            (Value::Counter(now), Value::Counter(then)) => Value::Counter(now.saturating_sub(*then)),
            (Value::Histogram(now), Value::Histogram(then)) => Value::Histogram(now.since(then)),
            _ => return None,
        };
        let is_nothing = match &rest {
            Value::Counter(count) => *count == 0,
            Value::Histogram(histogram) => histogram.count() == 0,
            _ => true,
        };
        (!is_nothing).then_some((*at, rest))
    }

    /// The collector has taken `part`, made of the snapshot of `at`.
    pub(super) fn delivered(&mut self, part: &mut Part, at: Timestamp) {
        let totals = part.totals.drain(..);
        self.totals.extend(totals.map(|(number, start, value)| (number, Delivered { start, at, value })));
    }

    /// Forgets series that have ended.
    pub(super) fn retain(&mut self, snapshot: &Snapshot) {
        if self.totals.len() > snapshot.points.len() {
            let live: std::collections::HashSet<u64> =
                snapshot.points.iter().map(|point| point.series.number()).collect();
            self.totals.retain(|number, _| live.contains(number));
        }
    }
}
