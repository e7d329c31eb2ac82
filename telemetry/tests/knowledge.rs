//! What follows from what connections see together: lag, skips, commits, groups; with one proxy and with several.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod scene;

use kafkascope_protocol::{
    ApiKey, CommitHead, CommitPartition, CommitResult, CommittedGroup, CommittedOffset, ErrorCode, FetchForgotten,
    GroupDeleted, Observation, TopicDeleted, Transaction,
};
use kafkascope_telemetry::metric::Metric;
use kafkascope_telemetry::{CloseReason, Settings, Snapshot};
use scene::groups::{COMMIT, Client, FETCH, POLL, Poll, commit_body, rounds, value};
use scene::{SECOND, Scene, topic};

const OUT_OF_RANGE: i16 = 1;

fn transaction(producer_epoch: i16) -> Transaction<'static> {
    Transaction { transactional_id: b"tx", producer_id: 9, producer_epoch }
}

#[test]
fn position_lag_is_the_distance_from_what_is_asked_for_to_the_end() {
    let mut scene = Scene::new(Settings::default());
    let mut consumer = scene.connect("c1");
    consumer.poll(&mut scene, Poll { offset: Some(100), session_epoch: 0, high: 200, given: Some((100, 150)), ..POLL });
    assert_eq!(value(&scene.collect(), Metric::PositionLag), Some(100));
    consumer.poll(&mut scene, Poll { offset: Some(150), high: 230, ..POLL });
    consumer.poll(&mut scene, Poll { offset: Some(40), partition: 1, high: 50, ..POLL });
    let snapshot = scene.collect();
    assert_eq!(value(&snapshot, Metric::PositionLag), Some(80 + 10));
    assert_eq!(value(&snapshot, Metric::PositionLagMax), Some(80));
    assert_eq!(scene::sum(&snapshot, Metric::PartitionCurrentOffset, &[("topic", "t"), ("partition", "0")]), 230);
    assert_eq!(value(&snapshot, Metric::SkippedRecords), None);
}

#[test]
fn an_idle_session_keeps_its_lag_and_a_consumer_that_is_gone_has_none() {
    let mut scene = Scene::new(Settings::default());
    let mut consumer = scene.connect("c1");
    consumer.poll(&mut scene, Poll { offset: Some(90), session_epoch: 0, high: 100, ..POLL });
    for _ in 0..60 {
        consumer.poll(&mut scene, POLL);
        assert_eq!(value(&scene.collect(), Metric::PositionLag), Some(10));
    }
    consumer.recorder.close(&mut scene.shard, CloseReason::Client);
    // What is not read again goes with the next states that are out of date.
    assert_eq!(value(&rounds(&mut scene, 17), Metric::PositionLag), None, "its connection has ended");
    let mut consumer = scene.connect("c1");
    consumer.poll(&mut scene, Poll { offset: Some(90), session_epoch: 0, high: 100, ..POLL });
    assert_eq!(value(&scene.collect(), Metric::PositionLag), Some(10));
    assert_eq!(value(&rounds(&mut scene, 40), Metric::PositionLag), None, "it says no more");
}

#[test]
fn a_consumer_with_records_in_store_is_as_far_as_it_has_committed() {
    let mut scene = Scene::new(Settings::default());
    let (mut consumer, mut coordinator) = (scene.connect("c1"), scene.connect("c1"));
    coordinator.join(&mut scene, "g", "m", 1, &[0]);
    let poll = Poll { offset: Some(0), session_epoch: 0, high: 200, given: Some((0, 150)), ..POLL };
    consumer.poll(&mut scene, poll);
    assert_eq!(value(&scene.collect(), Metric::PositionLag), Some(200));
    coordinator.commit(&mut scene, "g", 120, 0);
    assert_eq!(value(&scene.collect(), Metric::PositionLag), Some(80));
    coordinator.commit(&mut scene, "g", 160, 0);
    assert_eq!(value(&scene.collect(), Metric::PositionLag), Some(200), "it was not given that much");
    coordinator.commit(&mut scene, "g", 150, 0);
    consumer.poll(&mut scene, Poll { offset: Some(10), ..poll });
    assert_eq!(value(&scene.collect(), Metric::PositionLag), Some(190), "it reads again");
}

