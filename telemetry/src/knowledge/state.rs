//! All that is known, and what follows from a new fact.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use kafkascope_protocol::{ErrorCode, Timestamp, TopicId};

use super::cluster;
use super::ends::Ends;
use super::fact::{
    BrokerName, ClientName, Commit, End, Fact, Jump, Member, Note, PartitionName, Pending, Position, Told,
    TransactionEnd, TransactionName,
};
use super::members::{Attribution, GroupName, MemberName, Seat};
use super::rebalances::{Epochs, Rebalance, Rebalances};
use super::store::{Known, OWN, Origin, Store, believed};
use super::weight::{self, Weight};
use crate::dictionary::Dictionary;
use crate::health::{Health, NamedBroker, Sighting};

const SECOND: u64 = 1_000_000_000;

/// Partitions whose ends are known, some 300 bytes each and 1 kB when they grow.
const PARTITIONS: usize = 100_000;
/// The last that was heard of an end is believed for 5 min: as long as all producers pass through here it is still true.
const END_LIFE: u64 = 300 * SECOND;

/// Pairs of client and partition, some 400 bytes each.
const POSITIONS: usize = 100_000;
/// Connections of a client that read one partition and are remembered.
const CONNECTIONS: usize = 8;
/// What a client read is remembered for 10 min, so that it is known where it stopped when it comes back.
const POSITION_LIFE: u64 = 600 * SECOND;
/// A client reads where it was when last heard of: for 20 s, as a fetch may wait for long, and what is still so is told
/// again every 5 s.
pub(crate) const READING: u64 = 20 * SECOND;

/// Pairs of group and partition.
const COMMITS: usize = 100_000;
/// A commit is true until the next one; brokers keep it for 7 days.
const COMMIT_LIFE: u64 = 7 * 86_400 * SECOND;

/// Transactions with commits that have not ended.
const PENDING: usize = 10_000;
/// `transaction.max.timeout.ms` is 15 min.
const PENDING_LIFE: u64 = 1_200 * SECOND;

/// Ends of transactions, kept for commits that are told late.
const TRANSACTIONS: usize = 50_000;
const TRANSACTION_LIFE: u64 = 60 * SECOND;

/// Members of all groups together.
const MEMBERS: usize = 20_000;
/// Members heartbeat at least every 15 s (`session.timeout.ms` / 3 of 45 s).
const MEMBER_LIFE: u64 = 60 * SECOND;
/// Topics and partitions that all members are assigned together. Above it the assignments of new members are not kept.
const ASSIGNED: usize = 1_000_000;

/// Topic ids and their names.
const TOPICS: usize = 20_000;
const TOPIC_LIFE: u64 = 7 * 86_400 * SECOND;

/// Ids of clusters: as long as the proxy lives that was told.
const CLUSTERS: usize = 1_000;

/// Brokers that clients are told of: the largest clusters have some hundred.
pub(crate) const BROKERS: usize = 4_096;
/// A broker that clients are not told of any more is forgotten: after 15 min. They ask for metadata every 5 min.
pub(crate) const BROKER_LIFE: u64 = 900 * SECOND;

/// Groups that are counted for.
const GROUPS: usize = 10_000;

/// What can be judged only when all that belongs to it has been heard, other proxies' facts included: 5 s.
pub(super) const JUDGED_AFTER: u64 = 5 * SECOND;
/// What waits for judgement.
const WAITING: usize = 65_536;

/// All that a client's connections read of a partition, the last heard of behind.
pub(crate) type Reading = Vec<(Position, u64)>;

/// A client and a partition.
pub(crate) type ReaderName = (ClientName, PartitionName);

/// A group and a partition.
pub(crate) type CommitName = (GroupName, PartitionName);

/// What a group did through this proxy.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) rebalances: Rebalances,
    pub(crate) commits: u64,
    pub(crate) commit_errors: u64,
    /// Commits at the beginnings of the last seconds.
    pub(crate) rate: VecDeque<(u64, u64)>,
}

/// Something that happened and is to be counted.
#[derive(Debug, PartialEq)]
pub(crate) enum Event {
    Skipped { client: ClientName, of: PartitionName, records: u64, group: Option<(Attribution, Option<GroupName>)> },
    Committed { group: GroupName, count: u64 },
    CommitsFailed { group: GroupName, error: ErrorCode, count: u64 },
    CommittedAhead { group: GroupName, of: PartitionName },
    Rebalanced { group: GroupName, rebalance: Rebalance },
}

