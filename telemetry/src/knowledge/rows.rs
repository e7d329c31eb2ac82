//! Groups as `/api/groups` shows them.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafkascope_protocol::Timestamp;
use serde::Serialize;

use super::cluster;
use super::lag::{self, TopicLag};
use super::members::{Attribution, GroupName, MemberName, Seat};
use super::state::{READING, State};
use super::store::believed;
use crate::learned::Learned;

/// A group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupRow {
    /// The cluster's name, or its id; `null` while it is not known.
    pub cluster: Option<String>,
    /// The group.
    pub group: String,
    /// `empty`, `rebalancing` or `stable`.
    pub state: &'static str,
    /// Its members, as far as they are known.
    pub members: Vec<MemberRow>,
    /// What it has committed, by topic.
    pub topics: Vec<GroupTopicRow>,
    /// Records behind what it has committed; `null` while it is not known for each partition.
    pub lag: Option<i64>,
    /// Since when the record waits that is behind a commit and has waited longest, in seconds.
    pub time_lag_s: Option<f64>,
    /// Commits of a partition each second, over the last ten seconds. Seen by this proxy, as all that follows.
    pub commit_rate: f64,
    /// Commits of a partition that were refused.
    pub commit_errors: u64,
    /// Rebalances.
    pub rebalances: u64,
    /// Generation, or epoch.
    pub generation: Option<i32>,
    /// How sure it is that fetches of its members' clients are the group's: the least sure of them.
    pub attribution: Option<&'static str>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MemberRow {
    /// The member.
    pub member_id: String,
    /// Its client.
    pub client_id: String,
    /// Its host.
    pub address: String,
    /// Partitions that it is assigned; `null` while that is not known.
    pub assigned: Option<usize>,
    /// How sure it is that what its client fetches is for this group; `null` while it fetches nothing.
    pub attribution: Option<&'static str>,
}

/// What a group has committed of a topic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupTopicRow {
    /// The topic.
    pub topic: String,
    /// Partitions of which something is committed.
    pub partitions: usize,
    /// Records behind; `null` while it is not known for each partition.
    pub lag: Option<i64>,
}

#[derive(Debug, Default)]
struct Gathered<'a> {
    members: Vec<(&'a MemberName, &'a Seat)>,
    topics: BTreeMap<&'a Arc<str>, TopicLag>,
}

pub(super) fn groups(state: &State, learned: &Learned, now: Timestamp) -> Vec<GroupRow> {
    let now = now.0;
    let committed = lag::committed(state, now);
    let mut all: BTreeMap<&GroupName, Gathered<'_>> = BTreeMap::new();
    for (name, lag) in &committed {
        all.entry(name).or_default().topics = lag.topics();
    }
    for (name, known) in state.members.iter() {
        let believed = believed(known, now).map(|known| &known.value);
        if let Some(seat) = believed.filter(|seat| !seat.left) {
            all.entry(&name.group).or_default().members.push((name, seat));
        }
    }
    for name in state.groups.keys() {
        all.entry(name).or_default();
    }
    let attributions = attributions(state, now);
    let row = |(name, gathered)| row(state, learned, name, gathered, &attributions, now);
    all.into_iter().map(row).collect()
}

/// The least sure attribution of what each client fetches, by group; without a group, of those that it may be.
fn attributions(state: &State, now: u64) -> BTreeMap<(&str, &str, GroupName), Attribution> {
    let seats = state.seats_by_client(now);
    let mut attributions: BTreeMap<(&str, &str, GroupName), Attribution> = BTreeMap::new();
    for ((client, of), known) in state.positions.iter() {
        let Some(seats) = seats.get(client) else { continue };
        if !known.iter().any(|known| now.saturating_sub(known.seen) <= READING) {
            continue;
        }
        let Some((attribution, group)) = super::members::attribute(seats, of) else { continue };
        let groups = match group {
            Some(group) => vec![group],
            None => seats.iter().map(|(group, _)| *group).collect(),
        };
        for group in groups {
            let worst = attributions.entry((&client.id, &client.address, group.clone())).or_insert(attribution);
            *worst = attribution.max(*worst);
        }
    }
    attributions
}

fn row(
    state: &State,
    learned: &Learned,
    name: &GroupName,
    gathered: Gathered<'_>,
    attributions: &BTreeMap<(&str, &str, GroupName), Attribution>,
    now: u64,
) -> GroupRow {
    let Gathered { mut members, topics } = gathered;
    members.sort_unstable_by(|a, b| a.0.member.cmp(&b.0.member));
    let generation = members.iter().map(|(_, seat)| seat.generation).max().filter(|generation| *generation >= 0);
    let mut total = TopicLag::new();
    for topic in topics.values() {
        total.and(topic);
    }
    let own = state.groups.get(name);
    let rebalances = own.map(|own| &own.rebalances);
    let group_state = match rebalances {
        _ if members.is_empty() => "empty",
        Some(rebalances) if rebalances.is_under_way(now) => "rebalancing",
        _ => "stable",
    };
    let rate = own.and_then(|own| {
        let ((then, before), (at, commits)) = own.rate.front().copied().zip(own.rate.back().copied())?;
        let seconds = at.saturating_sub(then) as f64 / 1e9;
        (seconds > 0.0).then(|| commits.saturating_sub(before) as f64 / seconds)
    });
    let of = |seat: &Seat| {
        let key = (&*seat.client.id, &*seat.client.address, name.clone());
        attributions.get(&key).copied()
    };
    let attribution = members.iter().filter_map(|(_, seat)| of(seat)).max().map(Attribution::name);
    let member = |(name, seat): &(&MemberName, &Seat)| MemberRow {
        member_id: name.member.to_string(),
        client_id: seat.client.id.to_string(),
        address: seat.client.address.to_string(),
        assigned: seat.is_assigned_something().map(|_| seat.partitions()),
        attribution: of(seat).map(Attribution::name),
    };
    let known = !topics.is_empty();
    GroupRow {
        cluster: cluster::named(&name.cluster).or(learned.cluster()).map(ToString::to_string),
        group: name.group.to_string(),
        state: group_state,
        members: members.iter().map(member).collect(),
        topics: topics
            .into_iter()
            .map(|(topic, lag)| GroupTopicRow {
                topic: topic.to_string(),
                partitions: lag.partitions,
                lag: lag.lag_sum,
            })
            .collect(),
        lag: total.lag_sum.filter(|_| known),
        time_lag_s: total.time_lag.filter(|_| known).map(|nanos| nanos as f64 / 1e9),
        commit_rate: rate.unwrap_or(0.0),
        commit_errors: own.map_or(0, |own| own.commit_errors),
        rebalances: rebalances.map_or(0, |rebalances| rebalances.count),
        generation,
        attribution,
    }
}