#[test]
fn a_read_committed_consumer_is_behind_the_last_stable_offset_only() {
    let mut scene = Scene::new(Settings::default());
    let mut consumer = scene.connect("c1");
    consumer.poll(&mut scene, Poll { offset: Some(90), session_epoch: 0, high: 100, stable: Some(90), ..POLL });
    assert_eq!(value(&scene.collect(), Metric::PositionLag), Some(0));
}

#[test]
fn committed_lag_needs_both_sides_and_is_never_negative() {
    let mut scene = Scene::new(Settings::default());
    let mut coordinator = scene.connect("c1");
    coordinator.commit(&mut scene, "g", 70, 0);
    let snapshot = scene.collect();
    assert_eq!(value(&snapshot, Metric::GroupOffset), Some(70));
    assert_eq!(value(&snapshot, Metric::GroupLag), None);
    assert_eq!(value(&snapshot, Metric::GroupLagSum), None);
    let mut other = scene.connect("c2");
    other.poll(&mut scene, Poll { offset: Some(0), session_epoch: 0, high: 100, ..POLL });
    let snapshot = scene.collect();
    assert_eq!(value(&snapshot, Metric::GroupLag), Some(30));
    assert_eq!(value(&snapshot, Metric::GroupLagSum), Some(30));
    coordinator.commit(&mut scene, "g", 120, 0);
    assert_eq!(value(&scene.collect(), Metric::GroupLag), Some(0));
}

#[derive(Clone, Copy)]
enum Deleted {
    Offset,
    Group,
    Topic,
}

fn delete(client: &mut scene::Connection, scene: &mut Scene, what: Deleted, error: i16) {
    let api = match what {
        Deleted::Offset => ApiKey::OFFSET_DELETE,
        Deleted::Group => ApiKey::DELETE_GROUPS,
        Deleted::Topic => ApiKey::DELETE_TOPICS,
    };
    let seq = client.begin(scene, api, 0);
    let failed = ErrorCode(error);
    match what {
        Deleted::Offset => {
            client.observe(scene, Observation::CommittedGroup(CommittedGroup { seq, group: b"g" }));
            let gone = CommittedOffset { seq, topic: topic("t"), partition: 0, offset: -1, error: failed };
            client.observe(scene, Observation::CommittedOffset(gone));
        }
        Deleted::Group => {
            client.observe(scene, Observation::GroupDeleted(GroupDeleted { seq, group: b"g", error: failed }));
        }
        Deleted::Topic => {
            let gone = TopicDeleted { seq, error: failed, name: Some(b"t"), id: None };
            client.observe(scene, Observation::TopicDeleted(gone));
        }
    }
    client.ended(scene, seq, api, error, None);
}

#[test]
fn what_was_deleted_is_absent_until_it_is_there_again() {
    for what in [Deleted::Offset, Deleted::Group, Deleted::Topic] {
        let mut scene = Scene::new(Settings::default());
        let (mut client, mut other) = (scene.connect("c1"), scene.connect("c2"));
        let poll = Poll { offset: Some(0), session_epoch: 0, high: 100, ..POLL };
        other.poll(&mut scene, poll);
        client.commit(&mut scene, "g", 70, 0);
        delete(&mut client, &mut scene, what, 68);
        assert_eq!(value(&scene.collect(), Metric::GroupLag), Some(30), "it was refused");
        delete(&mut client, &mut scene, what, 0);
        let snapshot = rounds(&mut scene, 16);
        for metric in [Metric::GroupLag, Metric::GroupLagSum, Metric::GroupOffset, Metric::GroupTimeLag] {
            assert_eq!(value(&snapshot, metric), None, "{metric:?}");
        }
        let is_topic = matches!(what, Deleted::Topic);
        assert_eq!(value(&snapshot, Metric::PartitionCurrentOffset), (!is_topic).then_some(100));
        assert_eq!(value(&snapshot, Metric::PositionLag), (!is_topic).then_some(100));
        let group = scene.registry.groups(scene.now);
        assert_eq!(group.is_empty(), matches!(what, Deleted::Group), "{group:?}");
        other.poll(&mut scene, poll);
        client.commit(&mut scene, "g", 90, 0);
        assert_eq!(value(&scene.collect(), Metric::GroupLag), Some(10));
    }
}

