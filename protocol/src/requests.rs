//! From the client to the broker: frames, request headers, and the bodies behind them.

use alloc::boxed::Box;

use crate::{
    Acks, ApiKey, ApiVersion, CorrelationId, Direction, LostSync, LostSyncReason, Observation, Outcome, RequestHead,
    RequestSeq, Sink, Timestamp, Undecoded, UndecodedReason,
    body::{Context, RequestBody},
    connection::Shared,
    foreign,
    in_flight::{Answer, Request},
    reader::{Halt, Read, Reader, Tags},
    sasl::Next,
    stream::{Gap, Phase, Step, Stream},
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
    /// The request whose frame is passing, once its header is known.
    request: Option<Request>,
    /// Tagged fields of its header are still to come.
    header_tags: Option<Tags>,
    body: RequestBody,
}

impl Requests {
    pub(crate) const fn new() -> Self {
        Self {
            stream: Stream::new(),
            next_seq: 0,
            client: None,
            request: None,
            header_tags: None,
            body: RequestBody::Opaque,
        }
    }

    /// See [`Connection::on_bytes`](crate::Connection::on_bytes).
    pub(crate) fn read<S: Sink>(&mut self, shared: &mut Shared, now: Timestamp, bytes: &[u8], sink: &mut S) -> u64 {
        let mut input = bytes;
        while !self.stream.pass(&mut input) {
            match self.stream.phase {
                Phase::Length => {
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
            Gap::Frame => self.undecoded(UndecodedReason::Gap, shared, sink),
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

    /// The connection ended.
    pub(crate) fn close<S: Sink>(&mut self, sink: &mut S) {
        if let Some(request) = self.request.take() {
            request.end(Outcome::Abandoned, sink);
        }
        self.body = RequestBody::Opaque;
        self.stream.lose();
    }

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
        Ok(())
    }

    #[inline]
    fn head<S: Sink>(&mut self, input: &mut &[u8], shared: &mut Shared, sink: &mut S) -> Step {
        match shared.memory.sasl.next_request() {
            Next::Message => self.header(input, shared, sink),
            Next::Token => self.token(input, shared),
            Next::Either => self.token_or_header(input, shared),
        }
    }

    #[inline]
    fn header<S: Sink>(&mut self, input: &mut &[u8], shared: &mut Shared, sink: &mut S) -> Step {
        let Self { stream, client, .. } = self;
        let (first, bytes, end) = (stream.first_byte, stream.frame_bytes, stream.frame_end());
        let mut header = None;
        // A client id is at most 32 KiB by its own length field.
        let step = stream.elements(input, usize::MAX, |reader| {
            header = Some(Header::read(reader, client, sink)?);
            Ok(())
        });
        match (step, header) {
            (Step::Done, Some(Header { api, version, correlation_id, unknown })) => {
                let seq = RequestSeq(self.next_seq);
                self.next_seq = self.next_seq.saturating_add(1);
                sink.observe(Observation::RequestHead(RequestHead {
                    seq,
                    api,
                    version,
                    correlation_id,
                    frame_bytes: bytes,
                    first_byte: first,
                }));
                self.request = Some(Request {
                    seq,
                    api,
                    version,
                    correlation_id,
                    bytes,
                    end,
                    first,
                    last: Timestamp::default(),
                    written: Timestamp::default(),
                    acks: None,
                    fetch: None,
                });
                self.stream.phase = Phase::Body;
                match (unknown, api.info()) {
                    (None, Some(info)) => {
                        self.body = RequestBody::of(api, version, shared.depth);
                        self.header_tags = (info.request_header(version) == 2).then_some(Tags::Count);
                        if let RequestBody::Opaque = self.body {
                            self.stream.skip_rest();
                        }
                    }
                    (reason, _) => {
                        self.stream.skip_rest();
                        self.undecoded(reason.unwrap_or(UndecodedReason::UnknownApi), shared, sink);
                    }
                }
                Step::Done
            }
            (Step::Starved, _) => Step::Starved,
            _ => {
                self.lose(LostSyncReason::ShortFrame, shared, sink);
                Step::Done
            }
        }
    }

    /// A bare SASL token.
    fn token(&mut self, input: &mut &[u8], shared: &mut Shared) -> Step {
        let sasl = &mut shared.memory.sasl;
        let step = self.stream.elements(input, shared.limits.collected, |reader| {
            let token = reader.bytes(usize::try_from(reader.left()).unwrap_or(usize::MAX))?;
            reader.commit();
            sasl.client_token(token);
            Ok(())
        });
        match step {
            Step::Starved => return step,
            Step::Done => self.stream.skip_rest(),
            Step::Failed(_) => sasl.client_token(&[]),
        }
        Step::Done
    }

    /// A bare token of a mechanism with any number of them, or the first message behind.
    fn token_or_header(&mut self, input: &mut &[u8], shared: &mut Shared) -> Step {
        let mut is_message = false;
        let step = self.stream.elements(input, usize::MAX, |reader| {
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

    #[inline]
    fn body<S: Sink>(&mut self, input: &mut &[u8], shared: &mut Shared, sink: &mut S) -> Step {
        let Self { stream, request: Some(request), header_tags, body, .. } = self else {
            self.stream.skip_rest();
            return Step::Done;
        };
        let Shared { limits, memory, budget, .. } = shared;
        let mut context = Context { sink, memory, budget, request, answer: &mut Answer::default() };
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
                    self.undecoded(UndecodedReason::Malformed, shared, sink);
                }
            }
            Step::Failed(reason) => self.undecoded(reason, shared, sink),
        }
        Step::Done
    }

    /// The rest of the frame is not looked at, because of `reason`.
    #[cold]
    fn undecoded<S: Sink>(&mut self, reason: UndecodedReason, shared: &mut Shared, sink: &mut S) {
        let (mut api, mut version) = Undecoded::UNKNOWN;
        if let Some(request) = &mut self.request {
            (api, version) = (request.api, request.version);
            if let Some(ask) = request.fetch.take() {
                shared.memory.positions.end(ask.session_epoch, false);
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
        let Some(request) = &mut self.request else { return };
        request.last = now;
        if request.acks == Some(Acks::None) {
            shared.in_flight.sent_unanswered(request, sink);
        } else if shared.responses_lost {
            request.end(Outcome::Abandoned, sink);
        } else {
            shared.in_flight.sent(request, sink);
        }
        if request.end <= self.stream.written() {
            shared.in_flight.requests_written(self.stream.written(), now, sink);
        }
        self.request = None;
    }

    #[cold]
    fn lose<S: Sink>(&mut self, reason: LostSyncReason, shared: &mut Shared, sink: &mut S) {
        shared.requests_lost = true;
        sink.observe(Observation::LostSync(LostSync { direction: Direction::Request, reason }));
        self.close(sink);
    }
}

/// What is needed of a request's header.
struct Header {
    api: ApiKey,
    version: ApiVersion,
    correlation_id: CorrelationId,
    unknown: Option<UndecodedReason>,
}

impl Header {
    /// Reads a header up to its tagged fields and tells the client id if it is new.
    #[inline]
    fn read<S: Sink>(reader: &mut Reader<'_>, client: &mut Option<Option<Box<[u8]>>>, sink: &mut S) -> Read<Self> {
        let api = ApiKey(reader.i16()?);
        let version = ApiVersion(reader.i16()?);
        let correlation_id = CorrelationId(reader.i32()?);
        let (client_id, unknown) = match api.info() {
            None => (None, Some(UndecodedReason::UnknownApi)),
            Some(info) if !info.knows(version) => {
                // The client id has always stood here, and a broker relies on that for ApiVersions.
                let client_id = match reader.nullable_string(false) {
                    Ok(client_id) => Some(client_id),
                    Err(Halt::Short(missing)) => return Err(Halt::Short(missing)),
                    Err(_) => None,
                };
                (client_id, Some(UndecodedReason::UnknownVersion))
            }
            Some(info) if info.request_header(version) == 0 => (None, None),
            Some(_) => (Some(reader.nullable_string(false)?), None),
        };
        reader.commit();
        if let Some(client_id) = client_id
            && client.as_ref().map(Option::as_deref) != Some(client_id)
        {
            *client = Some(client_id.map(Box::from));
            sink.observe(Observation::Client(client_id));
        }
        Ok(Self { api, version, correlation_id, unknown })
    }

    /// Whether the frame looks like a known request rather than like a token.
    fn is_plausible(reader: &mut Reader<'_>) -> Read<bool> {
        if reader.left() < u64::from(SHORTEST_HEADER) {
            return Ok(false);
        }
        let api = ApiKey(reader.i16()?);
        let version = ApiVersion(reader.i16()?);
        reader.i32()?;
        if !api.info().is_some_and(|info| info.knows(version)) {
            return Ok(false);
        }
        match reader.nullable_string(false) {
            Ok(_) => Ok(true),
            Err(Halt::Short(missing)) => Err(Halt::Short(missing)),
            Err(_) => Ok(false),
        }
    }
}
