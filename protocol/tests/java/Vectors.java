import java.nio.ByteBuffer;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.CreateTopicsRequestData;
import org.apache.kafka.common.message.CreateTopicsResponseData;
import org.apache.kafka.common.message.DeleteTopicsRequestData;
import org.apache.kafka.common.message.DeleteTopicsResponseData;
import org.apache.kafka.common.message.FetchRequestData;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.message.ListOffsetsRequestData;
import org.apache.kafka.common.message.ListOffsetsResponseData;
import org.apache.kafka.common.message.OffsetCommitRequestData;
import org.apache.kafka.common.message.OffsetCommitResponseData;
import org.apache.kafka.common.message.OffsetFetchRequestData;
import org.apache.kafka.common.message.OffsetFetchResponseData;
import org.apache.kafka.common.message.OffsetForLeaderEpochRequestData;
import org.apache.kafka.common.message.OffsetForLeaderEpochResponseData;
import org.apache.kafka.common.message.ProduceRequestData;
import org.apache.kafka.common.message.ProduceResponseData;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.record.CompressionType;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.MemoryRecordsBuilder;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.TimestampType;

/**
 * Prints whole frames, one `name hex` a line, of the old message versions that the kafka-protocol crate lacks: Produce
 * 0-2, Fetch 0-3, message sets of magic 0 and 1, and the first versions of those about offsets and topics. Run with the
 * jars of kafka-clients 3.9.2, the last release that has them. Gzip is left out: its bytes depend on the Java runtime.
 */
public class Vectors {
    private static final long BASE_TIME = 1_700_000_000_000L;
    private static final Uuid TOPIC_ID = new Uuid(0x0102030405060708L, 0x090a0b0c0d0e0f10L);

    public static void main(String[] arguments) {
        for (short version = 0; version <= 2; version++) {
            byte magic = version == 2 ? RecordBatch.MAGIC_VALUE_V1 : RecordBatch.MAGIC_VALUE_V0;
            for (CompressionType codec : List.of(CompressionType.NONE, CompressionType.SNAPPY, CompressionType.LZ4)) {
                print("produce-request-v" + version + "-" + codec.name, request(ApiKeys.PRODUCE, version, produceRequest(magic, codec)));
            }
            print("produce-response-v" + version, response(ApiKeys.PRODUCE, version, produceResponse()));
        }
        for (short version = 0; version <= 3; version++) {
            byte magic = version >= 2 ? RecordBatch.MAGIC_VALUE_V1 : RecordBatch.MAGIC_VALUE_V0;
            print("fetch-request-v" + version, request(ApiKeys.FETCH, version, fetchRequest(version)));
            for (CompressionType codec : List.of(CompressionType.NONE, CompressionType.SNAPPY, CompressionType.LZ4)) {
                print("fetch-response-v" + version + "-" + codec.name, response(ApiKeys.FETCH, version, fetchResponse(magic, codec)));
            }
        }
        // New enough for kafka-protocol, but encoded by another hand: the oracle has an oracle.
        print("produce-request-v9-lz4", request(ApiKeys.PRODUCE, (short) 9, produceRequest(RecordBatch.MAGIC_VALUE_V2, CompressionType.LZ4)));
        print("fetch-request-v13", request(ApiKeys.FETCH, (short) 13, fetchRequest((short) 13)));
        print("fetch-response-v13-snappy", response(ApiKeys.FETCH, (short) 13, fetchResponse(RecordBatch.MAGIC_VALUE_V2, CompressionType.SNAPPY)));
        offsetsAndTopics();
    }