#[test]
fn a_group_without_commits_has_none() {
    let mut scene = Scene::new(Settings::default());
    let mut client = scene.connect("c1");
    delete(&mut client, &mut scene, Deleted::Offset, 0);
    assert_eq!(value(&rounds(&mut scene, 2), Metric::SelfFacts), None);
}

#[test]
fn a_refused_commit_is_counted_and_moves_nothing() {
    let mut scene = Scene::new(Settings::default());
    let mut coordinator = scene.connect("c1");
    coordinator.commit(&mut scene, "g", 70, 0);
    coordinator.commit(&mut scene, "g", 90, 22);
    let snapshot = scene.collect();
    assert_eq!(value(&snapshot, Metric::GroupOffset), Some(70));
    assert_eq!(value(&snapshot, Metric::GroupCommits), Some(1));
    assert_eq!(scene::sum(&snapshot, Metric::GroupCommitErrors, &[("error.type", "ILLEGAL_GENERATION")]), 1);
}

#[test]
fn a_huge_commit_is_counted_as_far_as_it_is_kept_in_whatever_order_it_is_answered_and_the_rest_is_lost() {
    const KEPT: i32 = 10_000;
    let mut scene = Scene::new(Settings::default());
    let mut coordinator = scene.connect("c1");
    let seq = coordinator.begin(&mut scene, COMMIT, 5);
    let head = CommitHead { seq, group: b"g", generation: None, member_id: None, instance_id: None, transaction: None };
    coordinator.observe(&mut scene, Observation::CommitHead(head));
    for partition in 0..KEPT + 7 {
        let part = CommitPartition { seq, topic: topic("t"), partition, offset: 1, leader_epoch: None };
        coordinator.observe(&mut scene, Observation::CommitPartition(part));
    }
    for partition in (0..KEPT + 7).rev() {
        let error = ErrorCode(if partition % 10 == 0 { 22 } else { 0 });
        coordinator
            .observe(&mut scene, Observation::CommitResult(CommitResult { seq, topic: topic("t"), partition, error }));
    }
    coordinator.ended(&mut scene, seq, COMMIT, 0, None);
    let snapshot = rounds(&mut scene, 2);
    assert_eq!(value(&snapshot, Metric::GroupCommits), Some(9_000));
    assert_eq!(value(&snapshot, Metric::GroupCommitErrors), Some(1_000));
    assert_eq!(value(&snapshot, Metric::SelfFactsLost), Some(7));
}

#[test]
fn requests_that_pile_up_unanswered_are_counted_as_lost() {
    let mut scene = Scene::new(Settings::default());
    let mut coordinator = scene.connect("c1");
    let seqs: Vec<_> = (0..70)
        .map(|_| {
            let seq = coordinator.begin(&mut scene, COMMIT, 5);
            commit_body(&mut coordinator, &mut scene, seq, "g", 1, 0, None);
            seq
        })
        .collect();
    for seq in seqs {
        coordinator.ended(&mut scene, seq, COMMIT, 0, None);
    }
    let snapshot = rounds(&mut scene, 2);
    assert_eq!(value(&snapshot, Metric::GroupCommits), Some(64));
    assert_eq!(value(&snapshot, Metric::SelfFactsLost), Some(6));
}

