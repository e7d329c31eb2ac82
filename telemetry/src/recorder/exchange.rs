//! The end of a request: counts, duration and its segments.

use std::sync::Arc;

use kafkascope_protocol::{ErrorCode, Exchange, FetchWait, Outcome, RequestSeq, Times, Timestamp};

use super::{Recorder, acks_index, leave};
use crate::dictionary::Topic;
use crate::exemplar::Exemplar;
use crate::labels::{Api, Labels};
use crate::shard::{Shard, Slot};
use crate::span::{ExchangeSpan, Operation};

/// Errors and waits of an API that a connection remembers.
const DURATIONS: usize = 32;

/// Where durations with an error and a wait are counted.
#[derive(Debug)]
pub(super) struct DurationSlot {
    error: ErrorCode,
    wait: Option<FetchWait>,
    slot: Slot,
}

impl Recorder {
    #[inline(always)]
    pub(super) fn exchange(&mut self, shard: &mut Shard, exchange: &Exchange) {
        if self.former.is_empty() {
            self.exchange_of_client(shard, exchange);
        } else {
            self.exchange_after_a_change(shard, exchange);
        }
    }

    /// The end of a request of the client that this connection is now.
    #[inline(never)]
    pub(super) fn exchange_of_client(&mut self, shard: &mut Shard, exchange: &Exchange) {
        let follower = exchange.fetch.map(|fetch| fetch.follower);
        let api = Api { key: exchange.api, follower };
        self.ends(shard, exchange.seq);
        let slots = self.api_slots(shard, api, exchange.version);
        let Some(request) = self.apis.get(slots).map(|slots| slots.request) else { return };
        let row = shard.requests.row(request);
        // A request that was cut off never reached the broker.
        let whole = exchange.outcome != Outcome::Abandoned || exchange.times.request_last.0 > 0;
        row.requests += u64::from(whole);
        if exchange.outcome == Outcome::Answered {
            row.responses += 1;
            let [upload, proxy, queued, broker, download] = segments(&exchange.times);
            let [uploads, proxies, queues, brokers, downloads] = &mut row.segments;
            uploads.record_nanos(upload);
            proxies.record_nanos(proxy);
            queues.record_nanos(queued);
            brokers.record_nanos(broker);
            downloads.record_nanos(download);
            let slot = self.duration_slot(shard, slots, exchange);
            let (nanos, _) = duration(&exchange.times);
            shard.durations.row(slot).duration.record_nanos(nanos);
        }
        match exchange.api {
            Api::PRODUCE => {
                if whole && exchange.acks.is_some() {
                    self.count_acks(shard, slots, exchange);
                }
                self.produced(shard, exchange);
            }
            Api::FETCH | Api::SHARE_FETCH => self.fetched(shard, exchange, follower.unwrap_or(false)),
            _ => self.other_exchange(shard, exchange),
        }
        self.told(shard, exchange);
        if !self.answers.is_empty() {
            self.tell_answers(shard, exchange);
        }
        if let Some(millis @ 1..) = exchange.throttle_ms {
            self.throttled(shard, api, u64::from(millis.unsigned_abs()));
        }
        if shard.spans.is_on() {
            self.spans_are_made(shard, slots, exchange);
        }
    }

    /// The spans of an exchange are made: one of them stands for its duration.
    #[inline(never)]
    fn spans_are_made(&mut self, shard: &mut Shard, slots: usize, exchange: &Exchange) {
        self.forget_links(exchange.seq);
        let Some(span) = shard.spans.first_pushed() else { return };
        if exchange.outcome == Outcome::Answered {
            let (nanos, at) = duration(&exchange.times);
            let slot = self.duration_slot(shard, slots, exchange);
            let exemplar = &mut shard.durations.row(slot).exemplar;
            *exemplar = Some(Arc::new(Exemplar::new(nanos, at, span)).or(exemplar.take()));
        }
    }

    /// Request `seq` is no longer in flight.
    #[inline]
    fn ends(&mut self, shard: &mut Shard, seq: RequestSeq) {
        if self.begun.as_ref().is_some_and(|begun| begun.seq == seq) {
            self.begun = None;
            return;
        }
        let ended = match self.in_flight.front() {
            Some(first) if first.seq == seq => self.in_flight.pop_front(),
            _ => {
                let index = self.in_flight.partition_point(|request| request.seq < seq);
                self.in_flight
                    .get(index)
                    .is_some_and(|request| request.seq == seq)
                    .then(|| self.in_flight.remove(index))
                    .flatten()
            }
        };
        if let Some(request) = ended {
            leave(shard, request.slot);
        }
        if self.in_flight.capacity() > 256 && self.in_flight.is_empty() {
            self.in_flight.shrink_to(16);
        }
    }

    #[inline]
    fn duration_slot(&mut self, shard: &mut Shard, slots: usize, exchange: &Exchange) -> Slot {
        let (error, wait) = (exchange.error, exchange.fetch.and_then(|fetch| fetch.wait));
        match self.apis.get(slots).and_then(|slots| slots.durations.first()) {
            Some(last) if last.error == error && last.wait == wait => last.slot,
            _ => self.other_duration_slot(shard, slots, error, wait),
        }
    }

