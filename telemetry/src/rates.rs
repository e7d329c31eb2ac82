//! What clients and topics did during the last seconds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use kafkascope_protocol::Timestamp;
use serde::Serialize;

use crate::attribute::{Attribute, Value};
use crate::metric::Metric;
use crate::series::Series;

/// The time that rates are taken over.
const WINDOW: Duration = Duration::from_secs(10);

/// Closer samples replace each other.
const STEP: Duration = Duration::from_millis(500);

/// Whose rate it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// Of the client with this id and address.
    Client(Box<str>, Box<str>),
    /// Of the topic of this cluster and name.
    Topic(Option<Arc<str>>, Box<str>),
}

/// Rates over the last ten seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Rate {
    /// Record batch bytes produced, per second.
    pub bytes_in_per_s: f64,
    /// Record batch bytes consumed, per second.
    pub bytes_out_per_s: f64,
    /// Messages produced, per second.
    pub records_in_per_s: f64,
    /// Messages consumed, per second.
    pub records_out_per_s: f64,
}

#[derive(Debug)]
pub(crate) struct Rates {
    began: Timestamp,
    /// The oldest first; the last one is the newest, the first at most [`WINDOW`] older, give or take a sample.
    samples: VecDeque<Sample>,
}

#[derive(Debug)]
struct Sample {
    at: Timestamp,
    totals: HashMap<Subject, Totals>,
}

/// Bytes in and out, and messages in and out, since a subject is known.
pub(crate) type Totals = [u64; 4];

/// Who or what a row lists, those with most bytes: an answer must not grow with clients times topics.
const LISTED: usize = 50;

/// The busiest of all, equals in the order of their names, and how many more there are.
pub(crate) fn busiest<K: Ord>(all: impl Iterator<Item = (K, Totals)>) -> (Vec<(K, Totals)>, u64) {
    let mut all: Vec<_> = all.collect();
    let bytes = |[bytes_in, bytes_out, ..]: &Totals| bytes_in + bytes_out;
    all.sort_unstable_by(|(a, left), (b, right)| bytes(right).cmp(&bytes(left)).then_with(|| a.cmp(b)));
    let more = all.len().saturating_sub(LISTED) as u64;
    all.truncate(LISTED);
    (all, more)
}

/// Index of a series in [`Totals`].
pub(crate) fn place(series: &Series) -> Option<usize> {
    let is_in = || matches!(series.value(Attribute::Direction), Some(Value::Static("in")));
    match series.metric() {
        Metric::RecordIo => Some(usize::from(!is_in())),
        Metric::ProducedMessages => Some(2),
        Metric::ConsumedMessages => Some(3),
        _ => None,
    }
}

impl Rates {
    pub(crate) fn new(began: Timestamp) -> Self {
        Self { began, samples: VecDeque::new() }
    }

    pub(crate) fn sample<'a>(&mut self, at: Timestamp, counters: impl Iterator<Item = (&'a Arc<Series>, u64)>) {
        let mut totals: HashMap<Subject, Totals> = HashMap::new();
        for (series, total) in counters {
            let Some(place) = place(series) else { continue };
            let client = match series.value(Attribute::ClientId) {
                Some(Value::ClientId(client)) => Some(Subject::Client(client.id().into(), client.address().into())),
                _ => None,
            };
            let topic = match series.value(Attribute::Topic) {
                Some(Value::Topic(topic)) => Some(Subject::Topic(topic.cluster().cloned(), topic.label().into())),
                _ => None,
            };
            for subject in client.into_iter().chain(topic) {
                if let Some(sum) = totals.entry(subject).or_default().get_mut(place) {
                    *sum += total;
                }
            }
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

    pub(crate) fn of(&self, subject: &Subject) -> Rate {
        let Some(last) = self.samples.back() else { return Rate::default() };
        let first = self.samples.front().filter(|first| first.at < last.at);
        let began = first.map_or(self.began, |first| first.at);
        let seconds = last.at.since(began) as f64 / 1e9;
        if seconds <= 0.0 {
            return Rate::default();
        }
        let at = |sample: &Sample| sample.totals.get(subject).copied().unwrap_or_default();
        let (now, then) = (at(last), first.map(at).unwrap_or_default());
        // Less than before: its series expired in between.
        let rate = |now: u64, then: u64| now.checked_sub(then).unwrap_or(now) as f64 / seconds;
        let ([bytes_in, bytes_out, records_in, records_out], [b_in, b_out, r_in, r_out]) = (now, then);
        Rate {
            bytes_in_per_s: rate(bytes_in, b_in),
            bytes_out_per_s: rate(bytes_out, b_out),
            records_in_per_s: rate(records_in, r_in),
            records_out_per_s: rate(records_out, r_out),
        }
    }
}