#[test]
fn commits_of_a_transaction_take_effect_when_it_is_committed() {
    let mut scene = Scene::new(Settings::default());
    let (mut coordinator, mut producer) = (scene.connect("c1"), scene.connect("c1"));
    coordinator.commit_in(&mut scene, "g", 70, Some(transaction(0)));
    assert_eq!(value(&scene.collect(), Metric::GroupOffset), None);
    producer.end(&mut scene, transaction(0), true);
    assert_eq!(value(&scene.collect(), Metric::GroupOffset), Some(70));
    coordinator.commit_in(&mut scene, "g", 80, Some(transaction(0)));
    producer.end(&mut scene, transaction(0), false);
    assert_eq!(value(&scene.collect(), Metric::GroupOffset), Some(70));
    coordinator.commit_in(&mut scene, "g", 90, Some(transaction(0)));
    scene.collect();
    // A newer producer takes its place.
    producer.end(&mut scene, transaction(1), false);
    producer.end(&mut scene, transaction(0), true);
    assert_eq!(value(&scene.collect(), Metric::GroupOffset), Some(70));
}

#[test]
fn records_that_a_consumer_goes_past_are_skipped() {
    let mut scene = Scene::new(Settings::default());
    let mut consumer = scene.connect("c1");
    consumer.poll(&mut scene, Poll { offset: Some(0), session_epoch: 0, high: 1_000, given: Some((0, 100)), ..POLL });
    consumer.poll(&mut scene, Poll { offset: Some(150), high: 1_000, given: Some((150, 200)), ..POLL });
    // Back, and on again: nothing is skipped.
    consumer.poll(&mut scene, Poll { offset: Some(50), high: 1_000, given: Some((50, 100)), ..POLL });
    consumer.poll(&mut scene, Poll { offset: Some(100), high: 1_000, ..POLL });
    assert_eq!(value(&scene.collect(), Metric::SkippedRecords), None, "it is not judged yet");
    assert_eq!(value(&rounds(&mut scene, 6), Metric::SkippedRecords), Some(50));
}

#[test]
fn records_that_are_deleted_before_a_consumer_comes_are_skipped() {
    let mut scene = Scene::new(Settings::default());
    let mut consumer = scene.connect("c1");
    consumer.poll(&mut scene, Poll { offset: Some(10), session_epoch: 0, error: OUT_OF_RANGE, ..POLL });
    consumer.poll(&mut scene, Poll { offset: Some(500), high: 1_000, given: Some((500, 600)), ..POLL });
    consumer.poll(&mut scene, Poll { offset: Some(600), error: OUT_OF_RANGE, ..POLL });
    consumer.poll(&mut scene, Poll { offset: Some(700), high: 1_000, ..POLL });
    assert_eq!(value(&rounds(&mut scene, 7), Metric::SkippedRecords), Some(590));
}

#[test]
fn an_offset_out_of_range_that_is_0_or_past_the_end_skips_nothing() {
    for asked in [0, 900] {
        let mut scene = Scene::new(Settings::default());
        let mut consumer = scene.connect("c1");
        consumer.poll(&mut scene, Poll { offset: Some(asked), session_epoch: 0, error: OUT_OF_RANGE, ..POLL });
        consumer.poll(&mut scene, Poll { offset: Some(500), high: 500, ..POLL });
        assert_eq!(value(&rounds(&mut scene, 7), Metric::SkippedRecords), None);
    }
}

#[test]
fn a_partition_that_was_anothers_in_between_is_not_skipped() {
    let mut scene = Scene::new(Settings::default());
    let (mut consumer, mut coordinator) = (scene.connect("c1"), scene.connect("c1"));
    coordinator.join(&mut scene, "g", "m", 1, &[0]);
    consumer.poll(&mut scene, Poll { offset: Some(0), session_epoch: 0, high: 1_000, given: Some((0, 100)), ..POLL });
    coordinator.join(&mut scene, "g", "m", 2, &[]);
    scene.collect();
    coordinator.join(&mut scene, "g", "m", 3, &[0]);
    consumer.poll(&mut scene, Poll { offset: Some(400), high: 1_000, given: Some((400, 500)), ..POLL });
    assert_eq!(value(&rounds(&mut scene, 7), Metric::SkippedRecords), None);
    consumer.poll(&mut scene, Poll { offset: Some(510), high: 1_000, ..POLL });
    let snapshot = rounds(&mut scene, 7);
    assert_eq!(value(&snapshot, Metric::SkippedRecords), Some(10));
    let labels = [("messaging.consumer.group.name", "g"), ("kafkascope.group.attribution", "exact")];
    assert_eq!(scene::sum(&snapshot, Metric::SkippedRecords, &labels), 10);
}

