//! Topics and partitions, and who of clients, topics and partitions has a place.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use kafkascope_protocol::{Timestamp, TopicId};

use super::{Client, ClientName, Cluster, Dictionary, Names, Topic, forget_dead, lock};
use crate::attribute::{self, OTHER};
use crate::cap::{Dimension, Live};
use crate::standing::{Folded, PERIOD, Place, Sketch};

/// What tells a topic from others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum TopicName {
    /// A name in a cluster.
    Named(Cluster, Arc<str>),
    /// An id, while it has no name.
    Id(Cluster, TopicId),
}

impl TopicName {
    pub(crate) fn named(cluster: Option<&Arc<str>>, name: &[u8]) -> Self {
        Self::Named(cluster.cloned(), attribute::text(Some(name)).into())
    }
}

/// A partition: the number of its topic, and its index.
pub(crate) type PartitionName = (u32, i32);

/// A partition of a topic that has a place of its own.
#[derive(Debug)]
pub struct Partition {
    number: u32,
    label: Box<str>,
    place: Arc<Place>,
}

impl Partition {
    /// Unique in the process, never used again.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Its index as text.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether it has series of its own.
    pub(crate) fn place(&self) -> &Arc<Place> {
        &self.place
    }
}

/// The traffic of what is folded, as a worker reports it.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    pub(crate) clients: Folded<Arc<ClientName>>,
    pub(crate) topics: Folded<Arc<TopicName>>,
    pub(crate) partitions: Folded<PartitionName>,
}

/// The same, as far as it matters.
#[derive(Debug, Default)]
pub(super) struct Weighed {
    clients: Sketch<Arc<ClientName>>,
    topics: Sketch<Arc<TopicName>>,
    partitions: Sketch<PartitionName>,
    judged: Timestamp,
    /// Those that were given places last: nobody else holds them before they are seen again.
    new_clients: Vec<Arc<Client>>,
    new_topics: Vec<Arc<Topic>>,
    new_partitions: Vec<Arc<Partition>>,
}

impl Dictionary {
    /// The topic of that name, where it has a place, and else `other`. One that is named by its id goes by its name where
    /// that is known.
    pub(crate) fn topic(&self, name: &TopicName, now: Timestamp) -> Arc<Topic> {
        let names = &mut *lock(&self.names);
        let (topic, name) = find_topic(names, name);
        if let Some(topic) = topic.filter(|topic| topic.place().is_kept()) {
            return topic;
        }
        match self.account(Dimension::Topic).take() {
            Some(live) => self.give_topic(names, &name, live, 0, now),
            None => self.other_topic(names),
        }
    }

    /// The same for one that was seen before: it gets no place here.
    pub(crate) fn topic_again(&self, name: &TopicName) -> Arc<Topic> {
        let names = &mut *lock(&self.names);
        let topic = find_topic(names, name).0.filter(|topic| topic.place().is_kept());
        topic.unwrap_or_else(|| self.other_topic(names))
    }

    /// The client of that name, where it has a place, and else `other`.
    pub(crate) fn client_again(&self, name: &Arc<ClientName>) -> Arc<Client> {
        let names = &mut *lock(&self.names);
        let client = names.clients.get(name).and_then(Weak::upgrade).filter(|client| client.place().is_kept());
        client.unwrap_or_else(|| self.other_client(names))
    }

    /// The topic with the name of a settled one.
    pub(crate) fn topic_of_label(&self, topic: &Topic) -> Arc<Topic> {
        self.settle_topic(&mut lock(&self.names), topic)
    }

    /// A topic that was known by its id has a label: it goes on as the topic of that name, and gives it its place.
    pub(super) fn settle_topic(&self, names: &mut Names, topic: &Topic) -> Arc<Topic> {
        if let Some(successor) = topic.successor() {
            return successor.clone();
        }
        let key = (topic.cluster().cloned(), Box::from(topic.label()));
        let known = names.topics.get(&key).and_then(Weak::upgrade);
        let successor = match (known, topic.place().hand_over()) {
            (Some(known), Some(live)) if !known.place().is_kept() => {
                known.place().win(live, 0);
                known
            }
            (Some(known), _) => known,
            (None, Some(live)) => {
                self.give_topic(names, &TopicName::Named(key.0, key.1.into()), live, 0, Timestamp::default())
            }
            (None, None) => self.other_topic(names),
        };
        topic.becomes(&successor);
        successor
    }

