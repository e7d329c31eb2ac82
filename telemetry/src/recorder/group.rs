//! Groups: what a connection asks of a coordinator becomes a fact when the exchange has ended well.
//!
//! These requests are few, so what they ask is kept whole until their end. Requests of a coordinator come in order, and so
//! do their answers. What is over a bound is counted as lost.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use kafkascope_protocol::{
    AssignedTopic, CommitHead, CommitPartition, CommitResult, CommittedOffset, ErrorCode, Exchange, GroupHeartbeat,
    GroupHeartbeatResult, GroupKind, JoinGroup, JoinReason, JoinedGroup, LeavingMember, Membership, Observation,
    Outcome, ProducerIdentity, RequestSeq, Timestamp, TopicIndex, TopicRef, Transaction, TransactionEnd,
};

use super::Recorder;
use super::in_order::InOrder;
use super::watch::Who;
use crate::knowledge::fact::{
    Assigned, Commit, Fact, Member, Note, PartitionName, Pending, Protocol, Told, TransactionEnd as EndOfTransaction,
    TransactionName,
};
use crate::shard::Shard;
use crate::topic::Topic;

/// Requests of a connection that are kept; clients have one or two in flight.
const ASKS: usize = 64;

/// Partitions of one request or assignment that are kept.
const PARTITIONS: usize = 10_000;

/// Members that leave with one request.
const LEAVING: usize = 1_000;

/// Groups and topics that are deleted with one request.
const DELETED: usize = 1_000;

/// `MEMBER_ID_REQUIRED`: no failure, the member joins again with the id that it is given.
const MEMBER_ID_REQUIRED: ErrorCode = ErrorCode(79);

/// `REBALANCE_IN_PROGRESS`, with which a heartbeat is answered.
const REBALANCE_IN_PROGRESS: ErrorCode = ErrorCode(27);

/// Requests whose exchange has not ended.
#[derive(Debug, Default)]
pub(super) struct Asking {
    asks: VecDeque<Ask>,
    /// What there was no room for.
    lost: u64,
}

#[derive(Debug)]
struct Ask {
    seq: RequestSeq,
    at: Timestamp,
    what: What,
}

#[derive(Debug)]
enum What {
    Commit {
        /// `None`: one without a name, of which there is no more than a span.
        group: Option<Arc<str>>,
        transaction: Option<(TransactionName, i16)>,
        parts: InOrder<Place, Part>,
    },
    /// Asks for what is committed.
    Committed {
        group: Arc<str>,
        parts: Vec<Part>,
    },
    Join {
        membership: Seat,
        reason: &'static str,
        answer: Option<(ErrorCode, i32, Option<Arc<str>>)>,
    },
    Sync {
        membership: Seat,
        assigned: Option<Vec<Assigned<Arc<Topic>>>>,
        partitions: usize,
    },
    Heartbeat {
        membership: Seat,
    },
    Leave {
        group: Arc<str>,
        members: Vec<(Arc<str>, Option<Arc<str>>)>,
    },
    Beat {
        protocol: Protocol,
        membership: Seat,
        /// With the request it joins, or leaves.
        reason: Option<&'static str>,
        member: Option<Arc<str>>,
        assigned: Option<Vec<Assigned<Arc<Topic>>>>,
        partitions: usize,
    },
    EndTransaction {
        transaction: TransactionName,
        epoch: i16,
        committed: bool,
    },
    InitProducer {
        id: Arc<str>,
        producer: Option<(i64, i16)>,
    },
    Delete {
        groups: Vec<Arc<str>>,
        topics: Vec<Arc<str>>,
    },
}

/// Which partition of the connection's topics.
pub(super) type Place = (TopicIndex, i32);

/// A partition of a commit.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) topic: Arc<Topic>,
    pub(super) partition: i32,
    offset: i64,
    pub(super) error: Option<ErrorCode>,
}

/// Who is a member of what.
#[derive(Debug)]
struct Seat {
    group: Arc<str>,
    member: Arc<str>,
    instance: Option<Arc<str>>,
    generation: i32,
}

impl Seat {
    fn of(group: &[u8], member: &[u8], instance: Option<&[u8]>, generation: i32) -> Option<Self> {
        Some(Self {
            group: Recorder::name(group)?,
            member: Recorder::name(member).unwrap_or_else(|| "".into()),
            instance: instance.and_then(Recorder::name),
            generation,
        })
    }
}

