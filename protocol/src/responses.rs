//! From the broker to the client: frames, to which request each belongs, and the bodies behind that.

use crate::{
    ApiInfo, ApiKey, CorrelationId, Direction, LostSync, LostSyncReason, Observation, Sink, Timestamp, Undecoded,
    UndecodedReason,
    body::{Context, ResponseBody, Scratch},
    connection::Shared,
    foreign,
    in_flight::Entry,
    reader::{Edge, Halt, Reader, Tags},
    sasl::Next,
    stream::{Gap, Phase, Step, Stream},
};

/// The correlation id: what any header has.
const SHORTEST_HEADER: u32 = 4;

/// See the module's first paragraph.
#[derive(Debug)]
pub(crate) struct Responses {
    stream: Stream,
    part: Part,
    tags: Tags,
    body: ResponseBody,
    scratch: Scratch,
    /// When the last byte of the frame before was read.
    previous_last: Option<Timestamp>,
}

/// Which part of a frame comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Header,
    HeaderTags,
    Body,
}

impl Responses {
    pub(crate) const fn new() -> Self {
        Self {
            stream: Stream::new(),
            part: Part::Header,
            tags: Tags::new(),
            body: ResponseBody::Opaque,
            scratch: Scratch::new(),
            previous_last: None,
        }
    }

