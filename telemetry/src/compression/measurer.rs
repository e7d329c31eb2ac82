//! The thread that measures what was kept.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::open::open;
use super::size::Sizer;
use super::{Missed, Sample, Samples, ratio};
use crate::histogram::Histogram;
use crate::registry::Registry;
use crate::series::Series;

/// Decompressed bytes of one batch: sixteen times the longest that is kept.
const BATCH_OUTPUT: u64 = 16 << 20;

/// Decompressed bytes a second: some percent of a core's time.
const SECOND_OUTPUT: u64 = 64 << 20;

/// Measures the samples that the registry is given, and records their ratios there. One a process.
#[derive(Debug)]
pub struct Measurer {
    registry: Arc<Registry>,
    thread: JoinHandle<()>,
}

impl Measurer {
    /// Starts its thread.
    ///
    /// # Errors
    /// The system grants no thread or memory.
    pub fn start(registry: &Arc<Registry>) -> io::Result<Self> {
        let sizer = Sizer::new()?;
        let measured = Arc::clone(registry);
        let thread = Builder::new().name("compression".to_owned()).spawn(move || {
            let mut work = Work { sizer, allowance: Allowance::new(Instant::now()) };
            while let Some(samples) = measured.samples().pop() {
                let (since, until) = (samples.since, samples.until);
                measured.measured(work.measure(samples, Instant::now()), since, until);
            }
        })?;
        Ok(Self { registry: Arc::clone(registry), thread })
    }

    /// Measures what waits, and ends. That takes no longer than an allowance of output: nothing is waited for.
    pub fn finish(self) {
        self.registry.samples().close();
        if self.thread.join().is_err() {
            tracing::warn!("measuring of compressed batches ended by a panic");
        }
    }
}

/// What samples came to.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) ratios: Vec<(Arc<Series>, Histogram)>,
    /// By [`Missed`], in the order of [`Missed::ALL`].
    pub(crate) missed: [u64; Missed::ALL.len()],
    /// Batches that a span waited for in vain, in the same order.
    pub(crate) links_missed: [u64; Missed::ALL.len()],
    /// Decompressed bytes.
    pub(crate) output: u64,
}

struct Work {
    sizer: Sizer,
    allowance: Allowance,
}

impl Work {
    fn measure(&mut self, samples: Samples, now: Instant) -> Found {
        self.allowance.renew(now);
        let mut found = Found::default();
        let mut ratios: HashMap<u64, (Arc<Series>, Vec<u64>)> = HashMap::new();
        for sample in samples.samples {
            let Sample { series, expected, codec, count, records, turn: _ } = sample;
            let cap = BATCH_OUTPUT.min(self.allowance.left);
            let (size, output) = match expected {
                Some(expected) if series.is_none() && !expected.is_awaited() => continue,
                Some(expected) => {
                    let opened = open(codec, &records, count, cap, expected);
                    if let Err(missed) = opened.records {
                        found.links_missed[missed as usize] += 1;
                    }
                    (opened.size, opened.output)
                }
                None => {
                    let outcome = self.sizer.measure(codec, &records, cap);
                    (outcome.size, outcome.output)
                }
            };
            self.allowance.left = self.allowance.left.saturating_sub(output);
            found.output += output;
            let Some(series) = series else { continue };
            // No record is shorter than seven bytes.
            let size = size.and_then(|size| match size >= 7 * u64::from(count.max(1)) {
                true => Ok(size),
                false => Err(Missed::Malformed),
            });
            match size {
                Ok(size) => {
                    let (_, ratios) = ratios.entry(series.number()).or_insert_with(|| (series, Vec::new()));
                    ratios.push(ratio(records.len() as u64, size));
                }
                Err(missed) => found.missed[missed as usize] += 1,
            }
        }
        found.ratios = ratios.into_values().map(|(series, ratios)| (series, Histogram::of_ratios(&ratios))).collect();
        found
    }
}

/// Output that is left of a second's.
struct Allowance {
    renewed: Instant,
    left: u64,
}

impl Allowance {
    const fn new(now: Instant) -> Self {
        Self { renewed: now, left: SECOND_OUTPUT }
    }

    fn renew(&mut self, now: Instant) {
        if now.saturating_duration_since(self.renewed) >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
    }
}
