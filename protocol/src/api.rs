//! What is known of each API before its body is read: name, versions, header format.
//!
//! Source: the schemas (`common/message/*.json`) in the kafka-clients jars of 3.9.2 and 4.3.1, united: 4.x no longer lists
//! versions and keys that older clients still send.

use crate::{ApiKey, ApiVersion};

/// One API that Apache Kafka defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiInfo {
    /// Its key.
    pub key: ApiKey,
    /// Its name, without `Request` or `Response`.
    pub name: &'static str,
    /// Oldest version.
    pub min_version: i16,
    /// Newest version.
    pub max_version: i16,
    /// First version with compact lengths and tagged fields (KIP-482), the same for request and response.
    pub first_flexible: Option<i16>,
}

impl ApiInfo {
    /// Whether this build knows `version`.
    #[must_use]
    pub const fn knows(&self, version: ApiVersion) -> bool {
        self.min_version <= version.0 && version.0 <= self.max_version
    }

    /// Whether bodies of `version` have compact lengths and tagged fields.
    #[must_use]
    pub const fn is_flexible(&self, version: ApiVersion) -> bool {
        match self.first_flexible {
            Some(first) => version.0 >= first,
            None => false,
        }
    }

    /// Version of the request header: 0 without client id, 1 with it, 2 with tagged fields too.
    #[must_use]
    pub const fn request_header(&self, version: ApiVersion) -> u8 {
        match (self.key, version.0) {
            (ApiKey::CONTROLLED_SHUTDOWN, 0) => 0,
            _ if self.is_flexible(version) => 2,
            _ => 1,
        }
    }

    /// Version of the response header: 0 is the correlation id, 1 has tagged fields too. ApiVersions stays with 0, because
    /// a client reads it before it knows what the broker speaks.
    #[must_use]
    pub const fn response_header(&self, version: ApiVersion) -> u8 {
        (self.is_flexible(version) && self.key.0 != ApiKey::API_VERSIONS.0) as u8
    }
}

impl ApiKey {
    /// Produce.
    pub const PRODUCE: Self = Self(0);
    /// Fetch.
    pub const FETCH: Self = Self(1);
    /// ListOffsets.
    pub const LIST_OFFSETS: Self = Self(2);
    /// Metadata.
    pub const METADATA: Self = Self(3);
    /// ControlledShutdown.
    pub const CONTROLLED_SHUTDOWN: Self = Self(7);
    /// OffsetCommit.
    pub const OFFSET_COMMIT: Self = Self(8);
    /// OffsetFetch.
    pub const OFFSET_FETCH: Self = Self(9);
    /// FindCoordinator.
    pub const FIND_COORDINATOR: Self = Self(10);
    /// JoinGroup.
    pub const JOIN_GROUP: Self = Self(11);
    /// Heartbeat.
    pub const HEARTBEAT: Self = Self(12);
    /// LeaveGroup.
    pub const LEAVE_GROUP: Self = Self(13);
    /// SyncGroup.
    pub const SYNC_GROUP: Self = Self(14);
    /// SaslHandshake.
    pub const SASL_HANDSHAKE: Self = Self(17);
    /// ApiVersions.
    pub const API_VERSIONS: Self = Self(18);
    /// CreateTopics.
    pub const CREATE_TOPICS: Self = Self(19);
    /// DeleteTopics.
    pub const DELETE_TOPICS: Self = Self(20);
    /// InitProducerId.
    pub const INIT_PRODUCER_ID: Self = Self(22);
    /// OffsetForLeaderEpoch.
    pub const OFFSET_FOR_LEADER_EPOCH: Self = Self(23);
    /// AddPartitionsToTxn.
    pub const ADD_PARTITIONS_TO_TXN: Self = Self(24);
    /// AddOffsetsToTxn.
    pub const ADD_OFFSETS_TO_TXN: Self = Self(25);
    /// EndTxn.
    pub const END_TXN: Self = Self(26);
    /// TxnOffsetCommit.
    pub const TXN_OFFSET_COMMIT: Self = Self(28);
    /// SaslAuthenticate.
    pub const SASL_AUTHENTICATE: Self = Self(36);
    /// DeleteGroups.
    pub const DELETE_GROUPS: Self = Self(42);
    /// OffsetDelete.
    pub const OFFSET_DELETE: Self = Self(47);
    /// DescribeCluster.
    pub const DESCRIBE_CLUSTER: Self = Self(60);
    /// ConsumerGroupHeartbeat.
    pub const CONSUMER_GROUP_HEARTBEAT: Self = Self(68);
    /// ConsumerGroupDescribe.
    pub const CONSUMER_GROUP_DESCRIBE: Self = Self(69);
    /// DescribeTopicPartitions.
    pub const DESCRIBE_TOPIC_PARTITIONS: Self = Self(75);
    /// ShareGroupHeartbeat.
    pub const SHARE_GROUP_HEARTBEAT: Self = Self(76);
    /// ShareFetch.
    pub const SHARE_FETCH: Self = Self(78);
    /// ShareAcknowledge.
    pub const SHARE_ACKNOWLEDGE: Self = Self(79);
    /// StreamsGroupHeartbeat.
    pub const STREAMS_GROUP_HEARTBEAT: Self = Self(88);
    /// StreamsGroupDescribe.
    pub const STREAMS_GROUP_DESCRIBE: Self = Self(89);

