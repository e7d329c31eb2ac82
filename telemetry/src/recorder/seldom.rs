//! What is observed once a connection, or should not be: who the client is, and what could not be decoded.

use std::sync::Arc;

use kafkascope_protocol::{
    Direction, Exchange, LostSync, LostSyncReason, Observation, RequestSeq, TopicId, Undecoded, UndecodedReason,
};

use super::Recorder;
use crate::attribute;
use crate::dictionary::{Client, ClientName};
use crate::knowledge::fact::{ClusterId, Fact, Told, TopicName};
use crate::labels::{Api, Labels};
use crate::shard::Shard;

/// A client that a connection was.
#[derive(Debug)]
pub(super) struct Former {
    /// Its last request.
    last: RequestSeq,
    client: Arc<Client>,
}

impl Recorder {
    /// What is observed once a connection, or should not be.
    #[cold]
    #[inline(never)]
    pub(super) fn seldom(&mut self, shard: &mut Shard, observation: &Observation<'_>) {
        match observation {
            Observation::Client(id) => self.becomes(shard, *id),
            Observation::Software { name, version } => self.software(name, version),
            Observation::ClusterId(id) if !id.is_empty() && self.broker.awaits_cluster() => {
                let id: Arc<str> = attribute::text(Some(id)).into();
                self.broker.learn_cluster(&id);
                shard.watches.tell(Told::Fact(Fact::Cluster(ClusterId { id })));
            }
            Observation::Principal { name, .. } => self.principal(shard, name),
            Observation::TopicMetadata(topic) => {
                if let (Some(id), Some(name)) = (topic.id, topic.name) {
                    self.learn_topic(shard, id, name);
                }
            }
            Observation::TopicCreated(topic) => {
                if let Some(id) = topic.id.filter(|_| topic.error.is_none()) {
                    self.learn_topic(shard, id, topic.name);
                }
            }
            Observation::FetchForgotten(forgotten) => self.fetch_forgotten(shard, forgotten),
            Observation::ListOffsetsHead(head) => self.lists(head.read_committed),
            Observation::OffsetAsked(asked) => self.offset_asked(shard, asked),
            Observation::OffsetListed(listed) => self.offset_listed(shard, listed),
            Observation::CaptureRefused { .. } => shard.capture_refused(),
            Observation::Undecoded(undecoded) => self.undecoded(shard, undecoded),
            Observation::LostSync(lost) => self.lost_sync(shard, lost),
            Observation::Unsolicited { .. } => self.unsolicited(shard),
            other => self.group_observation(shard, other),
        }
    }

    fn learn_topic(&mut self, shard: &mut Shard, id: TopicId, name: &[u8]) {
        if shard.dictionary.learn_topic(self.broker.cluster(), id, name)
            && let Some(name) = Self::name(name)
        {
            let cluster = self.broker.cluster_name();
            shard.watches.tell(Told::Fact(Fact::Topic(TopicName { cluster, id: id.0, name })));
        }
    }

    #[cold]
    fn undecoded(&mut self, shard: &mut Shard, undecoded: &Undecoded) {
        if undecoded.direction == Direction::Request {
            self.request_is_undecoded(shard);
        }
        let labels = Labels {
            broker: Some(self.broker.clone()),
            api: Some(Api { key: undecoded.api, follower: None }),
            version: Some(undecoded.version),
            direction: Some(undecoded.direction),
            reason: Some(match undecoded.reason {
                UndecodedReason::UnknownApi => "unknown_api",
                UndecodedReason::UnknownVersion => "unknown_version",
                UndecodedReason::Malformed => "malformed",
                UndecodedReason::TooLarge => "too_large",
                UndecodedReason::Gap => "gap",
            }),
            ..Labels::default()
        };
        let slot = shard.events.slot(labels, shard.now());
        shard.events.row(slot).undecoded += 1;
    }

    #[cold]
    fn lost_sync(&mut self, shard: &mut Shard, lost: &LostSync) {
        let reason = match lost.reason {
            LostSyncReason::NegativeLength => "negative_length",
            LostSyncReason::ZeroLength => "zero_length",
            LostSyncReason::ShortFrame => "short_frame",
            LostSyncReason::HugeLength => "huge_length",
            LostSyncReason::Tls => "client speaks TLS to a plaintext route",
            LostSyncReason::TlsAlert => "upstream speaks TLS to a plaintext client",
            LostSyncReason::Http => "client speaks HTTP",
            LostSyncReason::Gap => "gap",
            LostSyncReason::OtherDirection => "other_direction",
        };
        self.loses_sync(shard, lost.direction, reason);
    }

