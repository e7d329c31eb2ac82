//! Spans: one of a sampled exchange and each topic in it, and one of each slow event of a host.
//!
//! Whether an exchange is sampled is decided by a hash of the connection and the request's number, so that it is known from
//! the request's start without being remembered. Exchanges that fail or are slow are kept besides, as far as their
//! [budgets](tail) go. A worker's queue is bounded; what does not fit is counted.

pub(crate) mod contexts;
pub(crate) mod tail;

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;

use kafkascope_protocol::{Acks, ApiVersion, ErrorCode, Exchange, RequestSeq, Timestamp};

use crate::attribute::{Attribute, Value};
use crate::dictionary::{Broker, Client, Topic};
use crate::exemplar::SpanIds;
use crate::settings::{SampleRatio, Settings, TraceParent};
use contexts::{Contexts, Link};
use tail::{SECOND, Tail};

/// Spans that a worker keeps between two drains: some 1.2 MB.
const QUEUE: usize = 4096;

/// Nanoseconds that a span waits for its links from its end on. They come within a second or two, unless the one thread that
/// looks for them is behind.
const LONGEST_WAIT: u64 = 5_000_000_000;

/// Bytes of records that a worker keeps a second to find links, as many as it keeps to measure them.
const RECORDS: u64 = 4 << 20;

/// What a client did with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Produce.
    Send,
    /// Fetch.
    Poll,
    /// OffsetCommit.
    Commit,
}

impl Operation {
    /// `messaging.operation.name`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Poll => "poll",
            Self::Commit => "commit",
        }
    }

    /// `messaging.operation.type`.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Poll => "receive",
            Self::Commit => "settle",
        }
    }

    /// `kafka.api`.
    pub(crate) const fn api(self) -> &'static str {
        match self {
            Self::Send => "Produce",
            Self::Poll => "FetchConsumer",
            Self::Commit => "OffsetCommit",
        }
    }
}

/// A finished span.
#[derive(Debug, Clone)]
pub enum Span {
    /// What a client did with a topic.
    Exchange(ExchangeSpan),
    /// What happened on a host.
    Event(Event),
}

/// Something on a host that took its time, or was too much of it.
#[derive(Debug, Clone)]
pub struct Event {
    /// Name of the span: what happened, and to what.
    pub name: String,
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// What it happened to, by names that spans and metrics share.
    pub attributes: Vec<(Attribute, Value)>,
}

/// The two connections of a client through a proxy, each by its own ends: what tells them from others on the hosts that they
/// touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Legs {
    /// Between client and proxy.
    pub client: [SocketAddr; 2],
    /// Between proxy and broker.
    pub broker: [SocketAddr; 2],
}

/// A span of an exchange.
#[derive(Debug, Clone)]
pub struct ExchangeSpan {
    pub(crate) trace: [u8; 16],
    pub(crate) id: [u8; 8],
    pub(crate) operation: Operation,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) client: Option<Arc<Client>>,
    pub(crate) broker: Arc<Broker>,
    pub(crate) legs: Option<Arc<Legs>>,
    pub(crate) topic: Arc<Topic>,
    /// When only one partition of the topic takes part.
    pub(crate) partition: Option<i32>,
    pub(crate) version: ApiVersion,
    pub(crate) acks: Option<Acks>,
    /// Commits only.
    pub(crate) group: Option<Arc<str>>,
    /// Not of commits.
    pub(crate) batch: Option<Batch>,
    pub(crate) error: ErrorCode,
    /// Where the links come from; gone once the span has settled.
    pub(crate) contexts: Option<Arc<Contexts>>,
    /// What the broker answered: base offsets by partition.
    pub(crate) bases: Box<[(i32, Option<i64>)]>,
    pub(crate) links: Vec<Link>,
    /// Distinct contexts without a link.
    pub(crate) more_links: u64,
    pub(crate) parent: Option<[u8; 8]>,
}

impl ExchangeSpan {
    /// Whether it need not wait for links at `now` any more.
    pub(crate) fn is_ready(&self, now: Timestamp) -> bool {
        self.contexts.as_ref().is_none_or(|contexts| contexts.is_complete()) || now.since(self.end) > LONGEST_WAIT
    }

    /// Takes its links, and its parent if it may have one. Returns how many batches were too late.
    pub(crate) fn settle(&mut self, parent: TraceParent) -> u64 {
        let Some(contexts) = self.contexts.take() else { return 0 };
        let settled = contexts.settle(parent == TraceParent::Single);
        (self.links, self.more_links) = (settled.links, settled.more);
        if self.operation == Operation::Send {
            for link in &mut self.links {
                let base = self.bases.iter().find(|(partition, _)| *partition == link.partition);
                let base = base.and_then(|&(_, base)| base);
                link.offset = base.zip(link.offset).and_then(|(base, delta)| base.checked_add(delta));
            }
        }
        if let Some(parent) = settled.parent {
            (self.trace, self.parent) = (parent.trace, Some(parent.span));
        }
        settled.late
    }
}

/// What went over the wire of a topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// Why an exchange may have spans.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Merits {
    pub(crate) sampled: bool,
    pub(crate) slow: bool,
}

/// Spans that were not made.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Dropped {
    /// The worker's queue was full.
    pub(crate) queue_full: u64,
    /// More failed or were slow than there is a budget for.
    pub(crate) tail_budget: u64,
}