    /// What this build knows of it.
    #[must_use]
    pub fn info(self) -> Option<&'static ApiInfo> {
        APIS.get(usize::try_from(self.0).ok()?)
    }

    /// Whether brokers before Kafka 4.0 serve this version and later ones do not (KIP-896; the APIs by which ZooKeeper's
    /// controller told brokers what to do went with it).
    #[must_use]
    pub const fn is_removed_in_4_0(self, version: ApiVersion) -> bool {
        let oldest_kept = match self.0 {
            0 => 3,                                   // Produce
            1 => 4,                                   // Fetch
            4..=7 => i16::MAX,                        // LeaderAndIsr, StopReplica, UpdateMetadata, ControlledShutdown
            8 | 19 | 23 | 56 => 2, // OffsetCommit, CreateTopics, OffsetForLeaderEpoch, AlterPartition
            2 | 9 | 20 | 27 | 29..=32 | 34 | 35 => 1, // ListOffsets, OffsetFetch, DeleteTopics, WriteTxnMarkers, ACLs, ..
            38..=41 => 1,                             // delegation tokens
            _ => 0,
        };
        version.0 >= 0 && version.0 < oldest_kept
    }

    /// Its name, such as `Produce`.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.info().map(|info| info.name)
    }
}

const fn api(key: i16, name: &'static str, min_version: i16, max_version: i16, first_flexible: Option<i16>) -> ApiInfo {
    ApiInfo { key: ApiKey(key), name, min_version, max_version, first_flexible }
}

