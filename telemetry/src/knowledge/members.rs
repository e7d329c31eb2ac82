//! Members of groups, what they are assigned and since when, and which of them is behind a fetch.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fact::{Assigned, ClientName, Member, PartitionName, Protocol};

/// How sure it is which group a fetch belongs to, which does not say so itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Attribution {
    /// One group of the client is assigned what is fetched.
    Exact,
    /// The client is in one group only, but what that is assigned is not known.
    Inferred,
    /// The client is in several groups, and it may be any of them.
    Ambiguous,
}

impl Attribution {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Inferred => "inferred",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// A group of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupName {
    pub(crate) cluster: Arc<str>,
    pub(crate) group: Arc<str>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct MemberName {
    pub(crate) group: GroupName,
    pub(crate) member: Arc<str>,
}

/// Partitions in rising order, and since when each is assigned.
type Partitions = Vec<(i32, u64)>;

/// What is known of a member.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seat {
    pub(crate) client: ClientName,
    pub(crate) instance: Option<Arc<str>>,
    pub(crate) protocol: Protocol,
    pub(crate) generation: i32,
    /// When it came to its generation.
    pub(crate) moved: u64,
    pub(crate) left: bool,
    /// By topic; `None` while it is not known.
    assigned: Option<BTreeMap<Arc<str>, Partitions>>,
}

impl Seat {
    pub(crate) fn new(member: &Member) -> Self {
        let mut seat = Self {
            client: member.client.clone(),
            instance: member.instance.clone(),
            protocol: member.protocol,
            generation: member.generation,
            moved: member.at,
            left: false,
            assigned: None,
        };
        seat.learn(member);
        seat
    }

    pub(crate) fn learn(&mut self, member: &Member) {
        self.client = member.client.clone();
        self.protocol = member.protocol;
        if self.generation != member.generation {
            (self.generation, self.moved) = (member.generation, member.at);
        }
        self.left = member.left;
        if member.instance.is_some() {
            self.instance.clone_from(&member.instance);
        }
        if let Some(topics) = &member.assigned {
            let since = |topic: &Arc<str>, partition| self.since(topic, partition).unwrap_or(member.at);
            let mut assigned: BTreeMap<Arc<str>, Partitions> = BTreeMap::new();
            for Assigned { topic, partitions } in topics {
                let own = assigned.entry(topic.clone()).or_default();
                own.extend(partitions.iter().map(|&partition| (partition, since(topic, partition))));
            }
            for own in assigned.values_mut() {
                own.sort_unstable();
                own.dedup_by_key(|(partition, _)| *partition);
            }
            self.assigned = Some(assigned);
        }
    }

    /// Since when it is assigned a partition.
    pub(crate) fn since(&self, topic: &Arc<str>, partition: i32) -> Option<u64> {
        let own = self.assigned.as_ref()?.get(topic)?;
        let index = own.binary_search_by_key(&partition, |(partition, _)| *partition).ok()?;
        own.get(index).map(|(_, since)| *since)
    }

    pub(crate) fn is_assigned_something(&self) -> Option<bool> {
        self.assigned.as_ref().map(|assigned| !assigned.is_empty())
    }

    /// How many partitions it is assigned.
    pub(crate) fn partitions(&self) -> usize {
        self.assigned.iter().flat_map(BTreeMap::values).map(Vec::len).sum()
    }

    /// Topics and partitions that it is assigned.
    pub(crate) fn places(&self) -> usize {
        self.assigned.iter().flat_map(BTreeMap::values).map(|own| own.len().max(1)).sum()
    }

    /// Bytes of its assignment.
    pub(crate) fn weight_of_assignment(&self) -> usize {
        let topics = self.assigned.iter().flatten();
        topics.map(|(topic, own)| topic.len() + size_of_val(own.as_slice())).sum()
    }

    /// All that it is assigned, as a fact says it.
    pub(crate) fn assigned(&self) -> Option<Vec<Assigned>> {
        let topics = self.assigned.as_ref()?.iter();
        let own = |partitions: &Partitions| partitions.iter().map(|(partition, _)| *partition).collect();
        Some(topics.map(|(topic, partitions)| Assigned { topic: topic.clone(), partitions: own(partitions) }).collect())
    }
}

