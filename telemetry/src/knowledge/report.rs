//! What is known as metrics.

use std::collections::HashMap;

use super::cluster::{self, wire};
use super::lag::{self, Reader};
use super::members::{Attribution, GroupName};
use super::state::{Event, State};
use super::store::{Known, OWN, Origin, believed};
use crate::attribute::{Attribute as A, Value};
use crate::histogram::Histogram;
use crate::metric::Metric;
use crate::readings::Readings;

/// Series of partitions, of each of the metrics that have them. Groups and partitions above it, in the order of their names,
/// have none; the sums hold them all the same.
const PARTITION_SERIES: usize = 10_000;

/// What decides who exports what several proxies know.
pub(super) struct Owner<'a> {
    pub(super) instance: &'a str,
    /// By number of the peer, less one.
    pub(super) peers: &'a [Option<Box<str>>],
}

impl Owner<'_> {
    /// Whether this proxy exports what all of `known` know.
    fn is_ours<V>(&self, known: &[Known<V>]) -> bool {
        let instance = |origin: Origin| match origin.checked_sub(1) {
            None => Some(self.instance),
            Some(peer) => self.peers.get(peer)?.as_deref(),
        };
        known.iter().any(|known| known.origin == OWN)
            && known.iter().filter_map(|known| instance(known.origin)).all(|other| self.instance <= other)
    }
}

pub(super) fn report(state: &mut State, owner: &Owner<'_>, readings: &mut Readings) {
    for event in std::mem::take(&mut state.events) {
        happened(event, readings);
    }
    for (reason, count) in std::mem::take(&mut state.peer_failures) {
        readings.more(Metric::SelfPeerFailures, &[(A::Reason, Value::Static(reason))], count);
    }
    let (facts, lost) = state.size();
    if facts == 0 && lost == 0 {
        return;
    }
    readings.state(Metric::SelfFacts, &[], facts as i64);
    readings.more(Metric::SelfFactsLost, &[], lost);
    let now = readings.at().0;
    let seats = state.seats_by_client(now);
    for (reader, lag) in lag::positions(state, &seats, now) {
        let attributes = reader_attributes(&reader);
        readings.state(Metric::PositionLag, &attributes, lag.sum);
        readings.state(Metric::PositionLagMax, &attributes, lag.max);
    }
    committed(state, readings);
    members(state, readings);
    partitions(state, owner, readings);
}

fn committed(state: &State, readings: &mut Readings) {
    let mut series = 0;
    for (group, lag) in lag::committed(state, readings.at().0) {
        if lag.newest.1 != OWN {
            continue;
        }
        for partition in &lag.partitions {
            series += 1;
            if series > PARTITION_SERIES {
                continue;
            }
            let mut attributes = wire(&group.cluster);
            attributes.push((A::GroupShort, Value::Text(group.group.clone())));
            attributes.push((A::TopicShort, Value::Text(partition.of.topic.clone())));
            attributes.push((A::PartitionShort, Value::Integer(partition.of.partition.into())));
            readings.state(Metric::GroupOffset, &attributes, partition.offset);
            if let Some(lag) = partition.lag {
                readings.state(Metric::GroupLag, &attributes, lag);
            }
        }
        for (topic, lag) in lag.topics() {
            let mut attributes = wire(&group.cluster);
            attributes.push((A::GroupShort, Value::Text(group.group.clone())));
            attributes.push((A::TopicShort, Value::Text(topic.clone())));
            readings.state(Metric::GroupOffsetSum, &attributes, lag.offset_sum);
            if let Some(sum) = lag.lag_sum {
                readings.state(Metric::GroupLagSum, &attributes, sum);
            }
            if let Some(nanos) = lag.time_lag {
                let mut attributes = of_group(&group);
                attributes.push((A::Topic, Value::Text(topic.clone())));
                readings.state(Metric::GroupTimeLag, &attributes, nanos.try_into().unwrap_or(i64::MAX));
            }
        }
    }
}

/// Members, generation, and the newest word of one that is believed: when, and of whom.
#[derive(Default)]
struct Members {
    count: i64,
    generation: Option<i32>,
    newest: (u64, Origin),
}

