//! What the operator may choose about aggregation.

use std::time::Duration;

use crate::cap::Cap;

/// Settings of the [`Dictionary`](crate::Dictionary), and with it of everything that records.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Bounds on cardinality.
    pub caps: Caps,
    /// What a client is.
    pub client_key: ClientKey,
    /// Whether the principal that a client has authenticated as tells its series apart.
    pub principal: bool,
    /// Whether `record.io` is told apart by partition.
    pub partitions: bool,
    /// A series that did not change for so long is forgotten.
    pub expiry: Expiry,
    /// Which exchanges become spans; `None`: none.
    pub spans: Option<SampleRatio>,
    /// What spans are children of.
    pub trace_parent: TraceParent,
}

/// Bounds on cardinality. What is new above them is counted and becomes `other`; of clients, topics and partitions, those
/// with most traffic have the places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Clients, that is pairs of client id and address.
    pub clients: Cap,
    /// Topics.
    pub topics: Cap,
    /// Partitions, where they are told apart.
    pub partitions: Cap,
    /// Topic ids whose names are remembered.
    pub topic_ids: Cap,
    /// Series of all metrics together. About 500 bytes each, and as much again per worker that feeds it.
    pub series: Cap,
    /// Principals that clients have authenticated as.
    pub principals: Cap,
    /// API keys and error codes that no release of Kafka defines.
    pub unknown: Cap,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            clients: Cap::constant(2_000),
            topics: Cap::constant(2_000),
            partitions: Cap::constant(10_000),
            topic_ids: Cap::constant(20_000),
            series: Cap::constant(100_000),
            principals: Cap::constant(1_000),
            unknown: Cap::constant(64),
        }
    }
}

/// What a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientKey {
    /// A client id at an address. Default ids (`rdkafka`, `producer-1`) are shared by applications that have nothing to
    /// do with each other.
    #[default]
    IdAndAddress,
    /// A client id, wherever it is used.
    Id,
}

/// What the span of an exchange is a child of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TraceParent {
    /// Nothing: it is linked to the contexts of its records.
    #[default]
    None,
    /// The sampled context of its records, if they have exactly one.
    Single,
}

/// Time without change after which a series is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry(Duration);

/// A time that cannot be an expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not between 1 s and 30 days")]
pub struct InvalidExpiry(pub Duration);

impl Expiry {
    /// An expiry after `time`.
    ///
    /// # Errors
    /// When it is below a second or above 30 days.
    pub const fn new(time: Duration) -> Result<Self, InvalidExpiry> {
        match time.as_secs() {
            1..=2_592_000 => Ok(Self(time)),
            _ => Err(InvalidExpiry(time)),
        }
    }

    pub(crate) const fn nanos(self) -> u64 {
        self.0.as_nanos() as u64
    }
}

impl Default for Expiry {
    fn default() -> Self {
        Self(Duration::from_secs(600))
    }
}

/// Share of exchanges that become spans, 0 to 1. Those that fail or are slow do so besides, within a budget.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleRatio(f64);

/// A number that is no ratio.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{0} is not between 0 and 1")]
pub struct InvalidRatio(pub f64);

impl SampleRatio {
    /// Each one.
    pub const ALL: Self = Self(1.0);

    /// A ratio.
    ///
    /// # Errors
    /// When it is not between 0 and 1.
    pub fn new(ratio: f64) -> Result<Self, InvalidRatio> {
        if (0.0..=1.0).contains(&ratio) { Ok(Self(ratio)) } else { Err(InvalidRatio(ratio)) }
    }

    /// The number of 2^64 random ones that are below the ratio; `None` for all.
    pub(crate) fn threshold(self) -> Option<u64> {
        if self.0 >= 1.0 { None } else { Some((self.0 * 2_f64.powi(64)) as u64) }
    }
}