    fn give_topic(&self, names: &mut Names, name: &TopicName, live: Live, weight: u64, now: Timestamp) -> Arc<Topic> {
        if let (Some(topic), _) = find_topic(names, name) {
            topic.place().win(live, weight);
            return topic;
        }
        let place = Arc::new(Place::under(live, weight));
        let (number, account) = (self.number(), self.account(Dimension::Topic));
        match name {
            TopicName::Named(cluster, name) => {
                let topic = Arc::new(Topic::named(number, cluster.clone(), name.clone(), place));
                forget_dead(&mut names.topics, account);
                names.topics.insert((cluster.clone(), name.as_ref().into()), Arc::downgrade(&topic));
                topic
            }
            TopicName::Id(cluster, id) => {
                let topic = Arc::new(Topic::unnamed(number, cluster.clone(), *id, now, place));
                forget_dead(&mut names.topics_by_id, account);
                names.topics_by_id.insert((cluster.clone(), *id), Arc::downgrade(&topic));
                topic
            }
        }
    }

    /// The partition with this index of a topic, where it has a place, and else `other`.
    pub(crate) fn partition(&self, name: PartitionName) -> Arc<Partition> {
        self.partition_by(name, true)
    }

    /// The same for one that was seen before: it gets no place here.
    pub(crate) fn partition_again(&self, name: PartitionName) -> Arc<Partition> {
        self.partition_by(name, false)
    }

    fn partition_by(&self, name: PartitionName, is_new: bool) -> Arc<Partition> {
        let names = &mut *lock(&self.names);
        let known = names.partitions.get(&name).and_then(Weak::upgrade);
        if let Some(partition) = known.filter(|partition| partition.place.is_kept()) {
            return partition;
        }
        match is_new.then(|| self.account(Dimension::Partition).take()).flatten() {
            Some(live) => self.give_partition(names, name, live, 0),
            None => self.other_partition(names),
        }
    }

    fn give_partition(&self, names: &mut Names, name: PartitionName, live: Live, weight: u64) -> Arc<Partition> {
        if let Some(partition) = names.partitions.get(&name).and_then(Weak::upgrade) {
            partition.place.win(live, weight);
            return partition;
        }
        let place = Arc::new(Place::under(live, weight));
        let partition = Arc::new(Partition { number: self.number(), label: name.1.to_string().into(), place });
        forget_dead(&mut names.partitions, self.account(Dimension::Partition));
        names.partitions.insert(name, Arc::downgrade(&partition));
        partition
    }

    pub(super) fn other_partition(&self, names: &mut Names) -> Arc<Partition> {
        let new =
            || Arc::new(Partition { number: self.number(), label: OTHER.into(), place: Arc::new(Place::other()) });
        names.other_partition.get_or_insert_with(new).clone()
    }

    /// Traffic of what was folded on a worker.
    pub(crate) fn note(&self, mut noted: Noted) {
        let names = &mut *lock(&self.names);
        for (name, bytes) in noted.topics.take() {
            let name = match &*name {
                TopicName::Named(..) => name,
                TopicName::Id(..) => Arc::new(find_topic(names, &name).1),
            };
            names.weighed.topics.add(name, bytes);
        }
        let weighed = &mut names.weighed;
        noted.clients.take().into_iter().for_each(|(name, bytes)| weighed.clients.add(name, bytes));
        noted.partitions.take().into_iter().for_each(|(name, bytes)| weighed.partitions.add(name, bytes));
    }

    /// A series was folded for want of room.
    pub(crate) fn fold_series(&self) {
        self.series_folded.store(true, Ordering::Relaxed);
    }

    /// Changes when others have places, or series that were folded may have them. Who has remembered a value or a series
    /// looks it up again.
    pub(crate) fn judgement(&self) -> u32 {
        self.judgement.load(Ordering::Relaxed)
    }