#[test]
fn a_member_that_died_is_none_once_its_group_goes_on_and_skips_nothing_when_it_comes_back() {
    let mut scene = Scene::new(Settings::default());
    let (mut dies, mut other) = (scene.connect("c1"), scene.connect("c2"));
    dies.join(&mut scene, "g", "m1", 1, &[0]);
    other.join(&mut scene, "g", "m2", 1, &[1]);
    dies.poll(&mut scene, Poll { offset: Some(0), session_epoch: 0, high: 1_000, given: Some((0, 100)), ..POLL });
    assert_eq!(value(&scene.collect(), Metric::GroupMembers), Some(2));
    dies.recorder.close(&mut scene.shard, CloseReason::Client);
    other.join(&mut scene, "g", "m2", 2, &[0, 1]);
    assert_eq!(value(&scene.collect(), Metric::GroupMembers), Some(2), "it may be on its way");
    assert_eq!(value(&rounds(&mut scene, 6), Metric::GroupMembers), Some(1));
    let mut again = scene.connect("c1");
    other.join(&mut scene, "g", "m2", 3, &[1]);
    again.join(&mut scene, "g", "m3", 3, &[0]);
    again.poll(&mut scene, Poll { offset: Some(400), session_epoch: 0, high: 1_000, ..POLL });
    let snapshot = rounds(&mut scene, 7);
    assert_eq!(value(&snapshot, Metric::GroupMembers), Some(2));
    assert_eq!(value(&snapshot, Metric::SkippedRecords), None);
}

#[test]
fn a_member_that_connects_again_goes_on_where_it_was() {
    let mut scene = Scene::new(Settings::default());
    let (mut first, mut coordinator) = (scene.connect("c1"), scene.connect("c1"));
    coordinator.join(&mut scene, "g", "m", 1, &[0]);
    first.poll(&mut scene, Poll { offset: Some(0), session_epoch: 0, high: 1_000, given: Some((0, 100)), ..POLL });
    scene.collect();
    let mut second = scene.connect("c1");
    first.recorder.close(&mut scene.shard, CloseReason::Broker);
    scene.pass(SECOND);
    second.poll(&mut scene, Poll { offset: Some(130), session_epoch: 0, high: 1_000, ..POLL });
    assert_eq!(value(&rounds(&mut scene, 7), Metric::SkippedRecords), Some(30));
}

#[test]
fn a_commit_past_what_was_delivered_is_told_apart() {
    let mut scene = Scene::new(Settings::default());
    let (mut consumer, mut coordinator) = (scene.connect("c1"), scene.connect("c1"));
    consumer.poll(&mut scene, Poll { offset: Some(0), session_epoch: 0, high: 1_000, given: Some((0, 100)), ..POLL });
    scene.collect();
    coordinator.commit(&mut scene, "g", 100, 0);
    assert_eq!(value(&rounds(&mut scene, 7), Metric::GroupCommitsAhead), None);
    coordinator.commit(&mut scene, "g", 101, 0);
    assert_eq!(value(&rounds(&mut scene, 7), Metric::GroupCommitsAhead), Some(1));
}