    #[inline(never)]
    fn other_duration_slot(
        &mut self,
        shard: &mut Shard,
        slots: usize,
        error: ErrorCode,
        wait: Option<FetchWait>,
    ) -> Slot {
        let labels = self.labels();
        let Some(slots) = self.apis.get_mut(slots) else { return Slot::NONE };
        let durations = &mut slots.durations;
        if let Some(index) = durations.iter().position(|slot| slot.error == error && slot.wait == wait) {
            durations.swap(0, index);
            return durations.first().map_or(Slot::NONE, |first| first.slot);
        }
        if durations.len() >= DURATIONS {
            durations.clear();
        }
        let labels = Labels { api: Some(slots.api), error, wait, ..labels };
        let slot = shard.durations.slot(labels, shard.now());
        durations.insert(0, DurationSlot { error, wait, slot });
        slot
    }

    #[inline]
    fn count_acks(&mut self, shard: &mut Shard, slots: usize, exchange: &Exchange) {
        let slot = match self.apis.get(slots).and_then(|slots| slots.acks.get(acks_index(exchange.acks))) {
            Some(&slot) if !slot.is_none() => slot,
            _ => self.new_acks(shard, slots, exchange),
        };
        shard.acks.row(slot).requests += 1;
    }

    #[cold]
    #[inline(never)]
    fn new_acks(&mut self, shard: &mut Shard, slots: usize, exchange: &Exchange) -> Slot {
        let labels = Labels { acks: exchange.acks, ..self.labels() };
        let new = shard.acks.slot(labels, shard.now());
        if let Some(slot) = self.apis.get_mut(slots).and_then(|slots| slots.acks.get_mut(acks_index(exchange.acks))) {
            *slot = new;
        }
        new
    }

    /// A span of an exchange, as far as it does not depend on the topic.
    pub(super) fn span(
        &self,
        shard: &mut Shard,
        exchange: &Exchange,
        operation: Operation,
        topic: Arc<Topic>,
    ) -> ExchangeSpan {
        let times = &exchange.times;
        let (trace, id) = shard.spans.ids();
        ExchangeSpan {
            trace,
            id,
            operation,
            start: times.request_first,
            end: times.response_written.max(times.request_written).max(times.request_last),
            client: self.client.clone(),
            broker: self.broker.clone(),
            legs: self.legs.clone(),
            topic,
            partition: None,
            version: exchange.version,
            acks: exchange.acks,
            group: None,
            batch: None,
            contexts: None,
            bases: Box::default(),
            links: Vec::new(),
            more_links: 0,
            parent: None,
            error: ErrorCode::NONE,
        }
    }
}

/// How long it took, and when it ended.
#[inline]
const fn duration(times: &Times) -> (u64, Timestamp) {
    (times.response_written.since(times.request_first), times.response_written)
}

/// Upload, proxy, queued, broker and download time in nanoseconds. With cut-through they may overlap; each moment is
/// counted to the first that claims it, so that they always add up to the duration.
#[inline]
fn segments(times: &Times) -> [u64; 5] {
    let start = times.request_first.0;
    let end = times.response_written.0.max(start);
    let mut last = start;
    let mut until = |moment: u64| {
        // Not `clamp`, which asks first whether it can panic.
        let next = moment.max(last).min(end);
        let length = next - last;
        last = next;
        length
    };
    let upload = until(times.request_last.0);
    let forwarded = until(times.request_written.0);
    let queued = until(times.previous_response_last.map_or(0, |previous| previous.0));
    let broker = until(times.response_first.0);
    let download = until(times.response_last.0);
    let returned = until(end);
    [upload, forwarded + returned, queued, broker, download]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn times([t0, t1, t2, previous, t3, t4, t5]: [u64; 7]) -> Times {
        Times {
            request_first: Timestamp(t0),
            request_last: Timestamp(t1),
            request_written: Timestamp(t2),
            previous_response_last: (previous > 0).then_some(Timestamp(previous)),
            response_first: Timestamp(t3),
            response_last: Timestamp(t4),
            response_written: Timestamp(t5),
        }
    }

    #[test]
    fn segments_are_what_lies_between_the_moments() {
        assert_eq!(segments(&times([100, 110, 113, 0, 150, 170, 175])), [10, 3 + 5, 0, 37, 20]);
        assert_eq!(segments(&times([100, 110, 113, 140, 150, 170, 175])), [10, 3 + 5, 27, 10, 20]);
        assert_eq!(segments(&times([100, 110, 113, 90, 150, 170, 175])), [10, 3 + 5, 0, 37, 20]);
    }

    proptest! {
        #[test]
        fn segments_add_up_to_the_duration_even_when_they_overlap(moments in prop::array::uniform7(1..1_000_000_u64)) {
            let mut moments = moments;
            moments[6] = moments[6].max(moments[0]);
            let duration = moments[6] - moments[0];
            prop_assert_eq!(segments(&times(moments)).iter().sum::<u64>(), duration);
        }
    }
}
