//! Facts as one proxy hands them to another.

use kafkascope_protocol::Timestamp;
use serde::{Deserialize, Serialize};

use super::fact::{
    ClientName, ClusterId, Commit, End, Fact, Member, PartitionName, Pending, Position, TopicName, TransactionEnd,
};
use super::state::State;
use super::store::{Known, OWN};

/// Facts on a page: about 1 MB of JSON, 4 MB when all names are long.
pub(crate) const FACTS: usize = 4_000;

/// Longest name in a fact; ours are shorter (128 bytes, and the replacement characters in them).
const NAME: usize = 512;

/// Partitions of a member.
const ASSIGNED: usize = 20_000;

/// How far another proxy's clock may be ahead of ours: 1 min.
const AHEAD: u64 = 60_000_000_000;

/// The answer of `/api/facts`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Who answers; another one after a restart, whose cursors begin anew.
    pub instance: String,
    /// What to ask for next.
    pub cursor: u64,
    /// There is more behind the cursor.
    pub more: bool,
    /// Facts in the order in which they were told or confirmed.
    pub facts: Vec<Fact>,
}

/// A fact that cannot be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fact that cannot be true")]
pub struct InvalidFact;

pub(super) fn page(state: &State, instance: &str, cursor: u64) -> Page {
    let mut facts: Vec<(u64, Fact)> = Vec::new();
    for (of, known) in state.ends.iter() {
        for known in changed(known, cursor) {
            let ends = &known.value;
            let (high, stable, start) = (ends.high.0, ends.stable().map_or(-1, |(stable, _)| stable), ends.start.0);
            let at = ends.high.1.max(ends.stable.1).max(ends.start.1);
            let (of, before, plain) = (of.clone(), ends.before(), false);
            facts.push((known.version, Fact::End(End { of, high, stable, start, before, plain, at })));
        }
    }
    for (_, known) in state.positions.iter() {
        for known in changed(known, cursor) {
            let positions = known.value.iter().map(|(position, _)| position.clone());
            facts.extend(positions.map(|position| (known.version, Fact::Position(position))));
        }
    }
    for (_, known) in state.commits.iter() {
        facts.extend(changed(known, cursor).map(|known| (known.version, Fact::Commit(known.value.clone()))));
    }
    for (_, known) in state.pending.iter() {
        for known in changed(known, cursor) {
            facts.extend(known.value.iter().map(|pending| (known.version, Fact::Pending(pending.clone()))));
        }
    }
    for (_, known) in state.transactions.iter() {
        facts.extend(changed(known, cursor).map(|known| (known.version, Fact::Transaction(known.value.clone()))));
    }
    for (name, known) in state.members.iter() {
        for known in changed(known, cursor) {
            let seat = &known.value;
            let member = Member {
                cluster: name.group.cluster.clone(),
                group: name.group.group.clone(),
                member: name.member.clone(),
                instance: seat.instance.clone(),
                client: seat.client.clone(),
                protocol: seat.protocol,
                generation: seat.generation,
                assigned: seat.assigned(),
                left: seat.left,
                at: known.at,
            };
            facts.push((known.version, Fact::Member(member)));
        }
    }
    for ((cluster, id), known) in state.topics.iter() {
        for known in changed(known, cursor) {
            let topic = TopicName { cluster: cluster.clone(), id: *id, name: known.value.clone() };
            facts.push((known.version, Fact::Topic(topic)));
        }
    }
    for (id, known) in state.clusters.iter() {
        facts.extend(changed(known, cursor).map(|known| (known.version, Fact::Cluster(ClusterId { id: id.clone() }))));
    }
    for (_, known) in state.brokers.iter() {
        facts.extend(changed(known, cursor).map(|known| (known.version, Fact::Broker(known.value.clone()))));
    }
    facts.sort_unstable_by_key(|(version, _)| *version);
    let mut weight = 0;
    let mut fits = |(_, fact): &(u64, Fact)| {
        weight += weight_of(fact);
        weight <= FACTS
    };
    let mut cut = facts.iter().take_while(|fact| fits(fact)).count().max(1).min(facts.len());
    // Facts of one version stay together: the cursor names the last version that is on the page whole.
    if let (Some((last, _)), Some((next, _))) = (facts.get(cut.saturating_sub(1)), facts.get(cut))
        && last == next
    {
        let first = facts.partition_point(|(version, _)| version < last);
        cut = if first > 0 { first } else { facts.partition_point(|(version, _)| version <= last) };
    }
    let more = cut < facts.len();
    facts.truncate(cut);
    let cursor = if more { facts.last().map_or(cursor, |(version, _)| *version) } else { state.version };
    Page { instance: instance.to_owned(), cursor, more, facts: facts.into_iter().map(|(_, fact)| fact).collect() }
}

