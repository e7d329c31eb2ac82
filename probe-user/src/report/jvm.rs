//! Garbage collections and memory of JVMs: looked at ten times a second, so that single pauses are seen.

use std::time::{Duration, Instant};

use kafkascope_protocol::Timestamp;
use kafkascope_telemetry::histogram::Histogram;
use kafkascope_telemetry::metric::Metric;
use kafkascope_telemetry::{Attribute, AttributeValue as Value, Event, Readings};
use tracing::{info, warn};

use super::labels::Attributes;
use super::running::Running;
use super::spans::Spans;
use crate::discovery::Process;
use crate::jvm::{Area, Jvm, Now, Pause};
use crate::roots::Roots;

/// A JVM that has just begun writes its data after a moment.
const GRACE: Duration = Duration::from_secs(10);

/// One that does not is asked again so often.
const AGAIN: Duration = Duration::from_secs(60);

/// What is watched of a JVM.
#[derive(Debug)]
pub(crate) struct Watch {
    state: State,
    /// By collector: pauses since they were last reported, and how many of them were split.
    pauses: Vec<Vec<Pause>>,
    split: Vec<u64>,
    durations: Running,
}

#[derive(Debug)]
enum State {
    Open(Box<Jvm>),
    /// Until then there is nothing to be had.
    Waits {
        since: Instant,
        until: Instant,
        told: bool,
    },
}

impl Watch {
    pub(crate) fn new(now: Instant) -> Self {
        let state = State::Waits { since: now, until: now, told: false };
        Self { state, pauses: Vec::new(), split: Vec::new(), durations: Running::default() }
    }

    /// Looks for what has happened since the last time.
    pub(crate) fn look(&mut self, roots: &Roots, process: &Process, now: Instant) {
        match &mut self.state {
            State::Open(jvm) => match jvm.poll(Now::read()) {
                Ok(polled) => {
                    for pause in polled.pauses {
                        let collectors = jvm.collectors().len();
                        self.pauses.resize_with(collectors.max(self.pauses.len()), Vec::new);
                        self.split.resize(self.pauses.len(), 0);
                        if let (None, Some(split)) = (pause.span, self.split.get_mut(pause.collector)) {
                            *split += pause.times;
                        }
                        if let Some(pauses) = self.pauses.get_mut(pause.collector) {
                            pauses.push(pause);
                        }
                    }
                }
                Err(error) => {
                    warn!(process = process.name, %error, "the JVM's performance data are lost");
                    self.state = State::Waits { since: now, until: now + AGAIN, told: true };
                }
            },
            State::Waits { since, until, told } if now >= *until => match Jvm::open(roots, process) {
                Ok(jvm) => {
                    if *told {
                        info!(process = process.name, "the JVM's performance data are there");
                    }
                    self.state = State::Open(Box::new(jvm));
                }
                Err(error) => {
                    if now.duration_since(*since) < GRACE {
                        *until = now + Duration::from_secs(1);
                    } else {
                        if !std::mem::replace(told, true) {
                            warn!(process = process.name, %error, "no garbage collections and no heap of this JVM");
                        }
                        *until = now + AGAIN;
                    }
                }
            },
            State::Waits { .. } => {}
        }
    }

    /// What is known.
    pub(crate) fn report(
        &mut self,
        process: &Attributes,
        started: Timestamp,
        readings: &mut Readings,
        spans: &mut Spans,
    ) {
        let State::Open(jvm) = &self.state else { return };
        let mut attributes = process.clone();
        for (position, collector) in jvm.collectors().iter().enumerate() {
            attributes.truncate(process.len());
            let name = collector.bean.unwrap_or(&collector.name);
            attributes.push((Attribute::CollectorName, Value::name(name.as_bytes())));
            readings.total(Metric::GcCollections, &attributes, collector.count, started);
            readings.total(Metric::GcElapsed, &attributes, collector.time, started);
            readings.more(Metric::GcSplit, &attributes, self.split.get_mut(position).map_or(0, std::mem::take));
            let Some(pauses) = self.pauses.get_mut(position).map(std::mem::take) else { continue };
            let sum = pauses.iter().map(|pause| pause.duration * pause.times).sum();
            let counted = pauses.iter().map(|pause| (pause.duration, pause.times));
            let values = Histogram::of_nanos(counted, sum);
            self.durations.add(readings.at(), &values);
            readings.values(Metric::GcDuration, &attributes, values);
            let slow = self.durations.threshold(spans.slow());
            for pause in pauses {
                let is_slow = Duration::from_nanos(pause.duration) >= slow;
                if let Some((start, end)) = pause.span.filter(|_| is_slow) {
                    let (start, end) = (Timestamp(start), Timestamp(end));
                    let name = format!("gc {name}");
                    spans.push(readings, Event { name, start, end, attributes: attributes.clone() });
                }
            }
        }
        for pool in jvm.memory() {
            attributes.truncate(process.len());
            attributes.push((
                Attribute::JvmMemoryType,
                Value::Static(match pool.area {
                    Area::Heap => "heap",
                    Area::NonHeap => "non_heap",
                }),
            ));
            attributes.push((Attribute::JvmMemoryPool, Value::Static(pool.name)));
            let mut state = |metric, bytes| readings.state(metric, &attributes, super::signed(bytes));
            state(Metric::JvmMemoryUsed, pool.used);
            state(Metric::JvmMemoryCommitted, pool.committed);
            if let Some(max) = pool.max {
                state(Metric::JvmMemoryLimit, max);
            }
        }
    }
}
