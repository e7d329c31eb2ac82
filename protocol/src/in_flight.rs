//! Requests from their header to their end. A request is kept as the exchange that it will become, which is filled in as its
//! facts pass, and told when the last byte of its response was written on.
//!
//! A broker answers in the order of the requests, so the correlation id of a response is that of the oldest request. If it is
//! a later one's, the ones before will never be answered; if it is nobody's, the response is not counted as one. A request
//! that never gets a response (Produce with acks=0) does not wait for one.

use alloc::collections::VecDeque;

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
}

impl InFlight {
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            requests: VecDeque::new(),
            over: 0,
            answering: false,
            reading: false,
            written: 0,
            unanswered: VecDeque::new(),
            limit,
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
    pub(crate) fn begin<S: Sink>(&mut self, entry: Entry, sink: &mut S) {
        if self.awaited() >= self.limit {
            self.abandon_oldest(sink);
        }
        self.requests.push_back(entry);
        self.reading = true;
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
        if !self.reading {
            return;
        }
        self.reading = false;
        let Some(entry) = self.requests.back_mut() else { return };
        entry.exchange.times.request_last = now;
        let (end, acks) = (entry.request_end, entry.exchange.acks);
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
        if !self.answering {
            return;
        }
        self.answering = false;
        let Some(entry) = self.requests.get_mut(self.over) else { return };
        entry.exchange.times.response_last = now;
        let end = entry.response_end;
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
        if self.requests.len() == 1 {
            // So that the ring begins at its start again and stays in one cache line's neighbourhood.
            self.requests.clear();
        } else {
            self.requests.pop_front();
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
        let waiting = self.requests.range(first..end);
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
        while self.over > 0 && self.requests.front().is_some_and(|entry| entry.told) {
            self.forget_first();
        }
    }

    /// The connection ended: nothing more is written.
    pub(crate) fn close<S: Sink>(&mut self, sink: &mut S) {
        let unanswered = core::mem::take(&mut self.unanswered);
        let requests = core::mem::take(&mut self.requests);
        for mut entry in requests.into_iter().filter(|entry| !entry.told).chain(unanswered) {
            entry.tell(Outcome::Abandoned, sink);
        }
        *self = Self::new(self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
