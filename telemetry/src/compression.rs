//! How well producers compress: a batch's size on the wire over that of its records uncompressed.
//!
//! Most framings tell the uncompressed size, and the decoder reads it there. Frames of LZ4 and Zstandard may not; then some
//! batches are kept ([`Sample`]) and measured by a thread of their own ([`Measurer`]), far from the data path:
//!
//! * Whose batches are kept is decided by [`Turns`]: in bytes, under a budget, the same for all series of a worker.
//! * Kept batches travel with the [`Delta`](crate::Delta) of their worker and wait in a queue of [`QUEUE_BYTES`].
//! * What is decompressed is not kept, and has a limit for each batch and each second.
//!
//! What is kept for a span, to see which traces its records belong to, goes the same way, of any codec. If it is compressed,
//! its ratio is found on that occasion.
//!
//! What is not measured is counted, see [`Missed`]. The distribution is that of all batches as long as which of them are
//! kept does not depend on how well they compress.

mod measurer;
mod open;
mod record;
mod size;
mod turns;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};

use kafkascope_protocol::{Codec, Timestamp};

use crate::dictionary::lock;
use crate::series::Series;
use crate::span::contexts::Expected;
pub(crate) use measurer::Found;
pub use measurer::Measurer;
pub(crate) use turns::{Taken, Turns};

/// Recorded integers in a ratio of 1.
pub(crate) const ONE: u64 = 1_000_000;

/// Longest records that are kept: what a broker takes by default (`message.max.bytes`).
pub(crate) const LONGEST: u64 = 1 << 20;

/// Kept batches that may wait for the measurer: two seconds of two busy workers.
const QUEUE_BYTES: usize = 16 << 20;

/// Why the ratio of a batch, or what its records are linked to, is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missed {
    /// Enough batches of its series, or of the worker, were kept for now.
    Budget,
    /// Its records are longer than [`LONGEST`].
    TooLarge,
    /// The measurer was behind.
    QueueFull,
    /// Decompressed, it is more than a batch, or a second, may come to.
    OutputCap,
    /// It is not what its head says.
    Malformed,
}

impl Missed {
    pub(crate) const ALL: [Self; 5] = [Self::Budget, Self::TooLarge, Self::QueueFull, Self::OutputCap, Self::Malformed];

    /// Its name in OTLP.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::TooLarge => "too_large",
            Self::QueueFull => "queue_full",
            Self::OutputCap => "output_cap",
            Self::Malformed => "malformed",
        }
    }
}

/// The ratio of records that were `compressed` bytes on the wire, as it is recorded.
pub(crate) const fn ratio(compressed: u64, uncompressed: u64) -> u64 {
    match uncompressed {
        0 => 0,
        _ => (compressed.saturating_mul(ONE).saturating_add(uncompressed / 2)) / uncompressed,
    }
}

/// A batch that was kept to be measured or looked into.
#[derive(Debug)]
pub(crate) struct Sample {
    /// The ratios of its client, topic and codec, if it is compressed and a producer's.
    pub(crate) series: Option<Arc<Series>>,
    /// The span that waits for it.
    pub(crate) expected: Option<Expected>,
    pub(crate) codec: Codec,
    /// Records that its head tells of.
    pub(crate) count: u32,
    pub(crate) records: Box<[u8]>,
    /// How many of its series were kept before it in the same interval: those that are first go first.
    pub(crate) turn: u32,
}

/// The samples of an interval.
#[derive(Debug)]
pub(crate) struct Samples {
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) samples: Vec<Sample>,
}

/// Where samples wait for the measurer.
#[derive(Debug, Default)]
pub(crate) struct SampleQueue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    samples: VecDeque<Samples>,
    bytes: usize,
    closed: bool,
}

impl SampleQueue {
    /// Takes the samples of an interval. Returns those that there was no room for.
    pub(crate) fn push(&self, mut new: Samples) -> Vec<Sample> {
        // Whoever was kept first is fed first: the queue may end, and so may the measurer's budget.
        new.samples.sort_by_key(|sample| sample.turn);
        let mut waiting = lock(&self.waiting);
        let mut room = QUEUE_BYTES.saturating_sub(waiting.bytes);
        let fitting = new.samples.iter().take_while(|sample| {
            let rest = room.checked_sub(sample.records.len());
            room = rest.unwrap_or(room);
            rest.is_some()
        });
        let fitting = fitting.count();
        let refused = new.samples.split_off(fitting);
        waiting.bytes = QUEUE_BYTES - room;
        if !new.samples.is_empty() {
            waiting.samples.push_back(new);
            self.changed.notify_one();
        }
        refused
    }

    /// Waits for samples. `None`: none will come.
    fn pop(&self) -> Option<Samples> {
        let mut waiting = lock(&self.waiting);
        loop {
            if let Some(samples) = waiting.samples.pop_front() {
                waiting.bytes -= samples.bytes();
                return Some(samples);
            }
            if waiting.closed {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    fn close(&self) {
        lock(&self.waiting).closed = true;
        self.changed.notify_all();
    }
}

impl Samples {
    fn bytes(&self) -> usize {
        self.samples.iter().map(|sample| sample.records.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dictionary::Dictionary;
    use crate::metric::Metric;
    use crate::settings::Settings;

    #[test]
    fn a_ratio_is_rounded_to_millionths() {
        assert_eq!(ratio(100, 100), ONE);
        assert_eq!(ratio(2, 3), 666_667);
        assert_eq!(ratio(1, 0), 0);
        assert!(ratio(u64::MAX, 1) > ONE);
    }

    #[test]
    fn the_queue_keeps_the_first_of_each_series_and_tells_what_had_no_room() {
        let dictionary = Dictionary::new(Settings::default());
        let series = dictionary.series(Metric::CompressionRatio, Box::default());
        let sample = |turn, bytes| Sample {
            series: Some(series.clone()),
            expected: None,
            codec: Codec::Zstd,
            count: 1,
            records: vec![0; bytes].into(),
            turn,
        };
        let (since, until) = (Timestamp(1), Timestamp(2));
        let queue = SampleQueue::default();
        let half = QUEUE_BYTES / 2;
        let samples = vec![sample(0, half), sample(1, half), sample(2, 1), sample(0, 10)];
        assert_eq!(queue.push(Samples { since, until, samples }).len(), 2);
        assert_eq!(queue.push(Samples { since, until, samples: vec![sample(0, half)] }).len(), 1);
        queue.close();
        let taken = queue.pop().unwrap();
        assert_eq!(taken.samples.iter().map(|sample| sample.turn).collect::<Vec<_>>(), [0, 0]);
        assert_eq!(lock(&queue.waiting).bytes, 0);
        assert!(queue.pop().is_none());
    }
}
