//! What a worker has to tell of partitions and groups: see [`knowledge`](crate::knowledge).
//!
//! A [`Watch`] is where one connection stands in one partition, and what it was told of the partition's end. Its connection
//! knows its place, so an observation is a comparison and, when something has changed, a store; what has changed between two
//! drains is told once. What is still so is told again every [`REFRESH`], because a fact that nobody confirms is not
//! believed for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kafkascope_protocol::Timestamp;

use crate::knowledge::fact::{ClientName, End, Fact, Jump, Note, PartitionName, Position, Told};
use crate::topic::Topic;

/// Watches of all connections of a worker together: 60 MB. A connection may have half of what the others have left.
const WATCHES: usize = 262_144;

/// Other facts between two drains. A commit of each of a thousand groups of a hundred partitions fits.
const TOLD: usize = 131_072;

/// What is still so is told again after this: 5 s.
const REFRESH: u64 = 5_000_000_000;

/// No offset.
const NONE: i64 = -1;

/// Where a connection stands in a partition.
#[derive(Debug)]
struct Watch {
    /// `None`: the place is free.
    topic: Option<Arc<Topic>>,
    cluster: Arc<str>,
    client: ClientName,
    partition: i32,
    fetcher: u32,
    /// The fetch session that has it; 0: none.
    session: u32,
    asked: i64,
    asked_at: Timestamp,
    began: (i64, Timestamp),
    /// When the client came here last, from elsewhere or from another offset.
    came: Timestamp,
    next: i64,
    /// When the last record before `next` was given.
    next_at: Timestamp,
    high: i64,
    stable: i64,
    start: i64,
    /// Where it ended before the first change that is not told yet, and when that was so last; [`NONE`]: nothing has changed.
    before: (i64, Timestamp),
    /// When `high` was seen again that had been told before.
    high_again: Timestamp,
    /// Of a producer without transactions.
    plain: bool,
    end_at: Timestamp,
    told: Timestamp,
    left: bool,
    closed: bool,
    position_changed: bool,
    end_changed: bool,
}

/// The fetches of a connection.
#[derive(Debug, Default)]
struct Fetcher {
    connection: u64,
    /// Numbers its fetch sessions from 1 on.
    session: u32,
    read_committed: bool,
    /// Known when its first fetch has ended.
    is_consumer: bool,
    answered: Timestamp,
}

/// All watches of a worker, and what else it has to tell.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    rows: Vec<Watch>,
    free: Vec<u32>,
    fetchers: Vec<Fetcher>,
    free_fetchers: Vec<u32>,
    told: Vec<Told<Arc<Topic>>>,
    lost: u64,
}

/// Whom and what a watch is of.
pub(crate) struct Watched<'a> {
    pub(crate) cluster: &'a Arc<str>,
    pub(crate) client: &'a ClientName,
    pub(crate) topic: Arc<Topic>,
    pub(crate) partition: i32,
    pub(crate) fetcher: u32,
}

impl Watches {
    /// A connection may fetch.
    pub(crate) fn fetcher(&mut self) -> u32 {
        static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
        let fetcher = Fetcher { connection: CONNECTIONS.fetch_add(1, Ordering::Relaxed), ..Fetcher::default() };
        match self.free_fetchers.pop() {
            Some(index) => {
                self.fetchers[index as usize] = fetcher;
                index
            }
            None => {
                self.fetchers.push(fetcher);
                self.fetchers.len() as u32 - 1
            }
        }
    }

