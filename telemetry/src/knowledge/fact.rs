//! Facts: what one proxy has seen and another may have to know, each with its time.
//!
//! A fact is made on a worker, where a topic may still wait for its name (`T` is then the topic itself), and is told, kept
//! and served once the topic has a label. [`Fact`]s are what `/api/facts` serves, so their fields are an interface.

use std::sync::Arc;

use kafkascope_protocol::Timestamp;
use serde::{Deserialize, Serialize};

use crate::health::Sighting;
use crate::topic::Topic;

/// A client: its id, and its host unless clients are told apart by id only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientName {
    /// Its id.
    pub id: Arc<str>,
    /// Its host.
    pub address: Arc<str>,
}

/// A partition of a topic of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionName<T = Arc<str>> {
    /// The cluster's name; empty where there is none.
    pub cluster: Arc<str>,
    /// The topic.
    pub topic: T,
    /// The partition.
    pub partition: i32,
}

/// Something that was seen. All times are in nanoseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fact<T = Arc<str>> {
    /// Where a partition begins and ends.
    End(End<T>),
    /// Where a client reads.
    Position(Position<T>),
    /// What a group has committed.
    Commit(Commit<T>),
    /// What a group will have committed when a transaction ends well.
    Pending(Pending<T>),
    /// A transaction ended, or its producer was replaced.
    Transaction(TransactionEnd),
    /// A member of a group.
    Member(Member<T>),
    /// The name of a topic id.
    Topic(TopicName),
    /// The id of a cluster.
    Cluster(ClusterId),
    /// A broker that clients were told of.
    Broker(BrokerName),
}

/// Where a partition begins and ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End<T = Arc<str>> {
    /// The partition.
    pub of: PartitionName<T>,
    /// High watermark, or the offset behind the last record that a producer was told to be there; -1 if not known.
    pub high: i64,
    /// First offset of the oldest open transaction; -1 if not known.
    pub stable: i64,
    /// First offset; -1 if not known.
    pub start: i64,
    /// Where it ended before `high`, or `high` itself while it stays there, and when that was so last; -1 if not known.
    pub before: (i64, u64),
    /// The end was told to a producer that uses no transactions: if none was open before, the last stable offset is there, too.
    pub plain: bool,
    /// When that was so.
    pub at: u64,
}

/// Where a client reads, on one of its connections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position<T = Arc<str>> {
    /// The partition.
    pub of: PartitionName<T>,
    /// The client.
    pub client: ClientName,
    /// Tells connections of one proxy apart.
    pub connection: u64,
    /// The offset it asked for last.
    pub asked: i64,
    /// Behind the last record that it was given.
    pub next: i64,
    /// When it was known last that this is what it asks for.
    pub at: u64,
    /// The first offset that it asked for on this connection, and when.
    pub began: (i64, u64),
    /// When it came to the partition last, from elsewhere or from another offset.
    pub came: u64,
    /// Records of open transactions are kept from it.
    pub read_committed: bool,
    /// It has been taken out of the fetch session.
    pub left: bool,
    /// The connection has ended.
    pub ended: bool,
}

/// What a group has committed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Commit<T = Arc<str>> {
    /// The partition.
    pub of: PartitionName<T>,
    /// The group.
    pub group: Arc<str>,
    /// Next offset to be consumed; -1 when nothing is committed any more.
    pub offset: i64,
    /// Who committed it; `None` when it was only asked for, or was deleted.
    pub client: Option<ClientName>,
    /// When.
    pub at: u64,
}

/// A commit inside of a transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pending<T = Arc<str>> {
    /// The transaction.
    pub transaction: TransactionName,
    /// Epoch of its producer.
    pub epoch: i16,
    /// What is committed.
    pub commit: Commit<T>,
}

/// A producer of transactions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TransactionName {
    /// The transactional id.
    pub id: Arc<str>,
    /// The producer.
    pub producer: i64,
}