#[test]
fn a_group_counts_its_rebalances_with_their_reason_and_duration() {
    let mut scene = Scene::new(Settings::default());
    let (mut one, mut two) = (scene.connect("c1"), scene.connect("c2"));
    one.join(&mut scene, "g", "m1", 1, &[0, 1]);
    scene.collect();
    two.join(&mut scene, "g", "m2", 2, &[1]);
    let snapshot = scene.collect();
    assert_eq!(scene::sum(&snapshot, Metric::GroupRebalances, &[("reason", "join")]), 2);
    let duration = scene::histogram(&snapshot, Metric::GroupRebalanceDuration, &[]);
    assert_eq!(duration.count(), 2);
    assert!((1.0..1.1).contains(&(duration.sum() as f64 / 1e9)), "{}", duration.sum());
    assert_eq!(value(&snapshot, Metric::GroupMembers), Some(2));
    assert_eq!(value(&snapshot, Metric::GroupGeneration), Some(2));
    two.leave(&mut scene, "g", "m2");
    one.join(&mut scene, "g", "m1", 3, &[0, 1]);
    let snapshot = scene.collect();
    assert_eq!(scene::sum(&snapshot, Metric::GroupRebalances, &[("reason", "leave")]), 1);
    assert_eq!(value(&snapshot, Metric::GroupMembers), Some(1));
    let rows = scene.registry.groups(scene.now);
    assert_eq!((rows.len(), rows[0].state, rows[0].rebalances, rows[0].generation), (1, "stable", 3, Some(3)));
}

#[test]
fn a_partition_taken_from_a_member_is_not_behind_any_more() {
    let mut scene = Scene::new(Settings::default());
    let (mut consumer, mut coordinator) = (scene.connect("c1"), scene.connect("c1"));
    coordinator.join(&mut scene, "g", "m", 1, &[0, 1]);
    consumer.poll(&mut scene, Poll { offset: Some(0), session_epoch: 0, high: 10, ..POLL });
    consumer.poll(&mut scene, Poll { offset: Some(0), partition: 1, high: 5, ..POLL });
    assert_eq!(value(&scene.collect(), Metric::PositionLag), Some(15));
    coordinator.join(&mut scene, "g", "m", 2, &[1]);
    let seq = consumer.begin(&mut scene, FETCH, 12);
    let forgotten = FetchForgotten { seq, topic: topic("t"), partition: 0 };
    consumer.observe(&mut scene, Observation::FetchForgotten(forgotten));
    assert_eq!(value(&scene.collect(), Metric::PositionLag), Some(5));
}

#[test]
fn the_time_lag_is_how_long_the_next_record_waits() {
    let mut scene = Scene::new(Settings::default());
    let (mut consumer, mut coordinator) = (scene.connect("c1"), scene.connect("c1"));
    coordinator.commit(&mut scene, "g", 100, 0);
    for high in [100, 110, 120, 130] {
        consumer.poll(&mut scene, Poll { offset: Some(100), session_epoch: 0, high, ..POLL });
        scene.collect();
    }
    let snapshot = scene.collect();
    let seconds = value(&snapshot, Metric::GroupTimeLag).unwrap() as f64 / 1e9;
    assert!((3.5..5.5).contains(&seconds), "{seconds}");
    coordinator.commit(&mut scene, "g", 130, 0);
    assert_eq!(value(&scene.collect(), Metric::GroupTimeLag), Some(0));
}

#[test]
fn a_record_that_comes_after_a_pause_has_not_waited_for_that_long() {
    let wait = |scene: &mut Scene| value(&rounds(scene, 3), Metric::GroupTimeLag).unwrap() as f64 / 1e9;
    // With a fetch session, and without.
    for session_epoch in [1, -1] {
        let mut scene = Scene::new(Settings::default());
        let (mut consumer, mut coordinator) = (scene.connect("c1"), scene.connect("c1"));
        let poll = |high| Poll { offset: Some(100), session_epoch: session_epoch.min(0), high, ..POLL };
        coordinator.commit(&mut scene, "g", 100, 0);
        consumer.poll(&mut scene, poll(100));
        for _ in 0..60 {
            consumer.poll(&mut scene, if session_epoch < 0 { poll(100) } else { POLL });
            scene.collect();
        }
        consumer.poll(&mut scene, Poll { session_epoch, ..poll(110) });
        let seconds = wait(&mut scene);
        assert!((2.0..4.5).contains(&seconds), "{seconds}");
    }
    // Nobody reads, and the producer says where its records are.
    let mut scene = Scene::new(Settings::default());
    let (mut producer, mut coordinator) = (scene.connect("c2"), scene.connect("c1"));
    coordinator.commit(&mut scene, "g", 5, 0);
    rounds(&mut scene, 60);
    producer.exchange_produce(&mut scene, "t", ErrorCode::NONE);
    let seconds = wait(&mut scene);
    assert!((2.0..4.0).contains(&seconds), "{seconds}");
}