    /// A watch for a connection that has `count` already; `None` when there are too many.
    pub(crate) fn watch(&mut self, of: Watched<'_>, count: usize) -> Option<u32> {
        let used = self.rows.len() - self.free.len();
        if count >= WATCHES - used.min(WATCHES) {
            self.lost += 1;
            return None;
        }
        let zero = Timestamp(0);
        let watch = Watch {
            topic: Some(of.topic),
            cluster: of.cluster.clone(),
            client: of.client.clone(),
            partition: of.partition,
            fetcher: of.fetcher,
            session: 0,
            asked: NONE,
            asked_at: zero,
            began: (NONE, zero),
            came: zero,
            next: NONE,
            next_at: zero,
            high: NONE,
            stable: NONE,
            start: NONE,
            before: (NONE, zero),
            high_again: zero,
            plain: false,
            end_at: zero,
            told: zero,
            left: false,
            closed: false,
            position_changed: false,
            end_changed: false,
        };
        Some(match self.free.pop() {
            Some(index) => {
                self.rows[index as usize] = watch;
                index
            }
            None => {
                self.rows.push(watch);
                self.rows.len() as u32 - 1
            }
        })
    }

    /// The request being read belongs to a session that is opened by it, if `opens`. Returns the session's number.
    #[inline]
    pub(crate) fn session(&mut self, fetcher: u32, opens: bool, read_committed: bool) -> u32 {
        let Some(fetcher) = self.fetchers.get_mut(fetcher as usize) else { return 0 };
        fetcher.read_committed = read_committed;
        fetcher.session += u32::from(opens);
        fetcher.session
    }

    /// A fetch has ended.
    #[inline]
    pub(crate) fn fetched(&mut self, fetcher: u32, at: Timestamp, follower: bool) {
        if let Some(fetcher) = self.fetchers.get_mut(fetcher as usize) {
            fetcher.is_consumer = !follower;
            fetcher.answered = at;
        }
    }

    /// A request asks for `offset`; `session` is 0 if it has none.
    #[inline]
    pub(crate) fn asked(&mut self, watch: u32, offset: i64, at: Timestamp, session: u32) {
        let Self { rows, fetchers, told, .. } = self;
        let Some(watch) = rows.get_mut(watch as usize) else { return };
        let comes = watch.left || watch.session != session;
        watch.asked_at = at;
        watch.session = session;
        watch.left = false;
        if watch.asked == offset && watch.next == offset && !comes {
            return;
        }
        watch.position_changed = true;
        if watch.next != offset || comes {
            Self::moved(told, fetchers.get(watch.fetcher as usize), watch, offset, at);
        }
        watch.asked = offset;
    }

    /// The client asks for something else than what comes next, or comes from elsewhere.
    #[cold]
    fn moved(
        told: &mut Vec<Told<Arc<Topic>>>,
        fetcher: Option<&Fetcher>,
        watch: &mut Watch,
        offset: i64,
        at: Timestamp,
    ) {
        watch.came = at;
        if watch.asked < 0 {
            watch.began = (offset, at);
        } else if watch.next >= 0
            && offset > watch.next
            && told.len() < TOLD
            && let (Some(of), Some(fetcher)) = (watch.name(), fetcher)
        {
            let (client, connection) = (watch.client.clone(), fetcher.connection);
            let (from, to) = (Some((watch.next, watch.next_at.0)), (offset, at.0));
            told.push(Told::Note(Note::Jump(Jump { of, client, connection, from, to })));
        }
        if watch.next != offset {
            (watch.next, watch.next_at) = (offset, at);
        }
    }

    /// A request takes the partition out of its session.
    pub(crate) fn left(&mut self, watch: u32, at: Timestamp) {
        if let Some(watch) = self.rows.get_mut(watch as usize) {
            watch.asked_at = at;
            watch.session = 0;
            (watch.left, watch.position_changed) = (true, true);
        }
    }

    /// The client was given all records before `next`.
    #[inline]
    pub(crate) fn delivered(&mut self, watch: u32, next: i64, at: Timestamp) {
        if let Some(watch) = self.rows.get_mut(watch as usize)
            && next > watch.next
        {
            (watch.next, watch.next_at) = (next, at);
            watch.position_changed = true;
        }
    }

