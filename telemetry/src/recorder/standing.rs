//! Where a connection's client and topics are counted: under their own names, or under `other`, whichever the dictionary
//! has places for. That may change while the connection lives.
//!
//! Traffic is reported once a round, when something is seen in a later one, and at the end: for what has a place to that,
//! for what has none to the shard.

use std::sync::Arc;

use kafkascope_protocol::{TopicIndex, TopicLabel, TopicRef};

use super::Recorder;
use super::produce::BatchSlot;
use crate::dictionary::{Broker, Partition, PartitionName, Topic, TopicName};
use crate::labels::Labels;
use crate::shard::row::PartitionRow;
use crate::shard::{Shard, Slot};

/// Partitions of a topic whose places a connection remembers. With more they are looked up again and again: only a hostile
/// client makes them up.
const PARTITIONS: usize = 16_384;

/// Places of a topic.
#[derive(Debug)]
pub(super) struct TopicSlots {
    pub(super) topic: Arc<Topic>,
    /// What the topic is called, wherever it is counted; `None` for those that were not told apart in the first place.
    name: Option<Arc<TopicName>>,
    /// The recorder's generation for which the places are good.
    generation: u32,
    /// The shard's round of `passed`.
    round: u32,
    /// The dictionary's judgement for which `topic` is good.
    judgement: u32,
    /// Record bytes that were counted in this round.
    pub(super) passed: u64,
    /// Index in the recorder's `fetched`, if it is there.
    pub(super) fetched: usize,
    pub(super) io: Slot,
    /// By codec, the last used in front.
    pub(super) batches: Vec<BatchSlot>,
    /// By partition in rising order, where these are told apart.
    partitions: Vec<PartitionSlot>,
}

#[derive(Debug)]
struct PartitionSlot {
    index: i32,
    partition: Arc<Partition>,
    /// The recorder's generation for which the place is good.
    generation: u32,
    round: u32,
    passed: u64,
    slot: Slot,
}

impl TopicSlots {
    #[cold]
    #[inline(never)]
    pub(super) fn new(shard: &Shard, broker: &Broker, topic: TopicRef<'_>) -> Box<Self> {
        let dictionary = &shard.dictionary;
        let name = match topic.label() {
            _ if topic.index == TopicIndex::OVERFLOW => None,
            TopicLabel::Name(name) => Some(Arc::new(TopicName::named(broker.cluster(), name))),
            TopicLabel::Id(id) => Some(Arc::new(TopicName::Id(broker.cluster().cloned(), id))),
        };
        let topic = match &name {
            None => dictionary.overflow_topic(),
            Some(name) => dictionary.topic(name, shard.now()),
        };
        Box::new(Self {
            topic,
            name,
            generation: 0,
            round: shard.round,
            judgement: dictionary.judgement(),
            passed: 0,
            fetched: usize::MAX,
            io: Slot::NONE,
            batches: Vec::new(),
            partitions: Vec::new(),
        })
    }

    /// Whether its places are good, and its traffic is of this round.
    #[inline]
    pub(super) fn is_good(&self, generation: u32, round: u32) -> bool {
        self.generation == generation && self.round == round
    }

    /// Forgets places of another generation.
    #[inline]
    pub(super) fn forget_before(&mut self, generation: u32, shard: &mut Shard) {
        if self.generation != generation {
            self.forget(generation, shard);
        }
    }

    #[cold]
    #[inline(never)]
    fn forget(&mut self, generation: u32, shard: &mut Shard) {
        self.generation = generation;
        self.io = Slot::NONE;
        self.batches.clear();
        let judgement = shard.dictionary.judgement();
        if self.judgement != judgement
            && let Some(name) = &self.name
        {
            self.judgement = judgement;
            let topic = if self.topic.is_other() || !self.topic.place().is_kept() {
                shard.dictionary.topic_again(name)
            } else {
                return;
            };
            if !Arc::ptr_eq(&self.topic, &topic) {
                self.report(shard);
                self.topic = topic;
                self.partitions.clear();
            }
        }
    }

    /// Reports what passed before, and begins with `bytes`.
    pub(super) fn begin_round(&mut self, shard: &mut Shard, generation: u32, bytes: u64) {
        self.report(shard);
        self.forget_before(generation, shard);
        self.round = shard.round;
        self.passed += bytes;
    }

    fn report(&mut self, shard: &mut Shard) {
        let passed = std::mem::take(&mut self.passed);
        if passed == 0 {
            return;
        }
        match &self.name {
            Some(name) if self.topic.is_other() => shard.noted.topics.note(name.clone(), passed),
            _ => self.topic.place().credit(passed),
        }
    }

    /// The number that the topic's partitions go by.
    fn number(&self) -> u32 {
        self.topic.successor().unwrap_or(&self.topic).number()
    }
}