    /** Each with its response. */
    private static void offsetsAndTopics() {
        for (short version = 0; version <= 1; version++) {
            OffsetCommitRequestData commit = new OffsetCommitRequestData().setGroupId("readers").setTopics(List.of(
                new OffsetCommitRequestData.OffsetCommitRequestTopic().setName("orders").setPartitions(List.of(
                    new OffsetCommitRequestData.OffsetCommitRequestPartition().setPartitionIndex(3).setCommittedOffset(41).setCommittedMetadata("m"),
                    new OffsetCommitRequestData.OffsetCommitRequestPartition().setPartitionIndex(4).setCommittedOffset(42).setCommittedMetadata(null)))));
            if (version == 1) {
                commit.setGenerationIdOrMemberEpoch(5).setMemberId("me");
                commit.topics().get(0).partitions().forEach(partition -> partition.setCommitTimestamp(BASE_TIME));
            }
            exchange(ApiKeys.OFFSET_COMMIT, "offset-commit", version, commit, new OffsetCommitResponseData().setTopics(List.of(
                new OffsetCommitResponseData.OffsetCommitResponseTopic().setName("orders").setPartitions(List.of(
                    new OffsetCommitResponseData.OffsetCommitResponsePartition().setPartitionIndex(3),
                    new OffsetCommitResponseData.OffsetCommitResponsePartition().setPartitionIndex(4).setErrorCode((short) 12))))));
        }
        exchange(ApiKeys.OFFSET_FETCH, "offset-fetch", (short) 0,
            new OffsetFetchRequestData().setGroupId("readers").setTopics(List.of(
                new OffsetFetchRequestData.OffsetFetchRequestTopic().setName("orders").setPartitionIndexes(List.of(3)))),
            new OffsetFetchResponseData().setTopics(List.of(
                new OffsetFetchResponseData.OffsetFetchResponseTopic().setName("orders").setPartitions(List.of(
                    new OffsetFetchResponseData.OffsetFetchResponsePartition().setPartitionIndex(3).setCommittedOffset(41).setMetadata("m").setErrorCode((short) 3))))));
        exchange(ApiKeys.LIST_OFFSETS, "list-offsets", (short) 0,
            new ListOffsetsRequestData().setReplicaId(-1).setTopics(List.of(
                new ListOffsetsRequestData.ListOffsetsTopic().setName("orders").setPartitions(List.of(
                    new ListOffsetsRequestData.ListOffsetsPartition().setPartitionIndex(3).setTimestamp(-1).setMaxNumOffsets(2))))),
            new ListOffsetsResponseData().setTopics(List.of(
                new ListOffsetsResponseData.ListOffsetsTopicResponse().setName("orders").setPartitions(List.of(
                    new ListOffsetsResponseData.ListOffsetsPartitionResponse().setPartitionIndex(3).setOldStyleOffsets(List.of(50L, 40L)),
                    new ListOffsetsResponseData.ListOffsetsPartitionResponse().setPartitionIndex(4).setErrorCode((short) 6))))));
        for (short version = 0; version <= 1; version++) {
            OffsetForLeaderEpochRequestData.OffsetForLeaderTopicCollection asked = new OffsetForLeaderEpochRequestData.OffsetForLeaderTopicCollection();
            asked.add(new OffsetForLeaderEpochRequestData.OffsetForLeaderTopic().setTopic("orders").setPartitions(List.of(
                new OffsetForLeaderEpochRequestData.OffsetForLeaderPartition().setPartition(3).setLeaderEpoch(7))));
            OffsetForLeaderEpochResponseData.OffsetForLeaderTopicResultCollection ends = new OffsetForLeaderEpochResponseData.OffsetForLeaderTopicResultCollection();
            ends.add(new OffsetForLeaderEpochResponseData.OffsetForLeaderTopicResult().setTopic("orders").setPartitions(List.of(
                new OffsetForLeaderEpochResponseData.EpochEndOffset().setPartition(3).setLeaderEpoch(version == 0 ? -1 : 6).setEndOffset(99).setErrorCode((short) 74))));
            exchange(ApiKeys.OFFSET_FOR_LEADER_EPOCH, "leader-epoch", version,
                new OffsetForLeaderEpochRequestData().setTopics(asked), new OffsetForLeaderEpochResponseData().setTopics(ends));
        }
        for (short version = 0; version <= 1; version++) {
            CreateTopicsResponseData.CreatableTopicResultCollection created = new CreateTopicsResponseData.CreatableTopicResultCollection();
            created.add(new CreateTopicsResponseData.CreatableTopicResult().setName("orders").setErrorCode((short) 36).setErrorMessage(version == 0 ? null : "exists"));
            exchange(ApiKeys.CREATE_TOPICS, "create-topics", version, new CreateTopicsRequestData(), new CreateTopicsResponseData().setTopics(created));
        }
        DeleteTopicsResponseData.DeletableTopicResultCollection deleted = new DeleteTopicsResponseData.DeletableTopicResultCollection();
        deleted.add(new DeleteTopicsResponseData.DeletableTopicResult().setName("orders").setErrorCode((short) 3));
        exchange(ApiKeys.DELETE_TOPICS, "delete-topics", (short) 0,
            new DeleteTopicsRequestData().setTopicNames(List.of("orders")), new DeleteTopicsResponseData().setResponses(deleted));
    }

