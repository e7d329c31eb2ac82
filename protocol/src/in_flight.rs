//! Requests from their header to their end. A request is kept as the exchange that it will become, which is filled in as its
//! facts pass, and told when the last byte of its response was written on.
//!
//! A broker answers in the order of the requests, so the correlation id of a response is that of the oldest request. If it is
//! a later one's, the ones before will never be answered; if it is nobody's, the response is not counted as one. A request
//! that never gets a response (Produce with acks=0) does not wait for one.

use alloc::collections::VecDeque;
use core::mem;

use crate::{Acks, CorrelationId, ErrorCode, Exchange, FetchSummary, FetchWait, Observation, Outcome, Sink, Timestamp};

/// A request that has not ended, or whose end was not told yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) exchange: Exchange,
    /// Where the request's frame ends, in bytes of its direction.
    pub(crate) request_end: u64,
    /// Where the response's frame ends, in bytes of its direction.
    pub(crate) response_end: u64,
    /// A Fetch: under which [`Positions`](crate::positions::Positions) remembers what was asked; 0 if it does not.
    pub(crate) generation: u32,
    /// A Fetch: records of open transactions are left out.
    pub(crate) read_committed: bool,
    /// A Fetch: every partition had been read up to what was known of its end.
    pub(crate) caught_up: bool,
    /// Its end was told.
    told: bool,
}

impl Entry {
    #[inline]
    pub(crate) const fn new(exchange: Exchange, request_end: u64) -> Self {
        Self {
            exchange,
            request_end,
            response_end: 0,
            generation: 0,
            read_committed: false,
            caught_up: false,
            told: false,
        }
    }

    /// The response carries an error. The first one is kept.
    #[inline]
    pub(crate) const fn failed(&mut self, error: ErrorCode) {
        if self.exchange.error.is_none() {
            self.exchange.error = error;
        }
    }

    /// The response was decoded to its end.
    #[inline]
    pub(crate) fn decoded(&mut self) {
        if let Some(fetch) = &mut self.exchange.fetch
            && self.exchange.error.is_none()
        {
            fetch.wait = (!closes_session(fetch)).then(|| wait(fetch, self.caught_up));
        }
    }

    fn tell<S: Sink>(&mut self, outcome: Outcome, sink: &mut S) {
        self.exchange.outcome = outcome;
        self.told = true;
        sink.observe(Observation::Exchange(&self.exchange));
    }
}

/// A session's id with epoch -1 ends the session and fetches nothing (KIP-227: `FetchMetadata.FINAL_EPOCH`). A client
/// without sessions sends epoch -1 too, but no id.
const fn closes_session(fetch: &FetchSummary) -> bool {
    fetch.session_id != 0 && fetch.session_epoch == -1
}

/// Most requests for which an empty queue keeps its memory: 40 KiB.
const KEPT: usize = 256;

/// Gives the memory back that a burst has taken. The queue is empty.
#[inline(always)]
fn forget_burst(queue: &mut VecDeque<Entry>) {
    if queue.capacity() > KEPT {
        *queue = VecDeque::new();
    } else {
        // So that it begins at its start again, in memory that is in the cache.
        queue.clear();
    }
}

fn wait(fetch: &FetchSummary, caught_up: bool) -> FetchWait {
    match u64::try_from(fetch.min_bytes) {
        Ok(min_bytes) if fetch.record_bytes < min_bytes => FetchWait::Expired,
        Ok(1..) if caught_up => FetchWait::Waited,
        _ => FetchWait::Served,
    }
}

/// See the module's first paragraph.
#[derive(Debug)]
pub(crate) struct InFlight {
    /// In the order of the requests: those that are over but for the writing of their response, the one that is being
    /// answered, those that wait, the one that is being read.
    requests: VecDeque<Entry>,
    /// How many are over.
    over: usize,
    /// Whether one is being answered.
    answering: bool,
    /// Whether one is being read.
    reading: bool,
    /// How many from the front were written on.
    written: usize,
    /// Requests that never get a response, until they are written on.
    unanswered: VecDeque<Entry>,
    limit: usize,
    /// How many requests may still be looked through for those that responses out of order answer.
    patience: usize,
    /// The oldest request that waited when that was found out last.
    looked_from: u64,
}

