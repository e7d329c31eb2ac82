//! What consumers and members of groups do: one partition of topic `t`, or some of them.

use kafkascope_protocol::{
    ApiKey, AssignedTopic, CommitHead, CommitPartition, CommitResult, ErrorCode, Exchange, FetchAsked, FetchHead,
    FetchPartition, FetchSummary, Ids, JoinGroup, JoinedGroup, LeaveGroup, LeavingMember, Membership, Observation,
    Outcome, PartitionBatch, RequestSeq, SyncedGroup, Times, Timestamp, Transaction, TransactionEnd,
};
use kafkascope_telemetry::Snapshot;
use kafkascope_telemetry::metric::Metric;

use super::{Connection, SECOND, Scene, batch, topic};

pub const FETCH: ApiKey = ApiKey(1);
pub const COMMIT: ApiKey = ApiKey(8);
pub const JOIN: ApiKey = ApiKey(11);
pub const HEARTBEAT: ApiKey = ApiKey(12);
pub const LEAVE: ApiKey = ApiKey(13);
pub const SYNC: ApiKey = ApiKey(14);
pub const END_TXN: ApiKey = ApiKey(26);
pub const TXN_COMMIT: ApiKey = ApiKey(28);

/// A fetch of partition 0 of `t` in a session.
#[derive(Clone, Copy)]
pub struct Poll {
    pub offset: Option<i64>,
    pub session_epoch: i32,
    pub high: i64,
    pub stable: Option<i64>,
    /// Offsets of the batch that is returned.
    pub given: Option<(i64, i64)>,
    pub error: i16,
    pub partition: i32,
}

pub const POLL: Poll =
    Poll { offset: None, session_epoch: 1, high: -1, stable: None, given: None, error: 0, partition: 0 };

