//! From the client to the broker: frames, request headers, and the bodies behind them.

use alloc::boxed::Box;

use crate::{
    ApiKey, ApiVersion, CorrelationId, Direction, ErrorCode, Exchange, LostSync, LostSyncReason, Observation, Outcome,
    RequestHead, RequestSeq, Sink, Times, Timestamp, Undecoded, UndecodedReason,
    body::{Context, RequestBody, Scratch},
    connection::Shared,
    foreign,
    in_flight::{Entry, InFlight},
    reader::{Edge, Halt, Read, Reader, Tags},
    sasl::Next,
    stream::{Gap, Phase, Step, Stream},
    topics::equal,
};

/// API key, version and correlation id: what any header has.
const SHORTEST_HEADER: u32 = 8;

/// See the module's first paragraph.
#[derive(Debug)]
pub(crate) struct Requests {
    stream: Stream,
    next_seq: u64,
    /// The client id that was told last; the outer `None`: none was.
    client: Option<Option<Box<[u8]>>>,
    part: Part,
    tags: Tags,
    body: RequestBody,
    scratch: Scratch,
}

/// Which part of a frame comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Header,
    HeaderTags,
    Body,
}

impl Requests {
    pub(crate) const fn new() -> Self {
        Self {
            stream: Stream::new(),
            next_seq: 0,
            client: None,
            part: Part::Header,
            tags: Tags::new(),
            body: RequestBody::Opaque,
            scratch: Scratch::new(),
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
                if self.part == Part::Header && shared.memory.sasl.next_request() == Next::Token {
                    // A token all the same, whatever it said.
                    shared.memory.sasl.client_token(&[]);
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
        shared.in_flight.requests_written(offset, now, sink);
    }

    /// See [`Connection::rest_of_frame`](crate::Connection::rest_of_frame).
    pub(crate) fn rest_of_frame(&self) -> Option<u64> {
        self.stream.rest_of_frame()
    }

    /// The connection ended.
    pub(crate) fn close<S: Sink>(&mut self, shared: &mut Shared, sink: &mut S) {
        shared.in_flight.abandon_request(sink);
        self.body = RequestBody::Opaque;
        self.scratch.clear();
        self.stream.lose();
    }

    #[inline]
    fn begin(&mut self, length: [u8; 4], shared: &Shared) -> Result<(), LostSyncReason> {
        if self.stream.is_first()
            && let Some(reason) = foreign::client(length)
        {
            return Err(reason);
        }
        let length = u32::try_from(i32::from_be_bytes(length)).ok().ok_or(LostSyncReason::NegativeLength)?;
        if length > shared.limits.frame {
            return Err(LostSyncReason::HugeLength);
        }
        if length < SHORTEST_HEADER && shared.memory.sasl.next_request() == Next::Message {
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
            && shared.memory.sasl.next_request() == Next::Message
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
        let Ok(header) = Header::read(&mut reader, &mut self.client, sink) else {
            self.lose(LostSyncReason::ShortFrame, shared, sink);
            return;
        };
        let bytes = (frame.len() as u64).wrapping_add(4);
        let Shared { limits, depth, memory, budget, in_flight, .. } = shared;
        let entry = header.begin(&mut self.next_seq, bytes, end, now, in_flight, sink);
        entry.exchange.times.request_last = now;
        let mut acks = None;
        let failure = match header.unknown {
            Some(reason) => Some(reason),
            None => {
                let mut context =
                    Context { sink: &mut *sink, memory, budget, entry, scratch: &mut self.scratch, limits };
                let read = RequestBody::walk_whole(header.tagged, &mut reader, *depth, &mut context);
                acks = context.entry.exchange.acks;
                match read {
                    Ok(()) if reader.left() == 0 => None,
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
        let written = self.stream.written();
        shared.in_flight.request_ended(end, acks, now, written, shared.responses_lost, sink);
    }

    #[inline]
    fn frame<S: Sink>(&mut self, input: &mut &[u8], shared: &mut Shared, sink: &mut S) -> Step {
        if self.part == Part::Header {
            match shared.memory.sasl.next_request() {
                Next::Message => {}
                Next::Token => return self.token(input, shared),
                Next::Either => return self.token_or_message(input, shared),
            }
        }
        let Self { stream, next_seq, client, part, tags, body, scratch } = self;
        let (first, bytes, end) = (stream.first_byte, stream.frame_bytes, stream.frame_end());
        let mut unknown = None;
        let step = stream.elements(input, |reader| {
            if *part == Part::Header {
                // A client id is at most 32 KiB by its own length field: no other limit is needed.
                let header = Header::read(reader, client, sink)?;
                header.begin(next_seq, bytes, end, first, &mut shared.in_flight, sink);
                *part = if header.tagged { Part::HeaderTags } else { Part::Body };
                unknown = header.unknown;
                *body = match unknown {
                    None => RequestBody::of(header.api, header.version, shared.depth),
                    Some(_) => RequestBody::Opaque,
                };
                if let RequestBody::Opaque = body {
                    return Err(Halt::Enough);
                }
            }
            if *part == Part::HeaderTags {
                tags.skip(reader)?;
                *part = Part::Body;
            }
            let Shared { limits, memory, budget, in_flight, .. } = &mut *shared;
            let Some(entry) = in_flight.read() else { return Err(Halt::Enough) };
            reader.set_limit(body.limit(limits));
            let mut context = Context { sink: &mut *sink, memory, budget, entry, scratch, limits };
            body.walk(reader, &mut context)
        });
        match step {
            Step::Starved => return Step::Starved,
            Step::Done => {
                if let Some(reason) = unknown {
                    self.undecoded(reason, shared, sink);
                } else if self.stream.end_body() {
                    self.undecoded(UndecodedReason::Malformed, shared, sink);
                }
            }
            Step::Failed(_) if self.part == Part::Header => self.lose(LostSyncReason::ShortFrame, shared, sink),
            Step::Failed(reason) => self.undecoded(reason, shared, sink),
        }
        Step::Done
    }

    /// A bare SASL token.
    #[cold]
    fn token(&mut self, input: &mut &[u8], shared: &mut Shared) -> Step {
        let Shared { limits, memory, .. } = shared;
        let step = self.stream.elements(input, |reader| {
            reader.set_limit(limits.collected);
            reader.collect(|token| {
                memory.sasl.client_token(token.rest());
                Ok(())
            })
        });
        match step {
            Step::Starved => return step,
            Step::Done => self.stream.skip_rest(),
            Step::Failed(_) => memory.sasl.client_token(&[]),
        }
        Step::Done
    }

    /// A bare token of a mechanism with any number of them, or the first message behind.
    #[cold]
    fn token_or_message(&mut self, input: &mut &[u8], shared: &mut Shared) -> Step {
        let mut is_message = false;
        let step = self.stream.elements(input, |reader| {
            is_message = Header::is_plausible(reader)?;
            Ok(())
        });
        match step {
            Step::Starved => return step,
            Step::Done if is_message => shared.memory.sasl.requests_are_messages(),
            _ => self.stream.skip_rest(),
        }
        Step::Done
    }

    /// The rest of the frame is not looked at, because of `reason`.
    #[cold]
    fn undecoded<S: Sink>(&mut self, reason: UndecodedReason, shared: &mut Shared, sink: &mut S) {
        let (mut api, mut version) = Undecoded::UNKNOWN;
        if let Some(entry) = shared.in_flight.read() {
            (api, version) = (entry.exchange.api, entry.exchange.version);
            if let Some(fetch) = entry.exchange.fetch.take() {
                shared.memory.positions.end(fetch.session_epoch, false);
            }
        }
        self.body = RequestBody::Opaque;
        sink.observe(Observation::Undecoded(Undecoded { direction: Direction::Request, api, version, reason }));
    }

    /// The last byte of a frame was read.
    #[inline]
    fn end<S: Sink>(&mut self, shared: &mut Shared, now: Timestamp, sink: &mut S) {
        self.stream.phase = Phase::Length;
        self.body = RequestBody::Opaque;
        self.scratch.clear();
        shared.in_flight.end_request(now, self.stream.written(), shared.responses_lost, sink);
    }

    #[cold]
    fn lose<S: Sink>(&mut self, reason: LostSyncReason, shared: &mut Shared, sink: &mut S) {
        shared.requests_lost = true;
        sink.observe(Observation::LostSync(LostSync { direction: Direction::Request, reason }));
        self.close(shared, sink);
    }
}

/// What is needed of a request's header.
struct Header {
    api: ApiKey,
    version: ApiVersion,
    correlation_id: CorrelationId,
    /// Tagged fields follow.
    tagged: bool,
    unknown: Option<UndecodedReason>,
}

impl Header {
    /// Reads a header up to its tagged fields and tells the client id if it is new.
    #[inline(always)]
    fn read<S: Sink>(reader: &mut Reader<'_, '_>, client: &mut Option<Option<Box<[u8]>>>, sink: &mut S) -> Read<Self> {
        let [k0, k1, v0, v1, c0, c1, c2, c3] = reader.fixed();
        let api = ApiKey(i16::from_be_bytes([k0, k1]));
        let version = ApiVersion(i16::from_be_bytes([v0, v1]));
        let correlation_id = CorrelationId(i32::from_be_bytes([c0, c1, c2, c3]));
        let (client_id, tagged, unknown) = match api.info() {
            Some(info) if info.knows(version) => match info.request_header(version) {
                0 => (None, false, None),
                header => (Some(reader.nullable_string(false)), header == 2, None),
            },
            None => (None, false, Some(UndecodedReason::UnknownApi)),
            Some(_) => {
                // The client id has always stood here, and a broker relies on that for ApiVersions.
                let client_id = reader.nullable_string(false);
                let client_id = match reader.failure() {
                    None | Some(Halt::Short) => Some(client_id),
                    Some(_) => {
                        reader.forgive();
                        None
                    }
                };
                // A client begins with its newest version of ApiVersions; the broker's answer says which one to use.
                let unknown = (api != ApiKey::API_VERSIONS).then_some(UndecodedReason::UnknownVersion);
                (client_id, false, unknown)
            }
        };
        reader.commit()?;
        if let Some(client_id) = client_id {
            match (client.as_ref().map(Option::as_deref), client_id) {
                (Some(Some(known)), Some(client_id)) if equal(known, client_id) => {}
                (Some(None), None) => {}
                _ => {
                    *client = Some(client_id.map(Box::from));
                    sink.observe(Observation::Client(client_id));
                }
            }
        }
        Ok(Self { api, version, correlation_id, tagged, unknown })
    }

    /// A request begins.
    #[inline(always)]
    fn begin<'f, S: Sink>(
        &self,
        next_seq: &mut u64,
        request_bytes: u64,
        end: u64,
        request_first: Timestamp,
        in_flight: &'f mut InFlight,
        sink: &mut S,
    ) -> &'f mut Entry {
        let seq = RequestSeq(*next_seq);
        *next_seq = next_seq.wrapping_add(1);
        let exchange = Exchange {
            seq,
            api: self.api,
            version: self.version,
            correlation_id: self.correlation_id,
            outcome: Outcome::Abandoned,
            request_bytes,
            response_bytes: 0,
            times: Times { request_first, ..Times::default() },
            error: ErrorCode::NONE,
            throttle_ms: None,
            acks: None,
            fetch: None,
        };
        let entry = in_flight.begin(Entry::new(exchange, end), sink);
        sink.observe(Observation::RequestHead(RequestHead {
            seq,
            api: self.api,
            version: self.version,
            correlation_id: self.correlation_id,
            frame_bytes: request_bytes,
            first_byte: request_first,
        }));
        entry
    }

    /// Whether the frame looks like a known request rather than like a token.
    fn is_plausible(reader: &mut Reader<'_, '_>) -> Read<bool> {
        if reader.left() < u64::from(SHORTEST_HEADER) {
            return Ok(false);
        }
        let api = ApiKey(reader.i16());
        let version = ApiVersion(reader.i16());
        reader.i32();
        let known = api.info().is_some_and(|info| info.knows(version));
        if known {
            reader.nullable_string(false);
        }
        match reader.failure() {
            Some(Halt::Short) => Err(Halt::Short),
            failure => Ok(known && failure.is_none()),
        }
    }
}