/// A transaction ended, or a newer producer took the place of its producer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TransactionEnd {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// The transaction.
    pub transaction: TransactionName,
    /// Epoch of its producer. What is pending under an earlier one is void.
    pub epoch: i16,
    /// Committed, not aborted.
    pub committed: bool,
    /// When.
    pub at: u64,
}

/// What kind of group a member is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// JoinGroup and SyncGroup.
    Classic,
    /// KIP-848.
    Consumer,
    /// KIP-932.
    Share,
    /// KIP-1071.
    Streams,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member<T = Arc<str>> {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// The group.
    pub group: Arc<str>,
    /// The member; empty if it is only known by its instance id.
    pub member: Arc<str>,
    /// Name of a static member.
    pub instance: Option<Arc<str>>,
    /// The client that speaks for it.
    pub client: ClientName,
    /// Kind of the group.
    pub protocol: Protocol,
    /// Generation, or member epoch.
    pub generation: i32,
    /// All that it is assigned; `None`: not known, or as before.
    pub assigned: Option<Vec<Assigned<T>>>,
    /// It has left.
    pub left: bool,
    /// When.
    pub at: u64,
}

/// What a member is assigned of a topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assigned<T = Arc<str>> {
    /// The topic.
    pub topic: T,
    /// Its partitions.
    pub partitions: Vec<i32>,
}

/// The name of a topic id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopicName {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// The id.
    pub id: [u8; 16],
    /// The name.
    pub name: Arc<str>,
}

/// The id of a cluster that has no name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterId {
    /// The id.
    pub id: Arc<str>,
}

/// A broker that clients were told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerName {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// Its node id.
    pub id: i32,
    /// The host that clients are told.
    pub host: Arc<str>,
    /// The port that clients are told.
    pub port: u16,
}

/// What only the proxy that saw it has to do with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Note<T = Arc<str>> {
    /// A client went on reading behind where it had stopped.
    Jump(Jump<T>),
    /// Commits were refused, all of a group with one error.
    CommitsFailed { cluster: Arc<str>, group: Arc<str>, error: i16, count: u64 },
    /// A member wants to join.
    Joins { cluster: Arc<str>, group: Arc<str>, reason: &'static str, at: u64 },
    /// Groups and topics are deleted.
    Deleted { cluster: Arc<str>, groups: Vec<Arc<str>>, topics: Vec<Arc<str>>, at: u64 },
    /// A member has its assignment.
    Synced { cluster: Arc<str>, group: Arc<str>, generation: i32, at: u64 },
}

/// A client went on reading at an offset, and when.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Jump<T = Arc<str>> {
    pub(crate) of: PartitionName<T>,
    pub(crate) client: ClientName,
    pub(crate) connection: u64,
    /// Up to where it was given everything on this connection, and when; `None`: it is new.
    pub(crate) from: Option<(i64, u64)>,
    pub(crate) to: (i64, u64),
}

impl<T> PartitionName<T> {
    pub(crate) fn named<U>(self, name: &mut impl FnMut(T) -> U) -> PartitionName<U> {
        PartitionName { cluster: self.cluster, topic: name(self.topic), partition: self.partition }
    }
}

impl<T> Commit<T> {
    fn named<U>(self, name: &mut impl FnMut(T) -> U) -> Commit<U> {
        Commit { of: self.of.named(name), group: self.group, offset: self.offset, client: self.client, at: self.at }
    }
}

