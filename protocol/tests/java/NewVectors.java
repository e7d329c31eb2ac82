import java.nio.ByteBuffer;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.InitProducerIdRequestData;
import org.apache.kafka.common.message.InitProducerIdResponseData;
import org.apache.kafka.common.message.ListOffsetsRequestData;
import org.apache.kafka.common.message.ListOffsetsResponseData;
import org.apache.kafka.common.message.OffsetCommitRequestData;
import org.apache.kafka.common.message.OffsetCommitResponseData;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.message.ShareAcknowledgeRequestData;
import org.apache.kafka.common.message.ShareAcknowledgeResponseData;
import org.apache.kafka.common.message.ShareFetchRequestData;
import org.apache.kafka.common.message.ShareFetchResponseData;
import org.apache.kafka.common.message.StreamsGroupDescribeRequestData;
import org.apache.kafka.common.message.StreamsGroupDescribeResponseData;
import org.apache.kafka.common.message.StreamsGroupHeartbeatRequestData;
import org.apache.kafka.common.message.StreamsGroupHeartbeatResponseData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.record.internal.MemoryRecords;

/**
 * Prints whole frames, one `name hex` a line, of the newest message versions, which the kafka-protocol crate lacks. Run with
 * the jars of kafka-clients 4.3.1.
 */
public class NewVectors {
    private static final Uuid TOPIC_ID = new Uuid(0x0102030405060708L, 0x090a0b0c0d0e0f10L);

    public static void main(String[] arguments) {
        offsets();
        exchange(ApiKeys.INIT_PRODUCER_ID, "init-producer-id", (short) 6,
            new InitProducerIdRequestData().setTransactionalId("pay").setTransactionTimeoutMs(60_000).setEnable2Pc(true),
            new InitProducerIdResponseData().setThrottleTimeMs(11).setProducerId(4000).setProducerEpoch((short) 2).setOngoingTxnProducerId(9));
        shares();
        streams();
    }

    private static void offsets() {
        exchange(ApiKeys.OFFSET_COMMIT, "offset-commit", (short) 10,
            new OffsetCommitRequestData().setGroupId("readers").setGenerationIdOrMemberEpoch(5).setMemberId("me").setTopics(List.of(
                new OffsetCommitRequestData.OffsetCommitRequestTopic().setTopicId(TOPIC_ID).setPartitions(List.of(
                    new OffsetCommitRequestData.OffsetCommitRequestPartition().setPartitionIndex(3).setCommittedOffset(41).setCommittedLeaderEpoch(6))))),
            new OffsetCommitResponseData().setThrottleTimeMs(11).setTopics(List.of(
                new OffsetCommitResponseData.OffsetCommitResponseTopic().setTopicId(TOPIC_ID).setPartitions(List.of(
                    new OffsetCommitResponseData.OffsetCommitResponsePartition().setPartitionIndex(3).setErrorCode((short) 113))))));
        exchange(ApiKeys.LIST_OFFSETS, "list-offsets", (short) 11,
            new ListOffsetsRequestData().setReplicaId(-1).setIsolationLevel((byte) 1).setTimeoutMs(500).setTopics(List.of(
                new ListOffsetsRequestData.ListOffsetsTopic().setName("orders").setPartitions(List.of(
                    new ListOffsetsRequestData.ListOffsetsPartition().setPartitionIndex(3).setTimestamp(-2))))),
            new ListOffsetsResponseData().setThrottleTimeMs(11).setTopics(List.of(
                new ListOffsetsResponseData.ListOffsetsTopicResponse().setName("orders").setPartitions(List.of(
                    new ListOffsetsResponseData.ListOffsetsPartitionResponse().setPartitionIndex(3).setOffset(40).setLeaderEpoch(6))))));
    }

    private static void shares() {
        // They are not looked at.
        MemoryRecords records = MemoryRecords.readableRecords(ByteBuffer.allocate(70));
        ShareFetchResponseData.ShareFetchableTopicResponseCollection fetched = new ShareFetchResponseData.ShareFetchableTopicResponseCollection();
        fetched.add(new ShareFetchResponseData.ShareFetchableTopicResponse().setTopicId(TOPIC_ID).setPartitions(List.of(
            new ShareFetchResponseData.PartitionData().setPartitionIndex(3).setAcknowledgeErrorCode((short) 121).setRecords(records).setAcquiredRecords(List.of(
                new ShareFetchResponseData.AcquiredRecords().setFirstOffset(10).setLastOffset(19).setDeliveryCount((short) 1),
                new ShareFetchResponseData.AcquiredRecords().setFirstOffset(30).setLastOffset(30).setDeliveryCount((short) 2))),
            new ShareFetchResponseData.PartitionData().setPartitionIndex(4).setErrorCode((short) 6).setRecords(MemoryRecords.EMPTY).setCurrentLeader(
                new ShareFetchResponseData.LeaderIdAndEpoch().setLeaderId(2).setLeaderEpoch(8)))));
        exchange(ApiKeys.SHARE_FETCH, "share-fetch", (short) 2,
            new ShareFetchRequestData().setGroupId("workers").setMemberId("me").setShareSessionEpoch(4).setIsRenewAck(true),
            new ShareFetchResponseData().setThrottleTimeMs(11).setAcquisitionLockTimeoutMs(30_000).setResponses(fetched));
        ShareAcknowledgeResponseData.ShareAcknowledgeTopicResponseCollection acknowledged = new ShareAcknowledgeResponseData.ShareAcknowledgeTopicResponseCollection();
        acknowledged.add(new ShareAcknowledgeResponseData.ShareAcknowledgeTopicResponse().setTopicId(TOPIC_ID).setPartitions(List.of(
            new ShareAcknowledgeResponseData.PartitionData().setPartitionIndex(3).setErrorCode((short) 121))));
        exchange(ApiKeys.SHARE_ACKNOWLEDGE, "share-acknowledge", (short) 2,
            new ShareAcknowledgeRequestData().setGroupId("workers").setMemberId("me").setShareSessionEpoch(-1),
            new ShareAcknowledgeResponseData().setThrottleTimeMs(11).setAcquisitionLockTimeoutMs(30_000).setResponses(acknowledged));
    }

