//! Requests on their way to their end: those that wait for a response, and those that have ended but whose last byte was not
//! written on yet.
//!
//! A broker answers in the order of the requests, so the correlation id of a response is that of the oldest request. If it is
//! a later one's, the ones before will never be answered; if it is nobody's, the response is not counted as one. A request
//! that never gets a response (Produce with acks=0) never waits here.

use alloc::collections::VecDeque;

use crate::{
    Acks, ApiKey, ApiVersion, CorrelationId, ErrorCode, Exchange, FetchSummary, FetchWait, Observation, Outcome,
    RequestSeq, Sink, Times, Timestamp,
};

/// What is kept of a request until its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) seq: RequestSeq,
    pub(crate) api: ApiKey,
    pub(crate) version: ApiVersion,
    pub(crate) correlation_id: CorrelationId,
    /// Frame size with its length field.
    pub(crate) bytes: u64,
    /// Where its frame ends, in bytes of its direction.
    pub(crate) end: u64,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    /// When its last byte was written on; 0 until then.
    pub(crate) written: Timestamp,
    pub(crate) acks: Option<Acks>,
    /// What a Fetch asked for, if its body was read.
    pub(crate) fetch: Option<FetchAsk>,
}

/// What is kept of a Fetch request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchAsk {
    pub(crate) follower: bool,
    pub(crate) read_committed: bool,
    /// Every partition had been read up to what was known of its end.
    pub(crate) caught_up: bool,
    pub(crate) min_bytes: i32,
    pub(crate) session_id: i32,
    pub(crate) session_epoch: i32,
    /// Under which [`Positions`](crate::positions::Positions) remembers what was asked.
    pub(crate) generation: u32,
}

/// What is kept of a response.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Answer {
    pub(crate) error: ErrorCode,
    pub(crate) throttle_ms: Option<i32>,
    /// Record batches of a Fetch, in bytes.
    pub(crate) record_bytes: u64,
    /// Fetch session that it names.
    pub(crate) session_id: i32,
    /// Its body was read to the end.
    pub(crate) decoded: bool,
    pub(crate) bytes: u64,
    /// Where its frame ends, in bytes of its direction.
    pub(crate) end: u64,
    pub(crate) previous_last: Option<Timestamp>,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
}

impl Answer {
    /// Keeps the first error.
    #[inline]
    pub(crate) const fn failed(&mut self, error: ErrorCode) {
        if self.error.is_none() {
            self.error = error;
        }
    }
}

impl Request {
    /// It ended without a response.
    pub(crate) fn end<S: Sink>(&self, outcome: Outcome, sink: &mut S) {
        sink.observe(Observation::Exchange(&self.exchange(outcome, &Answer::default(), Timestamp::default())));
    }

    #[inline]
    fn exchange(&self, outcome: Outcome, answer: &Answer, response_written: Timestamp) -> Exchange {
        let request_written = match outcome {
            // A response may be read before the write of its request is reported.
            Outcome::Answered | Outcome::Unanswered => self.written.max(self.last),
            Outcome::Abandoned => self.written,
        };
        Exchange {
            seq: self.seq,
            api: self.api,
            version: self.version,
            correlation_id: self.correlation_id,
            outcome,
            request_bytes: self.bytes,
            response_bytes: answer.bytes,
            times: Times {
                request_first: self.first,
                request_last: self.last,
                request_written,
                previous_response_last: answer.previous_last,
                response_first: answer.first,
                response_last: answer.last,
                response_written,
            },
            error: answer.error,
            throttle_ms: answer.throttle_ms,
            acks: self.acks,
            fetch: self.fetch.as_ref().map(|ask| ask.summary(answer)),
        }
    }
}

impl FetchAsk {
    fn summary(&self, answer: &Answer) -> FetchSummary {
        FetchSummary {
            follower: self.follower,
            wait: (answer.decoded && answer.error.is_none()).then(|| self.wait(answer.record_bytes)),
            min_bytes: self.min_bytes,
            record_bytes: answer.record_bytes,
            session_id: if answer.session_id == 0 { self.session_id } else { answer.session_id },
            session_epoch: self.session_epoch,
        }
    }

    fn wait(&self, record_bytes: u64) -> FetchWait {
        match u64::try_from(self.min_bytes) {
            Ok(min_bytes) if record_bytes < min_bytes => FetchWait::Expired,
            Ok(1..) if self.caught_up => FetchWait::Waited,
            _ => FetchWait::Served,
        }
    }
}

