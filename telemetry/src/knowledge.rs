//! What connections and proxies know together: where partitions end, where clients read, what groups have committed, and
//! who is in them.
//!
//! ```text
//! Recorder --> Shard (watches, facts) --Delta--> Knowledge <--facts-- peers
//!                                                   `--> lag, skips, rebalances --> Registry
//! ```
//!
//! A consumer group's commits pass its coordinator, a partition's high watermark its leader, and these may be behind
//! different proxies. So what is seen becomes [facts](fact), each with its time; a proxy [serves](Knowledge::page) its own
//! ones and [learns](Knowledge::learn_peer) those of others, and what follows from them is computed from all of them together.
//! Until both sides of a figure are known it is absent, and when a fact is not confirmed any more, the figures that need it
//! become absent again.
//!
//! Who exports what follows, when several proxies know the same:
//!
//! * figures of a client (`kafkascope.consumer.*`): each proxy those of what it has seen itself. They add up.
//! * figures of a group: the proxy that saw the group's newest commit, so the one before its coordinator.
//! * figures of a partition: of the proxies that have seen its end themselves the one with the lowest instance id.

pub(crate) mod cluster;
mod delivery;
mod departed;
mod ends;
pub mod fact;
mod identity;
mod lag;
mod members;
mod page;
mod rebalances;
mod report;
mod rows;
pub(crate) mod state;
mod store;
mod transactions;
mod weight;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use kafkascope_protocol::Timestamp;

use crate::dictionary::{Dictionary, lock};
use crate::health::coverage::{Route, Usage};
use crate::learned::Learned;
use crate::readings::Readings;
use fact::{Fact, Told};
pub use page::{InvalidFact, Page};
pub use rows::{GroupRow, GroupTopicRow, MemberRow};
use state::State;
use store::Origin;

/// Facts of a peer that are learned in a row: meanwhile nothing else is.
const AT_ONCE: usize = 1_000;

/// Proxies that one can be told of.
pub const MAX_PEERS: usize = 64;

/// All that is known. One a process.
#[derive(Debug)]
pub struct Knowledge {
    dictionary: Arc<Dictionary>,
    instance: Box<str>,
    state: Mutex<State>,
    /// By number of the peer, less one.
    peers: Mutex<Vec<Option<Box<str>>>>,
    settled: AtomicU64,
}

/// A number for another proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(Origin);

impl Knowledge {
    /// Nothing is known yet. `instance` tells it from all other proxies, and from itself before a restart.
    pub(crate) fn new(dictionary: Arc<Dictionary>, instance: &str, now: Timestamp) -> Self {
        let (state, peers) = (Mutex::new(State::new()), Mutex::default());
        Self { dictionary, instance: instance.into(), state, peers, settled: AtomicU64::new(now.0) }
    }

    /// What tells it from all other proxies, and from itself before a restart.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    pub(crate) fn learn_own(&self, told: Vec<Told>, lost: u64, now: Timestamp) {
        if told.is_empty() && lost == 0 {
            return;
        }
        let state = &mut *lock(&self.state);
        state.lost += lost;
        for told in told {
            state.learn_own(told, &self.dictionary, now.0);
        }
    }

    /// Another proxy may have facts. Above [`MAX_PEERS`] there is none.
    #[must_use]
    pub fn peer(&self) -> Option<Peer> {
        let peers = &mut *lock(&self.peers);
        peers.push(None);
        (peers.len() <= MAX_PEERS).then_some(Peer(peers.len()))
    }

    /// Whether there are other proxies.
    pub(crate) fn has_peers(&self) -> bool {
        !lock(&self.peers).is_empty()
    }

    /// Another proxy, which calls itself `instance`, told facts. Those that make no sense are left out; returns how many.
    pub fn learn_peer(&self, peer: Peer, instance: &str, facts: Vec<Fact>, now: Timestamp) -> usize {
        if let Some(known) = lock(&self.peers).get_mut(peer.0 - 1)
            && known.as_deref() != Some(instance)
        {
            *known = Some(instance.into());
        }
        let mut wrong = 0;
        let mut facts = facts.into_iter();
        while facts.len() > 0 {
            let state = &mut *lock(&self.state);
            let before = wrong;
            for fact in facts.by_ref().take(AT_ONCE) {
                match page::check(&fact, now) {
                    Ok(()) => state.learn_of_peer(peer.0, page::dated(fact, now), &self.dictionary, now.0),
                    Err(InvalidFact) => wrong += 1,
                }
            }
            state.lost += (wrong - before) as u64;
        }
        wrong
    }

    /// Another proxy's answer is none, or cannot be used.
    pub fn peer_failed(&self, reason: &'static str) {
        *lock(&self.state).peer_failures.entry(reason).or_default() += 1;
    }

    /// Another proxy is away, or has begun anew: what it told is not known any more.
    pub fn forget_peer(&self, peer: Peer) {
        if let Some(known) = lock(&self.peers).get_mut(peer.0 - 1) {
            *known = None;
        }
        lock(&self.state).forget(peer.0);
    }

    /// The facts of this proxy that were told or confirmed after `cursor`, as far as a page has room for them. A cursor of
    /// another `instance` is not one of ours: then from the beginning.
    #[must_use]
    pub fn page(&self, instance: Option<&str>, cursor: u64) -> Page {
        let ours = instance.is_none_or(|instance| instance == &*self.instance);
        page::page(&lock(&self.state), &self.instance, if ours { cursor } else { 0 })
    }

    /// All that is known of groups, by cluster and name.
    pub(crate) fn groups(&self, learned: &Learned, now: Timestamp) -> Vec<GroupRow> {
        rows::groups(&lock(&self.state), learned, now)
    }

    /// Tells the brokers of `routes` who they are.
    pub(crate) fn identify(&self, routes: &[Route]) {
        lock(&self.state).identify(routes);
    }

    /// Who works past this proxy, by what is `used` of it.
    pub(crate) fn coverage(&self, used: &Usage, now: Timestamp) -> Readings {
        let mut readings = Readings::new(Arc::clone(&self.dictionary), now, now);
        lock(&self.state).health.coverage(used, &mut readings);
        readings
    }

    /// What follows from what is known.
    pub(crate) fn settle(&self, now: Timestamp) -> Readings {
        let since = Timestamp(self.settled.swap(now.0, Ordering::Relaxed).min(now.0));
        let mut readings = Readings::new(Arc::clone(&self.dictionary), since, now);
        let peers = lock(&self.peers).clone();
        let state = &mut *lock(&self.state);
        state.settle(now);
        state.health.settle(now, self.dictionary.alarm(), &mut readings);
        let owner = report::Owner { instance: &self.instance, peers: &peers };
        report::report(state, &owner, &mut readings);
        readings
    }
}
