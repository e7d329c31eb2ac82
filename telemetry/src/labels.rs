//! What a row of the shard belongs to, from which the attributes of its series follow by the metric table.

use std::sync::Arc;

use kafkascope_protocol::{Acks, ApiKey, ApiVersion, Codec, Direction, ErrorCode, FetchWait};

use crate::attribute::{Attribute, OTHER, Value};
use crate::dictionary::{Broker, Client, Dictionary, Partition, Topic};
use crate::metric::Metric;
use crate::recorder::Side;
use crate::series::Attributes;

/// Labels of a row; what does not apply is `None`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Labels {
    pub(crate) client: Option<Arc<Client>>,
    pub(crate) broker: Option<Arc<Broker>>,
    pub(crate) topic: Option<Arc<Topic>>,
    pub(crate) partition: Option<Arc<Partition>>,
    pub(crate) api: Option<Api>,
    pub(crate) version: Option<ApiVersion>,
    pub(crate) error: ErrorCode,
    pub(crate) wait: Option<FetchWait>,
    pub(crate) acks: Option<Acks>,
    pub(crate) codec: Option<Codec>,
    pub(crate) direction: Option<Direction>,
    pub(crate) side: Option<Side>,
    pub(crate) reason: Option<&'static str>,
}

/// The API key, version or error that stands for all that are `other`. Nobody will ever define it.
const FOLDED: i16 = i16::MIN;

/// An API, consumers' and followers' fetches told apart as Kafka's own metrics do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Api {
    pub(crate) key: ApiKey,
    /// Fetch only; `None` when the body was not looked at.
    pub(crate) follower: Option<bool>,
}

impl Api {
    pub(crate) const PRODUCE: ApiKey = ApiKey(0);
    pub(crate) const FETCH: ApiKey = ApiKey(1);
    pub(crate) const OFFSET_COMMIT: ApiKey = ApiKey(8);
    pub(crate) const SHARE_FETCH: ApiKey = ApiKey(78);

    fn value(self, dictionary: &Dictionary) -> Value {
        match self.follower {
            _ if self.key.0 == FOLDED => Value::Static(OTHER),
            Some(true) => Value::Static("FetchFollower"),
            Some(false) => Value::Static("FetchConsumer"),
            None => dictionary.api(self.key),
        }
    }
}

/// Labels as numbers: what tells rows apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    client: u32,
    broker: u32,
    topic: u32,
    partition: u32,
    api: Option<Api>,
    version: Option<ApiVersion>,
    error: ErrorCode,
    wait: Option<FetchWait>,
    acks: Option<Acks>,
    codec: Option<Codec>,
    direction: Option<Direction>,
    side: Option<Side>,
    reason: Option<&'static str>,
}

impl Labels {
    pub(crate) fn key(&self) -> Key {
        Key {
            client: self.client.as_ref().map_or(0, |client| client.number()),
            broker: self.broker.as_ref().map_or(0, |broker| broker.number()),
            topic: self.topic.as_ref().map_or(0, |topic| topic.number()),
            partition: self.partition.as_ref().map_or(0, |partition| partition.number()),
            api: self.api,
            version: self.version,
            error: self.error,
            wait: self.wait,
            acks: self.acks,
            codec: self.codec,
            direction: self.direction,
            side: self.side,
            reason: self.reason,
        }
    }

    /// With `other` for what is no value of its own, so that rows are not told apart by it.
    pub(crate) fn with_known_values(mut self, dictionary: &Dictionary) -> Self {
        let is_other = |value: &Value| matches!(value, Value::Static(OTHER));
        if let Some(api) = &mut self.api
            && is_other(&dictionary.api(api.key))
        {
            api.key.0 = FOLDED;
        }
        if let Some(version) = &mut self.version
            && is_other(&dictionary.version(version.0))
        {
            version.0 = FOLDED;
        }
        if is_other(&dictionary.error(self.error)) {
            self.error.0 = FOLDED;
        }
        self
    }

