//! What answers tell of partitions and brokers: errors, leaders, and how long the client is throttled.

use std::sync::Arc;

use kafkascope_protocol::{
    CurrentLeader, DivergingEpoch, ErrorCode, Exchange, Observation, Outcome, PartitionMetadata, RequestSeq,
    TopicLabel, TopicMetadata, TopicRef,
};

use super::{InFlight, Recorder};
use crate::attribute;
use crate::dictionary::TopicName;
use crate::health::{Answer, Leader, NamedBroker, Sighting};
use crate::knowledge::fact::{BrokerName, PartitionName, Told};
use crate::labels::{Api, Labels};
use crate::shard::Shard;
use crate::standing::Place;
use crate::topic::Topic;

/// The leader is not there, or not the one that was asked.
const UNAVAILABLE: [ErrorCode; 2] = [
    ErrorCode(5), // LEADER_NOT_AVAILABLE
    ErrorCode::NOT_LEADER_OR_FOLLOWER,
];

/// Answers of a response that are kept until it has ended. What there are more is told of by the next response.
const ANSWERS: usize = 10_000;

/// An answer of the response that is being read.
#[derive(Debug)]
pub(super) struct Kept {
    topic: Arc<Topic>,
    partition: i32,
    works: bool,
}

impl Recorder {
    /// A partition of Produce, Fetch or ListOffsets was answered with an error; or without one, and that is wanted.
    #[cold]
    #[inline(never)]
    pub(super) fn leader_answers(
        &mut self,
        shard: &mut Shard,
        seq: RequestSeq,
        topic: TopicRef<'_>,
        partition: i32,
        error: ErrorCode,
    ) {
        self.partition_answers(shard, seq, topic, error);
        let works = error.is_none();
        if (works || UNAVAILABLE.contains(&error)) && self.answers.len() < ANSWERS {
            let cluster = self.broker.cluster();
            let is_news = match topic.label() {
                TopicLabel::Name(name) => shard.sightings.is_answer_news((cluster, name, partition), works),
                TopicLabel::Id(id) => shard.sightings.is_answer_news((cluster, id, partition), works),
            };
            if is_news {
                let topic = self.topic_slots(shard, topic).topic.clone();
                self.answers.push(Kept { topic, partition, works });
            }
        }
    }

    /// A partition was answered, if with an error.
    pub(super) fn partition_answers(
        &mut self,
        shard: &mut Shard,
        seq: RequestSeq,
        topic: TopicRef<'_>,
        error: ErrorCode,
    ) {
        if !error.is_none() {
            let topic = self.topic_slots(shard, topic).topic.clone();
            self.count_error(shard, seq, Some(topic), error);
        }
    }

    fn count_error(&mut self, shard: &mut Shard, seq: RequestSeq, topic: Option<Arc<Topic>>, error: ErrorCode) {
        let api = self.in_flight_as(seq).map(|request| request.api);
        let labels = Labels { broker: Some(self.broker.clone()), topic, api, error, ..Labels::default() };
        let slot = shard.errors.slot(labels, shard.now());
        shard.errors.row(slot).errors += 1;
    }

    fn in_flight_as(&self, seq: RequestSeq) -> Option<&InFlight> {
        let index = self.in_flight.partition_point(|request| request.seq < seq);
        self.in_flight.get(index).filter(|request| request.seq == seq)
    }

    /// The response has ended: what it told of partitions was so when it came.
    #[cold]
    #[inline(never)]
    pub(super) fn tell_answers(&mut self, shard: &mut Shard, exchange: &Exchange) {
        let mut answers = std::mem::take(&mut self.answers);
        for Kept { topic, partition, works } in answers.drain(..) {
            if topic.is_other() || exchange.outcome != Outcome::Answered {
                continue;
            }
            let of = self.partition_name(topic, partition);
            let answer = Answer { of, works, at: exchange.times.response_last.0 };
            if shard.watches.tell(Told::Sighting(Sighting::Answer(answer))) && !works {
                shard.dictionary.alarm().raise();
            }
        }
        answers.shrink_to(64);
        self.answers = answers;
    }

    fn partition_name(&self, topic: Arc<Topic>, partition: i32) -> PartitionName<Arc<Topic>> {
        PartitionName { cluster: self.broker.cluster_name(), topic, partition }
    }

    /// The broker throttles the client.
    #[cold]
    #[inline(never)]
    pub(super) fn throttled(&mut self, shard: &mut Shard, api: Api, millis: u64) {
        let labels = Labels { api: Some(api), ..self.labels() };
        let slot = shard.throttles.slot(labels, shard.now());
        shard.throttles.row(slot).duration.record_nanos(millis.saturating_mul(1_000_000));
    }