impl Ask {
    /// Partitions that are committed, or are told to be.
    fn parts(&self) -> usize {
        match &self.what {
            What::Commit { parts, .. } => parts.len(),
            What::Committed { parts, .. } => parts.len(),
            _ => 0,
        }
    }
}

impl Asking {
    fn of(&mut self, seq: RequestSeq) -> Option<&mut What> {
        self.asks.iter_mut().find(|ask| ask.seq == seq).map(|ask| &mut ask.what)
    }
}

impl Recorder {
    pub(super) fn group_observation(&mut self, shard: &mut Shard, observation: &Observation<'_>) {
        match observation {
            Observation::CommitHead(head) => self.commits(head),
            Observation::CommitPartition(part) => self.commit_partition(shard, part),
            Observation::CommitResult(result) => self.commit_result(result),
            Observation::CommittedGroup(group) => {
                if let Some(name) = Self::name(group.group) {
                    self.ask(group.seq, What::Committed { group: name, parts: Vec::new() });
                }
            }
            Observation::CommittedOffset(offset) => self.committed_offset(shard, offset),
            Observation::JoinGroup(join) => self.joins(join),
            Observation::JoinReason(reason) => self.join_reason(reason),
            Observation::JoinedGroup(joined) => self.joined(joined),
            Observation::SyncGroup(membership) => {
                self.membership(membership, |membership| What::Sync { membership, assigned: None, partitions: 0 })
            }
            Observation::SyncedGroup(synced) => {
                if let Some(What::Sync { assigned, .. }) = self.asking.of(synced.seq) {
                    *assigned = synced.topics.map(|_| Vec::new());
                }
            }
            Observation::AssignedTopic(topic) => self.assigned_topic(shard, topic),
            Observation::Heartbeat(membership) => {
                self.membership(membership, |membership| What::Heartbeat { membership });
            }
            Observation::LeaveGroup(leave) => {
                if let Some(group) = Self::name(leave.group) {
                    self.ask(leave.seq, What::Leave { group, members: Vec::new() });
                }
            }
            Observation::LeavingMember(member) => self.leaving(member),
            Observation::GroupHeartbeat(beat) => self.beats(beat),
            Observation::GroupHeartbeatResult(result) => self.beat_result(result),
            Observation::GroupDeleted(deleted) if deleted.error.is_none() => {
                self.deleted(shard, deleted.seq, Self::name(deleted.group), None);
            }
            Observation::TopicDeleted(deleted) if deleted.error.is_none() => {
                self.deleted(shard, deleted.seq, None, deleted.name.and_then(Self::name));
            }
            Observation::TransactionEnd(end) => self.ends_transaction(end),
            Observation::InitProducer(init) => {
                if let Some(id) = init.transactional_id.and_then(Self::name) {
                    self.ask(init.seq, What::InitProducer { id, producer: None });
                }
            }
            Observation::ProducerIdentity(identity) => self.producer_identity(identity),
            // Not needed for any metric yet, and whatever a newer decoder tells.
            _ => {}
        }
    }

    fn ask(&mut self, seq: RequestSeq, what: What) {
        if self.asking.asks.len() >= ASKS {
            let parts = self.asking.asks.pop_front().map_or(0, |ask| ask.parts());
            self.asking.lost += parts.max(1) as u64;
        }
        self.asking.asks.push_back(Ask { seq, at: self.watching.request_at, what });
    }

    fn part(&mut self, shard: &mut Shard, topic: TopicRef<'_>, partition: i32, offset: i64) -> Part {
        let topic = self.topic_slots(shard, topic).topic.clone();
        Part { topic, partition, offset, error: None }
    }

    fn commits(&mut self, head: &CommitHead<'_>) {
        let group = Self::name(head.group);
        let transaction = match &head.transaction {
            Some(transaction) => match transaction_name(transaction) {
                Some(name) => Some((name, transaction.producer_epoch)),
                None => return,
            },
            None => None,
        };
        self.ask(head.seq, What::Commit { group, transaction, parts: InOrder::new() });
    }