/// A worker's spans until the next drain.
#[derive(Debug)]
pub(crate) struct SpanQueue {
    is_on: bool,
    /// Hashes below it are sampled.
    threshold: u64,
    all: bool,
    random: u64,
    spans: Vec<Span>,
    dropped: Dropped,
    tail: Tail,
    /// Bytes of records that may still be kept before the next drain that is a second later.
    records: u64,
    renewed: Timestamp,
    trace_parent: TraceParent,
    /// The first one that was pushed since somebody asked.
    pushed: Option<SpanIds>,
}

impl SpanQueue {
    pub(crate) fn new(settings: &Settings, now: Timestamp) -> Self {
        // The standard library's only source of randomness: its keys are new for each state.
        let random = RandomState::new().hash_one(0);
        let threshold = settings.spans.map(SampleRatio::threshold);
        Self {
            is_on: settings.spans.is_some(),
            threshold: threshold.flatten().unwrap_or(0),
            all: threshold == Some(None),
            random,
            spans: Vec::new(),
            dropped: Dropped::default(),
            tail: Tail::new(now),
            records: RECORDS,
            renewed: now,
            trace_parent: settings.trace_parent,
            pushed: None,
        }
    }

    /// A number that no connection had before.
    pub(crate) fn seed(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.random)
    }

    /// Whether there are spans at all.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Whether request `seq` of the connection with this seed is sampled.
    #[inline]
    pub(crate) fn samples(&self, seed: u64, seq: RequestSeq) -> bool {
        self.all || mix(seed ^ seq.0) < self.threshold
    }

    /// Ids of a new trace and its only span.
    pub(crate) fn ids(&mut self) -> ([u8; 16], [u8; 8]) {
        ids(|| self.seed())
    }

    /// Whether and why the spans of an exchange are made, as far as that does not depend on its topics' errors.
    pub(crate) fn merits(&mut self, seed: u64, exchange: &Exchange) -> Merits {
        Merits { sampled: self.samples(seed, exchange.seq), slow: self.tail.is_slow(exchange) }
    }

    /// Whether there is a span of a topic with this error: by merit, or while the budget of failed or slow ones lasts.
    pub(crate) fn keeps(&mut self, merits: Merits, error: ErrorCode) -> bool {
        let kept = match error.is_none() {
            _ if merits.sampled => return true,
            false => self.tail.allows_failed(),
            true if merits.slow => self.tail.allows_slow(),
            true => return false,
        };
        self.dropped.tail_budget += u64::from(!kept);
        kept
    }

    pub(crate) fn push(&mut self, span: ExchangeSpan) {
        if self.spans.len() < QUEUE {
            let contexts = span.contexts.clone().filter(|_| self.trace_parent == TraceParent::Single);
            self.pushed.get_or_insert(SpanIds { trace: span.trace, id: span.id, contexts });
            self.spans.push(Span::Exchange(span));
        } else {
            self.dropped.queue_full += 1;
        }
    }

    /// The first span that was pushed since the last call.
    pub(crate) fn first_pushed(&mut self) -> Option<SpanIds> {
        self.pushed.take()
    }

    /// Whether `bytes` bytes of records may be kept for links.
    pub(crate) fn allows_records(&mut self, bytes: u64) -> bool {
        let left = self.records.checked_sub(bytes);
        self.records = left.unwrap_or(self.records);
        left.is_some()
    }

    /// A span is not made, because what it would be made of was too much to be remembered.
    pub(crate) fn too_many(&mut self) {
        self.dropped.queue_full += 1;
    }

    /// What is there at `now`, and what was dropped.
    pub(crate) fn take(&mut self, now: Timestamp) -> (Vec<Span>, Dropped) {
        self.tail.pass(now);
        if now.since(self.renewed) >= SECOND {
            (self.renewed, self.records) = (now, RECORDS);
        }
        (std::mem::take(&mut self.spans), std::mem::take(&mut self.dropped))
    }
}

/// Ids of a new trace and its only span, none of them zero.
pub(crate) fn ids(mut random: impl FnMut() -> u64) -> ([u8; 16], [u8; 8]) {
    let mut trace = [0; 16];
    let (high, low) = trace.split_at_mut(8);
    high.copy_from_slice(&random().to_be_bytes());
    low.copy_from_slice(&(random() | 1).to_be_bytes());
    (trace, (random() | 1).to_be_bytes())
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every bit of the input changes every bit of the output.
#[inline]
const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_sampled_requests_is_the_ratio() {
        for ratio in [0.0, 0.01, 0.5, 1.0] {
            let spans = Some(SampleRatio::new(ratio).unwrap());
            let mut queue = SpanQueue::new(&Settings { spans, ..Settings::default() }, Timestamp(0));
            let seed = queue.seed();
            let sampled = (0..100_000).filter(|&seq| queue.samples(seed, RequestSeq(seq))).count() as f64 / 1e5;
            assert!((sampled - ratio).abs() < 0.01, "{sampled} of {ratio}");
        }
        assert!(!SpanQueue::new(&Settings::default(), Timestamp(0)).samples(1, RequestSeq(1)));
    }

    #[test]
    fn ids_are_never_zero_and_differ() {
        let mut queue = SpanQueue::new(&Settings::default(), Timestamp(0));
        let (first, second) = (queue.ids(), queue.ids());
        assert_ne!(first, second);
        assert_ne!(first.0, [0; 16]);
        assert_ne!(first.1, [0; 8]);
    }
}