    /// What is told of topics, partitions and brokers outside of Produce and Fetch.
    pub(super) fn health_observation(&mut self, shard: &mut Shard, observation: &Observation<'_>) {
        match observation {
            Observation::TopicMetadata(topic) => self.topic_metadata(shard, topic),
            Observation::PartitionMetadata(partition) => self.partition_metadata(shard, partition),
            Observation::CurrentLeader(leader) => self.current_leader(shard, leader),
            Observation::DivergingEpoch(diverging) => self.diverges(shard, diverging),
            Observation::Broker(broker) => {
                let Ok(port) = u16::try_from(broker.port) else { return };
                let thing = (self.broker.cluster(), broker.id);
                if shard.sightings.is_news(thing, (broker.host, port))
                    && let Some(who) = self.who()
                {
                    let host = attribute::text(Some(broker.host)).into();
                    let broker = BrokerName { cluster: who.cluster, id: broker.id, host, port };
                    shard.watches.tell(Told::Sighting(Sighting::Broker(NamedBroker { broker, client: who.client })));
                }
            }
            Observation::CommitResult(result) => self.partition_answers(shard, result.seq, result.topic, result.error),
            Observation::CommittedOffset(offset) => {
                self.partition_answers(shard, offset.seq, offset.topic, offset.error);
            }
            Observation::OffsetListed(listed) if !listed.error.is_none() || shard.sightings.alarm => {
                self.leader_answers(shard, listed.seq, listed.topic, listed.partition, listed.error);
            }
            Observation::EpochEnd(end) => self.partition_answers(shard, end.seq, end.topic, end.error),
            Observation::SharePartition(part) => {
                self.partition_answers(shard, part.seq, part.topic, part.error);
                self.share_partition(shard, part);
            }
            Observation::ShareAcquired(acquired) => self.share_acquired(shard, acquired),
            Observation::ShareAcknowledged(part) => self.partition_answers(shard, part.seq, part.topic, part.error),
            _ => {}
        }
    }

    /// Names of topics that do not exist are the client's: they are no values.
    fn topic_metadata(&mut self, shard: &mut Shard, topic: &TopicMetadata<'_>) {
        if !topic.error.is_none() {
            self.count_error(shard, topic.seq, None, topic.error);
        }
    }

    fn partition_metadata(&mut self, shard: &mut Shard, told: &PartitionMetadata<'_>) {
        let Some(name) = told.name else { return };
        let mut unavailable = None;
        if !told.error.is_none() {
            let topic = shard.dictionary.topic(&TopicName::named(self.broker.cluster(), name), shard.now());
            self.count_error(shard, told.seq, Some(topic.clone()), told.error);
            unavailable = UNAVAILABLE.contains(&told.error).then_some(topic);
        }
        let (thing, leader) = ((self.broker.cluster(), name, told.partition), told.leader);
        if let Some(topic) = unavailable
            && self.answers.len() < ANSWERS
            && shard.sightings.is_answer_news(thing, false)
        {
            self.answers.push(Kept { topic, partition: told.partition, works: false });
        }
        let Some(epoch) = told.leader_epoch.filter(|epoch| *epoch >= 0) else { return };
        if shard.sightings.is_news(thing, (told.id, leader, epoch, told.in_sync.iter().collect::<InSync>())) {
            let label = attribute::text(Some(name)).into();
            let of =
                self.partition_name(Arc::new(Topic::named(0, None, label, Arc::new(Place::other()))), told.partition);
            let in_sync = Some(told.in_sync.iter().take(REPLICAS).collect());
            let id = told.id.filter(|id| id.0 != [0; 16]);
            let at = self.watching.request_at.0;
            shard.watches.tell(Told::Sighting(Sighting::Leader(Leader { of, id, leader, epoch, in_sync, at })));
        }
    }

    fn current_leader(&mut self, shard: &mut Shard, told: &CurrentLeader<'_>) {
        let &CurrentLeader { partition, leader, leader_epoch: epoch, .. } = told;
        if epoch < 0 {
            return;
        }
        let cluster = self.broker.cluster();
        let is_news = match told.topic.label() {
            TopicLabel::Name(name) => shard.sightings.is_news((cluster, name, partition, "told"), (leader, epoch)),
            TopicLabel::Id(id) => shard.sightings.is_news((cluster, id, partition), (leader, epoch)),
        };
        let topic = self.topic_slots(shard, told.topic).topic.clone();
        if is_news && !topic.is_other() {
            let of = self.partition_name(topic, partition);
            let at = self.watching.request_at.0;
            let leader = Leader { of, id: None, leader, epoch, in_sync: None, at };
            shard.watches.tell(Told::Sighting(Sighting::Leader(leader)));
        }
    }

    /// A follower's log is cut after a clean election, too.
    fn diverges(&mut self, shard: &mut Shard, told: &DivergingEpoch<'_>) {
        let is_consumer = self.in_flight_as(told.seq).is_some_and(|request| request.api.follower == Some(false));
        let topic = self.topic_slots(shard, told.topic).topic.clone();
        if is_consumer && !topic.is_other() {
            let of = self.partition_name(topic, told.partition);
            shard.watches.tell(Told::Sighting(Sighting::Diverges(of)));
        }
    }
}

/// In-sync replicas that are looked at: replication factors are small.
const REPLICAS: usize = 16;

/// A digest of node ids, for which nothing is allocated.
#[derive(Hash)]
struct InSync([i32; REPLICAS]);

impl FromIterator<i32> for InSync {
    fn from_iter<I: IntoIterator<Item = i32>>(ids: I) -> Self {
        let mut all = [-1; REPLICAS];
        all.iter_mut().zip(ids).for_each(|(place, id)| *place = id);
        Self(all)
    }
}