    private static void streams() {
        exchange(ApiKeys.STREAMS_GROUP_HEARTBEAT, "streams-heartbeat", (short) 0,
            new StreamsGroupHeartbeatRequestData().setGroupId("app").setMemberId("me").setMemberEpoch(3).setInstanceId("one"),
            new StreamsGroupHeartbeatResponseData().setThrottleTimeMs(11).setMemberId("me").setMemberEpoch(4).setHeartbeatIntervalMs(5000));
        StreamsGroupDescribeResponseData.TaskIds tasks = new StreamsGroupDescribeResponseData.TaskIds().setSubtopologyId("0").setPartitions(List.of(1, 2));
        StreamsGroupDescribeResponseData.TaskOffset offset = new StreamsGroupDescribeResponseData.TaskOffset().setSubtopologyId("0").setPartition(1).setOffset(7);
        StreamsGroupDescribeResponseData.KeyValue pair = new StreamsGroupDescribeResponseData.KeyValue().setKey("k").setValue("v");
        StreamsGroupDescribeResponseData.TopicInfo topic = new StreamsGroupDescribeResponseData.TopicInfo().setName("log").setPartitions(4).setTopicConfigs(List.of(pair, pair));
        StreamsGroupDescribeResponseData.Member member = new StreamsGroupDescribeResponseData.Member()
            .setMemberId("me").setMemberEpoch(4).setInstanceId("one").setClientId("client").setClientHost("/10.0.0.7").setProcessId("p")
            .setUserEndpoint(new StreamsGroupDescribeResponseData.Endpoint().setHost("h").setPort(80))
            .setClientTags(List.of(pair)).setTaskOffsets(List.of(offset, offset)).setTaskEndOffsets(List.of(offset))
            .setAssignment(new StreamsGroupDescribeResponseData.Assignment().setActiveTasks(List.of(tasks, tasks)).setWarmupTasks(List.of(tasks)))
            .setTargetAssignment(new StreamsGroupDescribeResponseData.Assignment().setStandbyTasks(List.of(tasks)));
        StreamsGroupDescribeResponseData.Subtopology subtopology = new StreamsGroupDescribeResponseData.Subtopology()
            .setSubtopologyId("0").setSourceTopics(List.of("orders", "payments")).setRepartitionSinkTopics(List.of("sink"))
            .setStateChangelogTopics(List.of(topic)).setRepartitionSourceTopics(List.of(topic, topic));
        exchange(ApiKeys.STREAMS_GROUP_DESCRIBE, "streams-describe", (short) 0, new StreamsGroupDescribeRequestData(),
            new StreamsGroupDescribeResponseData().setThrottleTimeMs(11).setGroups(List.of(
                new StreamsGroupDescribeResponseData.DescribedGroup().setGroupId("app").setGroupState("Stable").setGroupEpoch(8).setAssignmentEpoch(7)
                    .setTopology(new StreamsGroupDescribeResponseData.Topology().setEpoch(1).setSubtopologies(List.of(subtopology, subtopology)))
                    .setMembers(List.of(member, member.duplicate().setMemberId("you").setInstanceId(null).setUserEndpoint(null))),
                new StreamsGroupDescribeResponseData.DescribedGroup().setGroupId("none").setErrorCode((short) 69).setTopology(null))));
    }

    private static void exchange(ApiKeys api, String name, short version, ApiMessage request, ApiMessage response) {
        print(name + "-request-v" + version, request(api, version, request));
        print(name + "-response-v" + version, response(api, version, response));
    }

    private static byte[] request(ApiKeys api, short version, ApiMessage body) {
        RequestHeaderData header = new RequestHeaderData()
            .setRequestApiKey(api.id).setRequestApiVersion(version).setCorrelationId(77).setClientId("vectors");
        return frame(header, api.requestHeaderVersion(version), body, version);
    }

    private static byte[] response(ApiKeys api, short version, ApiMessage body) {
        return frame(new ResponseHeaderData().setCorrelationId(77), api.responseHeaderVersion(version), body, version);
    }

    private static byte[] frame(ApiMessage header, short headerVersion, ApiMessage body, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        int size = header.size(cache, headerVersion) + body.size(cache, version);
        ByteBuffer buffer = ByteBuffer.allocate(4 + size);
        buffer.putInt(size);
        ByteBufferAccessor writable = new ByteBufferAccessor(buffer);
        header.write(writable, cache, headerVersion);
        body.write(writable, cache, version);
        return buffer.array();
    }

    private static void print(String name, byte[] frame) {
        StringBuilder line = new StringBuilder(name).append(' ');
        for (byte b : frame) {
            line.append(String.format("%02x", b));
        }
        System.out.println(line);
    }
}
