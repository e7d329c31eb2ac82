//! Brokers, topics and partitions of the cluster.

use crate::{ErrorCode, RequestSeq, TopicId, TopicRef};

/// A broker that a Metadata or DescribeCluster response names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broker<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// Node id.
    pub id: i32,
    /// Advertised host.
    pub host: &'a [u8],
    /// Advertised port.
    pub port: i32,
}

/// A topic of a Metadata or DescribeTopicPartitions response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicMetadata<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// What is wrong with it, if anything.
    pub error: ErrorCode,
    /// Its name; v12+ may answer without one.
    pub name: Option<&'a [u8]>,
    /// Its id (v10+).
    pub id: Option<TopicId>,
}

/// Node ids as they stand on the wire.
pub type NodeIds<'a> = Ids<'a>;

/// Partitions as they stand on the wire.
pub type PartitionIds<'a> = Ids<'a>;

/// 32-bit numbers as they stand on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ids<'a>(&'a [u8]);

impl<'a> Ids<'a> {
    /// Reads `bytes` as big-endian 32-bit numbers; a rest of less than four bytes is not looked at.
    #[must_use]
    pub const fn from_wire(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len() / 4
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.len() < 4
    }

    /// The ids.
    pub fn iter(&self) -> impl Iterator<Item = i32> + '_ {
        self.0.chunks_exact(4).filter_map(|id| id.try_into().ok().map(i32::from_be_bytes))
    }
}

/// A partition of a Metadata or DescribeTopicPartitions response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionMetadata<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The topic's name, as in the [`TopicMetadata`] before.
    pub name: Option<&'a [u8]>,
    /// The topic's id, as in the [`TopicMetadata`] before.
    pub id: Option<TopicId>,
    /// What is wrong with it, if anything.
    pub error: ErrorCode,
    /// The partition.
    pub partition: i32,
    /// Node id of its leader, or -1.
    pub leader: i32,
    /// Leader epoch (v7+).
    pub leader_epoch: Option<i32>,
    /// Where its replicas live.
    pub replicas: NodeIds<'a>,
    /// Which of them are in sync.
    pub in_sync: NodeIds<'a>,
    /// Which of them are offline (v5+).
    pub offline: NodeIds<'a>,
}

/// The partition's leader, as a response to somebody who did not know it says (KIP-951: Produce v10+, Fetch v12+; KIP-932:
/// ShareFetch and ShareAcknowledge).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrentLeader<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// The topic.
    pub topic: TopicRef<'a>,
    /// The partition.
    pub partition: i32,
    /// Node id.
    pub leader: i32,
    /// Leader epoch.
    pub leader_epoch: i32,
}

/// The controller that a DescribeCluster response names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Controller {
    /// The request.
    pub seq: RequestSeq,
    /// Node id; -1 if there is none. In KRaft a broker names a random broker, only a controller names the controller.
    pub id: i32,
    /// The answer comes from a controller, not from a broker (KIP-919, v1+).
    pub from_controller: bool,
}

/// A topic of a CreateTopics response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicCreated<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// What happened.
    pub error: ErrorCode,
    /// Its name.
    pub name: &'a [u8],
    /// Its id (v7+).
    pub id: Option<TopicId>,
    /// Its number of partitions (v5+); -1 on error, or when the client may not see it.
    pub partitions: Option<i32>,
}

/// A topic of a DeleteTopics response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicDeleted<'a> {
    /// The request.
    pub seq: RequestSeq,
    /// What happened.
    pub error: ErrorCode,
    /// Its name; `None` in v6+ if it was given by an id that is not known.
    pub name: Option<&'a [u8]>,
    /// Its id (v6+).
    pub id: Option<TopicId>,
}