/// See the module's first paragraph.
#[derive(Debug)]
pub(crate) struct InFlight {
    /// Requests without a response, oldest first.
    waiting: VecDeque<Request>,
    /// How many of them were written on.
    waiting_written: usize,
    /// Requests that never get one, until they are written on.
    unanswered: VecDeque<Request>,
    /// Responses, until they are written on.
    answered: VecDeque<(Request, Answer)>,
    limit: usize,
}

impl InFlight {
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            waiting_written: 0,
            unanswered: VecDeque::new(),
            answered: VecDeque::new(),
            limit,
        }
    }

    /// Whether no request waits for a response.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether the oldest request that waits has this number.
    pub(crate) fn is_next(&self, correlation_id: CorrelationId) -> bool {
        self.waiting.front().is_some_and(|request| request.correlation_id == correlation_id)
    }

    /// The last byte of a request was read; it will be answered.
    #[inline]
    pub(crate) fn sent<S: Sink>(&mut self, request: &Request, sink: &mut S) {
        if self.waiting.len() >= self.limit {
            self.abandon_oldest(sink);
        }
        self.waiting.push_back(*request);
    }

    /// The last byte of a request was read; it will not be answered.
    pub(crate) fn sent_unanswered<S: Sink>(&mut self, request: &Request, sink: &mut S) {
        if self.unanswered.len() >= self.limit
            && let Some(oldest) = self.unanswered.pop_front()
        {
            oldest.end(Outcome::Unanswered, sink);
        }
        self.unanswered.push_back(*request);
    }

    /// The request that a response with this number answers.
    #[inline]
    pub(crate) fn answering<S: Sink>(&mut self, correlation_id: CorrelationId, sink: &mut S) -> Option<Request> {
        if !self.is_next(correlation_id) {
            let before = self.waiting.iter().position(|request| request.correlation_id == correlation_id)?;
            for _ in 0..before {
                self.abandon_oldest(sink);
            }
        }
        let request = self.waiting.pop_front();
        self.waiting_written = self.waiting_written.saturating_sub(1);
        request
    }

    /// The last byte of a response was read.
    #[inline]
    pub(crate) fn answered<S: Sink>(&mut self, request: &Request, answer: &Answer, sink: &mut S) {
        if self.answered.len() >= self.limit
            && let Some((request, answer)) = self.answered.pop_front()
        {
            sink.observe(Observation::Exchange(&request.exchange(Outcome::Answered, &answer, answer.last)));
        }
        self.answered.push_back((*request, *answer));
    }

    /// The requests' direction was written on up to `offset`.
    #[inline]
    pub(crate) fn requests_written<S: Sink>(&mut self, offset: u64, now: Timestamp, sink: &mut S) {
        while let Some(request) = self.waiting.get_mut(self.waiting_written)
            && request.end <= offset
        {
            request.written = now;
            self.waiting_written = self.waiting_written.saturating_add(1);
        }
        while let Some(request) = self.unanswered.front_mut()
            && request.end <= offset
        {
            request.written = now;
            request.end(Outcome::Unanswered, sink);
            self.unanswered.pop_front();
        }
    }

    /// The responses' direction was written on up to `offset`.
    #[inline]
    pub(crate) fn responses_written<S: Sink>(&mut self, offset: u64, now: Timestamp, sink: &mut S) {
        while let Some((request, answer)) = self.answered.front()
            && answer.end <= offset
        {
            sink.observe(Observation::Exchange(&request.exchange(Outcome::Answered, answer, now)));
            self.answered.pop_front();
        }
    }

    fn abandon_oldest<S: Sink>(&mut self, sink: &mut S) {
        if let Some(request) = self.waiting.pop_front() {
            self.waiting_written = self.waiting_written.saturating_sub(1);
            request.end(Outcome::Abandoned, sink);
        }
    }

    /// No request that waits will be answered any more.
    pub(crate) fn abandon<S: Sink>(&mut self, sink: &mut S) {
        while !self.waiting.is_empty() {
            self.abandon_oldest(sink);
        }
    }

    /// The connection ended: nothing more is written.
    pub(crate) fn close<S: Sink>(&mut self, sink: &mut S) {
        while let Some((request, answer)) = self.answered.pop_front() {
            sink.observe(Observation::Exchange(&request.exchange(Outcome::Abandoned, &answer, Timestamp::default())));
        }
        while let Some(request) = self.unanswered.pop_front() {
            request.end(Outcome::Abandoned, sink);
        }
        self.abandon(sink);
    }
}