    fn loses_sync(&mut self, shard: &mut Shard, direction: Direction, reason: &'static str) {
        if self.client.is_none() {
            self.becomes(shard, None);
        }
        let (broker, direction) = (Some(self.broker.clone()), Some(direction));
        let labels = Labels { broker, direction, reason: Some(reason), ..Labels::default() };
        let slot = shard.events.slot(labels, shard.now());
        shard.events.row(slot).lost_sync += 1;
    }

    /// The decoder failed while it read bytes of `direction`: nothing is observed any more.
    #[cold]
    pub fn decoder_panicked(&mut self, shard: &mut Shard, direction: Direction) {
        self.refresh(shard);
        self.loses_sync(shard, direction, "panic");
    }

    /// `bytes` bytes of the client went nowhere, because the proxy drained.
    pub fn discarded(&mut self, shard: &mut Shard, bytes: u64) {
        if bytes > 0 {
            let labels = Labels { broker: Some(self.broker.clone()), ..Labels::default() };
            let slot = shard.events.slot(labels, shard.now());
            shard.events.row(slot).discarded += bytes;
        }
    }

    #[cold]
    fn unsolicited(&mut self, shard: &mut Shard) {
        let labels = Labels { broker: Some(self.broker.clone()), ..Labels::default() };
        let slot = shard.events.slot(labels, shard.now());
        shard.events.row(slot).unsolicited += 1;
    }

    /// The client is called `id` from now on.
    #[cold]
    pub(super) fn becomes(&mut self, shard: &mut Shard, id: Option<&[u8]>) {
        let name = shard.dictionary.client_name(id, self.peer, self.principal.as_ref());
        self.is(shard, name);
    }

    fn is(&mut self, shard: &mut Shard, name: Arc<ClientName>) {
        let client = shard.dictionary.client(&name);
        self.report(shard);
        // One copy for all connections, where the client has its own.
        self.name = Some(if client.is_other() { name } else { client.name().clone() });
        if let Some(software) = &self.software {
            client.runs(software);
        }
        if self.client.as_ref().is_none_or(|former| !Arc::ptr_eq(former, &client)) {
            self.request_is_undecoded(shard);
            self.stop_watching(shard);
            let last = self.in_flight.back().map(|request| request.seq);
            if let Some(former) = self.client.take() {
                former.closed(self.opened);
                if let Some(last) = last {
                    self.former.push_back(Former { last, client: former });
                }
            }
            client.opened(self.opened);
            if let Some(tcp) = &self.tcp {
                tcp.is_of(&client);
            }
            self.forget();
        }
        self.client = Some(client);
        self.first_bytes(shard, Direction::Request, 0);
    }

    /// The end of a request that may be of another client than the next one.
    #[cold]
    #[inline(never)]
    pub(super) fn exchange_after_a_change(&mut self, shard: &mut Shard, exchange: &Exchange) {
        let oldest = self.in_flight.front().map_or(exchange.seq, |request| request.seq.min(exchange.seq));
        while self.former.front().is_some_and(|former| former.last < oldest) {
            self.former.pop_front();
        }
        let Some(former) = self.former.iter().find(|former| former.last >= exchange.seq) else {
            return self.exchange_of_client(shard, exchange);
        };
        let current = self.client.replace(former.client.clone());
        self.forget();
        self.exchange_of_client(shard, exchange);
        self.client = current;
        self.forget();
    }

    /// The client has authenticated as `name`. Where that tells clients apart, it is another one from now on.
    #[cold]
    fn principal(&mut self, shard: &mut Shard, name: &[u8]) {
        if !shard.dictionary.settings().principal {
            return;
        }
        let principal = shard.dictionary.principal(name);
        let name = self.name.as_ref().map(|name| shard.dictionary.client_name_as(name, &principal));
        self.principal = Some(principal);
        if let Some(name) = name {
            self.is(shard, name);
        }
    }

    #[cold]
    fn software(&mut self, name: &[u8], version: &[u8]) {
        let software = format!("{}/{}", attribute::text(Some(name)), attribute::text(Some(version))).into_boxed_str();
        if let Some(client) = &self.client {
            client.runs(&software);
        }
        self.software = Some(software);
    }
}
