//! Where observations are kept: what they borrow is copied.

use kafkascope_protocol::{
    AssignedTopic, Broker, Captured, CommitHead, CommitPartition, CommitResult, CommittedGroup, CommittedOffset,
    Coordinator, CoordinatorAsked, CurrentLeader, DivergingEpoch, EpochEnd, Exchange, FetchAsked, FetchForgotten,
    FetchPartition, GroupDeleted, GroupDescribed, GroupHeartbeat, GroupHeartbeatResult, GroupMember, Ids, InitProducer,
    JoinGroup, JoinReason, JoinedGroup, LeaveGroup, LeavingMember, Measured, MemberDescribed, Membership, Observation,
    OffsetAsked, OffsetListed, PartitionBatch, PartitionMetadata, ProduceHead, ProducePartition, ProduceResult,
    ShareAcknowledged, ShareAcquired, ShareHead, SharePartition, SyncedGroup, TopicCreated, TopicDeleted, TopicIndex,
    TopicLabel, TopicMetadata, TopicRef, Transaction, TransactionEnd, TransactionGroup,
};

/// Owns what kept observations borrow.
#[derive(Default)]
pub(crate) struct Arena {
    bytes: typed_arena::Arena<u8>,
    exchanges: typed_arena::Arena<Exchange>,
}

impl Arena {
    fn bytes(&self, bytes: &[u8]) -> &[u8] {
        self.bytes.alloc_extend(bytes.iter().copied())
    }

    fn maybe(&self, bytes: Option<&[u8]>) -> Option<&[u8]> {
        bytes.map(|bytes| self.bytes(bytes))
    }

