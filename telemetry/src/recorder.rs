//! What one connection's observations add to the counters of its worker.
//!
//! A recorder keeps the places of the rows that its connection records into. They are looked up when something is seen
//! for the first time; afterwards an observation is an addition to an integer.
//!
//! Rules that are not in the metric table:
//!
//! * A request is counted when it ends, whatever its end, unless it never came whole. At rest that is what a broker counts
//!   (`RequestsPerSec`; it counts a request whose connection is gone, too) and what a Java client counts (`request-total`).
//! * Batches are counted as sent, accepted or not: so does a producer (`batch-size-avg`). Record bytes and produced
//!   messages are counted as accepted, when the broker's answer is seen: so does the broker (`BytesInPerSec`).
//! * A batch's compression ratio is counted as sent, accepted or not, retried or not: so does a producer
//!   (`compression-rate-avg`). Batches of Fetch and those of before magic 2 have none.
//! * Fetched bytes and messages are counted at the end of the exchange, for consumers only.

mod commit;
mod compression;
mod exchange;
mod fetch;
mod group;
mod health;
mod in_order;
mod links;
mod produce;
mod seldom;
mod standing;
mod tcp;
mod watch;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use kafkascope_protocol::{
    Acks, ApiKey, ApiVersion, BatchHead, BatchPlan, Depth, Direction, Observation, RequestHead, RequestSeq, Sink,
    Timestamp, TopicIndex, TopicRef,
};

use crate::dictionary::{Broker, Client, ClientName, Principal, Topic};
use crate::labels::{Api, Labels};
use crate::shard::row::TopicRow;
use crate::shard::{Shard, Slot};
use crate::span::Legs;
use fetch::Fetched;
use group::Asking;
use health::Kept;
use produce::{HeldQueue, LastBatch};
use standing::TopicSlots;
pub use tcp::{Side, TcpFigures, TcpRecorder};
use watch::Watching;

/// APIs, with their versions, whose places a connection remembers. Clients use some ten; a hostile one that uses more has
/// them looked up again and again.
const APIS: usize = 64;

/// What is known of a connection when it opens.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// Where its route leads.
    pub broker: Arc<Broker>,
    /// The client's host.
    pub peer: IpAddr,
    /// How much of it is decoded; `None`: nothing.
    pub depth: Option<Depth>,
    /// When it was accepted.
    pub opened: Timestamp,
}

/// What ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The client closed it.
    Client,
    /// The broker closed it.
    Broker,
    /// The client reset it.
    ClientReset,
    /// The broker reset it.
    BrokerReset,
    /// The broker's name did not resolve.
    Resolve,
    /// The broker refused it, or could not be reached.
    Connect,
    /// The broker did not answer in time.
    ConnectTimeout,
    /// The proxy drained.
    Drain,
    /// The proxy drained, and its time was up.
    DrainTimeout,
    /// Another error of a socket.
    Io,
}

impl CloseReason {
    /// Its name in OTLP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Broker => "broker",
            Self::ClientReset => "client_reset",
            Self::BrokerReset => "broker_reset",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Drain => "drain",
            Self::DrainTimeout => "drain_timeout",
            Self::Io => "io",
        }
    }
}

