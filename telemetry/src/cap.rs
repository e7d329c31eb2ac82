//! Bounds on cardinality: how many values of a dimension may live at a time, and how many were folded for it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How many distinct values of a dimension may live at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cap(NonZeroUsize);

/// More values than any backend should be asked to keep for one process.
const LARGEST: usize = 10_000_000;

/// A number that cannot be a cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not between 1 and 10,000,000")]
pub struct InvalidCap(pub usize);

impl Cap {
    /// A cap of `values` values.
    ///
    /// # Errors
    /// When it is 0 or above ten million.
    pub const fn new(values: usize) -> Result<Self, InvalidCap> {
        match NonZeroUsize::new(values) {
            Some(cap) if values <= LARGEST => Ok(Self(cap)),
            _ => Err(InvalidCap(values)),
        }
    }

    /// The number of values.
    #[must_use]
    pub const fn values(self) -> usize {
        self.0.get()
    }

    /// A cap known at compile time.
    pub(crate) const fn constant(values: usize) -> Self {
        match Self::new(values) {
            Ok(cap) => cap,
            Err(_) => panic!("not a cap"),
        }
    }
}

/// A dimension with a cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// (client id, address) pairs.
    Client,
    /// Topics.
    Topic,
    /// Partitions, where they are told apart.
    Partition,
    /// Topic ids whose names are remembered.
    TopicId,
    /// Series.
    Series,
    /// Principals that clients have authenticated as.
    Principal,
    /// API keys, versions and error codes that no release of Kafka defines.
    Unknown,
}

impl Dimension {
    pub(crate) const ALL: [Self; 7] =
        [Self::Client, Self::Topic, Self::Partition, Self::TopicId, Self::Series, Self::Principal, Self::Unknown];

    /// Its name in OTLP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Topic => "topic",
            Self::Partition => "partition",
            Self::TopicId => "topic_id",
            Self::Series => "series",
            Self::Principal => "principal",
            Self::Unknown => "unknown",
        }
    }
}

/// How much of a cap is used.
#[derive(Debug)]
pub(crate) struct Account {
    cap: Cap,
    live: Arc<AtomicUsize>,
    folded: AtomicU64,
}

impl Account {
    pub(crate) fn new(cap: Cap) -> Self {
        Self { cap, live: Arc::default(), folded: AtomicU64::new(0) }
    }

    /// A place under the cap, or `None`, which is counted.
    pub(crate) fn take(&self) -> Option<Live> {
        self.take_beyond(0)
    }

    /// The same for one that must leave so many places to others.
    pub(crate) fn take_beyond(&self, reserve: usize) -> Option<Live> {
        let live = if self.free() > reserve { self.take_free() } else { None };
        if live.is_none() {
            self.fold();
        }
        live
    }

    /// A place under the cap, if one is free.
    pub(crate) fn take_free(&self) -> Option<Live> {
        if self.free() == 0 {
            return None;
        }
        self.live.fetch_add(1, Ordering::Relaxed);
        Some(Live(self.live.clone()))
    }

    pub(crate) fn free(&self) -> usize {
        self.cap.values().saturating_sub(self.live())
    }

    pub(crate) fn fold(&self) {
        self.folded.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    pub(crate) fn cap(&self) -> usize {
        self.cap.values()
    }

    /// How often something was folded since the last call.
    pub(crate) fn take_folded(&self) -> u64 {
        self.folded.swap(0, Ordering::Relaxed)
    }
}

/// A place under a cap, given back when dropped.
#[derive(Debug)]
pub(crate) struct Live(Arc<AtomicUsize>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_when_its_value_dies() {
        let account = Account::new(Cap::constant(1));
        let place = account.take();
        assert!(place.is_some());
        assert!(account.take().is_none());
        drop(place);
        assert!(account.take().is_some());
        assert_eq!(account.take_folded(), 1);
        assert_eq!(account.take_folded(), 0);
    }

    #[test]
    fn a_cap_is_a_positive_number() {
        assert_eq!(Cap::new(0), Err(InvalidCap(0)));
        assert_eq!(Cap::new(2_000).unwrap().values(), 2_000);
        assert!(Cap::new(usize::MAX).is_err());
    }
}