    /// What the client asked for does not exist, or was deleted before it came: it goes on wherever it likes, and has gone
    /// past what lies between. Who asks for 0 may only want the beginning, wherever that is.
    pub(crate) fn out_of_range(&mut self, watch: u32) {
        if let Some(watch) = self.rows.get_mut(watch as usize)
            && watch.next == 0
        {
            watch.next = NONE;
        }
    }

    /// Where the partition begins and ends; -1 what is not told. `before`: where it ended when the request came whose answer
    /// this is, if that is known. Returns whether that is new.
    #[inline]
    pub(crate) fn ends(&mut self, watch: u32, high: i64, stable: i64, start: i64, before: Option<i64>) -> bool {
        let Self { rows, fetchers, .. } = self;
        let Some(watch) = rows.get_mut(watch as usize) else { return false };
        let is = |told: i64, known: i64| told < 0 || told == known;
        if is(high, watch.high) {
            if high >= 0 {
                // It was so when the request came, or later.
                watch.high_again = watch.asked_at;
            }
            if is(stable, watch.stable) && is(start, watch.start) {
                return false;
            }
        } else if watch.before.0 < 0 {
            watch.before = match before {
                // That time comes when the exchange has ended.
                Some(before) => (before, Timestamp(0)),
                None => (watch.high, watch.high_until(fetchers.get(watch.fetcher as usize))),
            };
        }
        let take = |told: i64, known: &mut i64| {
            if told >= 0 {
                *known = told;
            }
        };
        take(high, &mut watch.high);
        take(stable, &mut watch.stable);
        take(start, &mut watch.start);
        watch.end_changed = true;
        true
    }

    /// The producer on this connection uses transactions, or does not.
    pub(crate) fn is_plain(&mut self, watch: u32, plain: bool) {
        if let Some(watch) = self.rows.get_mut(watch as usize) {
            watch.plain = plain;
        }
    }

    /// When what [`ends`](Self::ends) took was told, and when that was asked.
    pub(crate) fn ends_at(&mut self, watch: u32, at: Timestamp, asked_at: Timestamp) {
        if let Some(watch) = self.rows.get_mut(watch as usize) {
            watch.end_at = watch.end_at.max(at);
            if watch.before.1 == Timestamp(0) {
                watch.before.1 = asked_at;
            }
        }
    }

    /// So many facts were seen for which there was no room.
    pub(crate) fn lose(&mut self, count: u64) {
        self.lost += count;
    }

    /// Something else is known. Whether there is room for it.
    pub(crate) fn tell(&mut self, told: Told<Arc<Topic>>) -> bool {
        let has_room = self.told.len() < TOLD;
        if has_room {
            self.told.push(told)
        } else {
            self.lost += 1
        }
        has_room
    }

    /// A connection has ended, or its client has become another. The watches are told once more.
    pub(crate) fn close(&mut self, watches: impl Iterator<Item = u32>, fetcher: Option<u32>) {
        for index in watches {
            let Some(watch) = self.rows.get_mut(index as usize) else { continue };
            let fetcher = self.fetchers.get(watch.fetcher as usize);
            (watch.asked_at, watch.high_again) = (watch.fresh(fetcher), watch.high_until(fetcher));
            (watch.session, watch.closed) = (0, true);
            // Told here: the fetcher will be another's.
            let position = fetcher.filter(|fetcher| fetcher.is_consumer).and_then(|fetcher| watch.position(fetcher));
            watch.asked = NONE;
            if let Some(position) = position {
                self.tell(Told::Fact(Fact::Position(position)));
            }
        }
        self.free_fetchers.extend(fetcher);
    }