impl<T> Fact<T> {
    /// With other names for its topics.
    fn named<U>(self, name: &mut impl FnMut(T) -> U) -> Fact<U> {
        match self {
            Self::End(End { of, high, stable, start, before, plain, at }) => {
                Fact::End(End { of: of.named(name), high, stable, start, before, plain, at })
            }
            Self::Position(Position {
                of,
                client,
                connection,
                asked,
                next,
                at,
                began,
                came,
                read_committed,
                left,
                ended,
            }) => {
                let of = of.named(name);
                Fact::Position(Position {
                    of,
                    client,
                    connection,
                    asked,
                    next,
                    at,
                    began,
                    came,
                    read_committed,
                    left,
                    ended,
                })
            }
            Self::Commit(commit) => Fact::Commit(commit.named(name)),
            Self::Pending(Pending { transaction, epoch, commit }) => {
                Fact::Pending(Pending { transaction, epoch, commit: commit.named(name) })
            }
            Self::Transaction(end) => Fact::Transaction(end),
            Self::Member(Member {
                cluster,
                group,
                member,
                instance,
                client,
                protocol,
                generation,
                assigned,
                left,
                at,
            }) => {
                let mut topic = |Assigned { topic, partitions }| Assigned { topic: name(topic), partitions };
                let assigned = assigned.map(|topics| topics.into_iter().map(&mut topic).collect());
                Fact::Member(Member {
                    cluster,
                    group,
                    member,
                    instance,
                    client,
                    protocol,
                    generation,
                    assigned,
                    left,
                    at,
                })
            }
            Self::Topic(topic) => Fact::Topic(topic),
            Self::Cluster(cluster) => Fact::Cluster(cluster),
            Self::Broker(broker) => Fact::Broker(broker),
        }
    }
}

impl<T> Note<T> {
    fn named<U>(self, name: &mut impl FnMut(T) -> U) -> Note<U> {
        match self {
            Self::Jump(Jump { of, client, connection, from, to }) => {
                Note::Jump(Jump { of: of.named(name), client, connection, from, to })
            }
            Self::CommitsFailed { cluster, group, error, count } => {
                Note::CommitsFailed { cluster, group, error, count }
            }
            Self::Joins { cluster, group, reason, at } => Note::Joins { cluster, group, reason, at },
            Self::Deleted { cluster, groups, topics, at } => Note::Deleted { cluster, groups, topics, at },
            Self::Synced { cluster, group, generation, at } => Note::Synced { cluster, group, generation, at },
        }
    }
}

/// What a worker has to tell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told<T = Arc<str>> {
    Fact(Fact<T>),
    Note(Note<T>),
    Sighting(Sighting<T>),
}

impl<T> Told<T> {
    fn each_topic(&self, visit: &mut impl FnMut(&T)) {
        match self {
            Self::Fact(Fact::End(end)) => visit(&end.of.topic),
            Self::Fact(Fact::Position(position)) => visit(&position.of.topic),
            Self::Fact(Fact::Commit(commit)) => visit(&commit.of.topic),
            Self::Fact(Fact::Pending(pending)) => visit(&pending.commit.of.topic),
            Self::Fact(Fact::Member(member)) => {
                member.assigned.iter().flatten().for_each(|assigned| visit(&assigned.topic));
            }
            Self::Note(Note::Jump(jump)) => visit(&jump.of.topic),
            Self::Sighting(sighting) => sighting.topic().into_iter().for_each(visit),
            Self::Fact(Fact::Transaction(_) | Fact::Topic(_) | Fact::Cluster(_) | Fact::Broker(_)) | Self::Note(_) => {}
        }
    }
}

impl Told<Arc<Topic>> {
    /// Under the labels of its topics, once all have one.
    pub(crate) fn settled(self, now: Timestamp) -> Result<Told, Box<Self>> {
        let mut waits = false;
        self.each_topic(&mut |topic| waits |= topic.settle(now).is_none());
        if waits {
            return Err(Box::new(self));
        }
        let mut label = |topic: Arc<Topic>| topic.label_now();
        Ok(match self {
            Self::Fact(fact) => Told::Fact(fact.named(&mut label)),
            Self::Note(note) => Told::Note(note.named(&mut label)),
            Self::Sighting(sighting) => Told::Sighting(sighting.named(&mut label)),
        })
    }
}