    fn commit_partition(&mut self, shard: &mut Shard, asked: &CommitPartition<'_>) {
        let part = self.part(shard, asked.topic, asked.partition, asked.offset);
        let Some(What::Commit { transaction, parts, .. }) = self.asking.of(asked.seq) else { return };
        if parts.len() < PARTITIONS {
            parts.push((asked.topic.index, asked.partition), part);
            return;
        }
        shard.watches.lose(1);
        if transaction.is_none() && shard.spans.is_on() {
            shard.spans.too_many();
        }
    }

    fn commit_result(&mut self, result: &CommitResult<'_>) {
        if let Some(What::Commit { parts, .. }) = self.asking.of(result.seq)
            && let Some(part) = parts.find((result.topic.index, result.partition))
        {
            part.error = Some(result.error);
        }
    }

    /// Nothing is committed any more: the offset is -1.
    fn committed_offset(&mut self, shard: &mut Shard, told: &CommittedOffset<'_>) {
        if !told.error.is_none() {
            return;
        }
        let part = self.part(shard, told.topic, told.partition, told.offset);
        // From v8 on a response tells of several groups: the last one is meant.
        let asks = self.asking.asks.iter_mut().rev();
        if let Some(What::Committed { parts, .. }) =
            asks.filter(|ask| ask.seq == told.seq).map(|ask| &mut ask.what).next()
        {
            if parts.len() < PARTITIONS { parts.push(part) } else { shard.watches.lose(1) }
        }
    }

    fn joins(&mut self, join: &JoinGroup<'_>) {
        let Some(membership) = Seat::of(join.group, join.member_id, join.instance_id, -1) else { return };
        let reason = if join.member_id.is_empty() { "join" } else { "other" };
        self.ask(join.seq, What::Join { membership, reason, answer: None });
    }

    fn join_reason(&mut self, told: &JoinReason<'_>) {
        if let Some(What::Join { reason, .. }) = self.asking.of(told.seq)
            && *reason != "join"
        {
            *reason = reason_of(told.reason);
        }
    }

    fn joined(&mut self, joined: &JoinedGroup<'_>) {
        let member = Self::name(joined.member_id);
        if let Some(What::Join { answer, .. }) = self.asking.of(joined.seq) {
            *answer = Some((joined.error, joined.generation, member));
        }
    }

    fn membership(&mut self, membership: &Membership<'_>, what: impl FnOnce(Seat) -> What) {
        let Membership { seq, group, generation, member_id, instance_id } = *membership;
        if let Some(seat) = Seat::of(group, member_id, instance_id, generation) {
            self.ask(seq, what(seat));
        }
    }

    fn assigned_topic(&mut self, shard: &mut Shard, told: &AssignedTopic<'_>) {
        let topic = self.topic_slots(shard, told.topic).topic.clone();
        if let Some(
            What::Sync { assigned: Some(topics), partitions, .. }
            | What::Beat { assigned: Some(topics), partitions, .. },
        ) = self.asking.of(told.seq)
        {
            let room = PARTITIONS.saturating_sub(*partitions);
            let own: Vec<i32> = told.partitions.iter().take(room).collect();
            shard.watches.lose((told.partitions.iter().count() - own.len()) as u64);
            // A topic without partitions takes room, too: there may be as many of them.
            *partitions += own.len().max(1);
            if room > 0 {
                topics.push(Assigned { topic, partitions: own });
            }
        }
    }

    fn leaving(&mut self, leaving: &LeavingMember<'_>) {
        let Some(What::Leave { members, .. }) = self.asking.of(leaving.seq) else { return };
        if members.len() < LEAVING {
            let member = Self::name(leaving.member_id).unwrap_or_else(|| "".into());
            members.push((member, leaving.instance_id.and_then(Self::name)));
        } else {
            self.asking.lost += 1;
        }
    }

    fn deleted(&mut self, shard: &mut Shard, seq: RequestSeq, group: Option<Arc<str>>, topic: Option<Arc<str>>) {
        if self.asking.of(seq).is_none() {
            self.ask(seq, What::Delete { groups: Vec::new(), topics: Vec::new() });
        }
        let Some(What::Delete { groups, topics }) = self.asking.of(seq) else { return };
        if groups.len() + topics.len() < DELETED {
            groups.extend(group);
            topics.extend(topic);
        } else {
            shard.watches.lose(1);
        }
    }