/// Two proxies of which each sees a part, and knows the other's facts.
struct Pair {
    one: Scene,
    two: Scene,
}

impl Pair {
    fn new() -> Self {
        Self { one: Scene::new(Settings::default()), two: Scene::new(Settings::default()) }
    }

    /// As the proxies do each second; `linked`: they hear of each other.
    fn round(&mut self, cursors: &mut [u64; 2], peers: [kafkascope_telemetry::knowledge::Peer; 2]) -> [Snapshot; 2] {
        let (one, two) = (&self.one, &self.two);
        for (index, (from, to)) in [(two, one), (one, two)].into_iter().enumerate() {
            let page = from.registry.knowledge().page(None, cursors[index]);
            let text = serde_json::to_string(&page).unwrap();
            let page: kafkascope_telemetry::knowledge::Page = serde_json::from_str(&text).unwrap();
            cursors[index] = page.cursor;
            let wrong = to.registry.knowledge().learn_peer(peers[index], &page.instance, page.facts, to.now);
            assert_eq!(wrong, 0);
        }
        [self.one.collect(), self.two.collect()]
    }
}

#[test]
fn two_proxies_know_together_what_one_would() {
    let mut pair = Pair::new();
    let peers = [pair.one.registry.knowledge().peer().unwrap(), pair.two.registry.knowledge().peer().unwrap()];
    let mut cursors = [0; 2];
    // The coordinator is behind one, the leader behind the other.
    let mut coordinator = pair.one.connect("c1");
    let mut consumer = pair.two.connect("c1");
    coordinator.join(&mut pair.one, "g", "m", 1, &[0]);
    pair.two.now = pair.one.now;
    let first = Poll { offset: Some(0), session_epoch: 0, high: 1_000, given: Some((0, 100)), ..POLL };
    consumer.poll(&mut pair.two, first);
    coordinator.commit(&mut pair.one, "g", 60, 0);
    for _ in 0..2 {
        pair.round(&mut cursors, peers);
    }
    consumer.poll(&mut pair.two, Poll { offset: Some(130), high: 1_000, ..POLL });
    coordinator.commit(&mut pair.one, "g", 101, 0);
    let mut snapshots = pair.round(&mut cursors, peers);
    for _ in 0..8 {
        consumer.poll(&mut pair.two, POLL);
        snapshots = pair.round(&mut cursors, peers);
    }
    let [one, two] = &snapshots;
    assert_eq!((value(one, Metric::GroupLag), value(two, Metric::GroupLag)), (Some(899), None));
    assert_eq!(
        (value(one, Metric::PartitionCurrentOffset), value(two, Metric::PartitionCurrentOffset)),
        (None, Some(1_000))
    );
    assert_eq!((value(one, Metric::SkippedRecords), value(two, Metric::SkippedRecords)), (None, Some(30)));
    assert_eq!(value(one, Metric::GroupCommitsAhead), None, "it asked for more before");
    let exact = [("messaging.consumer.group.name", "g"), ("kafkascope.group.attribution", "exact")];
    assert_eq!(scene::sum(two, Metric::PositionLag, &exact), 870);
    assert_eq!(pair.two.registry.groups(pair.two.now)[0].lag, Some(899));
    assert_eq!(pair.two.registry.groups(pair.two.now)[0].attribution, Some("exact"));

    // The topic is deleted through the other proxy, and begun anew.
    delete(&mut consumer, &mut pair.two, Deleted::Topic, 0);
    let mut snapshots = pair.round(&mut cursors, peers);
    for _ in 0..20 {
        snapshots = pair.round(&mut cursors, peers);
    }
    let [one, two] = &snapshots;
    assert_eq!((value(one, Metric::GroupOffset), value(two, Metric::GroupOffset)), (None, None));
    consumer.poll(&mut pair.two, Poll { offset: Some(0), session_epoch: 0, high: 1_000, ..POLL });
    coordinator.commit(&mut pair.one, "g", 101, 0);
    for _ in 0..2 {
        snapshots = pair.round(&mut cursors, peers);
    }
    assert_eq!(value(&snapshots[0], Metric::GroupLag), Some(899));

    // The leader's proxy is away: the lag is not known any more.
    pair.one.registry.knowledge().forget_peer(peers[0]);
    let snapshot = rounds(&mut pair.one, 17);
    assert_eq!(value(&snapshot, Metric::GroupLag), None);
    assert_eq!(value(&snapshot, Metric::GroupOffset), Some(101));
}

