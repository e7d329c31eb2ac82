//! What never reached a client: records that it went past, and commits past what it was given.

use super::fact::{Commit, Jump, Position};
use super::members::{GroupName, Seat, attribute};
use super::state::{Event, READING, State};
use super::store::OWN;

impl State {
    /// What a client never asked for, if it is not another's turn to have asked for it. On a new connection (`began_on`) it
    /// goes on where it stopped on the one before.
    pub(super) fn skipped(&self, jump: &Jump, began_on: Option<u64>, seats: &[(&GroupName, &Seat)]) -> Option<Event> {
        let group = attribute(seats, &jump.of);
        let (from, from_at) = match began_on {
            None => (jump.from, jump.from_at),
            Some(connection) => self.stopped(jump, connection)?,
        };
        let records = u64::try_from(jump.to.saturating_sub(from)).ok().filter(|records| *records > 0)?;
        let here = seats.iter().filter(|(name, _)| name.cluster == jump.of.cluster);
        let since = here.clone().filter_map(|(_, seat)| seat.since(&jump.of.topic, jump.of.partition)).min();
        let goes_on = match since {
            // It was another's in between.
            Some(since) => since <= from_at,
            // A client outside of any group: whether another connection goes on or begins anew cannot be told.
            None => began_on.is_none() && here.clone().all(|(_, seat)| seat.is_assigned_something().is_none()),
        };
        let group = group.map(|(how, group)| (how, group.cloned()));
        goes_on.then(|| Event::Skipped { client: jump.client.clone(), of: jump.of.clone(), records, group })
    }

    /// Where a client had stopped on its other connections before it began on this one. Nowhere if one of them goes on.
    fn stopped(&self, jump: &Jump, connection: u64) -> Option<(i64, u64)> {
        let (_, all) = self.positions.get(&(jump.client.clone(), jump.of.clone()))?;
        let others = all.iter().flat_map(|known| known.value.iter().map(move |(position, _)| (known.origin, position)));
        let others: Vec<&Position> = others
            .filter(|(origin, position)| !(*origin == OWN && position.connection == connection))
            .map(|(_, position)| position)
            .collect();
        if others.iter().any(|other| other.at > jump.to_at) {
            return None;
        }
        others.iter().map(|other| (other.next, other.at)).max_by_key(|(_, at)| *at)
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