/// All that is known.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) ends: Store<PartitionName, Ends>,
    pub(crate) positions: Store<ReaderName, Reading>,
    pub(crate) commits: Store<CommitName, Commit>,
    /// By transactional id.
    pub(crate) pending: Store<(Arc<str>, Arc<str>), Vec<Pending>>,
    pub(crate) transactions: Store<(Arc<str>, TransactionName), TransactionEnd>,
    pub(crate) members: Store<MemberName, Seat>,
    pub(crate) topics: Store<(Arc<str>, [u8; 16]), Arc<str>>,
    /// Ids.
    pub(crate) clusters: Store<Arc<str>, ()>,
    /// By name of the cluster and node id.
    pub(crate) brokers: Store<(Arc<str>, i32), BrokerName>,
    pub(crate) groups: HashMap<GroupName, Group>,
    pub(crate) events: Vec<Event>,
    /// By reason.
    pub(crate) peer_failures: BTreeMap<&'static str, u64>,
    pub(crate) health: Health,
    /// Jumps, and when they were told.
    jumps: VecDeque<(Jump, u64)>,
    ahead: VecDeque<(Commit, u64)>,
    assigned: usize,
    /// Of what peers told: see [`weight`].
    weight_of_peers: usize,
    pub(super) pending_commits: usize,
    pub(crate) version: u64,
    /// Facts that there was no room for.
    pub(crate) lost: u64,
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            ends: Store::new(PARTITIONS, END_LIFE),
            positions: Store::new(POSITIONS, POSITION_LIFE),
            commits: Store::new(COMMITS, COMMIT_LIFE),
            pending: Store::new(PENDING, PENDING_LIFE),
            transactions: Store::new(TRANSACTIONS, TRANSACTION_LIFE),
            members: Store::new(MEMBERS, MEMBER_LIFE),
            topics: Store::new(TOPICS, TOPIC_LIFE),
            clusters: Store::new(CLUSTERS, u64::MAX),
            brokers: Store::new(BROKERS, BROKER_LIFE),
            groups: HashMap::new(),
            events: Vec::new(),
            peer_failures: BTreeMap::new(),
            health: Health::default(),
            jumps: VecDeque::new(),
            ahead: VecDeque::new(),
            assigned: 0,
            weight_of_peers: 0,
            pending_commits: 0,
            version: 0,
            lost: 0,
        }
    }

    /// What a worker told.
    pub(crate) fn learn_own(&mut self, told: Told, dictionary: &Dictionary, now: u64) {
        match told {
            Told::Fact(fact) => self.learn(OWN, fact, dictionary, now),
            Told::Note(note) => self.note(note, now),
            Told::Sighting(sighting) => {
                if let Sighting::Broker(NamedBroker { broker, .. }) = &sighting {
                    self.learn(OWN, Fact::Broker(broker.clone()), dictionary, now);
                }
                self.health.see(sighting, now);
            }
        }
    }

    /// A fact of another proxy, if there is room for it.
    pub(crate) fn learn_of_peer(&mut self, origin: Origin, fact: Fact, dictionary: &Dictionary, now: u64) {
        self.weight_of_peers += fact.weight();
        if self.weight_of_peers > weight::MOST {
            self.lost += 1;
        } else {
            self.learn(origin, fact, dictionary, now);
        }
    }

    /// A fact of this proxy or of another.
    pub(crate) fn learn(&mut self, origin: Origin, fact: Fact, dictionary: &Dictionary, now: u64) {
        self.version += u64::from(origin == OWN);
        match fact {
            Fact::End(end) => self.end(origin, end, now),
            Fact::Position(position) => self.position(origin, position, now),
            Fact::Commit(commit) => self.commit(origin, commit, now),
            Fact::Pending(pending) => self.pend(origin, pending, now),
            Fact::Transaction(end) => self.transaction(origin, end, now),
            Fact::Member(member) => self.member(origin, member, now),
            Fact::Topic(topic) => {
                let (cluster, id) = (cluster::named(&topic.cluster), TopicId(topic.id));
                if origin == OWN {
                    dictionary.learn_topic(cluster, id, topic.name.as_bytes());
                } else {
                    dictionary.hear_of_topic(cluster, id, topic.name.as_bytes());
                }
                let Some((known, _)) = self.topics.entry((topic.cluster, topic.id), origin, || (topic.name, now))
                else {
                    return;
                };
                (known.seen, known.version) = (now, self.version);
            }
            Fact::Cluster(cluster) => {
                let Some((known, _)) = self.clusters.entry(cluster.id, origin, || ((), now)) else { return };
                (known.seen, known.version) = (now, self.version);
            }
            Fact::Broker(broker) => {
                let key = (broker.cluster.clone(), broker.id);
                let Some((known, _)) = self.brokers.entry(key, origin, || (broker.clone(), now)) else { return };
                (known.value, known.at, known.seen, known.version) = (broker, now, now, self.version);
            }
        }
    }

    fn end(&mut self, origin: Origin, end: End, now: u64) {
        if origin == OWN {
            self.health.end(&end);
        } else if !self.ends.get(&end.of).is_some_and(|(_, told)| told.iter().any(|known| known.is_certain(now))) {
            self.health.end_elsewhere(&end);
        }
        let Some((known, _)) = self.ends.entry(end.of.clone(), origin, || (Ends::new(), end.at)) else { return };
        if known.value.learn(&end) {
            (known.at, known.seen, known.version) = (known.at.max(end.at), now, self.version);
        }
    }

    fn position(&mut self, origin: Origin, position: Position, now: u64) {
        let key = (position.client.clone(), position.of.clone());
        let Some((known, _)) = self.positions.entry(key, origin, || (Reading::new(), position.at)) else { return };
        (known.at, known.seen, known.version) = (known.at.max(position.at), now, self.version);
        let reading = &mut known.value;
        match reading.iter().position(|(other, _)| other.connection == position.connection) {
            Some(index) => {
                reading.remove(index);
            }
            None if origin == OWN && position.began.0 > 0 && self.jumps.len() < WAITING => {
                let Position { of, client, connection, began: to, .. } = position.clone();
                self.jumps.push_back((Jump { of, client, connection, from: None, to }, now));
            }
            None => {}
        }
        if reading.len() >= CONNECTIONS {
            reading.remove(0);
        }
        reading.push((position, now));
    }

    pub(super) fn commit(&mut self, origin: Origin, commit: Commit, now: u64) {
        let group = GroupName { cluster: commit.of.cluster.clone(), group: commit.group.clone() };
        if origin == OWN && commit.client.is_some() {
            if let Some(own) = self.group(&group) {
                own.commits += 1;
            }
            self.events.push(Event::Committed { group: group.clone(), count: 1 });
            if self.is_ahead(&commit, now) == Some(true) && self.ahead.len() < WAITING {
                self.ahead.push_back((commit.clone(), now));
            }
        }
        let key = (group, commit.of.clone());
        if commit.offset < 0 && self.commits.get(&key).is_none() {
            return;
        }
        let Some((known, is_new)) = self.commits.entry(key, origin, || (commit.clone(), commit.at)) else { return };
        if is_new || commit.at >= known.at {
            (known.at, known.seen, known.version) = (commit.at, now, self.version);
            known.value = commit;
        }
    }

    fn member(&mut self, origin: Origin, mut member: Member, now: u64) {
        let group = GroupName { cluster: member.cluster.clone(), group: member.group.clone() };
        if member.member.is_empty() {
            // Known by its instance id only.
            let is_it = |key: &MemberName| key.group == group;
            let named = self
                .members
                .keys_where(is_it)
                .into_iter()
                .find(|key| self.members.newest(key).is_some_and(|known| known.value.instance == member.instance));
            let Some(named) = named.filter(|_| member.instance.is_some()) else { return };
            member.member = named.member;
        }
        let more = member.assigned.iter().flatten().map(|topic| topic.partitions.len().max(1)).sum::<usize>();
        if self.assigned.saturating_add(more) > ASSIGNED {
            member.assigned = None;
            self.lost += 1;
        }
        let key = MemberName { group, member: member.member.clone() };
        let Some((known, is_new)) = self.members.entry(key, origin, || (Seat::new(&member), member.at)) else { return };
        if is_new || member.at >= known.at {
            let had = if is_new { 0 } else { known.value.places() };
            (known.at, known.seen, known.version) = (member.at, now, self.version);
            known.value.learn(&member);
            self.assigned = (self.assigned + known.value.places()).saturating_sub(had);
        }
    }

    fn note(&mut self, note: Note, now: u64) {
        match note {
            Note::Jump(jump) if self.jumps.len() < WAITING => self.jumps.push_back((jump, now)),
            Note::Jump(_) => self.lost += 1,
            Note::CommitsFailed { cluster, group, error, count } => {
                let group = GroupName { cluster, group };
                if let Some(own) = self.group(&group) {
                    own.commit_errors += count;
                }
                self.events.push(Event::CommitsFailed { group, error: ErrorCode(error), count });
            }
            Note::Joins { cluster, group, reason, at } => {
                if let Some(own) = self.group(&GroupName { cluster, group }) {
                    own.rebalances.begins(reason, at);
                }
            }
            Note::Deleted { cluster, groups, topics, at } => self.deleted(&cluster, &groups, &topics, at, now),
            Note::Synced { cluster, group, generation, at } => {
                let group = GroupName { cluster, group };
                if let Some(rebalance) = self.group(&group).and_then(|own| own.rebalances.synced(generation, at)) {
                    self.events.push(Event::Rebalanced { group, rebalance });
                }
            }
        }
    }

    /// What groups have committed, and of topics all that is known, is not true any more.
    fn deleted(&mut self, cluster: &Arc<str>, groups: &[Arc<str>], topics: &[Arc<str>], at: u64, now: u64) {
        let (groups, topics): (HashSet<_>, HashSet<_>) = (groups.iter().collect(), topics.iter().collect());
        let is_gone = |of: &PartitionName| of.cluster == *cluster && topics.contains(&of.topic);
        let is_void =
            |(group, of): &CommitName| is_gone(of) || group.cluster == *cluster && groups.contains(&group.group);
        for (GroupName { group, .. }, of) in self.commits.keys_where(is_void) {
            self.version += 1;
            // Other proxies hear of it, too.
            self.commit(OWN, Commit { of, group, offset: -1, client: None, at }, now);
        }
        self.ends.keys_where(is_gone).iter().for_each(|key| drop(self.ends.remove(key)));
        self.positions.keys_where(|(_, of)| is_gone(of)).iter().for_each(|key| drop(self.positions.remove(key)));
        self.groups.retain(|name, _| name.cluster != *cluster || !groups.contains(&name.group));
    }

    fn group(&mut self, name: &GroupName) -> Option<&mut Group> {
        if self.groups.len() >= GROUPS && !self.groups.contains_key(name) {
            self.lost += 1;
            return None;
        }
        Some(self.groups.entry(name.clone()).or_default())
    }

    /// Members of all groups that have not left, as far as is believed.
    pub(crate) fn seats(&self, now: u64) -> impl Iterator<Item = (&GroupName, &Seat)> {
        self.members.iter().filter_map(move |(name, known)| {
            let believed = believed(known, now)?;
            let lives = !believed.value.left && now.saturating_sub(believed.seen) <= MEMBER_LIFE;
            lives.then_some((&name.group, &believed.value))
        })
    }

    /// Members of all groups that have not left, by what this proxy has seen itself.
    pub(crate) fn own_seats(&self) -> impl Iterator<Item = (&GroupName, &Known<Seat>)> {
        self.members.iter().filter_map(|(name, known)| {
            let own = known.iter().find(|known| known.origin == OWN && !known.value.left)?;
            Some((&name.group, own))
        })
    }

    /// The same, by client.
    pub(crate) fn seats_by_client(&self, now: u64) -> HashMap<&ClientName, Vec<(&GroupName, &Seat)>> {
        let mut by_client: HashMap<&ClientName, Vec<_>> = HashMap::new();
        for (group, seat) in self.seats(now) {
            by_client.entry(&seat.client).or_default().push((group, seat));
        }
        by_client
    }

    /// Forgets what `origin` told.
    pub(crate) fn forget(&mut self, origin: Origin) {
        self.ends.forget_origin(origin);
        self.positions.forget_origin(origin);
        self.commits.forget_origin(origin);
        self.pending.forget_origin(origin);
        self.transactions.forget_origin(origin);
        self.members.forget_origin(origin);
        self.topics.forget_origin(origin);
        self.clusters.forget_origin(origin);
        self.brokers.forget_origin(origin);
    }

    /// How many facts there are, and how many were lost since the last call.
    pub(crate) fn size(&mut self) -> (usize, u64) {
        let facts = self.ends.len()
            + self.positions.len()
            + self.commits.len()
            + self.pending_commits
            + self.transactions.len()
            + self.members.len()
            + self.topics.len()
            + self.clusters.len()
            + self.brokers.len();
        let forgotten = self.ends.take_forgotten()
            + self.positions.take_forgotten()
            + self.commits.take_forgotten()
            + self.pending.take_forgotten()
            + self.transactions.take_forgotten()
            + self.members.take_forgotten()
            + self.topics.take_forgotten()
            + self.clusters.take_forgotten()
            + self.brokers.take_forgotten();
        (facts, forgotten + std::mem::take(&mut self.lost) + self.health.take_lost())
    }

    /// Judges what has waited long enough, and forgets what is not true any more.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        let now = now.0;
        self.unseat(now);
        let mut skipped = Vec::new();
        let seats = if self.jumps.is_empty() { HashMap::new() } else { self.seats_by_client(now) };
        for (jump, _) in self.jumps.iter().take_while(|(_, told)| now.saturating_sub(*told) >= JUDGED_AFTER) {
            let seats = seats.get(&jump.client).map_or(&[][..], Vec::as_slice);
            skipped.push(self.skipped(jump, seats));
        }
        self.jumps.drain(..skipped.len());
        self.events.extend(skipped.into_iter().flatten());
        while self.ahead.front().is_some_and(|(_, told)| now.saturating_sub(*told) >= JUDGED_AFTER) {
            let Some((commit, told)) = self.ahead.pop_front() else { break };
            // As it was then: what was given since does not make it right. But it may have been heard of since.
            if self.is_ahead(&commit, told) == Some(true) {
                let group = GroupName { cluster: commit.of.cluster.clone(), group: commit.group };
                self.events.push(Event::CommittedAhead { group, of: commit.of });
            }
        }
        self.rebalances(now);
        self.ends.expire(now);
        self.positions.expire(now);
        self.commits.expire(now);
        self.pending.expire(now);
        self.transactions.expire(now);
        self.members.expire(now);
        self.topics.expire(now);
        self.clusters.expire(now);
        self.brokers.expire(now);
        self.assigned = self.members.iter().flat_map(|(_, known)| known).map(|known| known.value.places()).sum();
        if self.weight_of_peers > 0 {
            self.weight_of_peers = weight::of_peers(self);
        }
        self.pending_commits = self.pending.iter().flat_map(|(_, known)| known).map(|known| known.value.len()).sum();
        for group in self.groups.values_mut() {
            group.rate.push_back((now, group.commits));
            while group.rate.get(1).is_some_and(|(then, _)| now.saturating_sub(*then) >= 10 * SECOND) {
                group.rate.pop_front();
            }
        }
        if self.groups.len() >= GROUPS {
            let members: HashSet<&GroupName> = self
                .members
                .iter()
                .map(|(name, _)| &name.group)
                .chain(self.commits.iter().map(|(name, _)| &name.0))
                .collect();
            self.groups.retain(|name, _| members.contains(name));
        }
    }

    /// Groups whose members move to a new epoch one by one, and groups without members.
    fn rebalances(&mut self, now: u64) {
        let mut epochs: HashMap<GroupName, Epochs> = HashMap::new();
        for (name, seat) in self.own_seats().filter(|(name, _)| self.groups.contains_key(*name)) {
            if now.saturating_sub(seat.seen) <= MEMBER_LIFE {
                epochs.entry(name.clone()).or_default().add(&seat.value);
            }
        }
        for (name, group) in &mut self.groups {
            match epochs.get(name) {
                None => group.rebalances.empties(),
                Some(epochs) if epochs.classic => {}
                Some(epochs) => {
                    if let Some(rebalance) = group.rebalances.reported(epochs) {
                        self.events.push(Event::Rebalanced { group: name.clone(), rebalance });
                    }
                }
            }
        }
    }
}