    private static void exchange(ApiKeys api, String name, short version, ApiMessage request, ApiMessage response) {
        print(name + "-request-v" + version, request(api, version, request));
        print(name + "-response-v" + version, response(api, version, response));
    }

    /** Three messages with offsets 40-42; magic 0 has no timestamps. */
    private static MemoryRecords records(byte magic, CompressionType codec) {
        MemoryRecordsBuilder builder = MemoryRecords.builder(
            ByteBuffer.allocate(4096), magic, Compression.of(codec).build(), TimestampType.CREATE_TIME, 40L);
        for (int i = 0; i < 3; i++) {
            long timestamp = magic == RecordBatch.MAGIC_VALUE_V0 ? RecordBatch.NO_TIMESTAMP : BASE_TIME + i;
            builder.append(timestamp, ("key" + i).getBytes(), "value value value value".getBytes());
        }
        return builder.build();
    }

    private static ApiMessage produceRequest(byte magic, CompressionType codec) {
        ProduceRequestData.TopicProduceDataCollection topics = new ProduceRequestData.TopicProduceDataCollection();
        topics.add(new ProduceRequestData.TopicProduceData().setName("orders").setPartitionData(List.of(
            new ProduceRequestData.PartitionProduceData().setIndex(0).setRecords(records(magic, codec)),
            new ProduceRequestData.PartitionProduceData().setIndex(7).setRecords(records(magic, codec)))));
        topics.add(new ProduceRequestData.TopicProduceData().setName("payments").setPartitionData(List.of(
            new ProduceRequestData.PartitionProduceData().setIndex(3).setRecords(records(magic, codec)))));
        return new ProduceRequestData().setAcks((short) -1).setTimeoutMs(30_000).setTopicData(topics);
    }

    private static ApiMessage produceResponse() {
        ProduceResponseData.TopicProduceResponseCollection topics = new ProduceResponseData.TopicProduceResponseCollection();
        topics.add(new ProduceResponseData.TopicProduceResponse().setName("orders").setPartitionResponses(List.of(
            new ProduceResponseData.PartitionProduceResponse().setIndex(0).setBaseOffset(100),
            new ProduceResponseData.PartitionProduceResponse().setIndex(7).setErrorCode((short) 6).setBaseOffset(-1))));
        topics.add(new ProduceResponseData.TopicProduceResponse().setName("payments").setPartitionResponses(List.of(
            new ProduceResponseData.PartitionProduceResponse().setIndex(3).setBaseOffset(5))));
        return new ProduceResponseData().setThrottleTimeMs(11).setResponses(topics);
    }

    private static ApiMessage fetchRequest(short version) {
        FetchRequestData data = new FetchRequestData().setMaxWaitMs(500).setMinBytes(1).setReplicaId(-1);
        if (version >= 3) {
            data.setMaxBytes(1 << 20);
        }
        FetchRequestData.FetchTopic topic = new FetchRequestData.FetchTopic().setPartitions(List.of(
            new FetchRequestData.FetchPartition().setPartition(0).setFetchOffset(40).setPartitionMaxBytes(4096),
            new FetchRequestData.FetchPartition().setPartition(7).setFetchOffset(41).setPartitionMaxBytes(4096)));
        return data.setTopics(List.of(version >= 13 ? topic.setTopicId(TOPIC_ID) : topic.setTopic("orders")));
    }

    private static ApiMessage fetchResponse(byte magic, CompressionType codec) {
        FetchResponseData.FetchableTopicResponse topic = new FetchResponseData.FetchableTopicResponse().setPartitions(List.of(
            new FetchResponseData.PartitionData().setPartitionIndex(0).setHighWatermark(43).setRecords(records(magic, codec)),
            new FetchResponseData.PartitionData().setPartitionIndex(7).setErrorCode((short) 6).setHighWatermark(-1).setRecords(MemoryRecords.EMPTY)));
        topic.setTopic("orders");
        if (magic == RecordBatch.MAGIC_VALUE_V2) {
            topic.setTopic("").setTopicId(TOPIC_ID);
        }
        return new FetchResponseData().setThrottleTimeMs(11).setResponses(List.of(topic));
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
