//! The joins: positions and commits against the ends of their partitions. Pure functions of what is known.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::ends::Ends;
use super::fact::{ClientName, Commit, PartitionName, Position};
use super::members::{Attribution, GroupName, Seat, attribute};
use super::state::{READING, State};
use super::store::{Known, OWN, Origin, believed};

/// What a group has committed of a partition, and how far that is behind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CommittedLag<'a> {
    pub(crate) of: &'a PartitionName,
    pub(crate) offset: i64,
    /// `None` while the end is not known.
    pub(crate) lag: Option<i64>,
    /// Since when the next record waits, in nanoseconds; `None` if that is not known.
    pub(crate) time_lag: Option<u64>,
}

/// All that a group has committed.
#[derive(Debug, Default)]
pub(crate) struct GroupLag<'a> {
    pub(crate) partitions: Vec<CommittedLag<'a>>,
    /// Who told its newest commit, and when that was.
    pub(crate) newest: (u64, Origin),
}

impl GroupLag<'_> {
    /// Offsets, lag and time lag of each topic.
    pub(crate) fn topics(&self) -> BTreeMap<&Arc<str>, TopicLag> {
        let mut topics: BTreeMap<&Arc<str>, TopicLag> = BTreeMap::new();
        for partition in &self.partitions {
            topics.entry(&partition.of.topic).or_insert_with(TopicLag::new).add(partition);
        }
        topics
    }
}

/// Sums over the partitions of a topic. Absent when they are absent for one of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TopicLag {
    pub(crate) partitions: usize,
    pub(crate) offset_sum: i64,
    pub(crate) lag_sum: Option<i64>,
    pub(crate) time_lag: Option<u64>,
}

impl TopicLag {
    pub(crate) const fn new() -> Self {
        Self { partitions: 0, offset_sum: 0, lag_sum: Some(0), time_lag: Some(0) }
    }

    fn add(&mut self, partition: &CommittedLag<'_>) {
        let CommittedLag { offset, lag, time_lag, .. } = *partition;
        self.and(&Self { partitions: 1, offset_sum: offset, lag_sum: lag, time_lag });
    }

    pub(crate) fn and(&mut self, other: &Self) {
        self.partitions += other.partitions;
        self.offset_sum = self.offset_sum.saturating_add(other.offset_sum);
        self.lag_sum = self.lag_sum.zip(other.lag_sum).map(|(sum, lag)| sum.saturating_add(lag));
        self.time_lag = self.time_lag.zip(other.time_lag).map(|(most, lag)| most.max(lag));
    }
}

/// Committed lag of all groups.
pub(crate) fn committed(state: &State, now: u64) -> BTreeMap<GroupName, GroupLag<'_>> {
    let mut groups: BTreeMap<GroupName, GroupLag<'_>> = BTreeMap::new();
    let mut ours = None;
    for ((group, of), known) in state.commits.iter() {
        // Others tell of it, too: while a member that is seen here has the partition, its commits are seen here.
        let own = known.iter().find(|known| known.origin == OWN).filter(|_| known.len() > 1);
        let own = own.filter(|_| ours.get_or_insert_with(|| own_seats(state, now)).has(group, of));
        let Some(believed) = own.or_else(|| believed(known, now)) else { continue };
        let offset = believed.value.offset;
        if offset < 0 {
            continue;
        }
        let end = state.ends.get(of).and_then(|(_, known)| high(known, now));
        let (lag, time_lag) = match end {
            // A commit that is newer than the end has moved it.
            Some(ends) => (Some(ends.high.0.saturating_sub(offset).max(0)), ends.age_of(offset, now)),
            None => (None, None),
        };
        let of_group = groups.entry(group.clone()).or_default();
        of_group.partitions.push(CommittedLag { of, offset, lag, time_lag });
        of_group.newest = of_group.newest.max((believed.at, believed.origin));
    }
    for group in groups.values_mut() {
        group.partitions.sort_unstable_by_key(|partition| partition.of);
    }
    groups
}

/// Members that are certainly seen here, by group.
struct OwnSeats<'a>(HashMap<&'a GroupName, Vec<&'a Seat>>);

fn own_seats(state: &State, now: u64) -> OwnSeats<'_> {
    let mut seats: HashMap<&GroupName, Vec<&Seat>> = HashMap::new();
    for (group, known) in state.own_seats().filter(|(_, known)| known.is_certain(now)) {
        seats.entry(group).or_default().push(&known.value);
    }
    OwnSeats(seats)
}

impl OwnSeats<'_> {
    /// Whether one of them is assigned the partition.
    fn has(&self, group: &GroupName, of: &PartitionName) -> bool {
        let seats = self.0.get(group).into_iter().flatten();
        group.cluster == of.cluster && seats.into_iter().any(|seat| seat.since(&of.topic, of.partition).is_some())
    }
}