/// Records one connection. It must be [closed](Self::close).
#[derive(Debug)]
pub struct Recorder {
    broker: Arc<Broker>,
    peer: IpAddr,
    depth: Option<Depth>,
    client: Option<Arc<Client>>,
    /// What the client is called, wherever it is counted.
    name: Option<Arc<ClientName>>,
    software: Option<Box<str>>,
    principal: Option<Arc<Principal>>,
    opened: Timestamp,
    /// `None` before there is a connection to the broker.
    tcp: Option<TcpRecorder>,
    /// The shard's round for which everything is up to date.
    round: u32,
    /// The shard's epoch for which the places are good.
    epoch: u32,
    /// The dictionary's judgement for which client and topics are good.
    judgement: u32,
    /// Bytes that passed in this round.
    passed: u64,
    /// Grows when the topics' places are forgotten: each forgets its own when it is seen again.
    generation: u32,
    route: Slot,
    io: Slot,
    /// Bytes, in and out, from before the client was known.
    early: [u64; 2],
    apis: Vec<ApiSlots>,
    /// Index in `apis` of the last one.
    api: usize,
    topics: Vec<Option<Box<TopicSlots>>>,
    /// For the topics that have no index of their own.
    other_topics: Option<Box<TopicSlots>>,
    in_flight: VecDeque<InFlight>,
    /// The ends of its connections; with spans only.
    legs: Option<Arc<Legs>>,
    begun: Option<Begun>,
    /// Who the client was before it changed its id, for its requests that have not ended.
    former: VecDeque<seldom::Former>,
    held: HeldQueue,
    /// Where the last batch was counted: the next one probably is, too.
    last_batch: LastBatch,
    fetched: Vec<Fetched>,
    /// Partitions of the response that is being read that worked, or not.
    answers: Vec<Kept>,
    /// Index in `fetched` of the topic whose batches come.
    fetching: usize,
    /// Bytes of partitions in the response that is being read, where partitions are told apart.
    fetched_partitions: Vec<(TopicIndex, i32, u64)>,
    watching: Watching,
    asking: Asking,
    /// What sampled exchanges are linked to; with spans only.
    links: Option<Box<links::Links>>,
    /// The last Fetch was a follower's.
    follower: bool,
    seed: u64,
}

/// Places of an API in one version.
#[derive(Debug)]
struct ApiSlots {
    api: Api,
    version: ApiVersion,
    request: Slot,
    /// By error and wait, the last used in front.
    durations: Vec<exchange::DurationSlot>,
    /// By acks.
    in_flight: [Slot; 5],
    /// By acks; Produce only.
    acks: [Slot; 5],
}

/// A request that has not ended, and where it is counted.
#[derive(Debug)]
struct InFlight {
    seq: RequestSeq,
    slot: Slot,
    api: Api,
}

/// A request whose body will say where it is counted.
#[derive(Debug)]
struct Begun {
    seq: RequestSeq,
    api: ApiKey,
    version: ApiVersion,
}

impl Recorder {
    /// A client has connected. Many connections are idle from their first exchange on: there is room for one.
    pub fn open(shard: &mut Shard, info: ConnectionInfo) -> Self {
        info.broker.opens(info.opened);
        let labels = Labels { broker: Some(info.broker.clone()), ..Labels::default() };
        let route = shard.routes.slot(labels, shard.now());
        let row = shard.routes.row(route);
        row.opened += 1;
        row.open += 1;
        let mut recorder = Self {
            broker: info.broker,
            peer: info.peer,
            depth: info.depth,
            client: None,
            name: None,
            software: None,
            principal: None,
            opened: info.opened,
            tcp: None,
            round: shard.round,
            epoch: shard.epoch,
            judgement: shard.dictionary.judgement(),
            passed: 0,
            generation: 0,
            route,
            io: Slot::NONE,
            early: [0; 2],
            apis: Vec::with_capacity(1),
            api: 0,
            topics: Vec::new(),
            other_topics: None,
            in_flight: VecDeque::with_capacity(1),
            begun: None,
            legs: None,
            former: VecDeque::new(),
            held: HeldQueue::default(),
            last_batch: LastBatch::NONE,
            fetched: Vec::new(),
            answers: Vec::new(),
            fetching: 0,
            fetched_partitions: Vec::new(),
            watching: Watching::default(),
            asking: Asking::default(),
            links: None,
            follower: false,
            seed: shard.spans.seed(),
        };
        if recorder.depth.is_none() {
            recorder.becomes(shard, None);
        }
        recorder
    }

    /// The connection to the broker is there. `legs` is asked only when there are spans.
    pub fn connected(&mut self, shard: &Shard, legs: impl FnOnce() -> Option<Legs>) -> TcpRecorder {
        if shard.spans.is_on() {
            self.legs = legs().map(Arc::new);
        }
        self.tcp.insert(TcpRecorder::new(self.broker.clone(), self.client.clone())).clone()
    }

