//! How partitions and brokers are doing, as far as what passes tells: elections, windows in which a partition could not be
//! used, logs that lost records, and who works past this proxy.
//!
//! Workers tell [sightings](Sighting), only what is news to them. What is made of them is kept here, once a process, so that
//! an election is counted once however many clients are told of it. What needs no sightings is computed from the series
//! that live: [what waits in purgatories](purgatory) and [what is used](coverage::Usage).

mod alarm;
pub(crate) mod coverage;
mod leaders;
pub(crate) mod purgatory;
mod sighting;
mod windows;

use kafkascope_protocol::Timestamp;

use crate::attribute::{Attribute as A, Value};
use crate::histogram::Histogram;
use crate::knowledge::cluster;
use crate::knowledge::fact::{End, PartitionName};
use crate::metric::Metric;
use crate::readings::Readings;
pub(crate) use alarm::Alarm;
use coverage::Named;
use leaders::{Leaders, Loss};
pub(crate) use sighting::{Answer, Leader, NamedBroker, Sighting};
use windows::Windows;

/// Answers are looked at when all workers have told theirs of that time: two rounds, one of which may be late.
const HELD: u64 = 2_000_000_000;

/// Answers that are held. A worker tells one of each partition and outcome in a round.
const ANSWERS: usize = 65_536;

/// All that is known. One a process.
#[derive(Debug, Default)]
pub(crate) struct Health {
    leaders: Leaders,
    windows: Windows,
    named: Named,
    held: Vec<Answer>,
    /// Failures that workers have told: see [`Alarm`].
    failures: u64,
    lost: u64,
}

impl Health {
    /// What a worker has seen.
    pub(crate) fn see(&mut self, sighting: Sighting, now: u64) {
        match sighting {
            Sighting::Leader(leader) => self.leaders.learn(leader, now),
            Sighting::Diverges(of) => self.leaders.diverges(&of),
            Sighting::Broker(broker) => self.named.learn(broker, now),
            Sighting::Answer(answer) => {
                self.failures += u64::from(!answer.works);
                if self.held.len() < ANSWERS { self.held.push(answer) } else { self.lost += 1 }
            }
        }
    }

    /// Where a partition ends.
    pub(crate) fn end(&mut self, end: &End) {
        self.leaders.end(end);
    }

    /// Where a partition ends, as another proxy says.
    pub(crate) fn end_elsewhere(&mut self, end: &End) {
        self.leaders.end_elsewhere(end);
    }

    /// Sightings that there was no room for since the last call.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost) + self.leaders.take_lost() + self.windows.take_lost() + self.named.take_lost()
    }

    /// Judges what has waited long enough, forgets what is not true any more, and counts.
    pub(crate) fn settle(&mut self, now: Timestamp, alarm: &Alarm, readings: &mut Readings) {
        let ripe = now.0.saturating_sub(HELD);
        self.held.sort_by_key(|answer| answer.at);
        let ready = self.held.partition_point(|answer| answer.at <= ripe);
        for answer in self.held.drain(..ready) {
            self.windows.learn(&answer);
        }
        self.windows.expire(now.0);
        self.leaders.settle(now.0);
        self.named.expire(now.0);
        if self.windows.is_empty() && self.held.iter().all(|answer| answer.works) {
            alarm.settle(self.failures);
        }
        self.report(readings);
    }

    fn report(&mut self, readings: &mut Readings) {
        for (cluster, elections) in self.leaders.take_elections() {
            readings.more(Metric::LeaderElections, &cluster::wire(&cluster), elections);
        }
        for (loss, of) in self.leaders.take_losses() {
            let metric = match loss {
                Loss::Regression => Metric::LogRegressions,
                Loss::UncleanElection => Metric::UncleanElections,
            };
            readings.more(metric, &of_topic(readings, &of), 1);
        }
        for (of, nanos) in self.windows.take_closed() {
            let values = Histogram::of_nanos([(nanos, 1)], nanos);
            readings.values(Metric::PartitionUnavailable, &of_topic(readings, &of), values);
        }
    }

    /// Which brokers and clients work past this proxy, by what is `used` of it.
    pub(crate) fn coverage(&mut self, used: &coverage::Usage, readings: &mut Readings) {
        self.named.report(used, readings);
    }
}

/// Attributes of what happened to a partition.
fn of_topic(readings: &Readings, of: &PartitionName) -> Vec<(A, Value)> {
    let topic = readings.dictionary().topic_named(cluster::named(&of.cluster), of.topic.as_bytes());
    let mut attributes = cluster::wire(&of.cluster);
    attributes.push((A::Topic, topic));
    attributes
}
