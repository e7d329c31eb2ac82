//! Another proxy that tells what is not so: it may add to what is known, and it never changes what this proxy sees itself.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod scene;

use std::sync::Arc;

use kafkascope_protocol::{ErrorCode, NodeIds, Observation, PartitionMetadata, TopicId, Transaction};
use kafkascope_telemetry::knowledge::fact::{
    Assigned, ClientName, Commit, End, Fact, Member, PartitionName, Position, Protocol, TopicName, TransactionEnd,
    TransactionName,
};
use kafkascope_telemetry::knowledge::{Page, Peer};
use kafkascope_telemetry::metric::Metric;
use kafkascope_telemetry::{Settings, Snapshot};
use scene::groups::{Client, POLL, Poll, rounds, value};
use scene::{Connection, Fetch, SECOND, Scene};

const MINUTE: u64 = 60 * SECOND;

/// A proxy, a consumer of partition 0 of `t` in group `g` that has committed 60 of 1,000 records, and a peer.
struct Watched {
    scene: Scene,
    consumer: Connection,
    peer: Peer,
}

impl Watched {
    fn new() -> Self {
        let mut scene = Scene::new(Settings::default());
        let peer = scene.registry.knowledge().peer().unwrap();
        let mut consumer = scene.connect("c1");
        consumer.join(&mut scene, "g", "m", 1, &[0]);
        consumer
            .poll(&mut scene, Poll { offset: Some(0), session_epoch: 0, high: 1_000, given: Some((0, 100)), ..POLL });
        consumer.commit(&mut scene, "g", 60, 0);
        consumer.poll(&mut scene, Poll { offset: Some(100), ..POLL });
        Self { scene, consumer, peer }
    }

    /// The peer tells `facts`; returns how many of them were refused.
    fn told(&self, facts: impl IntoIterator<Item = Fact>) -> usize {
        let facts = facts.into_iter().collect();
        self.scene.registry.knowledge().learn_peer(self.peer, "zz", facts, self.scene.now)
    }

    /// The consumer goes on for so many seconds; in each of them the peer tells `facts`.
    fn goes_on(&mut self, seconds: usize, facts: impl Fn(u64) -> Vec<Fact>) -> Snapshot {
        let round = |_| {
            self.consumer.heartbeat(&mut self.scene, "g", "m", 1);
            self.consumer.poll(&mut self.scene, POLL);
            assert_eq!(self.told(facts(self.scene.now.0)), 0);
            self.scene.collect()
        };
        (0..seconds).map(round).last().unwrap()
    }

    fn lost(&mut self) -> i64 {
        value(&self.scene.collect(), Metric::SelfFactsLost).unwrap_or(0)
    }
}

fn of(topic: &str, partition: i32) -> PartitionName {
    PartitionName { cluster: "".into(), topic: topic.into(), partition }
}

fn client() -> ClientName {
    ClientName { id: "c1".into(), address: "10.0.0.1".into() }
}

fn end(topic: &str, partition: i32, high: i64, at: u64) -> Fact {
    Fact::End(End { of: of(topic, partition), high, stable: high, start: 7, before: (-1, 0), plain: false, at })
}

fn commit(group: &str, topic: &str, partition: i32, offset: i64, at: u64) -> Fact {
    Fact::Commit(Commit { of: of(topic, partition), group: group.into(), offset, client: Some(client()), at })
}

fn position(topic: &str, partition: i32, asked: i64, at: u64) -> Fact {
    Fact::Position(Position {
        of: of(topic, partition),
        client: client(),
        connection: 9,
        asked,
        next: asked,
        at,
        began: (0, at),
        came: at,
        read_committed: false,
        left: false,
        ended: false,
    })
}

fn assigned(topic: impl Into<Arc<str>>, partitions: &[i32]) -> Assigned {
    Assigned { topic: topic.into(), partitions: partitions.to_vec() }
}

fn member(member: &str, generation: i32, assigned: Option<Vec<Assigned>>, left: bool, at: u64) -> Fact {
    Fact::Member(Member {
        cluster: "".into(),
        group: "g".into(),
        member: member.into(),
        instance: None,
        client: client(),
        protocol: Protocol::Classic,
        generation,
        assigned,
        left,
        at,
    })
}

#[test]
fn figures_of_what_is_seen_here_stay_as_they_are() {
    let mut watched = Watched::new();
    let honest = watched.goes_on(3, |_| Vec::new());
    let figures = |snapshot: &Snapshot| {
        [
            Metric::GroupLag,
            Metric::GroupLagSum,
            Metric::GroupOffset,
            Metric::GroupMembers,
            Metric::GroupGeneration,
            Metric::PositionLag,
            Metric::PartitionCurrentOffset,
            Metric::PartitionOldestOffset,
        ]
        .map(|metric| (metric, value(snapshot, metric)))
    };
    assert_eq!(value(&honest, Metric::GroupLag), Some(940));
    let lies = |now| {
        let at = now + MINUTE / 2;
        vec![
            end("t", 0, i64::MAX, at),
            commit("g", "t", 0, i64::MAX, 0),
            member("m", i32::MAX, Some(Vec::new()), true, at),
            position("t", 0, i64::MAX, at),
        ]
    };
    for _ in 0..20 {
        let snapshot = watched.goes_on(1, lies);
        assert_eq!(figures(&snapshot), figures(&honest));
    }
    assert_eq!(watched.lost(), 0);
}

