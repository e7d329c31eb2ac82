//! What a worker has seen of partitions and brokers.

use std::sync::Arc;

use kafkascope_protocol::TopicId;

use crate::knowledge::fact::{BrokerName, ClientName, PartitionName};

/// Something that was seen. `T` is a topic, or its label.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Sighting<T = Arc<str>> {
    /// Who leads a partition.
    Leader(Leader<T>),
    /// A partition could be used, or not.
    Answer(Answer<T>),
    /// A consumer has read what is not in the partition's log any more.
    Diverges(PartitionName<T>),
    /// Clients were told of a broker.
    Broker(NamedBroker),
}

/// Who leads a partition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Leader<T = Arc<str>> {
    pub(crate) of: PartitionName<T>,
    /// Tells a topic from one of the same name that was deleted.
    pub(crate) id: Option<TopicId>,
    /// -1: nobody.
    pub(crate) leader: i32,
    pub(crate) epoch: i32,
    /// `None`: not told.
    pub(crate) in_sync: Option<Box<[i32]>>,
    /// When it was asked for.
    pub(crate) at: u64,
}

/// Whether a partition could be used.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer<T = Arc<str>> {
    pub(crate) of: PartitionName<T>,
    pub(crate) works: bool,
    pub(crate) at: u64,
}

/// A broker that a client was told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedBroker {
    pub(crate) broker: BrokerName,
    pub(crate) client: ClientName,
}

impl<T> Sighting<T> {
    /// Its topic, if it is of one.
    pub(crate) fn topic(&self) -> Option<&T> {
        match self {
            Self::Leader(Leader { of, .. }) | Self::Answer(Answer { of, .. }) | Self::Diverges(of) => Some(&of.topic),
            Self::Broker(_) => None,
        }
    }

    /// With another name for its topic.
    pub(crate) fn named<U>(self, name: &mut impl FnMut(T) -> U) -> Sighting<U> {
        match self {
            Self::Leader(Leader { of, id, leader, epoch, in_sync, at }) => {
                Sighting::Leader(Leader { of: of.named(name), id, leader, epoch, in_sync, at })
            }
            Self::Answer(Answer { of, works, at }) => Sighting::Answer(Answer { of: of.named(name), works, at }),
            Self::Diverges(of) => Sighting::Diverges(of.named(name)),
            Self::Broker(broker) => Sighting::Broker(broker),
        }
    }
}