    /// Where the decoder tells what it sees.
    #[inline]
    pub fn sink<'a>(&'a mut self, shard: &'a mut Shard) -> RecorderSink<'a> {
        self.refresh(shard);
        shard.sightings.alarm = shard.dictionary.alarm().is_on();
        RecorderSink { recorder: self, shard }
    }

    /// `count` bytes passed, decoded or not.
    #[inline]
    pub fn bytes(&mut self, shard: &mut Shard, direction: Direction, count: u64) {
        self.refresh(shard);
        self.passed += count;
        if self.io.is_none() {
            return self.first_bytes(shard, direction, count);
        }
        let row = shard.connection_io.row(self.io);
        match direction {
            Direction::Request => row.bytes_in += count,
            Direction::Response => row.bytes_out += count,
        }
    }

    #[cold]
    fn first_bytes(&mut self, shard: &mut Shard, direction: Direction, count: u64) {
        self.early[usize::from(direction == Direction::Response)] += count;
        if self.client.is_some() {
            self.io = shard.connection_io.slot(self.labels(), shard.now());
            let row = shard.connection_io.row(self.io);
            let [bytes_in, bytes_out] = std::mem::take(&mut self.early);
            row.bytes_in += bytes_in;
            row.bytes_out += bytes_out;
        }
    }

    /// The connection ends at `now`: the last moment at which TCP has something to say of its sockets.
    pub fn closing(
        &mut self,
        shard: &mut Shard,
        now: Timestamp,
        figures: impl IntoIterator<Item = (Side, TcpFigures)>,
    ) {
        self.refresh(shard);
        if self.client.is_none() {
            self.becomes(shard, None);
        }
        if let Some(tcp) = &self.tcp {
            figures.into_iter().for_each(|(side, figures)| tcp.record(shard, side, figures));
        }
        let slot = shard.ended.slot(self.labels(), shard.now());
        shard.ended.row(slot).duration.record_nanos(now.since(self.opened));
    }

    /// The connection has ended; the decoder has been told before.
    pub fn close(mut self, shard: &mut Shard, reason: CloseReason) {
        self.refresh(shard);
        if self.client.is_none() {
            self.becomes(shard, None);
        }
        self.first_bytes(shard, Direction::Request, 0);
        self.report(shard);
        self.report_topics(shard);
        if let Some(client) = &self.client {
            client.closed(self.opened);
        }
        for request in self.in_flight.drain(..) {
            leave(shard, request.slot);
        }
        shard.free_partitions += self.held.len();
        self.stop_watching(shard);
        shard.routes.row(self.route).open -= 1;
        let labels = Labels { broker: Some(self.broker), reason: Some(reason.name()), ..Labels::default() };
        let slot = shard.events.slot(labels, shard.now());
        shard.events.row(slot).closed += 1;
    }

    /// Forgets all places when some are void, and once a round does what has to be done now and then.
    #[inline]
    fn refresh(&mut self, shard: &mut Shard) {
        if self.round != shard.round {
            self.begin_round(shard);
        }
    }

    /// Forgets all places, except those that are pinned: the route's, and those of requests in flight.
    #[cold]
    #[inline(never)]
    fn forget(&mut self) {
        self.io = Slot::NONE;
        self.apis.clear();
        self.last_batch = LastBatch::NONE;
        self.generation = self.generation.wrapping_add(1);
    }

    /// Labels of what belongs to the client at this broker.
    fn labels(&self) -> Labels {
        Labels { client: self.client.clone(), broker: Some(self.broker.clone()), ..Labels::default() }
    }

    #[inline(always)]
    fn request_head(&mut self, shard: &mut Shard, head: &RequestHead) {
        let (seq, api, version) = (head.seq, head.api, head.version);
        self.watching.request_at = head.first_byte;
        if self.begun.is_some() {
            self.request_is_undecoded(shard);
        }
        if self.depth == Some(Depth::Full) && (api == Api::PRODUCE || api == Api::FETCH) {
            self.begun = Some(Begun { seq, api, version });
        } else {
            let api = Api { key: api, follower: None };
            let slot = self.enter(shard, api, version, None);
            self.in_flight.push_back(InFlight { seq, slot, api });
        }
    }