/// The group's newest commit is said to have been seen elsewhere: then the group is no more exported here, but never wrongly.
#[test]
fn a_commit_of_a_member_that_is_seen_here_is_not_overruled_however_long_ago_it_was() {
    let mut watched = Watched::new();
    for _ in 0..60 {
        watched.goes_on(1, |now| vec![commit("g", "t", 0, 1, now)]);
        let groups = watched.scene.registry.groups(watched.scene.now);
        assert_eq!(groups[0].lag, Some(940));
    }
}

#[test]
fn what_is_not_seen_here_any_more_is_as_others_say() {
    let mut watched = Watched::new();
    watched.goes_on(3, |_| Vec::new());
    rounds(&mut watched.scene, 20);
    let at = watched.scene.now.0;
    assert_eq!(watched.told([end("t", 0, 2_000, at), commit("g", "t", 0, 1_500, at)]), 0);
    let groups = watched.scene.registry.groups(watched.scene.now);
    assert_eq!(groups[0].lag, Some(500));
    watched.scene.registry.knowledge().forget_peer(watched.peer);
    let groups = watched.scene.registry.groups(watched.scene.now);
    assert_eq!(groups[0].lag, Some(940), "and when they are gone, as it was seen here");
}

#[test]
fn ends_that_are_not_so_make_no_log_lose_records() {
    let mut watched = Watched::new();
    let lead = |watched: &mut Watched, epoch| {
        let seq = watched.consumer.begin(&mut watched.scene, kafkascope_protocol::ApiKey(3), 9);
        let leads = PartitionMetadata {
            seq,
            name: Some(b"t"),
            id: None,
            error: ErrorCode::NONE,
            partition: 0,
            leader: epoch,
            leader_epoch: Some(epoch),
            replicas: NodeIds::from_wire(&[]),
            in_sync: NodeIds::from_wire(&[]),
            offline: NodeIds::from_wire(&[]),
        };
        watched.consumer.observe(&mut watched.scene, Observation::PartitionMetadata(leads));
        watched.consumer.ended(&mut watched.scene, seq, kafkascope_protocol::ApiKey(3), 0, None);
    };
    lead(&mut watched, 1);
    watched.goes_on(2, |now| vec![end("t", 0, i64::MAX, now)]);
    lead(&mut watched, 2);
    let mut lost = 0;
    for high in 1_001..1_015 {
        watched.consumer.poll(&mut watched.scene, Poll { high, ..POLL });
        let snapshot = watched.goes_on(1, |_| Vec::new());
        lost += value(&snapshot, Metric::LogRegressions).unwrap_or(0);
        lost += value(&snapshot, Metric::UncleanElections).unwrap_or(0);
        assert_eq!(value(&snapshot, Metric::LeaderElections).unwrap_or(1), 1);
    }
    assert_eq!(lost, 0);
}

#[test]
fn a_transaction_that_ends_in_the_future_does_not_keep_later_commits_from_being_seen() {
    let mut watched = Watched::new();
    let transaction = Transaction { transactional_id: b"tx", producer_id: 9, producer_epoch: 1 };
    watched.consumer.commit_in(&mut watched.scene, "g", 70, Some(transaction));
    watched.goes_on(1, |_| Vec::new());
    let end = TransactionEnd {
        cluster: "".into(),
        transaction: TransactionName { id: "tx".into(), producer: 9 },
        epoch: 1,
        committed: true,
        at: watched.scene.now.0 + MINUTE / 2,
    };
    assert_eq!(watched.told([Fact::Transaction(end)]), 0);
    let snapshot = watched.goes_on(1, |_| Vec::new());
    assert_eq!(value(&snapshot, Metric::GroupOffset), Some(70));
    watched.consumer.commit(&mut watched.scene, "g", 80, 0);
    let snapshot = watched.goes_on(1, |_| Vec::new());
    assert_eq!(value(&snapshot, Metric::GroupOffset), Some(80));
}

#[test]
fn members_that_nobody_saw_here_do_not_rebalance_a_group() {
    let mut watched = Watched::new();
    watched.goes_on(2, |_| Vec::new());
    for generation in 2..20 {
        let snapshot = watched.goes_on(1, |now| vec![member("x", generation, None, false, now)]);
        assert_eq!(value(&snapshot, Metric::GroupRebalances).unwrap_or(1), 1, "the one that was");
    }
}