/// What is believed of something that partitions have: what was just seen here, else the newest.
fn told<'a, T>(known: &'a [Known<Ends>], now: u64, of: impl Fn(&'a Ends) -> Option<(T, u64)>) -> Option<T> {
    let own = known.iter().find(|known| known.is_certain(now)).and_then(|known| of(&known.value));
    let newest = || known.iter().filter_map(|known| of(&known.value)).max_by_key(|(_, at)| *at);
    own.or_else(newest).map(|(value, _)| value)
}

/// The end that is believed.
pub(crate) fn high(known: &[Known<Ends>], now: u64) -> Option<&Ends> {
    told(known, now, |ends| (ends.high.0 >= 0).then_some((ends, ends.high.1)))
}

/// The start that is believed.
pub(crate) fn start(known: &[Known<Ends>], now: u64) -> Option<i64> {
    told(known, now, |ends| Some(ends.start).filter(|(start, _)| *start >= 0))
}

/// What a client reads of a topic, and for which group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reader<'a> {
    pub(crate) client: &'a ClientName,
    pub(crate) cluster: &'a Arc<str>,
    pub(crate) topic: &'a Arc<str>,
    pub(crate) group: Option<&'a GroupName>,
    pub(crate) attribution: Option<Attribution>,
}

/// How far a client is behind in a topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ReaderLag {
    pub(crate) sum: i64,
    pub(crate) max: i64,
}

/// Position lag of what clients read through this proxy.
pub(crate) fn positions<'a>(
    state: &'a State,
    seats: &HashMap<&ClientName, Vec<(&'a GroupName, &'a Seat)>>,
    now: u64,
) -> BTreeMap<Reader<'a>, ReaderLag> {
    let mut readers: BTreeMap<Reader<'a>, ReaderLag> = BTreeMap::new();
    for ((client, of), known) in state.positions.iter() {
        let Some(own) = known.iter().find(|known| known.origin == OWN) else { continue };
        let seats = seats.get(client).map_or(&[][..], Vec::as_slice);
        let whose = attribute(seats, of);
        let Some((_, ends)) = state.ends.get(of) else { continue };
        let committed = whose.and_then(|(_, group)| committed_by(state, client, group?, of, now));
        // Where a client came to the partition last, there it is: another broker leads it now, or a replica is nearer (KIP-392).
        // If it still asks elsewhere, too, then two applications have one id. That it has come to another proxy counts once it was
        // not heard of here for a while.
        let told = known.iter().filter(|known| known.origin == OWN || !own.is_certain(now));
        let came = told.flat_map(|known| &known.value).map(|(position, _)| position.came).max();
        let is_there =
            |position: &Position| Some(position.came) == came || (Some(position.at) > came && !position.left);
        let lags =
            own.value.iter().filter(|(position, seen)| is_there(position) && reads(position, *seen, seats, of, now));
        let Some(lag) = lags.filter_map(|(position, _)| lag(position, committed, ends, now)).max() else { continue };
        let (attribution, group) = match whose {
            Some((attribution, group)) => (Some(attribution), group),
            None => (None, None),
        };
        let reader = Reader { client, cluster: &of.cluster, topic: &of.topic, group, attribution };
        let total = readers.entry(reader).or_default();
        total.sum = total.sum.saturating_add(lag);
        total.max = total.max.max(lag);
    }
    readers
}

/// Whether a client still reads there.
fn reads(position: &Position, seen: u64, seats: &[(&GroupName, &Seat)], of: &PartitionName, now: u64) -> bool {
    if position.ended || now.saturating_sub(seen) > READING {
        return false;
    }
    // Out of the session: it has records in store, or the partition was taken from it.
    let assigned = || {
        let mut known = seats.iter().filter(|(_, seat)| seat.is_assigned_something().is_some()).peekable();
        known.peek().is_none() || known.any(|(_, seat)| seat.since(&of.topic, of.partition).is_some())
    };
    !position.left || assigned()
}

/// What the client itself has committed for the group.
fn committed_by<'a>(
    state: &'a State,
    client: &ClientName,
    group: &GroupName,
    of: &PartitionName,
    now: u64,
) -> Option<&'a Commit> {
    let (_, known) = state.commits.get(&(group.clone(), of.clone()))?;
    believed(known, now).map(|known| &known.value).filter(|commit| commit.client.as_ref() == Some(client))
}

/// How far a position is behind the end that its client may read to. While a client has records in store it does not ask, but
/// commits.
fn lag(position: &Position, committed: Option<&Commit>, ends: &[Known<Ends>], now: u64) -> Option<i64> {
    let end = if position.read_committed { told(ends, now, Ends::stable)? } else { high(ends, now)?.high.0 };
    let taken = committed.filter(|commit| commit.at > position.at && commit.offset <= position.next);
    let at = taken.map_or(position.asked, |commit| commit.offset.max(position.asked));
    Some(end.saturating_sub(at).max(0))
}