pub trait Client {
    fn poll(&mut self, scene: &mut Scene, poll: Poll);
    fn ended(&mut self, scene: &mut Scene, seq: RequestSeq, api: ApiKey, error: i16, fetch: Option<FetchSummary>);
    fn commit(&mut self, scene: &mut Scene, group: &str, offset: i64, error: i16);
    fn commit_in(&mut self, scene: &mut Scene, group: &str, offset: i64, transaction: Option<Transaction<'_>>);
    fn end(&mut self, scene: &mut Scene, transaction: Transaction<'_>, committed: bool);
    fn join(&mut self, scene: &mut Scene, group: &str, member: &str, generation: i32, partitions: &[i32]);
    fn leave(&mut self, scene: &mut Scene, group: &str, member: &str);
    fn heartbeat(&mut self, scene: &mut Scene, group: &str, member: &str, generation: i32);
}

impl Client for Connection {
    fn poll(&mut self, scene: &mut Scene, poll: Poll) {
        let (seq, partition) = (self.begin(scene, FETCH, 12), poll.partition);
        let head = FetchHead {
            seq,
            replica_id: Some(-1),
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: None,
            read_committed: poll.stable.is_some(),
            session_id: 7,
            session_epoch: poll.session_epoch,
        };
        self.observe(scene, Observation::FetchHead(head));
        if let Some(fetch_offset) = poll.offset {
            let asked = FetchAsked { seq, topic: topic("t"), partition, fetch_offset };
            self.observe(scene, Observation::FetchAsked(asked));
        }
        if poll.high >= 0 || poll.error != 0 {
            let told = FetchPartition {
                seq,
                topic: topic("t"),
                partition,
                error: ErrorCode(poll.error),
                high_watermark: poll.high,
                last_stable_offset: poll.stable,
                log_start_offset: Some(0),
                fetch_offset: poll.offset,
                record_bytes: 1_000,
            };
            self.observe(scene, Observation::FetchPartition(told));
            if let Some((from, to)) = poll.given {
                let mut head = batch(1_000, (to - from) as u32);
                head.base_offset = from;
                let (topic, fetch_offset) = (topic("t"), poll.offset);
                let batch = PartitionBatch { seq, topic, partition, fetch_offset, aborted: false, head };
                self.observe(scene, Observation::FetchBatch(batch));
            }
        }
        let summary = FetchSummary {
            follower: false,
            wait: None,
            min_bytes: 1,
            record_bytes: 0,
            session_id: 7,
            session_epoch: poll.session_epoch,
        };
        self.ended(scene, seq, FETCH, poll.error, Some(summary));
    }

    fn ended(&mut self, scene: &mut Scene, seq: RequestSeq, api: ApiKey, error: i16, fetch: Option<FetchSummary>) {
        let now = Timestamp(scene.now.0 + 1_000_000);
        let times = Times {
            request_first: scene.now,
            request_last: scene.now,
            request_written: scene.now,
            previous_response_last: None,
            response_first: now,
            response_last: now,
            response_written: now,
        };
        let exchange = Exchange {
            seq,
            api,
            version: kafkascope_protocol::ApiVersion(5),
            correlation_id: kafkascope_protocol::CorrelationId(0),
            outcome: Outcome::Answered,
            request_bytes: 100,
            response_bytes: 50,
            times,
            error: ErrorCode(error),
            throttle_ms: None,
            acks: None,
            fetch,
        };
        self.observe(scene, Observation::Exchange(&exchange));
        scene.pass(2_000_000);
    }

    fn commit(&mut self, scene: &mut Scene, group: &str, offset: i64, error: i16) {
        let seq = self.begin(scene, COMMIT, 5);
        commit_body(self, scene, seq, group, offset, error, None);
        self.ended(scene, seq, COMMIT, error, None);
    }

    fn commit_in(&mut self, scene: &mut Scene, group: &str, offset: i64, transaction: Option<Transaction<'_>>) {
        let seq = self.begin(scene, TXN_COMMIT, 3);
        commit_body(self, scene, seq, group, offset, 0, transaction);
        self.ended(scene, seq, TXN_COMMIT, 0, None);
    }

    fn end(&mut self, scene: &mut Scene, transaction: Transaction<'_>, committed: bool) {
        let seq = self.begin(scene, END_TXN, 3);
        self.observe(scene, Observation::TransactionEnd(TransactionEnd { seq, transaction, committed }));
        self.ended(scene, seq, END_TXN, 0, None);
    }

    fn join(&mut self, scene: &mut Scene, group: &str, member: &str, generation: i32, partitions: &[i32]) {
        let (group, member_id) = (group.as_bytes(), member.as_bytes());
        let seq = self.begin(scene, JOIN, 5);
        let join = JoinGroup {
            seq,
            group,
            member_id: b"",
            instance_id: None,
            protocol_type: b"consumer",
            session_timeout_ms: 45_000,
            rebalance_timeout_ms: None,
        };
        self.observe(scene, Observation::JoinGroup(join));
        scene.pass(SECOND / 2);
        let joined = JoinedGroup {
            seq,
            error: ErrorCode::NONE,
            generation,
            protocol_type: None,
            protocol: None,
            leader: member_id,
            member_id,
            members: 0,
        };
        self.observe(scene, Observation::JoinedGroup(joined));
        self.ended(scene, seq, JOIN, 0, None);
        let seq = self.begin(scene, SYNC, 3);
        let membership = Membership { seq, group, generation, member_id, instance_id: None };
        self.observe(scene, Observation::SyncGroup(membership));
        let synced = SyncedGroup { seq, error: ErrorCode::NONE, protocol_type: None, protocol: None, topics: Some(1) };
        self.observe(scene, Observation::SyncedGroup(synced));
        let ids: Vec<u8> = partitions.iter().flat_map(|id| id.to_be_bytes()).collect();
        let assigned = AssignedTopic { seq, topic: topic("t"), partitions: Ids::from_wire(&ids) };
        self.observe(scene, Observation::AssignedTopic(assigned));
        self.ended(scene, seq, SYNC, 0, None);
    }

    fn heartbeat(&mut self, scene: &mut Scene, group: &str, member: &str, generation: i32) {
        let seq = self.begin(scene, HEARTBEAT, 3);
        let (group, member_id) = (group.as_bytes(), member.as_bytes());
        let membership = Membership { seq, group, generation, member_id, instance_id: None };
        self.observe(scene, Observation::Heartbeat(membership));
        self.ended(scene, seq, HEARTBEAT, 0, None);
    }

    fn leave(&mut self, scene: &mut Scene, group: &str, member: &str) {
        let seq = self.begin(scene, LEAVE, 3);
        self.observe(scene, Observation::LeaveGroup(LeaveGroup { seq, group: group.as_bytes() }));
        let member = LeavingMember { seq, member_id: member.as_bytes(), instance_id: None, reason: None };
        self.observe(scene, Observation::LeavingMember(member));
        self.ended(scene, seq, LEAVE, 0, None);
    }
}

pub fn commit_body(
    connection: &mut Connection,
    scene: &mut Scene,
    seq: RequestSeq,
    group: &str,
    offset: i64,
    error: i16,
    transaction: Option<Transaction<'_>>,
) {
    let group = group.as_bytes();
    let head = CommitHead { seq, group, generation: None, member_id: None, instance_id: None, transaction };
    connection.observe(scene, Observation::CommitHead(head));
    let part = CommitPartition { seq, topic: topic("t"), partition: 0, offset, leader_epoch: None };
    connection.observe(scene, Observation::CommitPartition(part));
    let result = CommitResult { seq, topic: topic("t"), partition: 0, error: ErrorCode(error) };
    connection.observe(scene, Observation::CommitResult(result));
}

/// The only value of a metric, if it has one.
pub fn value(snapshot: &Snapshot, metric: Metric) -> Option<i64> {
    let mut values = super::series(snapshot, metric);
    let value = values.next().map(|_| super::sum(snapshot, metric, &[]));
    assert!(values.next().is_none(), "{metric:?} has several series");
    value
}

pub fn rounds(scene: &mut Scene, rounds: usize) -> Snapshot {
    (0..rounds).map(|_| scene.collect()).last().unwrap()
}