    /// The body of the last request says what it is.
    #[inline(always)]
    fn request_is(&mut self, shard: &mut Shard, follower: Option<bool>, acks: Option<Acks>) {
        if let Some(Begun { seq, api: key, version }) = self.begun.take() {
            let api = Api { key, follower };
            let slot = self.enter(shard, api, version, acks);
            self.in_flight.push_back(InFlight { seq, slot, api });
        }
    }

    /// The body of the last request says nothing: it is counted as what its head says.
    #[cold]
    fn request_is_undecoded(&mut self, shard: &mut Shard) {
        self.request_is(shard, None, None);
    }

    /// One more request is in flight.
    #[inline]
    fn enter(&mut self, shard: &mut Shard, api: Api, version: ApiVersion, acks: Option<Acks>) -> Slot {
        let slots = self.api_slots(shard, api, version);
        let Some(&slot) = self.apis.get(slots).and_then(|slots| slots.in_flight.get(acks_index(acks))) else {
            return Slot::NONE;
        };
        let slot = if slot.is_none() { self.new_in_flight(shard, slots, api, acks) } else { slot };
        shard.in_flight.row(slot).current += 1;
        slot
    }

    #[cold]
    #[inline(never)]
    fn new_in_flight(&mut self, shard: &mut Shard, slots: usize, api: Api, acks: Option<Acks>) -> Slot {
        let labels = Labels { api: Some(api), acks, ..self.labels() };
        let new = shard.in_flight.slot(labels, shard.now());
        if let Some(slot) = self.apis.get_mut(slots).and_then(|slots| slots.in_flight.get_mut(acks_index(acks))) {
            *slot = new;
        }
        new
    }

    /// Index of the places of an API.
    #[inline]
    fn api_slots(&mut self, shard: &mut Shard, api: Api, version: ApiVersion) -> usize {
        match self.apis.get(self.api) {
            Some(slots) if slots.api == api && slots.version == version => self.api,
            _ => self.other_api_slots(shard, api, version),
        }
    }

    #[inline(never)]
    fn other_api_slots(&mut self, shard: &mut Shard, api: Api, version: ApiVersion) -> usize {
        let found = self.apis.iter().position(|slots| slots.api == api && slots.version == version);
        self.api = found.unwrap_or_else(|| {
            if self.apis.len() >= APIS {
                self.apis.clear();
            }
            let labels = Labels { api: Some(api), version: Some(version), ..self.labels() };
            let request = shard.requests.slot(labels, shard.now());
            let (in_flight, acks) = ([Slot::NONE; 5], [Slot::NONE; 5]);
            self.apis.push(ApiSlots { api, version, request, durations: Vec::with_capacity(1), in_flight, acks });
            self.apis.len() - 1
        });
        self.api
    }

    /// The places of a topic.
    #[inline]
    fn topic_slots(&mut self, shard: &mut Shard, topic: TopicRef<'_>) -> &mut TopicSlots {
        let index = topic.index.0 as usize;
        let place = if topic.index == TopicIndex::OVERFLOW {
            &mut self.other_topics
        } else {
            if index >= self.topics.len() {
                self.topics.resize_with(index + 1, || None);
            }
            &mut self.topics[index]
        };
        let slots = place.get_or_insert_with(|| TopicSlots::new(shard, &self.broker, topic));
        slots.forget_before(self.generation, shard);
        slots
    }

    /// Remembers a topic.
    #[inline(never)]
    fn see_topic(&mut self, shard: &mut Shard, topic: TopicRef<'_>) {
        self.topic_slots(shard, topic);
    }

