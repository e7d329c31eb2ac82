//! Versions that `kafka-protocol` lacks, in frames made by Kafka's own classes: what is seen of them.

mod support;

use kafkascope_protocol::{
    CommitHead, CommitPartition, CommitResult, CommittedGroup, CommittedOffset, CurrentLeader, EpochEnd, ErrorCode,
    Exchange, GroupDescribed, GroupHeartbeat, GroupHeartbeatResult, GroupKind, InitProducer, ListOffsetsHead,
    MemberDescribed, Observation, OffsetAsked, OffsetListed, ProducerIdentity, RequestSeq, ShareAcknowledged,
    ShareAcquired, ShareHead, SharePartition, TopicCreated, TopicDeleted, TopicId, TopicIndex, TopicLabel, TopicRef,
};
use support::feed::Feed;
use support::log::Arena;
use support::vectors;

const SEQ: RequestSeq = RequestSeq(0);

/// What one exchange says behind client and head, with its end.
fn seen<'a>(arena: &'a Arena, name: &str, version: i16) -> (Vec<Observation<'a>>, Exchange) {
    let mut feed = Feed::new(arena);
    feed.request(&vectors::named(&format!("{name}-request-v{version}")));
    feed.response(&vectors::named(&format!("{name}-response-v{version}")));
    feed.log.assert_lawful(true);
    let (facts, exchanges) = feed.log.timeless();
    assert_eq!(exchanges.len(), 1, "{facts:?}");
    (facts[2..].iter().map(|fact| Arena::unnumbered(*fact)).collect(), exchanges[0])
}

fn orders() -> TopicRef<'static> {
    TopicRef::new(TopicIndex(0), TopicLabel::Name(b"orders"))
}

fn by_id() -> TopicRef<'static> {
    TopicRef::new(TopicIndex(0), TopicLabel::Id(TopicId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])))
}

fn end(exchange: &Exchange) -> (ErrorCode, Option<i32>) {
    (exchange.error, exchange.throttle_ms)
}

#[test]
fn the_first_commits_have_no_generation_and_the_second_a_time_for_each_partition() {
    for version in [0, 1] {
        let arena = Arena::default();
        let (facts, exchange) = seen(&arena, "offset-commit", version);
        let commit = |partition, offset| {
            Observation::CommitPartition(CommitPartition {
                seq: SEQ,
                topic: orders(),
                partition,
                offset,
                leader_epoch: None,
            })
        };
        let result = |partition, error| {
            let error = ErrorCode(error);
            Observation::CommitResult(CommitResult { seq: SEQ, topic: orders(), partition, error })
        };
        let head = CommitHead {
            seq: SEQ,
            group: b"readers",
            generation: (version == 1).then_some(5),
            member_id: (version == 1).then_some(b"me"),
            instance_id: None,
            transaction: None,
        };
        let head = Observation::CommitHead(head);
        assert_eq!(facts, [head, commit(3, 41), commit(4, 42), result(3, 0), result(4, 12)], "v{version}");
        assert_eq!(end(&exchange), (ErrorCode(12), None));
    }
}

#[test]
fn the_newest_commits_name_topics_by_id() {
    let arena = Arena::default();
    let (facts, exchange) = seen(&arena, "offset-commit", 10);
    let topic = by_id();
    let head = CommitHead {
        seq: SEQ,
        group: b"readers",
        generation: Some(5),
        member_id: Some(b"me"),
        instance_id: None,
        transaction: None,
    };
    let commit = CommitPartition { seq: SEQ, topic, partition: 3, offset: 41, leader_epoch: Some(6) };
    let result = CommitResult { seq: SEQ, topic, partition: 3, error: ErrorCode(113) };
    let expected =
        [Observation::CommitHead(head), Observation::CommitPartition(commit), Observation::CommitResult(result)];
    assert_eq!(facts, expected);
    assert_eq!(end(&exchange), (ErrorCode(113), Some(11)));
}

#[test]
fn the_first_version_of_offset_fetch_has_errors_of_partitions_only() {
    let arena = Arena::default();
    let (facts, exchange) = seen(&arena, "offset-fetch", 0);
    let group = CommittedGroup { seq: SEQ, group: b"readers" };
    let offset = CommittedOffset { seq: SEQ, topic: orders(), partition: 3, offset: 41, error: ErrorCode(3) };
    assert_eq!(facts, [Observation::CommittedGroup(group), Observation::CommittedOffset(offset)]);
    assert_eq!(end(&exchange), (ErrorCode(3), None));
}

#[test]
fn list_offsets_answers_with_a_list_at_first_and_with_one_offset_later() {
    for (version, read_committed, timestamp) in [(0, false, -1), (11, true, -2)] {
        let arena = Arena::default();
        let (facts, exchange) = seen(&arena, "list-offsets", version);
        let listed = |partition, error, offset, leader_epoch| {
            Observation::OffsetListed(OffsetListed {
                seq: SEQ,
                topic: orders(),
                partition,
                error: ErrorCode(error),
                timestamp: -1,
                offset,
                leader_epoch,
            })
        };
        let head = ListOffsetsHead { seq: SEQ, replica_id: -1, read_committed };
        let asked = OffsetAsked { seq: SEQ, topic: orders(), partition: 3, timestamp };
        let mut expected = vec![Observation::ListOffsetsHead(head), Observation::OffsetAsked(asked)];
        if version == 0 {
            expected.extend([listed(3, 0, 50, None), listed(4, 6, -1, None)]);
            assert_eq!(end(&exchange), (ErrorCode(6), None));
        } else {
            expected.push(listed(3, 0, 40, Some(6)));
            assert_eq!(end(&exchange), (ErrorCode::NONE, Some(11)));
        }
        assert_eq!(facts, expected, "v{version}");
    }
}