/// Every API, by key: `APIS[k]` has key `k`.
#[rustfmt::skip]
pub const APIS: [ApiInfo; 93] = [
    api(0, "Produce", 0, 13, Some(9)),
    api(1, "Fetch", 0, 18, Some(12)),
    api(2, "ListOffsets", 0, 11, Some(6)),
    api(3, "Metadata", 0, 13, Some(9)),
    api(4, "LeaderAndIsr", 0, 7, Some(4)),
    api(5, "StopReplica", 0, 4, Some(2)),
    api(6, "UpdateMetadata", 0, 8, Some(6)),
    api(7, "ControlledShutdown", 0, 3, Some(3)),
    api(8, "OffsetCommit", 0, 10, Some(8)),
    api(9, "OffsetFetch", 0, 10, Some(6)),
    api(10, "FindCoordinator", 0, 6, Some(3)),
    api(11, "JoinGroup", 0, 9, Some(6)),
    api(12, "Heartbeat", 0, 4, Some(4)),
    api(13, "LeaveGroup", 0, 5, Some(4)),
    api(14, "SyncGroup", 0, 5, Some(4)),
    api(15, "DescribeGroups", 0, 6, Some(5)),
    api(16, "ListGroups", 0, 5, Some(3)),
    api(17, "SaslHandshake", 0, 1, None),
    api(18, "ApiVersions", 0, 4, Some(3)),
    api(19, "CreateTopics", 0, 7, Some(5)),
    api(20, "DeleteTopics", 0, 6, Some(4)),
    api(21, "DeleteRecords", 0, 2, Some(2)),
    api(22, "InitProducerId", 0, 6, Some(2)),
    api(23, "OffsetForLeaderEpoch", 0, 4, Some(4)),
    api(24, "AddPartitionsToTxn", 0, 5, Some(3)),
    api(25, "AddOffsetsToTxn", 0, 4, Some(3)),
    api(26, "EndTxn", 0, 5, Some(3)),
    api(27, "WriteTxnMarkers", 0, 2, Some(1)),
    api(28, "TxnOffsetCommit", 0, 5, Some(3)),
    api(29, "DescribeAcls", 0, 3, Some(2)),
    api(30, "CreateAcls", 0, 3, Some(2)),
    api(31, "DeleteAcls", 0, 3, Some(2)),
    api(32, "DescribeConfigs", 0, 4, Some(4)),
    api(33, "AlterConfigs", 0, 2, Some(2)),
    api(34, "AlterReplicaLogDirs", 0, 2, Some(2)),
    api(35, "DescribeLogDirs", 0, 5, Some(2)),
    api(36, "SaslAuthenticate", 0, 2, Some(2)),
    api(37, "CreatePartitions", 0, 3, Some(2)),
    api(38, "CreateDelegationToken", 0, 3, Some(2)),
    api(39, "RenewDelegationToken", 0, 2, Some(2)),
    api(40, "ExpireDelegationToken", 0, 2, Some(2)),
    api(41, "DescribeDelegationToken", 0, 3, Some(2)),
    api(42, "DeleteGroups", 0, 2, Some(2)),
    api(43, "ElectLeaders", 0, 2, Some(2)),
    api(44, "IncrementalAlterConfigs", 0, 1, Some(1)),
    api(45, "AlterPartitionReassignments", 0, 1, Some(0)),
    api(46, "ListPartitionReassignments", 0, 0, Some(0)),
    api(47, "OffsetDelete", 0, 0, None),
    api(48, "DescribeClientQuotas", 0, 1, Some(1)),
    api(49, "AlterClientQuotas", 0, 1, Some(1)),
    api(50, "DescribeUserScramCredentials", 0, 0, Some(0)),
    api(51, "AlterUserScramCredentials", 0, 0, Some(0)),
    api(52, "Vote", 0, 2, Some(0)),
    api(53, "BeginQuorumEpoch", 0, 1, Some(1)),
    api(54, "EndQuorumEpoch", 0, 1, Some(1)),
    api(55, "DescribeQuorum", 0, 2, Some(0)),
    api(56, "AlterPartition", 0, 3, Some(0)),
    api(57, "UpdateFeatures", 0, 2, Some(0)),
    api(58, "Envelope", 0, 0, Some(0)),
    api(59, "FetchSnapshot", 0, 1, Some(0)),
    api(60, "DescribeCluster", 0, 2, Some(0)),
    api(61, "DescribeProducers", 0, 0, Some(0)),
    api(62, "BrokerRegistration", 0, 4, Some(0)),
    api(63, "BrokerHeartbeat", 0, 2, Some(0)),
    api(64, "UnregisterBroker", 0, 0, Some(0)),
    api(65, "DescribeTransactions", 0, 0, Some(0)),
    api(66, "ListTransactions", 0, 2, Some(0)),
    api(67, "AllocateProducerIds", 0, 0, Some(0)),
    api(68, "ConsumerGroupHeartbeat", 0, 1, Some(0)),
    api(69, "ConsumerGroupDescribe", 0, 1, Some(0)),
    api(70, "ControllerRegistration", 0, 0, Some(0)),
    api(71, "GetTelemetrySubscriptions", 0, 0, Some(0)),
    api(72, "PushTelemetry", 0, 0, Some(0)),
    api(73, "AssignReplicasToDirs", 0, 0, Some(0)),
    api(74, "ListConfigResources", 0, 1, Some(0)),
    api(75, "DescribeTopicPartitions", 0, 0, Some(0)),
    api(76, "ShareGroupHeartbeat", 0, 1, Some(0)),
    api(77, "ShareGroupDescribe", 0, 1, Some(0)),
    api(78, "ShareFetch", 0, 2, Some(0)),
    api(79, "ShareAcknowledge", 0, 2, Some(0)),
    api(80, "AddRaftVoter", 0, 1, Some(0)),
    api(81, "RemoveRaftVoter", 0, 0, Some(0)),
    api(82, "UpdateRaftVoter", 0, 0, Some(0)),
    api(83, "InitializeShareGroupState", 0, 0, Some(0)),
    api(84, "ReadShareGroupState", 0, 0, Some(0)),
    api(85, "WriteShareGroupState", 0, 1, Some(0)),
    api(86, "DeleteShareGroupState", 0, 0, Some(0)),
    api(87, "ReadShareGroupStateSummary", 0, 1, Some(0)),
    api(88, "StreamsGroupHeartbeat", 0, 0, Some(0)),
    api(89, "StreamsGroupDescribe", 0, 0, Some(0)),
    api(90, "DescribeShareGroupOffsets", 0, 1, Some(0)),
    api(91, "AlterShareGroupOffsets", 0, 0, Some(0)),
    api(92, "DeleteShareGroupOffsets", 0, 0, Some(0)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_their_own_index() {
        for (index, info) in APIS.iter().enumerate() {
            assert_eq!(usize::try_from(info.key.0), Ok(index));
            assert_eq!(info.key.info(), Some(info));
        }
        assert_eq!(ApiKey(93).info(), None);
        assert_eq!(ApiKey(-1).info(), None);
        assert_eq!(ApiKey(999).name(), None);
    }

    #[test]
    fn the_exceptions_among_headers() {
        let header = |key: ApiKey, version| {
            let info = key.info().unwrap();
            (info.request_header(ApiVersion(version)), info.response_header(ApiVersion(version)))
        };
        assert_eq!(header(ApiKey::CONTROLLED_SHUTDOWN, 0), (0, 0));
        assert_eq!(header(ApiKey::CONTROLLED_SHUTDOWN, 1), (1, 0));
        assert_eq!(header(ApiKey::CONTROLLED_SHUTDOWN, 3), (2, 1));
        assert_eq!(header(ApiKey::API_VERSIONS, 2), (1, 0));
        assert_eq!(header(ApiKey::API_VERSIONS, 4), (2, 0));
        assert_eq!(header(ApiKey::SASL_HANDSHAKE, 1), (1, 0));
        assert_eq!(header(ApiKey::OFFSET_DELETE, 0), (1, 0));
        assert_eq!(header(ApiKey::PRODUCE, 8), (1, 0));
        assert_eq!(header(ApiKey::PRODUCE, 9), (2, 1));
        assert_eq!(header(ApiKey::FETCH, 11), (1, 0));
        assert_eq!(header(ApiKey::FETCH, 12), (2, 1));
    }
}