/// Whose fetch it is when a client with these seats fetches a partition.
pub(crate) fn attribute<'a>(
    seats: &[(&'a GroupName, &'a Seat)],
    of: &PartitionName,
) -> Option<(Attribution, Option<&'a GroupName>)> {
    let here = || seats.iter().filter(|(group, _)| group.cluster == of.cluster);
    let mut groups: Vec<&GroupName> = here().map(|(group, _)| *group).collect();
    groups.sort_unstable();
    groups.dedup();
    let mut assigned: Vec<&GroupName> =
        here().filter(|(_, seat)| seat.since(&of.topic, of.partition).is_some()).map(|(group, _)| *group).collect();
    assigned.sort_unstable();
    assigned.dedup();
    match (assigned.as_slice(), groups.as_slice()) {
        (_, []) => None,
        ([group], _) => Some((Attribution::Exact, Some(group))),
        ([], [group]) => {
            // It is assigned something else: it reads this on its own account.
            let elsewhere = here().all(|(_, seat)| seat.is_assigned_something().is_some());
            (!elsewhere).then_some((Attribution::Inferred, Some(group)))
        }
        _ => Some((Attribution::Ambiguous, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(assigned: Option<&[i32]>) -> Seat {
        let client = ClientName { id: "c".into(), address: "".into() };
        let topic = |partitions: &[i32]| vec![Assigned { topic: "t".into(), partitions: partitions.to_vec() }];
        Seat::new(&Member {
            cluster: "".into(),
            group: "g".into(),
            member: "m".into(),
            instance: None,
            client,
            protocol: Protocol::Classic,
            generation: 1,
            assigned: assigned.map(topic),
            left: false,
            at: 7,
        })
    }

    fn group(name: &str) -> GroupName {
        GroupName { cluster: "".into(), group: name.into() }
    }

    #[test]
    fn a_fetch_belongs_to_the_group_that_is_assigned_it() {
        let of = PartitionName { cluster: "".into(), topic: "t".into(), partition: 1 };
        let (one, two) = (group("one"), group("two"));
        let (has, has_not, unknown) = (seat(Some(&[0, 1])), seat(Some(&[2])), seat(None));
        let ask = |seats: &[(&GroupName, &Seat)]| {
            attribute(seats, &of).map(|(how, group)| (how, group.map(|group| group.group.to_string())))
        };
        assert_eq!(ask(&[]), None);
        assert_eq!(ask(&[(&one, &has)]), Some((Attribution::Exact, Some("one".to_owned()))));
        assert_eq!(ask(&[(&one, &has), (&two, &has_not)]), Some((Attribution::Exact, Some("one".to_owned()))));
        assert_eq!(ask(&[(&one, &unknown)]), Some((Attribution::Inferred, Some("one".to_owned()))));
        assert_eq!(ask(&[(&one, &unknown), (&two, &unknown)]), Some((Attribution::Ambiguous, None)));
        assert_eq!(ask(&[(&one, &has), (&two, &has)]), Some((Attribution::Ambiguous, None)));
        assert_eq!(ask(&[(&one, &has_not)]), None);
    }

    #[test]
    fn a_partition_that_stays_keeps_the_time_since_when_it_is_assigned() {
        let mut seat = seat(Some(&[0, 1]));
        let topic: Arc<str> = "t".into();
        let assigned = vec![Assigned { topic: topic.clone(), partitions: vec![1, 2] }];
        let later = Member {
            cluster: "".into(),
            group: "g".into(),
            member: "m".into(),
            instance: None,
            client: seat.client.clone(),
            protocol: Protocol::Classic,
            generation: 2,
            assigned: Some(assigned),
            left: false,
            at: 9,
        };
        seat.learn(&later);
        assert_eq!([0, 1, 2].map(|partition| seat.since(&topic, partition)), [None, Some(7), Some(9)]);
        seat.learn(&Member { assigned: None, at: 11, ..later });
        assert_eq!(seat.since(&topic, 2), Some(9));
    }
}
