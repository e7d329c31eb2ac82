//! From the broker to the client: frames, to which request each belongs, and the bodies behind that.

use crate::{
    CorrelationId, Direction, LostSync, LostSyncReason, Observation, Outcome, Sink, Timestamp, Undecoded,
    UndecodedReason,
    body::{Context, ResponseBody},
    connection::Shared,
    foreign,
    in_flight::{Answer, Request},
    reader::Tags,
    sasl::Next,
    stream::{Gap, Phase, Step, Stream},
};

/// The correlation id: what any header has.
const SHORTEST_HEADER: u32 = 4;

/// See the module's first paragraph.
#[derive(Debug)]
pub(crate) struct Responses {
    stream: Stream,
    /// The request whose response is passing, once that is known.
    request: Option<Request>,
    answer: Answer,
    /// Tagged fields of the header are still to come.
    header_tags: Option<Tags>,
    body: ResponseBody,
    /// When the last byte of the frame before was read.
    previous_last: Option<Timestamp>,
}

impl Responses {
    pub(crate) fn new() -> Self {
        Self {
            stream: Stream::new(),
            request: None,
            answer: Answer::default(),
            header_tags: None,
            body: ResponseBody::Opaque,
            previous_last: None,
        }
    }

    /// See [`Connection::on_bytes`](crate::Connection::on_bytes).
    pub(crate) fn read<S: Sink>(&mut self, shared: &mut Shared, now: Timestamp, bytes: &[u8], sink: &mut S) -> u64 {
        let mut input = bytes;
        while !self.stream.pass(&mut input) {
            match self.stream.phase {
                Phase::Length => {
                    if shared.requests_lost && !input.is_empty() && shared.in_flight.is_empty() {
                        // Nobody knows what is answered from here on; but the first bytes may tell more.
                        let first = input.first_chunk::<4>().filter(|_| self.stream.is_first());
                        let reason = first.and_then(|&first| foreign::broker(first));
                        self.lose(reason.unwrap_or(LostSyncReason::OtherDirection), shared, sink);
                        break;
                    }
                    let Some(length) = self.stream.length(&mut input, bytes.len(), now) else { break };
                    if let Err(reason) = self.begin(length, shared) {
                        self.lose(reason, shared, sink);
                    }
                }
                Phase::Head => {
                    if self.head(&mut input, shared, sink) == Step::Starved && input.is_empty() {
                        break;
                    }
                }
                Phase::Body => {
                    if self.body(&mut input, shared, sink) == Step::Starved && input.is_empty() {
                        break;
                    }
                }
                Phase::End => self.end(shared, now, sink),
                Phase::Lost => break,
            }
        }
        self.stream.saw(bytes.len() as u64);
        self.stream.opaque()
    }

    /// See [`Connection::on_opaque`](crate::Connection::on_opaque).
    pub(crate) fn skip<S: Sink>(&mut self, shared: &mut Shared, now: Timestamp, count: u64, sink: &mut S) -> u64 {
        match self.stream.pass_unseen(count) {
            0 => {
                self.stream.saw(count);
                self.read(shared, now, &[], sink)
            }
            // It was not announced.
            hidden => {
                self.stream.saw(count.saturating_sub(hidden));
                self.gap(shared, now, hidden, sink)
            }
        }
    }

    /// See [`Connection::on_gap`](crate::Connection::on_gap).
    pub(crate) fn gap<S: Sink>(&mut self, shared: &mut Shared, now: Timestamp, count: u64, sink: &mut S) -> u64 {
        match self.stream.gap(count) {
            Gap::Harmless => {}
            Gap::Frame => self.undecoded(UndecodedReason::Gap, sink),
            Gap::Lost => self.lose(LostSyncReason::Gap, shared, sink),
        }
        self.stream.saw(count);
        self.read(shared, now, &[], sink)
    }

    /// See [`Connection::on_written`](crate::Connection::on_written).
    #[inline]
    pub(crate) fn wrote<S: Sink>(&mut self, shared: &mut Shared, now: Timestamp, count: u64, sink: &mut S) {
        let offset = self.stream.wrote(count);
        shared.in_flight.responses_written(offset, now, sink);
    }

    /// The connection ended.
    pub(crate) fn close<S: Sink>(&mut self, sink: &mut S) {
        if let Some(request) = self.request.take() {
            request.end(Outcome::Abandoned, sink);
        }
        self.body = ResponseBody::Opaque;
        self.stream.lose();
    }

    fn begin(&mut self, length: [u8; 4], shared: &Shared) -> Result<(), LostSyncReason> {
        if self.stream.is_first()
            && let Some(reason) = foreign::broker(length)
        {
            return Err(reason);
        }
        let length = u32::try_from(i32::from_be_bytes(length)).ok().ok_or(LostSyncReason::NegativeLength)?;
        if length > shared.limits.frame {
            return Err(LostSyncReason::HugeLength);
        }
        if length < SHORTEST_HEADER && shared.memory.sasl.next_response() == Next::Message {
            return Err(if length == 0 { LostSyncReason::ZeroLength } else { LostSyncReason::ShortFrame });
        }
        self.stream.begin(length);
        Ok(())
    }

    #[inline]
    fn head<S: Sink>(&mut self, input: &mut &[u8], shared: &mut Shared, sink: &mut S) -> Step {
        match shared.memory.sasl.next_response() {
            Next::Message => self.header(input, shared, sink),
            Next::Token => self.token(input, shared, sink),
            Next::Either => self.token_or_header(input, shared),
        }
    }