#[test]
fn the_name_of_a_topic_is_what_metadata_say_here() {
    let mut watched = Watched::new();
    let id = [7; 16];
    let name = TopicName { cluster: "".into(), id, name: "lie".into() };
    assert_eq!(watched.told([Fact::Topic(name)]), 0);
    watched.consumer.learn(&mut watched.scene, TopicId(id), "true");
    let fetch = Fetch { topic: scene::TOPIC_ID, ..scene::fetch(Some(0), vec![scene::batch(1_000, 1)]) };
    watched.consumer.fetch(&mut watched.scene, &fetch);
    let snapshot = rounds(&mut watched.scene, 2);
    let told = |name| scene::sum(&snapshot, Metric::RecordIo, &[("messaging.destination.name", name)]);
    assert_eq!((told("lie"), told("true")), (0, 1_000));
}

#[test]
fn a_flood_takes_no_place_of_what_is_seen_here() {
    const COUNT: i32 = 110_000;
    let mut watched = Watched::new();
    watched.goes_on(1, |_| Vec::new());
    for round in 0..2 {
        let (at, first) = (watched.scene.now.0, round * COUNT);
        watched.told((first..first + COUNT).map(|number| end("flood", number, 1, at)));
        watched.told((first..first + COUNT).map(|number| commit("flood", "flood", number, 1, at)));
        watched.told((first..first + COUNT).map(|number| position("flood", number, 1, at)));
        let snapshot = watched.goes_on(1, |_| Vec::new());
        assert_eq!(value(&snapshot, Metric::PositionLag), Some(900));
        let groups = watched.scene.registry.groups(watched.scene.now);
        assert_eq!(groups.iter().find(|group| group.group == "g").unwrap().lag, Some(940));
        let facts = value(&snapshot, Metric::SelfFacts).unwrap();
        assert!(facts <= 300_000 + 10, "{facts}");
    }
    assert!(watched.lost() > 0);
    watched.scene.registry.knowledge().forget_peer(watched.peer);
    let facts = value(&watched.goes_on(1, |_| Vec::new()), Metric::SelfFacts).unwrap();
    assert!(facts < 10, "{facts}");
}

#[test]
fn long_names_and_assignments_without_end_are_bounded_and_counted() {
    let mut watched = Watched::new();
    let at = watched.scene.now.0;
    let pad = "x".repeat(500);
    watched.told((0..100_000).map(|number| commit(&format!("{number}{pad}"), &pad, 0, 1, at)));
    let facts = value(&watched.goes_on(1, |_| Vec::new()), Metric::SelfFacts).unwrap();
    assert!((50_000..70_000).contains(&facts), "64 MiB hold {facts} facts of 1,000 bytes");
    assert!(watched.lost() > 30_000);

    watched.scene.registry.knowledge().forget_peer(watched.peer);
    watched.goes_on(1, |_| Vec::new());
    let topics: Vec<Assigned> = (0..10_000).map(|number| assigned(number.to_string(), &[])).collect();
    watched.told((0..200).map(|number| member(&format!("m{number}"), 1, Some(topics.clone()), false, at)));
    let groups = watched.scene.registry.groups(watched.scene.now);
    let known = groups[0].members.iter().filter(|member| member.assigned.is_some()).count();
    assert_eq!(groups[0].members.len(), 201);
    assert!((90..=101).contains(&known), "a million topics are those of a hundred members, not of {known}");
}

#[test]
fn what_cannot_be_true_is_refused() {
    let watched = Watched::new();
    let (at, long) = (watched.scene.now.0, "x".repeat(1 << 20));
    let refused = [
        end(&long, 0, 1, at),
        end("t", -1, 1, at),
        end("t", 0, -2, at),
        end("t", 0, i64::MIN, at),
        end("t", 0, 1, u64::MAX),
        commit(&long, "t", 0, 1, at),
        commit("g", "t", 0, -2, at),
        commit("g", "t", 0, i64::MIN, at),
        position("t", 0, -1, at),
        position("t", 0, 0, u64::MAX),
        member("", 1, None, false, at),
        member("m", 1, Some(vec![assigned("t", &[-1])]), false, at),
        member("m", 1, Some(vec![assigned(long.as_str(), &[1])]), false, at),
        member(&long, 1, None, false, at),
    ];
    let count = refused.len();
    assert_eq!(watched.told(refused), count);
    let numbers =
        [end("t", i32::MAX, i64::MAX, at), commit("g", "t", i32::MAX, i64::MAX, 0), commit("g", "t", 0, -1, at)];
    assert_eq!(watched.told(numbers), 0, "numbers may be large, and what was committed may be deleted");
}

/// What a proxy serves is what another may take.
#[test]
fn what_we_tell_ourselves_is_never_refused() {
    let mut watched = Watched::new();
    watched.goes_on(2, |_| Vec::new());
    let page = watched.scene.registry.knowledge().page(None, 0);
    let text = serde_json::to_string(&page).unwrap();
    let page: Page = serde_json::from_str(&text).unwrap();
    assert!(page.facts.len() >= 4);
    let refused = watched.scene.registry.knowledge().learn_peer(watched.peer, "zz", page.facts, watched.scene.now);
    assert_eq!(refused, 0);
}