    /// Gives places to those with most traffic, every [`PERIOD`].
    pub(crate) fn judge(&self, now: Timestamp) {
        let names = &mut *lock(&self.names);
        if now.since(names.weighed.judged) < PERIOD {
            return;
        }
        names.weighed.judged = now;
        let series = self.account(Dimension::Series);
        // Beyond what is reserved, for more than would be gone at once.
        let room = series.free() > series.cap() / 8 * 3 && self.series_folded.swap(false, Ordering::Relaxed);
        if self.judge_clients(names) | self.judge_topics(names, now) | self.judge_partitions(names) | room {
            self.judgement.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn judge_clients(&self, names: &mut Names) -> bool {
        let account = self.account(Dimension::Client);
        let live = names.clients.iter().filter_map(|(name, client)| Some((name.clone(), client.upgrade()?)));
        let kept = live.map(|(name, client)| (name, client.place().clone())).filter(|(_, place)| place.is_kept());
        let winners = names.weighed.clients.judge(kept.collect(), account.free(), account.cap());
        let give = |(name, weight)| Some(self.give_client(names, &name, account.take_free()?, weight));
        names.weighed.new_clients = winners.into_iter().filter_map(give).collect();
        !names.weighed.new_clients.is_empty()
    }

    fn judge_topics(&self, names: &mut Names, now: Timestamp) -> bool {
        let account = self.account(Dimension::Topic);
        let live = names.topics.iter().filter_map(|(name, topic)| Some((name.clone(), topic.upgrade()?)));
        let name = |(cluster, name): (Cluster, Box<str>)| Arc::new(TopicName::Named(cluster, name.into()));
        let kept = live.map(|(key, topic)| (name(key), topic.place().clone())).filter(|(_, place)| place.is_kept());
        let winners = names.weighed.topics.judge(kept.collect(), account.free(), account.cap());
        let mut give = |(name, weight): (Arc<TopicName>, u64)| {
            Some(self.give_topic(names, &name, account.take_free()?, weight, now))
        };
        let given = winners.into_iter().filter_map(&mut give).collect();
        names.weighed.new_topics = given;
        !names.weighed.new_topics.is_empty()
    }

    fn judge_partitions(&self, names: &mut Names) -> bool {
        let account = self.account(Dimension::Partition);
        let live = names.partitions.iter().filter_map(|(name, partition)| Some((*name, partition.upgrade()?)));
        let kept = live.map(|(name, one)| (name, one.place.clone())).filter(|(_, place)| place.is_kept());
        let winners = names.weighed.partitions.judge(kept.collect(), account.free(), account.cap());
        let give = |(name, weight)| Some(self.give_partition(names, name, account.take_free()?, weight));
        let given: Vec<_> = winners.into_iter().filter_map(give).collect();
        names.weighed.new_partitions = given;
        !names.weighed.new_partitions.is_empty()
    }
}

/// The topic of that name, with or without a place, and the name that it goes by.
fn find_topic(names: &Names, name: &TopicName) -> (Option<Arc<Topic>>, TopicName) {
    let named = |cluster: &Cluster, label: Arc<str>| {
        let topic = names.topics.get(&(cluster.clone(), label.as_ref().into())).and_then(Weak::upgrade);
        (topic, TopicName::Named(cluster.clone(), label))
    };
    match name {
        TopicName::Named(cluster, label) => named(cluster, label.clone()),
        TopicName::Id(cluster, id) => {
            let key = (cluster.clone(), *id);
            let by_id = names.topics_by_id.get(&key).and_then(Weak::upgrade);
            match (by_id, names.topic_names.get(&key)) {
                // Once the series of an id are exported under it, they stay there, whatever is learned later.
                (Some(topic), _) if topic.is_settled() => {
                    let name = TopicName::Named(cluster.clone(), topic.label().into());
                    (Some(topic), name)
                }
                (Some(topic), _) => (Some(topic), name.clone()),
                (None, Some(label)) => named(cluster, label.clone()),
                (None, None) => (None, name.clone()),
            }
        }
    }
}