    fn beats(&mut self, beat: &GroupHeartbeat<'_>) {
        let protocol = match beat.kind {
            GroupKind::Consumer => Protocol::Consumer,
            GroupKind::Share => Protocol::Share,
            GroupKind::Streams => Protocol::Streams,
        };
        if let Some(membership) = Seat::of(beat.group, beat.member_id, beat.instance_id, beat.member_epoch) {
            let reason = match beat.member_epoch {
                0 => Some("join"),
                1.. => None,
                _ => Some("leave"),
            };
            self.ask(
                beat.seq,
                What::Beat { protocol, membership, reason, member: None, assigned: None, partitions: 0 },
            );
        }
    }

    fn beat_result(&mut self, result: &GroupHeartbeatResult<'_>) {
        let name = result.member_id.and_then(Self::name);
        if let Some(What::Beat { membership, member, assigned, .. }) = self.asking.of(result.seq) {
            *member = name;
            // A member that leaves has said so with its own epoch, which the answer repeats.
            if membership.generation >= 0 {
                membership.generation = result.member_epoch.max(0);
            }
            *assigned = result.topics.map(|_| Vec::new());
        }
    }

    fn ends_transaction(&mut self, end: &TransactionEnd<'_>) {
        if let Some(transaction) = transaction_name(&end.transaction) {
            let (epoch, committed) = (end.transaction.producer_epoch, end.committed);
            self.ask(end.seq, What::EndTransaction { transaction, epoch, committed });
        }
    }

    fn producer_identity(&mut self, identity: &ProducerIdentity) {
        if let Some(What::InitProducer { producer, .. }) = self.asking.of(identity.seq) {
            *producer = identity.error.is_none().then_some((identity.producer_id, identity.producer_epoch));
        }
    }

    /// An exchange has ended that is neither Produce nor Fetch.
    #[cold]
    #[inline(never)]
    pub(super) fn other_exchange(&mut self, shard: &mut Shard, exchange: &Exchange) {
        self.forget_listing(exchange.seq);
        shard.watches.lose(std::mem::take(&mut self.asking.lost));
        while self.asking.asks.front().is_some_and(|ask| ask.seq <= exchange.seq) {
            let Some(ask) = self.asking.asks.pop_front() else { break };
            if ask.seq != exchange.seq || exchange.outcome != Outcome::Answered {
                continue;
            }
            if shard.spans.is_on()
                && let What::Commit { group, transaction: None, parts, .. } = &ask.what
            {
                self.commit_spans(shard, exchange, group.as_ref(), parts.as_slice());
            }
            if let Some(who) = self.who() {
                settle(shard, &who, ask, exchange);
            }
        }
    }
}

fn transaction_name(transaction: &Transaction<'_>) -> Option<TransactionName> {
    Some(TransactionName { id: Recorder::name(transaction.transactional_id)?, producer: transaction.producer_id })
}

/// What Java's consumer writes (KIP-800), as far as it says why. Sources: `ConsumerCoordinator.java`,
/// `AbstractCoordinator.java`.
fn reason_of(words: &[u8]) -> &'static str {
    let has = |part: &str| words.windows(part.len()).any(|window| window == part.as_bytes());
    match () {
        () if has("cached metadata") || has("subscription") => "metadata",
        () if has("revoke") => "revoke",
        () if has("already rebalancing") => "follow",
        () if has("enforced") || has("triggered by user") => "enforced",
        () if has("MemberIdRequired") => "join",
        () if has("UnknownMemberId") || has("session timed out") => "timeout",
        () if has("failed") => "failed",
        () => "other",
    }
}

