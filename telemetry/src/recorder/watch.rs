//! Where a connection stands in each partition that it fetches or produces to, and where these end.
//!
//! Places of [watches](crate::shard::watch) are looked up when a partition is named for the first time. Clients name the
//! same partitions in the same order, so afterwards the place is mostly where the last one was, or the one behind it.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

use kafkascope_protocol::{
    Exchange, FetchAsked, FetchForgotten, FetchHead, FetchPartition, OffsetAsked, OffsetListed, Outcome,
    PartitionBatch, ProduceHead, ProduceResult, RequestSeq, Timestamp, TopicIndex, TopicRef,
};

use super::Recorder;
use super::produce::APPENDED;
use crate::attribute::NONE;
use crate::knowledge::fact::ClientName;
use crate::shard::Shard;
use crate::shard::watch::Watched;

/// `OFFSET_OUT_OF_RANGE`.
const OUT_OF_RANGE: i16 = 1;

/// Partitions of ListOffsets requests that a connection remembers until they are answered. Answers in another order than
/// asked are searched for, so it is not too many.
const LISTED: usize = 2_048;

/// The watches of a connection.
#[derive(Debug, Default)]
pub(super) struct Watching {
    places: Vec<Place>,
    by_partition: HashMap<(TopicIndex, i32), u32>,
    /// Index in `places` of the last one.
    last: usize,
    /// Who it is in facts.
    pub(super) who: Option<Who>,
    fetcher: Option<u32>,
    /// When the last request began.
    pub(super) request_at: Timestamp,
    /// The fetch session of the request that is being read; 0: none.
    session: u32,
    /// The producer has begun transactions.
    transactional: bool,
    /// The partition whose batches are being read.
    reading: Option<u32>,
    /// Watches whose end was told by a response that has not ended.
    moved: Vec<u32>,
    listing: VecDeque<Listing>,
    /// Whether the ListOffsets request that is being read wants last stable offsets.
    lists_stable: bool,
}

/// A client in its cluster.
#[derive(Debug, Clone)]
pub(super) struct Who {
    pub(super) cluster: Arc<str>,
    pub(super) client: ClientName,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    topic: TopicIndex,
    partition: i32,
    watch: u32,
}

#[derive(Debug)]
struct Listing {
    seq: RequestSeq,
    topic: TopicIndex,
    partition: i32,
    what: Listed,
}

#[derive(Debug, Clone, Copy)]
enum Listed {
    High,
    Stable,
    Start,
}

impl Watching {
    #[inline]
    fn find(&mut self, topic: TopicIndex, partition: i32) -> Option<u32> {
        let place = |index: usize| {
            let place = self.places.get(index)?;
            (place.topic == topic && place.partition == partition).then_some(place.watch)
        };
        if let Some(watch) = place(self.last) {
            return Some(watch);
        }
        let next = self.last.wrapping_add(1);
        if let Some(watch) = place(next) {
            self.last = next;
            return Some(watch);
        }
        let index = *self.by_partition.get(&(topic, partition))? as usize;
        self.last = index;
        self.places.get(index).map(|place| place.watch)
    }
}

impl Recorder {
    /// The watch of a partition, if it may have one.
    #[inline]
    fn watch(&mut self, shard: &mut Shard, topic: TopicRef<'_>, partition: i32) -> Option<u32> {
        match self.watching.find(topic.index, partition) {
            Some(watch) => Some(watch),
            None => self.new_watch(shard, topic, partition),
        }
    }

    #[cold]
    #[inline(never)]
    fn new_watch(&mut self, shard: &mut Shard, topic: TopicRef<'_>, partition: i32) -> Option<u32> {
        if topic.index == TopicIndex::OVERFLOW || partition < 0 {
            return None;
        }
        let Who { cluster, client } = self.who()?;
        let (index, topic) = (topic.index, self.topic_slots(shard, topic).topic.clone());
        if topic.is_other() {
            return None;
        }
        let fetcher = *self.watching.fetcher.get_or_insert_with(|| shard.watches.fetcher());
        let of = Watched { cluster: &cluster, client: &client, topic, partition, fetcher };
        let watch = shard.watches.watch(of, self.watching.places.len())?;
        self.watching.last = self.watching.places.len();
        self.watching.by_partition.insert((index, partition), self.watching.last as u32);
        self.watching.places.push(Place { topic: index, partition, watch });
        Some(watch)
    }

    /// Who it is in facts; nobody while it is not known, or folded.
    pub(super) fn who(&mut self) -> Option<Who> {
        if self.watching.who.is_none() {
            let client = self.client.as_ref().filter(|client| !client.is_other())?;
            let client = ClientName { id: client.id().into(), address: client.address().into() };
            self.watching.who = Some(Who { cluster: self.broker.cluster_name(), client });
        }
        self.watching.who.clone()
    }

    /// The connection has ended, or its client becomes another.
    pub(super) fn stop_watching(&mut self, shard: &mut Shard) {
        let watching = std::mem::take(&mut self.watching);
        shard.watches.close(watching.places.iter().map(|place| place.watch), watching.fetcher);
        self.watching.request_at = watching.request_at;
    }

    #[inline]
    pub(super) fn fetch_begins(&mut self, shard: &mut Shard, head: &FetchHead, follower: bool) {
        if !follower {
            let fetcher = *self.watching.fetcher.get_or_insert_with(|| shard.watches.fetcher());
            let session = shard.watches.session(fetcher, head.session_epoch == 0, head.read_committed);
            self.watching.session = if head.session_epoch >= 0 { session } else { 0 };
        }
    }

