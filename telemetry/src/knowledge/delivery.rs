//! What never reached a client: records that it went past, and commits past what it was given.

use super::fact::{Commit, Jump, Position};
use super::members::{GroupName, Seat, attribute};
use super::state::{Event, READING, State};
use super::store::OWN;

impl State {
    /// What a client never asked for, if it is not another's turn to have asked for it.
    pub(super) fn skipped(&self, jump: &Jump, seats: &[(&GroupName, &Seat)]) -> Option<Event> {
        let group = attribute(seats, &jump.of);
        let (from, from_at) = self.stopped(jump)?;
        let records = u64::try_from(jump.to.0.saturating_sub(from)).ok().filter(|records| *records > 0)?;
        let here = seats.iter().filter(|(name, _)| name.cluster == jump.of.cluster);
        let since = here.clone().filter_map(|(_, seat)| seat.since(&jump.of.topic, jump.of.partition)).max();
        let goes_on = match since {
            // It was another's in between.
            Some(since) => since <= from_at,
            // A client outside of any group: whether another connection goes on or begins anew cannot be told.
            None => jump.from.is_some() && here.clone().all(|(_, seat)| seat.is_assigned_something().is_none()),
        };
        let group = group.map(|(how, group)| (how, group.cloned()));
        goes_on.then(|| Event::Skipped { client: jump.client.clone(), of: jump.of.clone(), records, group })
    }

    /// Where a client had stopped before, and when. It may have been given more on another connection: when another broker
    /// leads the partition, or a replica is nearer (KIP-392), it goes there, and it comes back. On a new connection it goes on
    /// where it was last; nowhere if it goes on there.
    fn stopped(&self, jump: &Jump) -> Option<(i64, u64)> {
        let all = self.positions.get(&(jump.client.clone(), jump.of.clone())).map_or(&[][..], |(_, all)| all);
        let others = all.iter().flat_map(|known| known.value.iter().map(move |(position, _)| (known.origin, position)));
        let others = others
            .filter(|(origin, other)| !(*origin == OWN && other.connection == jump.connection))
            .map(|(_, other)| other);
        let stop = |other: &Position| (other.next, other.at);
        match jump.from {
            Some(here) => others.map(stop).chain([here]).max(),
            None if others.clone().any(|other| other.at > jump.to.1) => None,
            None => others.map(stop).max_by_key(|(_, at)| *at),
        }
    }

    /// Whether a commit is past all that its client was given; `None` if that is not known.
    pub(super) fn is_ahead(&self, commit: &Commit, now: u64) -> Option<bool> {
        let key = (commit.client.clone()?, commit.of.clone());
        let (_, all) = self.positions.get(&key)?;
        let read = all.iter().flat_map(|known| &known.value);
        let given =
            read.filter(|(_, seen)| now.saturating_sub(*seen) <= 3 * READING).map(|(position, _)| position.next);
        Some(commit.offset > given.max()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::fact::{Assigned, ClientName, Fact, Member, PartitionName, Protocol};
    use crate::{Dictionary, Settings};

    #[test]
    fn what_was_anothers_between_two_lives_of_a_member_is_not_skipped() {
        let dictionary = Dictionary::new(Settings::default());
        let client = ClientName { id: "c".into(), address: "".into() };
        let of = PartitionName { cluster: "".into(), topic: "t".into(), partition: 0 };
        let life = |member: &str, at| {
            Fact::Member(Member {
                cluster: "".into(),
                group: "g".into(),
                member: member.into(),
                instance: None,
                client: client.clone(),
                protocol: Protocol::Consumer,
                generation: 1,
                assigned: Some(vec![Assigned { topic: "t".into(), partitions: vec![0] }]),
                left: false,
                at,
            })
        };
        let skipped = |lives: &[(&str, u64)]| {
            let mut state = State::new();
            lives.iter().for_each(|(member, at)| state.learn(OWN, life(member, *at), &dictionary, 100));
            let seats = state.seats_by_client(100);
            let jump =
                Jump { of: of.clone(), client: client.clone(), connection: 1, from: Some((10, 40)), to: (25, 60) };
            state.skipped(&jump, &seats[&client]).is_some()
        };
        assert!(skipped(&[("first", 30)]));
        assert!(!skipped(&[("first", 30), ("second", 50)]));
    }
}