/// An exchange was answered: what it was about is so now.
fn settle(shard: &mut Shard, who: &Who, ask: Ask, exchange: &Exchange) {
    let at = exchange.times.response_first.0;
    let cluster = &who.cluster;
    let failed = !exchange.error.is_none();
    let mut tell = |fact| shard.watches.tell(Told::Fact(fact));
    let commit = |group: &Arc<str>, part: Part, client| Commit {
        of: PartitionName { cluster: cluster.clone(), topic: part.topic, partition: part.partition },
        group: group.clone(),
        offset: part.offset,
        client,
        at,
    };
    let member = |protocol, seat: Seat, assigned, left| {
        let Seat { group, member, instance, generation } = seat;
        let (cluster, client) = (cluster.clone(), who.client.clone());
        Fact::Member(Member { cluster, group, member, instance, client, protocol, generation, assigned, left, at })
    };
    match ask.what {
        What::Commit { group: Some(group), transaction, parts, .. } => {
            let mut errors: HashMap<i16, u64> = HashMap::new();
            for part in parts.into_values().filter(|part| !part.topic.is_other()) {
                match (part.error, &transaction) {
                    (Some(ErrorCode::NONE), None) => {
                        tell(Fact::Commit(commit(&group, part, Some(who.client.clone()))));
                    }
                    (Some(ErrorCode::NONE), Some((transaction, epoch))) => {
                        let commit = commit(&group, part, Some(who.client.clone()));
                        tell(Fact::Pending(Pending { transaction: transaction.clone(), epoch: *epoch, commit }));
                    }
                    (Some(error), _) => *errors.entry(error.0).or_default() += 1,
                    (None, _) => {}
                }
            }
            for (error, count) in errors {
                let (cluster, group) = (cluster.clone(), group.clone());
                shard.watches.tell(Told::Note(Note::CommitsFailed { cluster, group, error, count }));
            }
        }
        What::Committed { group, parts } => {
            // What could not be looked up is not known to be absent.
            let is_known = |part: &Part| !part.topic.is_other() && (part.offset >= 0 || !failed);
            for part in parts.into_iter().filter(is_known) {
                tell(Fact::Commit(commit(&group, part, None)));
            }
        }
        What::Join { mut membership, reason, answer: Some((error, generation, name)) } => {
            if error.is_none() {
                membership.generation = generation;
                membership.member = name.unwrap_or(membership.member);
                let group = membership.group.clone();
                tell(member(Protocol::Classic, membership, None, false));
                let (cluster, at) = (cluster.clone(), ask.at.0);
                shard.watches.tell(Told::Note(Note::Joins { cluster, group, reason, at }));
            } else if error == MEMBER_ID_REQUIRED {
                let (cluster, group, at) = (cluster.clone(), membership.group, ask.at.0);
                shard.watches.tell(Told::Note(Note::Joins { cluster, group, reason: "join", at }));
            }
        }
        What::Sync { membership, assigned, .. } if !failed => {
            let (group, generation) = (membership.group.clone(), membership.generation);
            tell(member(Protocol::Classic, membership, assigned, false));
            shard.watches.tell(Told::Note(Note::Synced { cluster: cluster.clone(), group, generation, at }));
        }
        What::Heartbeat { membership } if !failed || exchange.error == REBALANCE_IN_PROGRESS => {
            tell(member(Protocol::Classic, membership, None, false));
        }
        What::Leave { group, members } if !failed => {
            for (name, instance) in members {
                let seat = Seat { group: group.clone(), member: name, instance, generation: -1 };
                tell(member(Protocol::Classic, seat, None, true));
            }
            let cluster = cluster.clone();
            shard.watches.tell(Told::Note(Note::Joins { cluster, group, reason: "leave", at: ask.at.0 }));
        }
        What::Beat { protocol, mut membership, reason, member: name, assigned, .. } if !failed => {
            let left = membership.generation < 0;
            let group = membership.group.clone();
            membership.member = name.unwrap_or(membership.member);
            if !membership.member.is_empty() {
                tell(member(protocol, membership, assigned, left));
            }
            if let Some(reason) = reason {
                let (cluster, at) = (cluster.clone(), ask.at.0);
                shard.watches.tell(Told::Note(Note::Joins { cluster, group, reason, at }));
            }
        }
        What::EndTransaction { transaction, epoch, committed } if !failed => {
            let cluster = cluster.clone();
            tell(Fact::Transaction(EndOfTransaction { cluster, transaction, epoch, committed, at }));
        }
        What::Delete { groups, topics } => {
            shard.watches.tell(Told::Note(Note::Deleted { cluster: cluster.clone(), groups, topics, at }));
        }
        What::InitProducer { id, producer: Some((producer, epoch)) } => {
            let transaction = TransactionName { id, producer };
            let (cluster, epoch) = (cluster.clone(), epoch.saturating_sub(1));
            tell(Fact::Transaction(EndOfTransaction { cluster, transaction, epoch, committed: false, at }));
        }
        _ => {}
    }
}