    /// The row of bytes and messages of a topic that has been seen, for `bytes` bytes of it.
    #[inline]
    fn topic_row<'a>(&mut self, shard: &'a mut Shard, topic: TopicIndex, bytes: u64) -> &'a mut TopicRow {
        let slot = match self.topics.get_mut(topic.0 as usize) {
            Some(Some(slots)) if slots.is_good(self.generation, self.round) && !slots.io.is_none() => {
                slots.passed += bytes;
                slots.io
            }
            _ => self.new_topic_row(shard, topic, bytes),
        };
        shard.topics.row(slot)
    }

    #[cold]
    #[inline(never)]
    fn new_topic_row(&mut self, shard: &mut Shard, topic: TopicIndex, bytes: u64) -> Slot {
        let (client, generation) = (self.client.clone(), self.generation);
        let Some(slots) = self.seen_topic(topic) else { return Slot::NONE };
        slots.begin_round(shard, generation, bytes);
        if slots.io.is_none() {
            let labels = Labels { client, topic: Some(slots.topic.clone()), ..Labels::default() };
            slots.io = shard.topics.slot(labels, shard.now());
        }
        slots.io
    }

    /// The topic behind an index that has been seen.
    fn topic(&self, index: TopicIndex) -> Option<&Arc<Topic>> {
        let place =
            if index == TopicIndex::OVERFLOW { &self.other_topics } else { self.topics.get(index.0 as usize)? };
        place.as_ref().map(|slots| &slots.topic)
    }
}

/// A request is no longer in flight.
#[inline]
fn leave(shard: &mut Shard, slot: Slot) {
    if !slot.is_none() {
        let row = shard.in_flight.row(slot);
        row.current = row.current.saturating_sub(1);
    }
}

const fn acks_index(acks: Option<Acks>) -> usize {
    match acks {
        None => 0,
        Some(Acks::None) => 1,
        Some(Acks::Leader) => 2,
        Some(Acks::All) => 3,
        Some(Acks::Other(_)) => 4,
    }
}

/// A recorder at work.
#[derive(Debug)]
pub struct RecorderSink<'a> {
    recorder: &'a mut Recorder,
    shard: &'a mut Shard,
}

impl Sink for RecorderSink<'_> {
    // Always: where the decoder makes an observation it is known which one it is, and the rest of this falls away.
    #[inline(always)]
    fn observe(&mut self, observation: Observation<'_>) {
        let Self { recorder, shard } = self;
        match &observation {
            Observation::RequestHead(head) => recorder.request_head(shard, head),
            Observation::ProduceHead(head) => {
                recorder.request_is(shard, None, Some(head.acks));
                recorder.produce_begins(head);
            }
            Observation::ProducePartition(partition) => recorder.produce_partition(shard, partition),
            Observation::ProduceBatch(batch) => recorder.produce_batch(shard, batch),
            Observation::ProduceResult(result) => {
                if !result.error.is_none() || shard.sightings.alarm {
                    recorder.leader_answers(shard, result.seq, result.topic, result.partition, result.error);
                }
                if let Some(records) = recorder.produce_result(result) {
                    recorder.produce_told(shard, result, records);
                }
            }
            Observation::FetchHead(head) => {
                let follower = head.replica_id.is_some_and(|id| id >= 0);
                recorder.follower = follower;
                recorder.request_is(shard, Some(follower), None);
                recorder.fetch_begins(shard, head, follower);
            }
            Observation::FetchAsked(asked) => recorder.fetch_asked(shard, asked),
            Observation::FetchPartition(partition) => {
                if !partition.error.is_none() || shard.sightings.alarm {
                    let told = partition;
                    recorder.leader_answers(shard, told.seq, told.topic, told.partition, told.error);
                }
                recorder.fetch_partition(shard, partition);
                recorder.fetch_told(shard, partition);
            }
            Observation::FetchBatch(batch) => {
                recorder.fetch_batch(shard, batch);
                recorder.fetch_gave(shard, batch);
            }
            Observation::Measured(measured) => recorder.measured(shard, measured),
            Observation::Captured(captured) => recorder.captured(shard, captured),
            Observation::Exchange(exchange) => recorder.exchange(shard, exchange),
            other => {
                recorder.health_observation(shard, other);
                recorder.seldom(shard, other);
            }
        }
    }

    #[inline(always)]
    fn at_batch(&mut self, direction: Direction, head: &BatchHead) -> BatchPlan {
        match direction {
            Direction::Request => self.recorder.plan(self.shard, head),
            Direction::Response if self.shard.spans.is_on() => self.recorder.plan_of_fetched(self.shard, head),
            Direction::Response => BatchPlan::Skip,
        }
    }
}