    /// How many rows there are to [drain](Self::drain).
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Hands over what up to `most` rows from index `from` on have to tell. Returns the index where to go on.
    pub(crate) fn drain(&mut self, now: Timestamp, from: usize, most: usize, told: &mut Vec<Told>) -> usize {
        let Self { rows, free, fetchers, .. } = self;
        let end = (from + most).min(rows.len());
        for (index, watch) in rows.iter_mut().enumerate().take(end).skip(from) {
            let Some(topic) = &watch.topic else { continue };
            let fetcher = fetchers.get(watch.fetcher as usize);
            let fresh = watch.fresh(fetcher);
            let again = now.since(watch.told) >= REFRESH && fresh > watch.told;
            if !(watch.position_changed || watch.end_changed || again || watch.closed) {
                continue;
            }
            if topic.settle(now).is_none() && !watch.closed {
                continue;
            }
            let mut tell = |fact| told.extend(Told::Fact(fact).settled(now));
            if (watch.end_changed || again)
                && let Some(end) = watch.end(fetcher)
            {
                tell(Fact::End(end));
            }
            if (watch.position_changed || again)
                && let Some(fetcher) = fetcher.filter(|fetcher| fetcher.is_consumer)
            {
                watch.position_changed = false;
                if let Some(position) = watch.position(fetcher) {
                    tell(Fact::Position(position));
                }
            }
            (watch.end_changed, watch.before, watch.told) = (false, (NONE, Timestamp(0)), now);
            if watch.closed {
                watch.topic = None;
                free.push(index as u32);
            }
        }
        end
    }

    /// Hands over the rest. What waits for a topic's name stays.
    pub(crate) fn take_told(&mut self, now: Timestamp, told: &mut Vec<Told>) -> u64 {
        let mut waiting = Vec::new();
        for fact in self.told.drain(..) {
            match fact.settled(now) {
                Ok(fact) => told.push(fact),
                Err(fact) => waiting.push(*fact),
            }
        }
        self.told.append(&mut waiting);
        self.told.shrink_to(1024);
        std::mem::take(&mut self.lost)
    }
}

impl Watch {
    fn name(&self) -> Option<PartitionName<Arc<Topic>>> {
        let topic = self.topic.clone()?;
        Some(PartitionName { cluster: self.cluster.clone(), topic, partition: self.partition })
    }

    /// Until when it is known that the client asks for this: as long as the session that has it is used.
    fn fresh(&self, fetcher: Option<&Fetcher>) -> Timestamp {
        match fetcher {
            Some(fetcher) if self.session != 0 && self.session == fetcher.session => {
                fetcher.answered.max(self.asked_at)
            }
            _ => self.asked_at,
        }
    }

    /// Until when it is known that it ends at `high`: the answer to a request of a fetch session leaves out what has not
    /// changed (KIP-227).
    fn high_until(&self, fetcher: Option<&Fetcher>) -> Timestamp {
        let seen = self.end_at.max(self.high_again);
        match fetcher {
            Some(fetcher) if self.session != 0 && self.session == fetcher.session => fetcher.answered.max(seen),
            _ => seen,
        }
    }

    fn end(&self, fetcher: Option<&Fetcher>) -> Option<End<Arc<Topic>>> {
        let (high, stable, start, plain, at) = (self.high, self.stable, self.start, self.plain, self.end_at.0);
        let known = high >= 0 || stable >= 0 || start >= 0;
        let (before, until) = if self.before.0 < 0 { (high, self.high_until(fetcher)) } else { self.before };
        let before = (before, until.0);
        self.name().filter(|_| known).map(|of| End { of, high, stable, start, before, plain, at })
    }

    fn position(&self, fetcher: &Fetcher) -> Option<Position<Arc<Topic>>> {
        if self.asked < 0 {
            return None;
        }
        Some(Position {
            of: self.name()?,
            client: self.client.clone(),
            connection: fetcher.connection,
            asked: self.asked,
            next: self.next.max(self.asked),
            at: self.fresh(Some(fetcher)).0,
            began: (self.began.0, self.began.1.0),
            came: self.came.0,
            read_committed: fetcher.read_committed,
            left: self.left,
            ended: self.closed,
        })
    }
}