/// Requests that may be looked through for each one that was answered since the last time. A broker that answers at random
/// would else have all that wait looked through for each few bytes it sends.
const LOOKS: u64 = 64;

impl InFlight {
    /// With room for the one request of a connection that is idle from then on.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            requests: VecDeque::with_capacity(1),
            over: 0,
            answering: false,
            reading: false,
            written: 0,
            unanswered: VecDeque::new(),
            limit,
            patience: limit,
            looked_from: 0,
        }
    }

    /// The index of the oldest request that waits.
    #[inline]
    const fn first(&self) -> usize {
        self.over.wrapping_add(self.answering as usize)
    }

    /// The index behind the newest request that waits.
    #[inline]
    fn end(&self) -> usize {
        self.requests.len().wrapping_sub(usize::from(self.reading))
    }

    /// How many requests wait for a response.
    pub(crate) fn awaited(&self) -> usize {
        self.end().saturating_sub(self.first())
    }

    /// Whether no request waits for a response.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first() >= self.end()
    }

    /// Whether the oldest request that waits has this number.
    #[inline]
    pub(crate) fn is_next(&self, correlation_id: CorrelationId) -> bool {
        let first = self.first();
        first < self.end()
            && self.requests.get(first).is_some_and(|entry| entry.exchange.correlation_id == correlation_id)
    }

    /// A request's header was read.
    #[inline]
    pub(crate) fn begin<S: Sink>(&mut self, entry: Entry, sink: &mut S) -> &mut Entry {
        if self.awaited() >= self.limit {
            self.abandon_oldest(sink);
        }
        self.reading = true;
        self.requests.push_back_mut(entry)
    }

    /// The request that is being read.
    #[inline]
    pub(crate) fn read(&mut self) -> Option<&mut Entry> {
        if self.reading { self.requests.back_mut() } else { None }
    }

    /// The last byte of the request that is being read was read, and `written` bytes of its direction were written on.
    /// `in_vain`: responses are not recognised any more.
    #[inline]
    pub(crate) fn end_request<S: Sink>(&mut self, now: Timestamp, written: u64, in_vain: bool, sink: &mut S) {
        if let Some(entry) = self.read() {
            entry.exchange.times.request_last = now;
            let (end, acks) = (entry.request_end, entry.exchange.acks);
            self.request_ended(end, acks, now, written, in_vain, sink);
        }
    }

    /// The same, when the facts are at hand and the entry has the time.
    #[inline(always)]
    pub(crate) fn request_ended<S: Sink>(
        &mut self,
        end: u64,
        acks: Option<Acks>,
        now: Timestamp,
        written: u64,
        in_vain: bool,
        sink: &mut S,
    ) {
        self.reading = false;
        if in_vain || acks == Some(Acks::None) {
            self.end_without_response(sink);
        }
        if end <= written {
            self.requests_written(written, now, sink);
        }
    }

    #[inline(never)]
    fn end_without_response<S: Sink>(&mut self, sink: &mut S) {
        let Some(mut entry) = self.requests.pop_back() else { return };
        self.written = self.written.min(self.requests.len());
        if entry.exchange.acks != Some(Acks::None) {
            entry.tell(Outcome::Abandoned, sink);
            return;
        }
        if self.unanswered.len() >= self.limit
            && let Some(mut oldest) = self.unanswered.pop_front()
        {
            oldest.exchange.times.request_written = oldest.exchange.times.request_last;
            oldest.tell(Outcome::Unanswered, sink);
        }
        self.unanswered.push_back(entry);
    }

    /// The request that is being read will not be read to its end.
    pub(crate) fn abandon_request<S: Sink>(&mut self, sink: &mut S) {
        if self.reading
            && let Some(mut entry) = self.requests.pop_back()
        {
            entry.tell(Outcome::Abandoned, sink);
            self.written = self.written.min(self.requests.len());
        }
        self.reading = false;
    }

    /// A response's header was read: the request that it answers, if any.
    #[inline]
    pub(crate) fn answer<S: Sink>(&mut self, correlation_id: CorrelationId, sink: &mut S) -> Option<&mut Entry> {
        if !self.is_next(correlation_id) {
            self.abandon_until(correlation_id, sink)?;
        }
        self.answering = true;
        let entry = self.requests.get_mut(self.over)?;
        if self.written <= self.over {
            // The write will have been before the response, but was not told before it.
            entry.exchange.times.request_written = entry.exchange.times.request_last;
            self.written = self.over.wrapping_add(1);
        }
        Some(entry)
    }

    /// The request that is being answered.
    #[inline]
    pub(crate) fn answered(&mut self) -> Option<&mut Entry> {
        if self.answering { self.requests.get_mut(self.over) } else { None }
    }

    /// The last byte of a response was read, and `written` bytes of its direction were written on.
    #[inline]
    pub(crate) fn end_response<S: Sink>(&mut self, now: Timestamp, written: u64, sink: &mut S) {
        if let Some(entry) = self.answered() {
            entry.exchange.times.response_last = now;
            let end = entry.response_end;
            self.response_ended(end, now, written, sink);
        }
    }

    /// The same, when the facts are at hand and the entry has the time.
    #[inline(always)]
    pub(crate) fn response_ended<S: Sink>(&mut self, end: u64, now: Timestamp, written: u64, sink: &mut S) {
        self.answering = false;
        self.over = self.over.wrapping_add(1);
        if end <= written || self.over > self.limit {
            self.responses_written(end, now, sink);
        }
    }

    /// The response that is being read will not be read to its end, and no other will be recognised.
    pub(crate) fn abandon<S: Sink>(&mut self, sink: &mut S) {
        self.answering = false;
        while !self.is_empty() {
            self.abandon_oldest(sink);
        }
    }

    /// The requests' direction was written on up to `offset`.
    #[inline]
    pub(crate) fn requests_written<S: Sink>(&mut self, offset: u64, now: Timestamp, sink: &mut S) {
        while let Some(entry) = self.requests.get_mut(self.written)
            && entry.request_end <= offset
        {
            entry.exchange.times.request_written = now;
            self.written = self.written.wrapping_add(1);
        }
        if !self.unanswered.is_empty() {
            self.unanswered_written(offset, now, sink);
        }
    }

    #[inline(never)]
    fn unanswered_written<S: Sink>(&mut self, offset: u64, now: Timestamp, sink: &mut S) {
        while let Some(entry) = self.unanswered.front_mut()
            && entry.request_end <= offset
        {
            entry.exchange.times.request_written = now;
            entry.tell(Outcome::Unanswered, sink);
            self.unanswered.pop_front();
        }
        if self.unanswered.is_empty() {
            forget_burst(&mut self.unanswered);
        }
    }

    /// The responses' direction was written on up to `offset`.
    #[inline]
    pub(crate) fn responses_written<S: Sink>(&mut self, offset: u64, now: Timestamp, sink: &mut S) {
        while self.over > 0
            && let Some(entry) = self.requests.front_mut()
        {
            if !entry.told {
                if entry.response_end > offset {
                    break;
                }
                entry.exchange.times.response_written = now;
                entry.tell(Outcome::Answered, sink);
            }
            self.forget_first();
        }
    }

    #[inline]
    fn forget_first(&mut self) {
        self.requests.pop_front();
        if self.requests.is_empty() {
            forget_burst(&mut self.requests);
        }
        self.over = self.over.saturating_sub(1);
        self.written = self.written.saturating_sub(1);
    }

    /// All before the request of that number are abandoned. `None` if there is no such request.
    #[cold]
    fn abandon_until<S: Sink>(&mut self, correlation_id: CorrelationId, sink: &mut S) -> Option<()> {
        let (first, end) = (self.first(), self.end());
        if first >= end {
            return None;
        }
        let oldest = self.requests.get(first)?.exchange.seq.0;
        let answered = oldest.wrapping_sub(mem::replace(&mut self.looked_from, oldest));
        let earned = usize::try_from(answered.saturating_mul(LOOKS)).unwrap_or(usize::MAX);
        let patience = self.patience.saturating_add(earned).min(self.limit);
        let waiting = self.requests.range(first..end.min(first.saturating_add(patience)));
        self.patience = patience.saturating_sub(waiting.len());
        let before = waiting.map(|entry| entry.exchange.correlation_id).position(|id| id == correlation_id)?;
        for _ in 0..before {
            self.abandon_oldest(sink);
        }
        Some(())
    }

    #[cold]
    fn abandon_oldest<S: Sink>(&mut self, sink: &mut S) {
        let oldest = self.first();
        if oldest >= self.end() {
            return;
        }
        if let Some(entry) = self.requests.get_mut(oldest) {
            entry.tell(Outcome::Abandoned, sink);
        }
        if self.answering {
            self.requests.remove(oldest);
            self.written = if self.written > oldest { self.written.saturating_sub(1) } else { self.written };
            return;
        }
        self.over = self.over.wrapping_add(1);
        if self.over > self.limit
            && let Some(first) = self.requests.front_mut()
            && !first.told
        {
            // Its response waits for a client that does not read, and all that are over wait behind it.
            first.exchange.times.response_written = first.exchange.times.response_last;
            first.tell(Outcome::Answered, sink);
        }
        while self.over > 0 && self.requests.front().is_some_and(|entry| entry.told) {
            self.forget_first();
        }
    }

    /// The connection ended: nothing more is written.
    pub(crate) fn close<S: Sink>(&mut self, sink: &mut S) {
        let unanswered = mem::take(&mut self.unanswered);
        let requests = mem::take(&mut self.requests);
        for mut entry in requests.into_iter().filter(|entry| !entry.told).chain(unanswered) {
            entry.tell(Outcome::Abandoned, sink);
        }
        *self = Self::new(self.limit);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use std::vec;

    use super::*;
    use crate::{ApiKey, ApiVersion, RequestSeq, Times};

    /// What became of which request, and when its bytes were written.
    #[derive(Default)]
    struct Ends(Vec<(i32, Outcome, u64, u64)>);

    impl Sink for Ends {
        fn observe(&mut self, observation: Observation<'_>) {
            if let Observation::Exchange(exchange) = observation {
                let Times { request_written, response_written, .. } = exchange.times;
                self.0.push((exchange.correlation_id.0, exchange.outcome, request_written.0, response_written.0));
            }
        }
    }

    /// Requests of 10 bytes that were read at time 100 x their number.
    fn send(in_flight: &mut InFlight, ends: &mut Ends, numbers: core::ops::Range<i32>, acks: Option<Acks>) {
        for number in numbers {
            let exchange = Exchange {
                seq: RequestSeq(number as u64),
                api: ApiKey::PRODUCE,
                version: ApiVersion(9),
                correlation_id: CorrelationId(number),
                outcome: Outcome::Abandoned,
                request_bytes: 10,
                response_bytes: 0,
                times: Times::default(),
                error: ErrorCode::NONE,
                throttle_ms: None,
                acks,
                fetch: None,
            };
            in_flight.begin(Entry::new(exchange, 10 * (number as u64 + 1)), ends);
            in_flight.end_request(Timestamp(100 * number as u64), 0, false, ends);
        }
    }

    fn answer(in_flight: &mut InFlight, ends: &mut Ends, number: i32, end: u64) -> bool {
        let known = match in_flight.answer(CorrelationId(number), ends) {
            Some(entry) => {
                entry.response_end = end;
                true
            }
            None => false,
        };
        in_flight.end_response(Timestamp(5_000), 0, ends);
        known
    }

    #[test]
    fn an_exchange_is_told_when_its_response_is_written() {
        let (mut in_flight, mut ends) = (InFlight::new(10), Ends::default());
        send(&mut in_flight, &mut ends, 0..3, None);
        in_flight.requests_written(25, Timestamp(7), &mut ends);
        assert_eq!(in_flight.awaited(), 3);
        assert!(answer(&mut in_flight, &mut ends, 0, 50));
        assert!(answer(&mut in_flight, &mut ends, 1, 60));
        in_flight.responses_written(49, Timestamp(8), &mut ends);
        assert_eq!(ends.0, []);
        in_flight.responses_written(59, Timestamp(9), &mut ends);
        in_flight.responses_written(60, Timestamp(10), &mut ends);
        assert_eq!(ends.0, [(0, Outcome::Answered, 7, 9), (1, Outcome::Answered, 7, 10)]);
        assert_eq!(in_flight.awaited(), 1);
    }

    #[test]
    fn a_response_that_overtakes_the_report_of_the_write_takes_the_read_for_it() {
        let (mut in_flight, mut ends) = (InFlight::new(10), Ends::default());
        send(&mut in_flight, &mut ends, 3..5, None);
        assert!(answer(&mut in_flight, &mut ends, 3, 10));
        in_flight.requests_written(1_000, Timestamp(9_999), &mut ends);
        assert!(answer(&mut in_flight, &mut ends, 4, 20));
        in_flight.responses_written(20, Timestamp(10_000), &mut ends);
        assert_eq!(ends.0, [(3, Outcome::Answered, 300, 10_000), (4, Outcome::Answered, 9_999, 10_000)]);
    }

    #[test]
    fn a_later_number_abandons_those_before_and_an_unknown_one_nobody() {
        let (mut in_flight, mut ends) = (InFlight::new(10), Ends::default());
        send(&mut in_flight, &mut ends, 0..4, None);
        assert!(!answer(&mut in_flight, &mut ends, 9, 10));
        assert_eq!(ends.0, []);
        assert!(answer(&mut in_flight, &mut ends, 2, 20));
        in_flight.responses_written(20, Timestamp(1), &mut ends);
        assert!(!answer(&mut in_flight, &mut ends, 1, 30));
        in_flight.close(&mut ends);
        let outcomes: Vec<_> = ends.0.iter().map(|end| (end.0, end.1)).collect();
        assert_eq!(
            outcomes,
            [(0, Outcome::Abandoned), (1, Outcome::Abandoned), (2, Outcome::Answered), (3, Outcome::Abandoned)]
        );
    }

    #[test]
    fn who_answers_at_random_is_not_searched_for_again_and_again() {
        let (mut in_flight, mut ends) = (InFlight::new(8), Ends::default());
        send(&mut in_flight, &mut ends, 0..8, None);
        assert!(!answer(&mut in_flight, &mut ends, 99, 10), "nobody's");
        assert!(!answer(&mut in_flight, &mut ends, 5, 20), "not looked for any more");
        assert!(answer(&mut in_flight, &mut ends, 0, 30));
        assert!(answer(&mut in_flight, &mut ends, 5, 40), "one answer in order earns some looks");
        assert_eq!(in_flight.awaited(), 2);
    }

    #[test]
    fn over_the_limit_the_oldest_that_waits_is_abandoned_also_while_another_is_answered() {
        let (mut in_flight, mut ends) = (InFlight::new(2), Ends::default());
        send(&mut in_flight, &mut ends, 0..3, None);
        assert_eq!(ends.0, [(0, Outcome::Abandoned, 0, 0)]);
        in_flight.requests_written(30, Timestamp(7), &mut ends);
        assert!(in_flight.answer(CorrelationId(1), &mut ends).is_some());
        send(&mut in_flight, &mut ends, 3..5, None);
        assert_eq!(ends.0.last(), Some(&(2, Outcome::Abandoned, 7, 0)));
        in_flight.requests_written(50, Timestamp(8), &mut ends);
        in_flight.end_response(Timestamp(9), 0, &mut ends);
        in_flight.responses_written(0, Timestamp(9), &mut ends);
        assert!(answer(&mut in_flight, &mut ends, 3, 10));
        in_flight.responses_written(10, Timestamp(9), &mut ends);
        assert_eq!(ends.0[2..], [(1, Outcome::Answered, 7, 9), (3, Outcome::Answered, 8, 9)]);
    }

    #[test]
    fn requests_do_not_pile_up_behind_a_response_that_nobody_takes() {
        let (mut in_flight, mut ends) = (InFlight::new(3), Ends::default());
        send(&mut in_flight, &mut ends, 0..1, None);
        assert!(answer(&mut in_flight, &mut ends, 0, 1_000));
        send(&mut in_flight, &mut ends, 1..1_000, None);
        assert!(in_flight.requests.len() <= 8, "{}", in_flight.requests.len());
        assert_eq!(ends.0.iter().filter(|end| end.1 == Outcome::Answered).count(), 1);
        assert_eq!(ends.0.len(), 1_000 - 3);
    }

    #[test]
    fn an_unanswered_request_ends_when_it_is_written_and_never_waits() {
        let (mut in_flight, mut ends) = (InFlight::new(2), Ends::default());
        send(&mut in_flight, &mut ends, 0..1, Some(Acks::All));
        send(&mut in_flight, &mut ends, 1..5, Some(Acks::None));
        assert_eq!(in_flight.awaited(), 1);
        let oldest: Vec<_> = [1, 2].map(|number| (number, Outcome::Unanswered, 100 * number as u64, 0)).into();
        assert_eq!(ends.0, oldest, "over the limit they are not waited for");
        in_flight.requests_written(49, Timestamp(600), &mut ends);
        assert_eq!(ends.0[2..], [(3, Outcome::Unanswered, 600, 0)]);
        in_flight.close(&mut ends);
        assert_eq!(ends.0[3..], vec![(0, Outcome::Abandoned, 600, 0), (4, Outcome::Abandoned, 0, 0)]);
    }

    #[test]
    fn a_burst_leaves_no_memory_behind() {
        let (mut in_flight, mut ends) = (InFlight::new(10_000), Ends::default());
        send(&mut in_flight, &mut ends, 0..1_000, None);
        send(&mut in_flight, &mut ends, 1_000..2_000, Some(Acks::None));
        in_flight.requests_written(u64::MAX, Timestamp(1), &mut ends);
        for number in 0..1_000 {
            assert!(answer(&mut in_flight, &mut ends, number, 1));
        }
        in_flight.responses_written(1, Timestamp(1), &mut ends);
        assert_eq!(ends.0.len(), 2_000);
        assert!(in_flight.requests.capacity() <= KEPT && in_flight.unanswered.capacity() <= KEPT);
    }

    #[test]
    fn the_wait_of_a_fetch() {
        let fetch = |min_bytes, record_bytes| FetchSummary {
            follower: false,
            wait: None,
            min_bytes,
            record_bytes,
            session_id: 0,
            session_epoch: -1,
        };
        assert_eq!(wait(&fetch(1, 0), false), FetchWait::Expired);
        assert_eq!(wait(&fetch(1000, 999), true), FetchWait::Expired);
        assert_eq!(wait(&fetch(1, 1), true), FetchWait::Waited);
        assert_eq!(wait(&fetch(1, 1), false), FetchWait::Served);
        assert_eq!(wait(&fetch(0, 0), true), FetchWait::Served, "it asked for no wait");
        assert_eq!(wait(&fetch(-1, 0), true), FetchWait::Served);
    }

    #[test]
    fn only_a_session_with_an_id_can_be_closed_by_epoch_minus_one() {
        let fetch = |session_id, session_epoch| FetchSummary {
            follower: false,
            wait: None,
            min_bytes: 1,
            record_bytes: 0,
            session_id,
            session_epoch,
        };
        assert!(closes_session(&fetch(7, -1)));
        assert!(!closes_session(&fetch(7, 3)));
        // It opens one.
        assert!(!closes_session(&fetch(0, 0)));
        // It wants none.
        assert!(!closes_session(&fetch(0, -1)));
    }
}