fn members(state: &State, readings: &mut Readings) {
    let mut groups: HashMap<&GroupName, Members> = HashMap::new();
    for (name, known) in state.members.iter() {
        let Some(newest) = believed(known, readings.at().0) else { continue };
        let members = groups.entry(&name.group).or_default();
        members.newest = members.newest.max((newest.at, newest.origin));
        if !newest.value.left {
            members.count += 1;
            members.generation = members.generation.max(Some(newest.value.generation));
        }
    }
    for (group, members) in groups.into_iter().filter(|(_, members)| members.newest.1 == OWN) {
        let mut attributes = wire(&group.cluster);
        attributes.push((A::GroupShort, Value::Text(group.group.clone())));
        readings.state(Metric::GroupMembers, &attributes, members.count);
        if let Some(generation) = members.generation.filter(|generation| *generation >= 0) {
            readings.state(Metric::GroupGeneration, &of_group(group), generation.into());
        }
    }
}

fn partitions(state: &State, owner: &Owner<'_>, readings: &mut Readings) {
    let mut ours: Vec<_> = state.ends.iter().filter(|(_, known)| owner.is_ours(known)).collect();
    if ours.len() > PARTITION_SERIES {
        ours.sort_unstable_by_key(|(of, _)| *of);
    }
    for (of, known) in ours.into_iter().take(PARTITION_SERIES) {
        let mut attributes = wire(&of.cluster);
        attributes.push((A::TopicShort, Value::Text(of.topic.clone())));
        attributes.push((A::PartitionShort, Value::Integer(of.partition.into())));
        if let Some(ends) = lag::high(known, readings.at().0) {
            readings.state(Metric::PartitionCurrentOffset, &attributes, ends.high.0);
        }
        if let Some(start) = lag::start(known, readings.at().0) {
            readings.state(Metric::PartitionOldestOffset, &attributes, start);
        }
    }
}

fn happened(event: Event, readings: &mut Readings) {
    match event {
        Event::Skipped { client, of, records, group } => {
            let (attribution, group) = match &group {
                Some((attribution, group)) => (Some(*attribution), group.as_ref()),
                None => (None, None),
            };
            let reader = Reader { client: &client, cluster: &of.cluster, topic: &of.topic, group, attribution };
            readings.more(Metric::SkippedRecords, &reader_attributes(&reader), records);
        }
        Event::Committed { group, count } => readings.more(Metric::GroupCommits, &of_group(&group), count),
        Event::CommitsFailed { group, error, count } => {
            let mut attributes = of_group(&group);
            attributes.push((A::Error, readings.dictionary().error(error)));
            readings.more(Metric::GroupCommitErrors, &attributes, count);
        }
        Event::CommittedAhead { group, of } => {
            let mut attributes = of_group(&group);
            attributes.push((A::Topic, Value::Text(of.topic)));
            readings.more(Metric::GroupCommitsAhead, &attributes, 1);
        }
        Event::Rebalanced { group, rebalance } => {
            let mut attributes = of_group(&group);
            attributes.push((A::Reason, Value::Static(rebalance.reason)));
            readings.more(Metric::GroupRebalances, &attributes, 1);
            if let Some(nanos) = rebalance.nanos {
                let values = Histogram::of_nanos([(nanos, 1)], nanos);
                readings.values(Metric::GroupRebalanceDuration, &of_group(&group), values);
            }
        }
    }
}

fn of_group(group: &GroupName) -> Vec<(A, Value)> {
    let mut attributes = vec![(A::Group, Value::Text(group.group.clone()))];
    attributes.extend(cluster::attribute(&group.cluster));
    attributes
}

fn reader_attributes(reader: &Reader<'_>) -> Vec<(A, Value)> {
    let Reader { client, cluster, topic, group, attribution } = reader;
    let mut attributes = vec![(A::ClientId, Value::Text(client.id.clone())), (A::Topic, Value::Text((*topic).clone()))];
    if !client.address.is_empty() {
        attributes.push((A::PeerAddress, Value::Text(client.address.clone())));
    }
    attributes.extend(cluster::attribute(cluster));
    if let Some(group) = group {
        attributes.push((A::Group, Value::Text(group.group.clone())));
    }
    if let Some(attribution) = attribution.map(Attribution::name) {
        attributes.push((A::Attribution, Value::Static(attribution)));
    }
    attributes
}