    /// Whether one of them has lost its place: what comes is counted elsewhere.
    pub(crate) fn are_over(&self) -> bool {
        self.client.as_ref().is_some_and(|client| !client.place().is_kept())
            || self.topic.as_ref().is_some_and(|topic| !topic.place().is_kept())
            || self.partition.as_ref().is_some_and(|partition| !partition.place().is_kept())
    }

    /// Of the client, topic, partition and version `other`: what remains are closed sets.
    pub(crate) fn folded(self, dictionary: &Dictionary) -> Self {
        let (client, topic, partition) = dictionary.others();
        Self {
            client: self.client.map(|_| client),
            topic: self.topic.map(|_| topic),
            partition: self.partition.map(|_| partition),
            version: self.version.map(|_| ApiVersion(FOLDED)),
            ..self
        }
    }

    /// The attributes that `metric` has, of those that these labels give a value. `own` comes from the place of the
    /// series in its row.
    pub(crate) fn attributes(
        &self,
        metric: Metric,
        own: Option<(Attribute, &'static str)>,
        dictionary: &Dictionary,
    ) -> Attributes {
        let value = |key: Attribute| match own {
            Some((own, text)) if own == key => Some(Value::Static(text)),
            _ => self.value(key, dictionary),
        };
        metric.descriptor().keys().filter_map(|key| Some((key, value(key)?))).collect()
    }

    fn value(&self, key: Attribute, dictionary: &Dictionary) -> Option<Value> {
        let (client, broker, topic) = (self.client.as_ref(), self.broker.as_ref(), self.topic.as_ref());
        Some(match key {
            Attribute::ClientId => Value::ClientId(client?.clone()),
            Attribute::PeerAddress => Value::PeerAddress(client.filter(|client| !client.address().is_empty())?.clone()),
            Attribute::UserName => Value::Text(client?.principal()?.clone()),
            Attribute::Topic => Value::topic(topic?),
            Attribute::Partition => Value::Partition(self.partition.clone()?),
            Attribute::Cluster => {
                let of_topic = topic.and_then(|topic| topic.cluster());
                Value::Text(of_topic.or_else(|| broker.and_then(|broker| broker.cluster()))?.clone())
            }
            Attribute::ServerAddress => Value::ServerAddress(broker?.clone()),
            Attribute::ServerPort => Value::Integer(broker?.port().into()),
            Attribute::BrokerId => Value::Integer(broker?.id()?.into()),
            Attribute::Api => self.api?.value(dictionary),
            Attribute::ApiVersion if self.version?.0 == FOLDED => Value::Static(OTHER),
            Attribute::ApiVersion => dictionary.version(self.version?.0),
            Attribute::Error if self.error.is_none() => return None,
            Attribute::Error if self.error.0 == FOLDED => Value::Static(OTHER),
            Attribute::Error => dictionary.error(self.error),
            Attribute::FetchWait => Value::Static(wait(self.wait?)),
            Attribute::Acks => Value::Static(acks(self.acks?)),
            Attribute::Codec => Value::Static(codec(self.codec?)),
            Attribute::Direction => Value::Static(direction(self.direction?)),
            Attribute::Side => Value::Static(self.side?.name()),
            Attribute::Reason => Value::Static(self.reason?),
            // Given by the place in the row, by the registry, or by whoever reads a host.
            _ => return None,
        })
    }
}

pub(crate) const fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Request => "in",
        Direction::Response => "out",
    }
}

const fn wait(wait: FetchWait) -> &'static str {
    match wait {
        FetchWait::Expired => "expired",
        FetchWait::Waited => "waited",
        FetchWait::Served => "served",
    }
}

pub(crate) const fn acks(acks: Acks) -> &'static str {
    match acks {
        Acks::None => "0",
        Acks::Leader => "1",
        Acks::All => "all",
        Acks::Other(_) => OTHER,
    }
}

pub(crate) const fn codec(codec: Codec) -> &'static str {
    match codec {
        Codec::None => "none",
        Codec::Gzip => "gzip",
        Codec::Snappy => "snappy",
        Codec::Lz4 => "lz4",
        Codec::Zstd => "zstd",
        Codec::Unknown(_) => OTHER,
    }
}
