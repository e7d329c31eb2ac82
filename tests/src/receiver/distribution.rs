//! Histograms as received: exact count and sum, and buckets good enough for a quantile.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::metrics::v1::{ExponentialHistogramDataPoint, HistogramDataPoint};

/// A histogram, explicit or exponential.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Distribution {
    /// Number of values.
    pub count: u64,
    /// Sum of the values, in the metric's unit.
    pub sum: f64,
    buckets: Buckets,
}

/// Counts by upper bound. Both layouts end as one: an exponential bucket has exactly one upper bound.
#[derive(Debug, Clone, Default, PartialEq)]
struct Buckets {
    by_upper_bound: BTreeMap<Bound, u64>,
}

/// An upper bound by the order of its bits, which for numbers of at least zero is the order of the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Bound(u64);

impl Distribution {
    pub(super) fn explicit(point: &HistogramDataPoint) -> Self {
        let bounds = point.explicit_bounds.iter().copied().chain([f64::INFINITY]);
        Self::from_buckets(point.count, point.sum, bounds.zip(point.bucket_counts.iter().copied()))
    }

    pub(super) fn exponential(point: &ExponentialHistogramDataPoint) -> Self {
        let base_log2 = f64::from(-point.scale).exp2();
        let positive = point.positive.iter().flat_map(|buckets| {
            let upper = (i64::from(buckets.offset) + 1..).map(move |index| (index as f64 * base_log2).exp2());
            upper.zip(buckets.bucket_counts.iter().copied())
        });
        Self::from_buckets(point.count, point.sum, [(0.0, point.zero_count)].into_iter().chain(positive))
    }

    fn from_buckets(count: u64, sum: Option<f64>, buckets: impl Iterator<Item = (f64, u64)>) -> Self {
        let mut by_upper_bound = BTreeMap::new();
        for (bound, count) in buckets.filter(|(_, count)| *count > 0) {
            *by_upper_bound.entry(Bound(bound.max(0.0).to_bits())).or_default() += count;
        }
        Self { count, sum: sum.unwrap_or_default(), buckets: Buckets { by_upper_bound } }
    }

    /// Adds another histogram's values.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        for (bound, count) in &other.buckets.by_upper_bound {
            *self.buckets.by_upper_bound.entry(*bound).or_default() += count;
        }
    }

    /// Mean of the values; 0 when there are none.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }

    /// Upper bound of the bucket that holds the value at rank `q` (0 to 1). `None` when there is no value.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = ((q * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        self.buckets.by_upper_bound.iter().find_map(|(bound, count)| {
            seen += count;
            (seen >= rank).then(|| f64::from_bits(bound.0))
        })
    }

    /// Values in the buckets; equals `count` in a sound histogram.
    pub(super) fn bucketed(&self) -> u64 {
        self.buckets.by_upper_bound.values().sum()
    }
}
