//! Members that are gone and have not said so. Brokers tell nobody who has died; but all that live come to a classic group's
//! next generation at one time, and a static member that comes back (KIP-345) has another id than before.

use std::collections::HashMap;
use std::sync::Arc;

use super::fact::Protocol;
use super::members::{GroupName, MemberName, Seat};
use super::state::{JUDGED_AFTER, State};
use super::store::{Known, believed};

impl State {
    /// Takes those for gone that the others of a classic group have gone on without, and static members that have come back.
    pub(super) fn unseat(&mut self, now: u64) {
        let mut moves: HashMap<&GroupName, (u64, i32)> = HashMap::new();
        let mut statics: HashMap<(&GroupName, &Arc<str>), u64> = HashMap::new();
        let seats = || {
            let believed = self.members.iter().filter_map(|(name, known)| Some((name, believed(known, now)?)));
            believed.filter(|(_, known)| !known.value.left)
        };
        for (MemberName { group, .. }, Known { value, at, .. }) in seats() {
            if value.protocol == Protocol::Classic {
                let last = moves.entry(group).or_default();
                *last = (*last).max((value.moved, value.generation));
            }
            if let Some(instance) = &value.instance {
                let last = statics.entry((group, instance)).or_default();
                *last = (*last).max(*at);
            }
        }
        let is_over = |group: &GroupName, Known { value, at, .. }: &Known<Seat>| {
            let went_on = moves.get(group).is_some_and(|&(moved, generation)| {
                generation != value.generation && *at < moved && now.saturating_sub(moved) >= JUDGED_AFTER
            });
            let instance = value.instance.as_ref();
            let came_back = instance.and_then(|instance| statics.get(&(group, instance))).is_some_and(|last| at < last);
            value.protocol == Protocol::Classic && went_on || came_back
        };
        let over = seats().filter(|(name, known)| is_over(&name.group, known));
        for name in over.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.version += 1;
            for known in self.members.get_mut(&name) {
                (known.value.left, known.version) = (true, self.version);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::fact::{ClientName, Fact, Member};
    use crate::knowledge::store::OWN;
    use crate::{Dictionary, Settings};

    fn member(name: &str, instance: Option<&str>, protocol: Protocol, generation: i32, at: u64) -> Fact {
        Fact::Member(Member {
            cluster: "".into(),
            group: "g".into(),
            member: name.into(),
            instance: instance.map(Arc::from),
            client: ClientName { id: "c".into(), address: "".into() },
            protocol,
            generation,
            assigned: None,
            left: false,
            at,
        })
    }

    /// Who is left of those that were told of, at a time.
    fn left(told: Vec<Fact>, now: u64) -> Vec<i32> {
        let dictionary = Dictionary::new(Settings::default());
        let mut state = State::new();
        told.into_iter().for_each(|fact| state.learn(OWN, fact, &dictionary, now));
        state.unseat(now);
        let mut generations: Vec<i32> = state.seats(now).map(|(_, seat)| seat.generation).collect();
        generations.sort_unstable();
        generations
    }

    #[test]
    fn who_does_not_come_to_the_next_generation_is_gone() {
        let told = |protocol| vec![member("a", None, protocol, 57, 10), member("b", None, protocol, 1, 20)];
        assert_eq!(left(told(Protocol::Classic), 20 + JUDGED_AFTER - 1), [1, 57], "it may be on its way");
        assert_eq!(left(told(Protocol::Classic), 20 + JUDGED_AFTER), [1]);
        assert_eq!(left(told(Protocol::Consumer), 20 + JUDGED_AFTER), [1, 57], "epochs are each member's own");
    }

    #[test]
    fn who_was_heard_of_since_is_not_gone() {
        let told = vec![member("a", None, Protocol::Classic, 1, 30), member("b", None, Protocol::Classic, 2, 20)];
        assert_eq!(left(told, 20 + JUDGED_AFTER), [1, 2]);
    }

    #[test]
    fn a_static_member_has_the_id_that_it_came_back_with() {
        let told = |instance| {
            vec![
                member("a", Some("i"), Protocol::Consumer, 1, 10),
                member("b", Some(instance), Protocol::Consumer, 2, 20),
            ]
        };
        assert_eq!(left(told("i"), 20), [2]);
        assert_eq!(left(told("j"), 20), [1, 2]);
    }
}