    /// See [`Connection::on_bytes`](crate::Connection::on_bytes).
    #[inline]
    pub(crate) fn read<S: Sink>(&mut self, shared: &mut Shared, now: Timestamp, bytes: &[u8], sink: &mut S) -> u64 {
        let mut input = bytes;
        self.whole_frames(&mut input, shared, now, bytes.len(), sink);
        if input.is_empty() && self.stream.is_between_frames() {
            self.stream.saw(bytes.len() as u64);
            return 0;
        }
        while !self.stream.pass(&mut input) {
            match self.stream.phase {
                Phase::Length => {
                    if shared.requests_lost && !input.is_empty() && shared.in_flight.is_empty() {
                        // Nobody knows what is answered from here on.
                        self.lose(LostSyncReason::OtherDirection, shared, sink);
                        break;
                    }
                    let Some(length) = self.stream.length(&mut input, bytes.len(), now) else { break };
                    if let Err(reason) = self.begin(length, shared) {
                        self.lose(reason, shared, sink);
                    }
                }
                Phase::Frame => {
                    if self.frame(&mut input, shared, sink) == Step::Starved && input.is_empty() {
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
            Gap::Frame => {
                if self.part == Part::Header && shared.memory.sasl.next_response() == Next::Token {
                    // A token all the same, whatever it said.
                    shared.memory.sasl.server_token(b"?", sink);
                }
                self.undecoded(UndecodedReason::Gap, shared, sink);
            }
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

    /// See [`Connection::rest_of_frame`](crate::Connection::rest_of_frame).
    pub(crate) fn rest_of_frame(&self) -> Option<u64> {
        self.stream.rest_of_frame()
    }

    /// The connection ended.
    pub(crate) fn close(&mut self) {
        self.body = ResponseBody::Opaque;
        self.scratch.clear();
        self.stream.lose();
    }

    #[inline]
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
        self.part = Part::Header;
        // A frame that could not be read may have left some.
        self.tags = Tags::new();
        Ok(())
    }

    /// Reads frames that are at hand as a whole. They need no state between one element and the next, and most are such.
    #[inline(always)]
    fn whole_frames<S: Sink>(
        &mut self,
        input: &mut &[u8],
        shared: &mut Shared,
        now: Timestamp,
        total: usize,
        sink: &mut S,
    ) {
        while self.stream.is_between_frames()
            && !shared.requests_lost
            && shared.memory.sasl.next_response() == Next::Message
            && let Some(frame) = Stream::whole_frame(input, SHORTEST_HEADER, shared.limits.frame)
        {
            let end = self.stream.offset(input, total);
            self.whole_frame(frame, end, shared, now, sink);
        }
    }

    #[inline(never)]
    fn whole_frame<S: Sink>(&mut self, frame: &[u8], end: u64, shared: &mut Shared, now: Timestamp, sink: &mut S) {
        let mut edge = Edge::new(frame.len(), 0);
        let mut reader = Reader::new(frame, &mut edge);
        let bytes = (frame.len() as u64).wrapping_add(4);
        let previous_last = self.previous_last.replace(now);
        // A frame shorter than this was not taken.
        let correlation_id = CorrelationId(reader.i32());
        let Shared { limits, depth, memory, budget, in_flight, .. } = shared;
        let Some(entry) = in_flight.answer(correlation_id, sink) else {
            sink.observe(Observation::Unsolicited { correlation_id, bytes });
            return;
        };
        entry.exchange.times.response_last = now;
        let failure = match begin(entry, bytes, end, now, previous_last) {
            None => None,
            Some(info) => {
                let tagged = info.response_header(entry.exchange.version) == 1;
                let mut context =
                    Context { sink: &mut *sink, memory, budget, entry, scratch: &mut self.scratch, limits };
                match ResponseBody::walk_whole(tagged, &mut reader, *depth, &mut context) {
                    Ok(()) if reader.left() == 0 => {
                        context.entry.decoded();
                        None
                    }
                    Err(Halt::Enough) => None,
                    Err(Halt::TooLarge) => Some(UndecodedReason::TooLarge),
                    _ => Some(UndecodedReason::Malformed),
                }
            }
        };
        if let Some(reason) = failure {
            self.undecoded(reason, shared, sink);
        }
        self.scratch.clear();
        shared.in_flight.response_ended(end, now, self.stream.written(), sink);
    }

    #[inline]
    fn frame<S: Sink>(&mut self, input: &mut &[u8], shared: &mut Shared, sink: &mut S) -> Step {
        if self.part == Part::Header {
            match shared.memory.sasl.next_response() {
                Next::Message => {}
                Next::Token => return self.token(input, shared, sink),
                Next::Either => return self.token_or_message(input, shared),
            }
        }
        let Self { stream, part, tags, body, scratch, previous_last } = self;
        let (first, bytes, end) = (stream.first_byte, stream.frame_bytes, stream.frame_end());
        let step = stream.elements(input, |reader| {
            if *part == Part::Header {
                let correlation_id = CorrelationId(reader.i32());
                reader.commit()?;
                *part = Part::Body;
                let Some(entry) = shared.in_flight.answer(correlation_id, sink) else {
                    sink.observe(Observation::Unsolicited { correlation_id, bytes });
                    return Err(Halt::Enough);
                };
                *body = match begin(entry, bytes, end, first, *previous_last) {
                    Some(info) => {
                        let exchange = &entry.exchange;
                        if info.response_header(exchange.version) == 1 {
                            *part = Part::HeaderTags;
                        }
                        ResponseBody::of(exchange.api, exchange.version, shared.depth)
                    }
                    None => ResponseBody::Opaque,
                };
                if let ResponseBody::Opaque = body {
                    return Err(Halt::Enough);
                }
            }
            if *part == Part::HeaderTags {
                tags.skip(reader)?;
                *part = Part::Body;
            }
            let Shared { limits, memory, budget, in_flight, .. } = &mut *shared;
            let Some(entry) = in_flight.answered() else { return Err(Halt::Enough) };
            reader.set_limit(body.limit(limits));
            let mut context = Context { sink: &mut *sink, memory, budget, entry, scratch, limits };
            body.walk(reader, &mut context)?;
            context.entry.decoded();
            Ok(())
        });
        match step {
            Step::Starved => return Step::Starved,
            Step::Done => {
                if self.stream.end_body() {
                    self.undecoded(UndecodedReason::Malformed, shared, sink);
                }
            }
            Step::Failed(reason) => self.undecoded(reason, shared, sink),
        }
        Step::Done
    }

    /// A bare SASL token.
    #[cold]
    fn token<S: Sink>(&mut self, input: &mut &[u8], shared: &mut Shared, sink: &mut S) -> Step {
        let Shared { limits, memory, .. } = shared;
        let step = self.stream.elements(input, |reader| {
            reader.set_limit(limits.collected);
            reader.collect(|token| {
                memory.sasl.server_token(token.rest(), sink);
                Ok(())
            })
        });
        match step {
            Step::Starved => return step,
            Step::Done => self.stream.skip_rest(),
            // No mechanism says yes at such length.
            Step::Failed(_) => memory.sasl.server_token(b"?", sink),
        }
        Step::Done
    }

    /// A bare token of a mechanism with any number of them, or the response to the first request behind.
    #[cold]
    fn token_or_message(&mut self, input: &mut &[u8], shared: &mut Shared) -> Step {
        let Shared { memory, in_flight, .. } = shared;
        let mut is_message = false;
        let step = self.stream.elements(input, |reader| {
            let correlation_id = CorrelationId(reader.i32());
            is_message = reader.failure().is_none() && in_flight.is_next(correlation_id);
            match reader.failure() {
                Some(Halt::Short) => Err(Halt::Short),
                _ => Ok(()),
            }
        });
        match step {
            Step::Starved => return step,
            Step::Done if is_message => memory.sasl.responses_are_messages(),
            _ => self.stream.skip_rest(),
        }
        Step::Done
    }

    /// The rest of the frame is not looked at, because of `reason`.
    #[cold]
    fn undecoded<S: Sink>(&mut self, reason: UndecodedReason, shared: &mut Shared, sink: &mut S) {
        let (mut api, mut version) = Undecoded::UNKNOWN;
        if let Some(entry) = shared.in_flight.answered() {
            (api, version) = (entry.exchange.api, entry.exchange.version);
            if let Some(fetch) = &mut entry.exchange.fetch {
                fetch.wait = None;
            }
        }
        self.body = ResponseBody::Opaque;
        sink.observe(Observation::Undecoded(Undecoded { direction: Direction::Response, api, version, reason }));
    }

    /// The last byte of a frame was read.
    #[inline]
    fn end<S: Sink>(&mut self, shared: &mut Shared, now: Timestamp, sink: &mut S) {
        self.stream.phase = Phase::Length;
        self.body = ResponseBody::Opaque;
        self.scratch.clear();
        self.previous_last = Some(now);
        shared.in_flight.end_response(now, self.stream.written(), sink);
    }

    #[cold]
    fn lose<S: Sink>(&mut self, reason: LostSyncReason, shared: &mut Shared, sink: &mut S) {
        shared.responses_lost = true;
        sink.observe(Observation::LostSync(LostSync { direction: Direction::Response, reason }));
        self.close();
        shared.in_flight.abandon(sink);
    }
}

/// A response begins. What is known of its API, if its version is known; if not, that was told when the request passed. To
/// an unknown version of ApiVersions there is a known answer.
#[inline(always)]
fn begin(
    entry: &mut Entry,
    bytes: u64,
    end: u64,
    first: Timestamp,
    previous_last: Option<Timestamp>,
) -> Option<&'static ApiInfo> {
    entry.response_end = end;
    let exchange = &mut entry.exchange;
    exchange.response_bytes = bytes;
    exchange.times.response_first = first;
    exchange.times.previous_response_last = previous_last;
    exchange.api.info().filter(|info| info.knows(exchange.version) || info.key == ApiKey::API_VERSIONS)
}
