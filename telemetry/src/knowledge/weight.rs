//! What facts weigh: the bytes of their names and lists. Of what other proxies tell there is a bound on it: how long their names
//! are is theirs to choose, and how many topics they have in an assignment.

use std::mem::size_of_val;
use std::sync::Arc;

use super::ends::{Ends, Moment};
use super::fact::{BrokerName, ClientName, Commit, Fact, PartitionName, Pending, TransactionEnd, TransactionName};
use super::members::{GroupName, MemberName, Seat};
use super::state::{Reading, State};

/// Of all that peers told together: 64 MiB. A hundred thousand facts with names of a hundred bytes have 30.
pub(super) const MOST: usize = 64 << 20;

pub(crate) trait Weight {
    /// In bytes.
    fn weight(&self) -> usize;
}

impl Weight for Arc<str> {
    fn weight(&self) -> usize {
        self.len()
    }
}

impl Weight for [u8; 16] {
    fn weight(&self) -> usize {
        self.len()
    }
}

impl Weight for i32 {
    fn weight(&self) -> usize {
        0
    }
}

impl Weight for () {
    fn weight(&self) -> usize {
        0
    }
}

impl<A: Weight, B: Weight> Weight for (A, B) {
    fn weight(&self) -> usize {
        self.0.weight() + self.1.weight()
    }
}

impl<W: Weight> Weight for Option<W> {
    fn weight(&self) -> usize {
        self.as_ref().map_or(0, W::weight)
    }
}

impl Weight for ClientName {
    fn weight(&self) -> usize {
        self.id.weight() + self.address.weight()
    }
}

impl Weight for PartitionName {
    fn weight(&self) -> usize {
        self.cluster.weight() + self.topic.weight()
    }
}

impl Weight for GroupName {
    fn weight(&self) -> usize {
        self.cluster.weight() + self.group.weight()
    }
}

impl Weight for MemberName {
    fn weight(&self) -> usize {
        self.group.weight() + self.member.weight()
    }
}

impl Weight for TransactionName {
    fn weight(&self) -> usize {
        self.id.weight()
    }
}

impl Weight for Ends {
    fn weight(&self) -> usize {
        self.moments() * size_of::<Moment>()
    }
}

impl Weight for Reading {
    fn weight(&self) -> usize {
        size_of_val(self.as_slice())
    }
}

impl Weight for Commit {
    fn weight(&self) -> usize {
        self.of.weight() + self.group.weight() + self.client.weight()
    }
}

impl Weight for Vec<Pending> {
    fn weight(&self) -> usize {
        self.iter().map(|pending| pending.transaction.weight() + pending.commit.weight()).sum()
    }
}

impl Weight for TransactionEnd {
    fn weight(&self) -> usize {
        self.cluster.weight() + self.transaction.weight()
    }
}

impl Weight for BrokerName {
    fn weight(&self) -> usize {
        self.cluster.weight() + self.host.weight()
    }
}

impl Weight for Seat {
    fn weight(&self) -> usize {
        self.client.weight() + self.instance.weight() + self.weight_of_assignment()
    }
}

impl Weight for Fact {
    fn weight(&self) -> usize {
        match self {
            Self::End(end) => end.of.weight(),
            Self::Position(position) => position.of.weight() + position.client.weight(),
            Self::Commit(commit) => commit.weight(),
            Self::Pending(pending) => pending.transaction.weight() + pending.commit.weight(),
            Self::Transaction(end) => end.weight(),
            Self::Member(member) => {
                let assigned = member.assigned.iter().flatten();
                let assigned = assigned.map(|topic| topic.topic.weight() + size_of_val(topic.partitions.as_slice()));
                member.client.weight() + member.group.weight() + member.member.weight() + assigned.sum::<usize>()
            }
            Self::Topic(topic) => topic.cluster.weight() + topic.name.weight(),
            Self::Cluster(cluster) => cluster.id.weight(),
            Self::Broker(broker) => broker.weight(),
        }
    }
}

/// Of all that peers told.
pub(super) fn of_peers(state: &State) -> usize {
    state.ends.weight_of_peers()
        + state.positions.weight_of_peers()
        + state.commits.weight_of_peers()
        + state.pending.weight_of_peers()
        + state.transactions.weight_of_peers()
        + state.members.weight_of_peers()
        + state.topics.weight_of_peers()
        + state.clusters.weight_of_peers()
        + state.brokers.weight_of_peers()
}