    fn topic(&self, topic: TopicRef<'_>) -> TopicRef<'_> {
        let label = match topic.label() {
            TopicLabel::Name(name) => TopicLabel::Name(self.bytes(name)),
            TopicLabel::Id(id) => TopicLabel::Id(id),
        };
        TopicRef::new(topic.index, label)
    }

    fn ids(&self, ids: Ids<'_>) -> Ids<'_> {
        let bytes: Vec<u8> = ids.iter().flat_map(i32::to_be_bytes).collect();
        Ids::from_wire(self.bytes(&bytes))
    }

    fn transaction(&self, it: Transaction<'_>) -> Transaction<'_> {
        Transaction { transactional_id: self.bytes(it.transactional_id), ..it }
    }

    fn membership(&self, it: Membership<'_>) -> Membership<'_> {
        let (group, member_id) = (self.bytes(it.group), self.bytes(it.member_id));
        Membership { group, member_id, instance_id: self.maybe(it.instance_id), ..it }
    }

    fn assigned(&self, it: AssignedTopic<'_>) -> AssignedTopic<'_> {
        AssignedTopic { topic: self.topic(it.topic), partitions: self.ids(it.partitions), ..it }
    }

    fn share(&self, it: ShareHead<'_>) -> ShareHead<'_> {
        ShareHead { group: self.maybe(it.group), member_id: self.maybe(it.member_id), ..it }
    }

    /// `observation`, borrowing from here.
    pub(crate) fn keep(&self, observation: Observation<'_>) -> Observation<'_> {
        use Observation as O;
        match observation {
            O::Client(id) => O::Client(self.maybe(id)),
            O::Software { name, version } => O::Software { name: self.bytes(name), version: self.bytes(version) },
            O::Principal { mechanism, name } => {
                O::Principal { mechanism: self.bytes(mechanism), name: self.bytes(name) }
            }
            O::RequestHead(it) => O::RequestHead(it),
            O::ProduceHead(it) => {
                O::ProduceHead(ProduceHead { transactional_id: self.maybe(it.transactional_id), ..it })
            }
            O::ProducePartition(it) => O::ProducePartition(ProducePartition { topic: self.topic(it.topic), ..it }),
            O::ProduceBatch(it) => O::ProduceBatch(PartitionBatch { topic: self.topic(it.topic), ..it }),
            O::ProduceResult(it) => O::ProduceResult(ProduceResult { topic: self.topic(it.topic), ..it }),
            O::FetchHead(it) => O::FetchHead(it),
            O::FetchAsked(it) => O::FetchAsked(FetchAsked { topic: self.topic(it.topic), ..it }),
            O::FetchForgotten(it) => O::FetchForgotten(FetchForgotten { topic: self.topic(it.topic), ..it }),
            O::FetchPartition(it) => O::FetchPartition(FetchPartition { topic: self.topic(it.topic), ..it }),
            O::FetchBatch(it) => O::FetchBatch(PartitionBatch { topic: self.topic(it.topic), ..it }),
            O::AbortedForgotten { transactions } => O::AbortedForgotten { transactions },
            O::DivergingEpoch(it) => O::DivergingEpoch(DivergingEpoch { topic: self.topic(it.topic), ..it }),
            O::CurrentLeader(it) => O::CurrentLeader(CurrentLeader { topic: self.topic(it.topic), ..it }),
            O::Broker(it) => O::Broker(Broker { host: self.bytes(it.host), ..it }),
            O::ClusterId(id) => O::ClusterId(self.bytes(id)),
            O::Controller(it) => O::Controller(it),
            O::TopicMetadata(it) => O::TopicMetadata(TopicMetadata { name: self.maybe(it.name), ..it }),
            O::PartitionMetadata(it) => O::PartitionMetadata(PartitionMetadata {
                name: self.maybe(it.name),
                replicas: self.ids(it.replicas),
                in_sync: self.ids(it.in_sync),
                offline: self.ids(it.offline),
                ..it
            }),
            O::TopicCreated(it) => O::TopicCreated(TopicCreated { name: self.bytes(it.name), ..it }),
            O::TopicDeleted(it) => O::TopicDeleted(TopicDeleted { name: self.maybe(it.name), ..it }),
            O::Captured(it) => O::Captured(Captured { topic: self.topic(it.topic), bytes: self.bytes(it.bytes), ..it }),
            O::Measured(it) => O::Measured(Measured { topic: self.topic(it.topic), ..it }),
            O::CaptureRefused { bytes } => O::CaptureRefused { bytes },
            O::Exchange(exchange) => O::Exchange(self.exchanges.alloc(*exchange)),
            O::Undecoded(it) => O::Undecoded(it),
            O::Unsolicited { correlation_id, bytes } => O::Unsolicited { correlation_id, bytes },
            O::LostSync(it) => O::LostSync(it),
            other => self.keep_offset(other),
        }
    }

    /// Those about offsets and transactions.
    fn keep_offset(&self, observation: Observation<'_>) -> Observation<'_> {
        use Observation as O;
        match observation {
            O::CommitHead(it) => O::CommitHead(CommitHead {
                group: self.bytes(it.group),
                member_id: self.maybe(it.member_id),
                instance_id: self.maybe(it.instance_id),
                transaction: it.transaction.map(|transaction| self.transaction(transaction)),
                ..it
            }),
            O::CommitPartition(it) => O::CommitPartition(CommitPartition { topic: self.topic(it.topic), ..it }),
            O::CommitResult(it) => O::CommitResult(CommitResult { topic: self.topic(it.topic), ..it }),
            O::CommittedGroup(it) => O::CommittedGroup(CommittedGroup { group: self.bytes(it.group), ..it }),
            O::CommittedOffset(it) => O::CommittedOffset(CommittedOffset { topic: self.topic(it.topic), ..it }),
            O::ListOffsetsHead(it) => O::ListOffsetsHead(it),
            O::OffsetAsked(it) => O::OffsetAsked(OffsetAsked { topic: self.topic(it.topic), ..it }),
            O::OffsetListed(it) => O::OffsetListed(OffsetListed { topic: self.topic(it.topic), ..it }),
            O::EpochEnd(it) => O::EpochEnd(EpochEnd { topic: self.topic(it.topic), ..it }),
            O::InitProducer(it) => {
                O::InitProducer(InitProducer { transactional_id: self.maybe(it.transactional_id), ..it })
            }
            O::ProducerIdentity(it) => O::ProducerIdentity(it),
            O::TransactionGroup(it) => O::TransactionGroup(TransactionGroup {
                transaction: self.transaction(it.transaction),
                group: self.bytes(it.group),
                ..it
            }),
            O::TransactionEnd(it) => {
                O::TransactionEnd(TransactionEnd { transaction: self.transaction(it.transaction), ..it })
            }
            other => self.keep_group(other),
        }
    }

    /// Those about groups.
    fn keep_group(&self, observation: Observation<'_>) -> Observation<'_> {
        use Observation as O;
        match observation {
            O::CoordinatorAsked(it) => O::CoordinatorAsked(CoordinatorAsked { key: self.bytes(it.key), ..it }),
            O::Coordinator(it) => {
                O::Coordinator(Coordinator { key: self.maybe(it.key), host: self.bytes(it.host), ..it })
            }
            O::JoinGroup(it) => O::JoinGroup(JoinGroup {
                group: self.bytes(it.group),
                member_id: self.bytes(it.member_id),
                instance_id: self.maybe(it.instance_id),
                protocol_type: self.bytes(it.protocol_type),
                ..it
            }),
            O::JoinReason(it) => O::JoinReason(JoinReason { reason: self.bytes(it.reason), ..it }),
            O::JoinedGroup(it) => O::JoinedGroup(JoinedGroup {
                protocol_type: self.maybe(it.protocol_type),
                protocol: self.maybe(it.protocol),
                leader: self.bytes(it.leader),
                member_id: self.bytes(it.member_id),
                ..it
            }),
            O::GroupMember(it) => O::GroupMember(GroupMember {
                member_id: self.bytes(it.member_id),
                instance_id: self.maybe(it.instance_id),
                ..it
            }),
            O::SyncGroup(it) => O::SyncGroup(self.membership(it)),
            O::SyncedGroup(it) => O::SyncedGroup(SyncedGroup {
                protocol_type: self.maybe(it.protocol_type),
                protocol: self.maybe(it.protocol),
                ..it
            }),
            O::AssignedTopic(it) => O::AssignedTopic(self.assigned(it)),
            O::Heartbeat(it) => O::Heartbeat(self.membership(it)),
            O::LeaveGroup(it) => O::LeaveGroup(LeaveGroup { group: self.bytes(it.group), ..it }),
            O::LeavingMember(it) => O::LeavingMember(LeavingMember {
                member_id: self.bytes(it.member_id),
                instance_id: self.maybe(it.instance_id),
                reason: self.maybe(it.reason),
                ..it
            }),
            O::GroupHeartbeat(it) => O::GroupHeartbeat(GroupHeartbeat {
                group: self.bytes(it.group),
                member_id: self.bytes(it.member_id),
                instance_id: self.maybe(it.instance_id),
                ..it
            }),
            O::OwnedPartitions(it) => O::OwnedPartitions(it),
            O::OwnedTopic(it) => O::OwnedTopic(self.assigned(it)),
            O::GroupHeartbeatResult(it) => {
                O::GroupHeartbeatResult(GroupHeartbeatResult { member_id: self.maybe(it.member_id), ..it })
            }
            O::GroupDeleted(it) => O::GroupDeleted(GroupDeleted { group: self.bytes(it.group), ..it }),
            O::GroupDescribed(it) => {
                O::GroupDescribed(GroupDescribed { group: self.bytes(it.group), state: self.bytes(it.state), ..it })
            }
            O::MemberDescribed(it) => O::MemberDescribed(MemberDescribed {
                member_id: self.bytes(it.member_id),
                instance_id: self.maybe(it.instance_id),
                client_id: self.bytes(it.client_id),
                client_host: self.bytes(it.client_host),
                ..it
            }),
            O::ShareFetchHead(it) => O::ShareFetchHead(self.share(it)),
            O::SharePartition(it) => O::SharePartition(SharePartition { topic: self.topic(it.topic), ..it }),
            O::ShareAcquired(it) => O::ShareAcquired(ShareAcquired { topic: self.topic(it.topic), ..it }),
            O::ShareAcknowledgeHead(it) => O::ShareAcknowledgeHead(self.share(it)),
            O::ShareAcknowledged(it) => O::ShareAcknowledged(ShareAcknowledged { topic: self.topic(it.topic), ..it }),
            other => panic!("a new observation that is not kept: {other:?}"),
        }
    }

    /// `observation` with a topic, if it has one, that has no number.
    pub(crate) fn unnumbered<'a>(observation: Observation<'a>) -> Observation<'a> {
        macro_rules! unnumber {
            ($($kind:ident($fields:ident))*) => {
                match observation {
                    $(Observation::$kind(it) => {
                        Observation::$kind($fields { topic: TopicRef::new(TopicIndex(0), it.topic.label()), ..it })
                    })*
                    other => other,
                }
            };
        }
        unnumber!(
            ProducePartition(ProducePartition) ProduceBatch(PartitionBatch) ProduceResult(ProduceResult)
            FetchAsked(FetchAsked) FetchForgotten(FetchForgotten) FetchPartition(FetchPartition) FetchBatch(PartitionBatch)
            DivergingEpoch(DivergingEpoch) CurrentLeader(CurrentLeader) CommitPartition(CommitPartition)
            CommitResult(CommitResult) CommittedOffset(CommittedOffset) OffsetAsked(OffsetAsked)
            OffsetListed(OffsetListed) EpochEnd(EpochEnd) AssignedTopic(AssignedTopic) OwnedTopic(AssignedTopic)
            SharePartition(SharePartition) ShareAcquired(ShareAcquired) ShareAcknowledged(ShareAcknowledged)
        )
    }
}