/// How many usual facts a fact is as long as.
fn weight_of(fact: &Fact) -> usize {
    match fact {
        Fact::Member(member) => {
            1 + member.assigned.iter().flatten().map(|assigned| 1 + assigned.partitions.len() / 32).sum::<usize>()
        }
        _ => 1,
    }
}

fn changed<V>(known: &[Known<V>], cursor: u64) -> impl Iterator<Item = &Known<V>> {
    known.iter().filter(move |known| known.origin == OWN && known.version > cursor)
}

/// What another proxy says, as of now at the latest: its clock may be ahead of ours.
pub(super) fn dated(mut fact: Fact, now: Timestamp) -> Fact {
    let date = |at: &mut u64| *at = now.0.min(*at);
    match &mut fact {
        Fact::End(End { at, before, .. }) => {
            date(at);
            date(&mut before.1);
        }
        Fact::Commit(Commit { at, .. })
        | Fact::Pending(Pending { commit: Commit { at, .. }, .. })
        | Fact::Transaction(TransactionEnd { at, .. })
        | Fact::Member(Member { at, .. }) => date(at),
        Fact::Position(Position { at, began, came, .. }) => {
            date(at);
            date(&mut began.1);
            date(came);
        }
        Fact::Topic(_) | Fact::Cluster(_) | Fact::Broker(_) => {}
    }
    fact
}

/// Whether what another proxy says can be true.
pub(super) fn check(fact: &Fact, now: Timestamp) -> Result<(), InvalidFact> {
    let name = |text: &str| text.len() <= NAME;
    let time = |at: u64| at <= now.0.saturating_add(AHEAD);
    let client = |client: &ClientName| name(&client.id) && name(&client.address);
    let of = |of: &PartitionName| name(&of.cluster) && name(&of.topic) && of.partition >= 0;
    let offset = |offset: i64| offset >= 0;
    let maybe_offset = |offset: i64| offset >= -1;
    let commit = |commit: &Commit| {
        of(&commit.of)
            && name(&commit.group)
            && maybe_offset(commit.offset)
            && commit.client.as_ref().is_none_or(client)
            && time(commit.at)
    };
    let holds = match fact {
        Fact::End(end) => {
            let offsets = [end.high, end.stable, end.start, end.before.0];
            of(&end.of) && offsets.into_iter().all(maybe_offset) && time(end.at) && time(end.before.1)
        }
        Fact::Position(Position { of: place, client: who, asked, next, at, began, came, .. }) => {
            let offsets = offset(*asked) && offset(*next) && maybe_offset(began.0);
            of(place) && client(who) && offsets && time(*at) && time(began.1) && time(*came)
        }
        Fact::Commit(told) => commit(told),
        Fact::Pending(Pending { transaction, commit: told, .. }) => {
            name(&transaction.id) && commit(told) && offset(told.offset)
        }
        Fact::Transaction(TransactionEnd { cluster, transaction, at, .. }) => {
            name(cluster) && name(&transaction.id) && time(*at)
        }
        Fact::Member(member) => {
            let assigned = member.assigned.iter().flatten();
            name(&member.cluster)
                && name(&member.group)
                && name(&member.member)
                && !member.member.is_empty()
                && member.instance.as_deref().is_none_or(name)
                && client(&member.client)
                && assigned
                    .clone()
                    .all(|topic| name(&topic.topic) && topic.partitions.iter().all(|partition| *partition >= 0))
                && assigned.map(|topic| topic.partitions.len().max(1)).sum::<usize>() <= ASSIGNED
                && time(member.at)
        }
        Fact::Topic(topic) => name(&topic.cluster) && name(&topic.name),
        Fact::Cluster(cluster) => name(&cluster.id) && !cluster.id.is_empty(),
        Fact::Broker(broker) => name(&broker.cluster) && name(&broker.host) && broker.id >= 0,
    };
    if holds { Ok(()) } else { Err(InvalidFact) }
}