    #[inline]
    pub(super) fn fetch_asked(&mut self, shard: &mut Shard, asked: &FetchAsked<'_>) {
        if self.follower || asked.fetch_offset < 0 {
            return;
        }
        if let Some(watch) = self.watch(shard, asked.topic, asked.partition) {
            shard.watches.asked(watch, asked.fetch_offset, self.watching.request_at, self.watching.session);
        }
    }

    #[cold]
    pub(super) fn fetch_forgotten(&mut self, shard: &mut Shard, forgotten: &FetchForgotten<'_>) {
        if let Some(watch) = self.watching.find(forgotten.topic.index, forgotten.partition) {
            shard.watches.left(watch, self.watching.request_at);
        }
    }

    #[inline]
    pub(super) fn fetch_told(&mut self, shard: &mut Shard, told: &FetchPartition<'_>) {
        self.watching.reading = self.watch(shard, told.topic, told.partition);
        let Some(watch) = self.watching.reading else { return };
        if !told.error.is_none() {
            if told.error.0 == OUT_OF_RANGE {
                shard.watches.out_of_range(watch);
            }
            return;
        }
        let (stable, start) = (told.last_stable_offset.unwrap_or(-1), told.log_start_offset.unwrap_or(-1));
        if shard.watches.ends(watch, told.high_watermark, stable, start, None) {
            self.watching.moved.push(watch);
        }
    }

    #[inline]
    pub(super) fn fetch_gave(&mut self, shard: &mut Shard, batch: &PartitionBatch<'_>) {
        if let Some(watch) = self.watching.reading
            && !batch.head.partial
        {
            let last = batch.head.base_offset.saturating_add(i64::from(batch.head.last_offset_delta));
            shard.watches.delivered(watch, last.saturating_add(1), self.watching.request_at);
        }
    }

    #[inline]
    pub(super) fn produce_begins(&mut self, head: &ProduceHead<'_>) {
        self.watching.transactional |= head.transactional_id.is_some();
    }

    /// A producer was told where its records are: behind them is the end.
    #[inline]
    pub(super) fn produce_told(&mut self, shard: &mut Shard, result: &ProduceResult<'_>, records: u64) {
        if !APPENDED.contains(&result.error) || result.base_offset < 0 {
            return;
        }
        if let Some(watch) = self.watch(shard, result.topic, result.partition) {
            let end = result.base_offset.saturating_add_unsigned(records);
            let start = result.log_start_offset.unwrap_or(-1);
            if shard.watches.ends(watch, end, -1, start, Some(result.base_offset)) {
                shard.watches.is_plain(watch, !self.watching.transactional);
                self.watching.moved.push(watch);
            }
        }
    }

    /// A response has ended: what it told was so when it began to come.
    #[inline]
    pub(super) fn told(&mut self, shard: &mut Shard, exchange: &Exchange) {
        if let Some(fetch) = &exchange.fetch
            && exchange.outcome == Outcome::Answered
            && let Some(fetcher) = self.watching.fetcher
        {
            shard.watches.fetched(fetcher, exchange.times.response_last, fetch.follower);
        }
        if !self.watching.moved.is_empty() {
            for watch in self.watching.moved.drain(..) {
                shard.watches.ends_at(watch, exchange.times.response_first, exchange.times.request_first);
            }
        }
    }

    pub(super) fn lists(&mut self, read_committed: bool) {
        self.watching.lists_stable = read_committed;
    }

    pub(super) fn offset_asked(&mut self, shard: &mut Shard, asked: &OffsetAsked<'_>) {
        let what = match asked.timestamp {
            OffsetAsked::LATEST if self.watching.lists_stable => Listed::Stable,
            OffsetAsked::LATEST => Listed::High,
            OffsetAsked::EARLIEST => Listed::Start,
            _ => return,
        };
        if self.watching.listing.len() < LISTED && self.watch(shard, asked.topic, asked.partition).is_some() {
            let (seq, topic, partition) = (asked.seq, asked.topic.index, asked.partition);
            self.watching.listing.push_back(Listing { seq, topic, partition, what });
        }
    }

    pub(super) fn offset_listed(&mut self, shard: &mut Shard, listed: &OffsetListed<'_>) {
        let is_it = |asked: &Listing| {
            (asked.seq, asked.topic, asked.partition) == (listed.seq, listed.topic.index, listed.partition)
        };
        let Some(index) = self.watching.listing.iter().position(is_it) else { return };
        let Some(Listing { what, .. }) = self.watching.listing.remove(index) else { return };
        if !listed.error.is_none() || listed.offset < 0 {
            return;
        }
        let Some(watch) = self.watching.find(listed.topic.index, listed.partition) else { return };
        let new = match what {
            Listed::High => shard.watches.ends(watch, listed.offset, -1, -1, None),
            Listed::Stable => shard.watches.ends(watch, -1, listed.offset, -1, None),
            Listed::Start => shard.watches.ends(watch, -1, -1, listed.offset, None),
        };
        if new {
            self.watching.moved.push(watch);
        }
    }

    /// What a ListOffsets request that has ended asked for and was not told.
    pub(super) fn forget_listing(&mut self, seq: RequestSeq) {
        self.watching.listing.retain(|asked| asked.seq > seq);
    }

    /// The text of a name from the wire that must be there.
    pub(super) fn name(bytes: &[u8]) -> Option<Arc<str>> {
        let text = crate::attribute::text(Some(bytes));
        (text != NONE).then(|| text.into())
    }
}