#[test]
fn a_client_that_goes_to_another_proxy_is_there_a_while_later() {
    let mut pair = Pair::new();
    let peers = [pair.one.registry.knowledge().peer().unwrap(), pair.two.registry.knowledge().peer().unwrap()];
    let mut cursors = [0; 2];
    let (mut here, mut there) = (pair.one.connect("c1"), pair.two.connect("c1"));
    here.poll(&mut pair.one, Poll { offset: Some(100), session_epoch: 0, high: 100, ..POLL });
    pair.round(&mut cursors, peers);
    let mut lags = |there: &mut scene::Connection, offset: i64| {
        pair.two.now = pair.one.now;
        there.poll(&mut pair.two, Poll { offset: Some(offset), high: offset, session_epoch: 1, ..POLL });
        pair.round(&mut cursors, peers).map(|snapshot| value(&snapshot, Metric::PositionLag))
    };
    assert_eq!(lags(&mut there, 200), [Some(0), Some(0)], "its end is not known here yet");
    assert_eq!(lags(&mut there, 300)[1], Some(0));
    let later: Vec<_> = (4..40).map(|hundreds| lags(&mut there, 100 * hundreds)).collect();
    assert!(later.iter().all(|[_, there]| *there == Some(0)), "{later:?}");
    let mut last = later.iter().map(|[here, _]| *here);
    let gone = last.position(|here| here.is_none()).unwrap();
    assert!((20..30).contains(&gone) && last.all(|here| here.is_none()), "{later:?}");
}

#[test]
fn a_client_that_goes_to_another_broker_and_back_skips_nothing_and_is_where_it_went() {
    let mut scene = Scene::new(Settings::default());
    let mut coordinator = scene.connect("c1");
    coordinator.join(&mut scene, "g", "m", 1, &[0]);
    let (mut leader, mut replica) = (scene.connect("c1"), scene.connect("c1"));
    leader.poll(&mut scene, Poll { offset: Some(0), session_epoch: 0, high: 100, given: Some((0, 100)), ..POLL });
    scene.collect();
    let lag = |scene: &mut Scene| value(&scene.collect(), Metric::PositionLag);
    replica.poll(&mut scene, Poll { offset: Some(100), session_epoch: 0, high: 500, given: Some((100, 500)), ..POLL });
    replica.poll(&mut scene, Poll { offset: Some(500), high: 500, ..POLL });
    assert_eq!(lag(&mut scene), Some(0), "it is not 400 behind where it was before");
    leader.poll(&mut scene, Poll { offset: Some(500), high: 500, ..POLL });
    leader.poll(&mut scene, Poll { offset: Some(500), high: 600, given: Some((500, 600)), ..POLL });
    leader.poll(&mut scene, Poll { offset: Some(600), high: 600, ..POLL });
    assert_eq!(lag(&mut scene), Some(0));
    assert_eq!(value(&rounds(&mut scene, 7), Metric::SkippedRecords), None);
    replica.poll(&mut scene, Poll { offset: Some(630), high: 700, ..POLL });
    coordinator.heartbeat(&mut scene, "g", "m", 1);
    let snapshot = rounds(&mut scene, 7);
    assert_eq!(value(&snapshot, Metric::SkippedRecords), Some(30), "but what it never was given is skipped");
    assert_eq!(value(&snapshot, Metric::PositionLag), Some(70));
}