    #[inline]
    fn header<S: Sink>(&mut self, input: &mut &[u8], shared: &mut Shared, sink: &mut S) -> Step {
        let mut correlation_id = CorrelationId(0);
        let step = self.stream.elements(input, shared.limits.field, |reader| {
            correlation_id = CorrelationId(reader.i32()?);
            reader.commit();
            Ok(())
        });
        if step == Step::Starved {
            return step;
        }
        self.request = shared.in_flight.answering(correlation_id, sink);
        let Some(request) = &self.request else {
            sink.observe(Observation::Unsolicited { correlation_id, bytes: self.stream.frame_bytes });
            self.stream.skip_rest();
            return Step::Done;
        };
        self.answer = Answer {
            bytes: self.stream.frame_bytes,
            end: self.stream.frame_end(),
            first: self.stream.first_byte,
            previous_last: self.previous_last,
            ..Answer::default()
        };
        self.stream.phase = Phase::Body;
        self.body = ResponseBody::Opaque;
        // What is unknown was told when the request passed.
        if let Some(info) = request.api.info()
            && info.knows(request.version)
        {
            self.body = ResponseBody::of(request.api, request.version, shared.depth);
            self.header_tags = (info.response_header(request.version) == 1).then_some(Tags::Count);
        }
        if let ResponseBody::Opaque = self.body {
            self.stream.skip_rest();
        }
        Step::Done
    }

    /// A bare SASL token.
    fn token<S: Sink>(&mut self, input: &mut &[u8], shared: &mut Shared, sink: &mut S) -> Step {
        let sasl = &mut shared.memory.sasl;
        let step = self.stream.elements(input, shared.limits.collected, |reader| {
            let token = reader.bytes(usize::try_from(reader.left()).unwrap_or(usize::MAX))?;
            reader.commit();
            sasl.server_token(token, sink);
            Ok(())
        });
        match step {
            Step::Starved => return step,
            Step::Done => self.stream.skip_rest(),
            // No mechanism says yes at such length.
            Step::Failed(_) => sasl.server_token(b"?", sink),
        }
        Step::Done
    }

    /// A bare token of a mechanism with any number of them, or the response to the first request behind.
    fn token_or_header(&mut self, input: &mut &[u8], shared: &mut Shared) -> Step {
        let in_flight = &shared.in_flight;
        let mut is_message = false;
        if self.stream.frame_left() >= u64::from(SHORTEST_HEADER) && !in_flight.is_empty() {
            let step = self.stream.elements(input, shared.limits.field, |reader| {
                is_message = in_flight.is_next(CorrelationId(reader.i32()?));
                Ok(())
            });
            if step == Step::Starved {
                return step;
            }
        }
        if is_message {
            shared.memory.sasl.responses_are_messages();
        } else {
            self.stream.skip_rest();
        }
        Step::Done
    }

    #[inline]
    fn body<S: Sink>(&mut self, input: &mut &[u8], shared: &mut Shared, sink: &mut S) -> Step {
        let Self { stream, request: Some(request), answer, header_tags, body, .. } = self else {
            self.stream.skip_rest();
            return Step::Done;
        };
        let Shared { limits, memory, budget, .. } = shared;
        let mut context = Context { sink, memory, budget, request, answer };
        let step = stream.elements(input, body.limit(limits), |reader| {
            if let Some(tags) = header_tags {
                tags.skip(reader)?;
                *header_tags = None;
            }
            body.walk(reader, &mut context)
        });
        match step {
            Step::Starved => return step,
            Step::Done => {
                if self.stream.end_body() {
                    self.undecoded(UndecodedReason::Malformed, sink);
                } else {
                    self.answer.decoded = true;
                }
            }
            Step::Failed(reason) => self.undecoded(reason, sink),
        }
        Step::Done
    }

    /// The rest of the frame is not looked at, because of `reason`.
    #[cold]
    fn undecoded<S: Sink>(&mut self, reason: UndecodedReason, sink: &mut S) {
        let (api, version) = match &self.request {
            Some(request) => (request.api, request.version),
            None => Undecoded::UNKNOWN,
        };
        self.body = ResponseBody::Opaque;
        self.answer.decoded = false;
        sink.observe(Observation::Undecoded(Undecoded { direction: Direction::Response, api, version, reason }));
    }

    /// The last byte of a frame was read.
    #[inline]
    fn end<S: Sink>(&mut self, shared: &mut Shared, now: Timestamp, sink: &mut S) {
        self.stream.phase = Phase::Length;
        self.body = ResponseBody::Opaque;
        self.previous_last = Some(now);
        let Some(request) = &self.request else { return };
        self.answer.last = now;
        shared.in_flight.answered(request, &self.answer, sink);
        if self.answer.end <= self.stream.written() {
            shared.in_flight.responses_written(self.stream.written(), now, sink);
        }
        self.request = None;
    }

    #[cold]
    fn lose<S: Sink>(&mut self, reason: LostSyncReason, shared: &mut Shared, sink: &mut S) {
        shared.responses_lost = true;
        sink.observe(Observation::LostSync(LostSync { direction: Direction::Response, reason }));
        self.close(sink);
        shared.in_flight.abandon(sink);
    }
}