#[test]
fn the_end_of_an_epoch_is_told_with_the_epoch_from_the_second_version_on() {
    for version in [0, 1] {
        let arena = Arena::default();
        let (facts, exchange) = seen(&arena, "leader-epoch", version);
        let expected = EpochEnd {
            seq: SEQ,
            topic: orders(),
            partition: 3,
            error: ErrorCode(74),
            leader_epoch: (version == 1).then_some(6),
            end_offset: 99,
        };
        assert_eq!(facts, [Observation::EpochEnd(expected)], "v{version}");
        assert_eq!(end(&exchange), (ErrorCode(74), None));
    }
}

#[test]
fn topics_that_come_and_go_are_told_in_the_first_versions() {
    let arena = Arena::default();
    for version in [0, 1] {
        let (facts, exchange) = seen(&arena, "create-topics", version);
        let created = TopicCreated { seq: SEQ, error: ErrorCode(36), name: b"orders", id: None, partitions: None };
        assert_eq!(facts, [Observation::TopicCreated(created)], "v{version}");
        assert_eq!(end(&exchange), (ErrorCode(36), None));
    }
    let (facts, exchange) = seen(&arena, "delete-topics", 0);
    let deleted = TopicDeleted { seq: SEQ, error: ErrorCode(3), name: Some(b"orders"), id: None };
    assert_eq!(facts, [Observation::TopicDeleted(deleted)]);
    assert_eq!(end(&exchange), (ErrorCode(3), None));
}

#[test]
fn a_producer_of_two_phase_commits_is_told_its_own_identity() {
    let arena = Arena::default();
    let (facts, exchange) = seen(&arena, "init-producer-id", 6);
    let init = InitProducer { seq: SEQ, transactional_id: Some(b"pay"), timeout_ms: 60_000 };
    let identity = ProducerIdentity { seq: SEQ, error: ErrorCode::NONE, producer_id: 4000, producer_epoch: 2 };
    assert_eq!(facts, [Observation::InitProducer(init), Observation::ProducerIdentity(identity)]);
    assert_eq!(end(&exchange), (ErrorCode::NONE, Some(11)));
}

#[test]
fn the_newest_share_versions_tell_what_was_acquired_and_who_leads() {
    let arena = Arena::default();
    let (facts, exchange) = seen(&arena, "share-fetch", 2);
    let (seq, topic) = (SEQ, by_id());
    let head = ShareHead { seq, group: Some(b"workers"), member_id: Some(b"me"), session_epoch: 4 };
    let partition = |partition, error, acknowledge_error, record_bytes| {
        let (error, acknowledge_error) = (ErrorCode(error), ErrorCode(acknowledge_error));
        let answer = SharePartition { seq, topic, partition, error, acknowledge_error, record_bytes };
        Observation::SharePartition(answer)
    };
    let acquired = |partition, records, redelivered| {
        Observation::ShareAcquired(ShareAcquired { seq, topic, partition, records, redelivered })
    };
    let leader = CurrentLeader { seq, topic, partition: 4, leader: 2, leader_epoch: 8 };
    let expected = [
        Observation::ShareFetchHead(head),
        partition(3, 0, 121, 70),
        acquired(3, 11, 1),
        Observation::CurrentLeader(leader),
        partition(4, 6, 0, 0),
        acquired(4, 0, 0),
    ];
    assert_eq!(facts, expected);
    assert_eq!(end(&exchange), (ErrorCode(121), Some(11)));

    let (facts, exchange) = seen(&arena, "share-acknowledge", 2);
    let head = ShareHead { session_epoch: -1, ..head };
    let acknowledged = ShareAcknowledged { seq, topic, partition: 3, error: ErrorCode(121) };
    let expected = [Observation::ShareAcknowledgeHead(head), Observation::ShareAcknowledged(acknowledged)];
    assert_eq!(facts, expected);
    assert_eq!(end(&exchange), (ErrorCode(121), Some(11)));
}

#[test]
fn streams_groups_tell_their_members() {
    let arena = Arena::default();
    let (facts, exchange) = seen(&arena, "streams-heartbeat", 0);
    let (seq, kind) = (SEQ, GroupKind::Streams);
    let heartbeat =
        GroupHeartbeat { seq, kind, group: b"app", member_id: b"me", member_epoch: 3, instance_id: Some(b"one") };
    let result = GroupHeartbeatResult {
        seq,
        kind,
        error: ErrorCode::NONE,
        member_id: Some(b"me"),
        member_epoch: 4,
        interval_ms: 5000,
        topics: None,
    };
    assert_eq!(facts, [Observation::GroupHeartbeat(heartbeat), Observation::GroupHeartbeatResult(result)]);
    assert_eq!(end(&exchange), (ErrorCode::NONE, Some(11)));

    let (facts, exchange) = seen(&arena, "streams-describe", 0);
    let group = GroupDescribed {
        seq,
        kind,
        error: ErrorCode::NONE,
        group: b"app",
        state: b"Stable",
        epoch: 8,
        assignment_epoch: 7,
    };
    let member = MemberDescribed {
        seq,
        member_id: b"me",
        instance_id: Some(b"one"),
        member_epoch: 4,
        client_id: b"client",
        client_host: b"/10.0.0.7",
    };
    let none =
        GroupDescribed { seq, kind, error: ErrorCode(69), group: b"none", state: b"", epoch: 0, assignment_epoch: 0 };
    let expected = [
        Observation::GroupDescribed(group),
        Observation::MemberDescribed(member),
        Observation::MemberDescribed(MemberDescribed { member_id: b"you", instance_id: None, ..member }),
        Observation::GroupDescribed(none),
    ];
    assert_eq!(facts, expected);
    assert_eq!(end(&exchange), (ErrorCode(69), Some(11)));
}