impl PartitionSlot {
    fn report(&mut self, shard: &mut Shard, name: PartitionName) {
        match std::mem::take(&mut self.passed) {
            0 => {}
            passed if self.partition.place().is_other() => shard.noted.partitions.note(name, passed),
            passed => self.partition.place().credit(passed),
        }
    }
}

impl Recorder {
    /// Something is seen for the first time since the shard was drained, or its rows were freed.
    #[cold]
    #[inline(never)]
    pub(super) fn begin_round(&mut self, shard: &mut Shard) {
        self.round = shard.round;
        self.report(shard);
        let judgement = shard.dictionary.judgement();
        let is_judged = self.judgement != judgement;
        if is_judged {
            self.judgement = judgement;
            self.stand(shard);
        }
        if is_judged || self.epoch != shard.epoch {
            self.epoch = shard.epoch;
            self.forget();
        }
    }

    /// Others have places now: the client may have won or lost one.
    fn stand(&mut self, shard: &Shard) {
        let (Some(client), Some(name)) = (&self.client, &self.name) else { return };
        if client.place().is_kept() && !client.is_other() {
            return;
        }
        let now = shard.dictionary.client_again(name);
        if Arc::ptr_eq(client, &now) {
            return;
        }
        client.closed(self.opened);
        now.opened(self.opened);
        if let Some(software) = &self.software {
            now.runs(software);
        }
        if let Some(tcp) = &self.tcp {
            tcp.is_of(&now);
        }
        self.client = Some(now);
    }

    /// Reports what passed.
    pub(super) fn report(&mut self, shard: &mut Shard) {
        let (Some(client), Some(name)) = (&self.client, &self.name) else { return };
        let passed = std::mem::take(&mut self.passed);
        match client.is_other() {
            _ if passed == 0 => {}
            true => shard.noted.clients.note(name.clone(), passed),
            false => client.place().credit(passed),
        }
    }

    /// The same for all topics, at the end.
    pub(super) fn report_topics(&mut self, shard: &mut Shard) {
        for slots in self.topics.iter_mut().flatten() {
            slots.report(shard);
            let number = slots.number();
            slots.partitions.iter_mut().for_each(|slot| slot.report(shard, (number, slot.index)));
        }
    }

    /// A topic that has been seen.
    pub(super) fn seen_topic(&mut self, index: TopicIndex) -> Option<&mut TopicSlots> {
        match index {
            TopicIndex::OVERFLOW => self.other_topics.as_deref_mut(),
            TopicIndex(index) => self.topics.get_mut(index as usize).and_then(Option::as_deref_mut),
        }
    }

    /// The row of bytes of a partition of a topic that has been seen, for `bytes` bytes of it.
    #[inline(never)]
    pub(super) fn partition_row<'a>(
        &mut self,
        shard: &'a mut Shard,
        topic: TopicIndex,
        index: i32,
        bytes: u64,
    ) -> &'a mut PartitionRow {
        let slot = self.partition_slot(shard, topic, index, bytes).unwrap_or(Slot::NONE);
        shard.partitions.row(slot)
    }

    fn partition_slot(&mut self, shard: &mut Shard, topic: TopicIndex, index: i32, bytes: u64) -> Option<Slot> {
        let (generation, round) = (self.generation, self.round);
        let place = match topic {
            TopicIndex::OVERFLOW => &mut self.other_topics,
            TopicIndex(index) => self.topics.get_mut(index as usize)?,
        };
        let slots = place.as_mut()?;
        slots.forget_before(generation, shard);
        // Of a topic that is not told apart partitions are not, either.
        let name = (slots.number(), index);
        let at = match slots.partitions.binary_search_by_key(&index, |slot| slot.index) {
            Ok(at) => at,
            Err(at) => {
                let (_, _, other) = shard.dictionary.others();
                let partition = if slots.topic.is_other() { other } else { shard.dictionary.partition(name) };
                let new = PartitionSlot { index, partition, generation, round, passed: 0, slot: Slot::NONE };
                let at = if slots.partitions.len() < PARTITIONS {
                    at
                } else {
                    slots.partitions.clear();
                    0
                };
                slots.partitions.insert(at, new);
                at
            }
        };
        let topic = &slots.topic;
        let slot = slots.partitions.get_mut(at)?;
        if slot.round != round {
            slot.round = round;
            if !topic.is_other() {
                slot.report(shard, name);
            }
        }
        slot.passed += bytes;
        if slot.generation != generation {
            (slot.generation, slot.slot) = (generation, Slot::NONE);
            let place = slot.partition.place();
            if !topic.is_other() && (place.is_other() || !place.is_kept()) {
                slot.partition = shard.dictionary.partition_again(name);
            }
        }
        if slot.slot.is_none() {
            let (client, topic, partition) = (self.client.clone(), Some(topic.clone()), Some(slot.partition.clone()));
            slot.slot = shard.partitions.slot(Labels { client, topic, partition, ..Labels::default() }, shard.now());
        }
        Some(slot.slot)
    }
}
