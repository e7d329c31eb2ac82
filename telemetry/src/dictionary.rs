//! Values and series that live, process-wide.
//!
//! A worker comes here when it meets something new: a client, a topic, a series. What it gets is a pointer that it keeps;
//! recording never comes here. An entry lives as long as a connection, a worker's shard or a series of the registry holds
//! it, so an idle one goes when its series expire. Each dimension has a cap; what is new above it becomes `other`, and is
//! counted. Of clients, topics and partitions those with most traffic have the places; see [`Place`].

mod places;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use hashbrown::HashTable;
use kafkascope_protocol::{ApiKey, ErrorCode, Timestamp, TopicId};

use crate::attribute::{self, Attribute, OTHER, Value};
use crate::cap::{Account, Dimension, Live};
use crate::health::Alarm;
use crate::metric::Metric;
use crate::series::{self, Attributes, Series};
use crate::settings::{ClientKey, Settings};
use crate::standing::Place;
pub use crate::topic::Topic;
use places::Weighed;
pub(crate) use places::{Noted, Partition, PartitionName, TopicName};

/// Highest version number that is a value of its own: far above Kafka's highest (18 in 4.3), far below what a hostile
/// client could make up.
const HIGHEST_VERSION: i16 = 127;

/// This part of the series is left to those of clients alone, and of topics alone: a quarter is twelve series for each
/// client of the default caps.
const RESERVED: usize = 4;

/// Interns what is new. One a process, shared by all workers.
#[derive(Debug)]
pub struct Dictionary {
    settings: Settings,
    names: Mutex<Names>,
    series: Mutex<HashTable<Entry>>,
    hasher: RandomState,
    next_series: AtomicU64,
    next_value: AtomicU32,
    /// Changes when others have places.
    judgement: AtomicU32,
    /// Since the last one for which there was room again.
    series_folded: AtomicBool,
    accounts: [Account; Dimension::ALL.len()],
    alarm: Alarm,
}

/// The cluster of a topic, where there is a name for it.
type Cluster = Option<Arc<str>>;

/// Client id, address and principal, as far as they tell clients apart.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientName {
    id: Box<str>,
    address: Option<IpAddr>,
    principal: Option<Arc<Principal>>,
}

/// The hash of a series, and the series while it lives.
type Entry = (u64, Weak<Series>);

#[derive(Debug, Default)]
struct Names {
    clients: HashMap<Arc<ClientName>, Weak<Client>>,
    principals: HashMap<Arc<str>, Weak<Principal>>,
    topics: HashMap<(Cluster, Box<str>), Weak<Topic>>,
    topics_by_id: HashMap<(Cluster, TopicId), Weak<Topic>>,
    partitions: HashMap<PartitionName, Weak<Partition>>,
    topic_names: HashMap<(Cluster, TopicId), Arc<str>>,
    /// The keys of `topic_names`, the oldest first.
    topic_ids: VecDeque<(Cluster, TopicId)>,
    unknown: HashSet<Arc<str>>,
    other_client: Option<Arc<Client>>,
    other_principal: Option<Arc<Principal>>,
    other_topic: Option<Arc<Topic>>,
    other_partition: Option<Arc<Partition>>,
    weighed: Weighed,
}

/// A client: a client id and the host that uses it.
#[derive(Debug)]
pub struct Client {
    number: u32,
    name: Arc<ClientName>,
    address: Box<str>,
    software: Mutex<Option<Box<str>>>,
    /// How many connections it opened when, of those that are open.
    open: Mutex<BTreeMap<Timestamp, u32>>,
    place: Arc<Place>,
}

impl Client {
    /// Unique in the process, never used again.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// The client id, `(none)` when null or empty.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.name.id
    }

    pub(crate) fn name(&self) -> &Arc<ClientName> {
        &self.name
    }

    /// Whether it has series of its own.
    pub(crate) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// Whether it stands for all above the cap.
    pub(crate) fn is_other(&self) -> bool {
        self.place.is_other()
    }

    /// Its host; empty when clients are told apart by id only.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `name/version` as it last said of itself.
    #[must_use]
    pub fn software(&self) -> Option<String> {
        lock(&self.software).as_deref().map(str::to_owned)
    }

    /// The principal that it has authenticated as, where that tells clients apart.
    pub(crate) fn principal(&self) -> Option<&Arc<str>> {
        self.name.principal.as_ref().map(|principal| &principal.name)
    }

    /// How many connections it has, and when the oldest was opened.
    pub(crate) fn connections(&self) -> (u64, Option<Timestamp>) {
        let open = lock(&self.open);
        (open.values().map(|&count| u64::from(count)).sum(), open.keys().next().copied())
    }

    /// It has a connection that was opened `at`.
    pub(crate) fn opened(&self, at: Timestamp) {
        *lock(&self.open).entry(at).or_default() += 1;
    }

    /// It has not any more.
    pub(crate) fn closed(&self, at: Timestamp) {
        let mut open = lock(&self.open);
        if let Some(count) = open.get_mut(&at) {
            *count -= 1;
            if *count == 0 {
                open.remove(&at);
            }
        }
    }

    pub(crate) fn runs(&self, software: &str) {
        // Whoever shares `other` says nothing of the others.
        if !self.is_other() {
            *lock(&self.software) = Some(software.into());
        }
    }
}

/// Whom a client has authenticated as.
#[derive(Debug)]
pub(crate) struct Principal {
    name: Arc<str>,
    /// `None` for the one that stands for all above the cap.
    _live: Option<Live>,
}

impl PartialEq for Principal {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Principal {}

impl Hash for Principal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// A broker that a route leads to.
#[derive(Debug)]
pub struct Broker {
    number: u32,
    address: Box<str>,
    port: u16,
    id: Option<i32>,
    cluster: Option<Arc<str>>,
    /// What its clients were told. The first word stands: nobody can make series of it.
    told: Ids,
    /// What is said elsewhere, which counts until its own clients are told.
    heard: Ids,
    /// When the first client came.
    opened: OnceLock<Timestamp>,
}

/// Ids of a broker.
#[derive(Debug, Default)]
struct Ids {
    node: OnceLock<i32>,
    cluster: OnceLock<Arc<str>>,
}

impl Broker {
    /// The broker at `address`:`port`, with its node id and the name of its cluster where they are known beforehand.
    #[must_use]
    pub fn new(address: &str, port: u16, id: Option<i32>, cluster: Option<&str>) -> Arc<Self> {
        static NUMBERS: AtomicU32 = AtomicU32::new(1);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let (address, cluster) = (address.into(), cluster.map(Into::into));
        let (told, heard, opened) = Default::default();
        Arc::new(Self { number, address, port, id, cluster, told, heard, opened })
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Host name or address as configured.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Node id, if it was known beforehand.
    #[must_use]
    pub fn id(&self) -> Option<i32> {
        self.id
    }

    /// Node id, by now.
    #[must_use]
    pub fn known_id(&self) -> Option<i32> {
        self.id.or_else(|| self.told.node.get().or(self.heard.node.get()).copied())
    }

    /// Whether it would be news which node it is.
    pub(crate) fn awaits_id(&self) -> bool {
        self.id.is_none() && self.told.node.get().is_none()
    }

    /// Clients are told here that this is node `id`.
    pub(crate) fn learn_id(&self, id: i32) {
        self.told.node.get_or_init(|| id);
    }

    /// Clients are told elsewhere that this is node `id`.
    pub(crate) fn hear_of_id(&self, id: i32) {
        self.heard.node.get_or_init(|| id);
    }

    /// The name of its cluster, if it was given one.
    #[must_use]
    pub fn cluster(&self) -> Option<&Arc<str>> {
        self.cluster.as_ref()
    }

    /// The name of its cluster, or else the id, by now.
    #[must_use]
    pub fn known_cluster(&self) -> Option<&Arc<str>> {
        self.cluster.as_ref().or_else(|| self.told.cluster.get().or(self.heard.cluster.get()))
    }

    /// Whether it would be news to which cluster it belongs.
    pub(crate) fn awaits_cluster(&self) -> bool {
        self.cluster.is_none() && self.told.cluster.get().is_none()
    }

    /// Its clients are told that it is of the cluster with this id.
    pub(crate) fn learn_cluster(&self, id: &Arc<str>) {
        self.told.cluster.get_or_init(|| id.clone());
    }

    /// It is of the cluster with this id, as is said of other brokers.
    pub(crate) fn hear_of_cluster(&self, id: &Arc<str>) {
        self.heard.cluster.get_or_init(|| id.clone());
    }

    /// A client comes at `at`.
    pub(crate) fn opens(&self, at: Timestamp) {
        self.opened.get_or_init(|| at);
    }

    /// When the first one came.
    pub(crate) fn opened(&self) -> Option<Timestamp> {
        self.opened.get().copied()
    }

    /// The same as facts have it: empty where there is none.
    pub(crate) fn cluster_name(&self) -> Arc<str> {
        self.cluster.clone().unwrap_or_else(|| "".into())
    }
}

impl Dictionary {
    /// An empty dictionary.
    #[must_use]
    pub fn new(settings: Settings) -> Arc<Self> {
        let caps = settings.caps;
        let accounts = Dimension::ALL.map(|dimension| {
            Account::new(match dimension {
                Dimension::Client => caps.clients,
                Dimension::Topic => caps.topics,
                Dimension::Partition => caps.partitions,
                Dimension::TopicId => caps.topic_ids,
                Dimension::Series => caps.series,
                Dimension::Principal => caps.principals,
                Dimension::Unknown => caps.unknown,
            })
        });
        Arc::new(Self {
            settings,
            names: Mutex::default(),
            series: Mutex::default(),
            hasher: RandomState::new(),
            next_series: AtomicU64::new(1),
            next_value: AtomicU32::new(1),
            judgement: AtomicU32::new(0),
            series_folded: AtomicBool::new(false),
            accounts,
            alarm: Alarm::default(),
        })
    }

    /// What it was made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether some partition fails: all workers have the dictionary in common.
    pub(crate) fn alarm(&self) -> &Alarm {
        &self.alarm
    }

    pub(crate) fn account(&self, dimension: Dimension) -> &Account {
        &self.accounts[dimension as usize]
    }

    fn number(&self) -> u32 {
        self.next_value.fetch_add(1, Ordering::Relaxed)
    }

    /// What tells the client that calls itself `id` at `peer` from others.
    pub(crate) fn client_name(
        &self,
        id: Option<&[u8]>,
        peer: IpAddr,
        principal: Option<&Arc<Principal>>,
    ) -> Arc<ClientName> {
        let address = match self.settings.client_key {
            ClientKey::IdAndAddress => Some(peer),
            ClientKey::Id => None,
        };
        Arc::new(ClientName { id: attribute::text(id).into(), address, principal: principal.cloned() })
    }

    /// The same once it has authenticated.
    pub(crate) fn client_name_as(&self, name: &ClientName, principal: &Arc<Principal>) -> Arc<ClientName> {
        Arc::new(ClientName { id: name.id.clone(), address: name.address, principal: Some(principal.clone()) })
    }

    /// The client of that name.
    pub(crate) fn client(&self, name: &Arc<ClientName>) -> Arc<Client> {
        let names = &mut *lock(&self.names);
        if let Some(client) = names.clients.get(name).and_then(Weak::upgrade)
            && client.place.is_kept()
        {
            return client;
        }
        match self.account(Dimension::Client).take() {
            Some(live) => self.give_client(names, name, live, 0),
            None => self.other_client(names),
        }
    }

    /// Gives a place to a client that has none.
    fn give_client(&self, names: &mut Names, name: &Arc<ClientName>, live: Live, weight: u64) -> Arc<Client> {
        // One that lost its place, and is still somewhere.
        if let Some(client) = names.clients.get(name).and_then(Weak::upgrade) {
            client.place.win(live, weight);
            return client;
        }
        let client = Arc::new(Client {
            number: self.number(),
            name: name.clone(),
            address: name.address.map(attribute::address).unwrap_or_default().into(),
            software: Mutex::default(),
            open: Mutex::default(),
            place: Arc::new(Place::under(live, weight)),
        });
        forget_dead(&mut names.clients, self.account(Dimension::Client));
        names.clients.insert(name.clone(), Arc::downgrade(&client));
        client
    }

    fn other_client(&self, names: &mut Names) -> Arc<Client> {
        let address = match self.settings.client_key {
            ClientKey::IdAndAddress => OTHER,
            ClientKey::Id => "",
        };
        let new = || {
            Arc::new(Client {
                number: self.number(),
                name: Arc::new(ClientName { id: OTHER.into(), address: None, principal: None }),
                address: address.into(),
                software: Mutex::default(),
                open: Mutex::default(),
                place: Arc::new(Place::other()),
            })
        };
        names.other_client.get_or_insert_with(new).clone()
    }

    /// Whoever is called `name`.
    pub(crate) fn principal(&self, name: &[u8]) -> Arc<Principal> {
        let names = &mut *lock(&self.names);
        let name: Arc<str> = attribute::text(Some(name)).into();
        if let Some(principal) = names.principals.get(&name).and_then(Weak::upgrade) {
            return principal;
        }
        let account = self.account(Dimension::Principal);
        let Some(live) = account.take() else {
            let other = || Arc::new(Principal { name: OTHER.into(), _live: None });
            return names.other_principal.get_or_insert_with(other).clone();
        };
        let principal = Arc::new(Principal { name: name.clone(), _live: Some(live) });
        forget_dead(&mut names.principals, account);
        names.principals.insert(name, Arc::downgrade(&principal));
        principal
    }

    /// The topic `name` of a cluster, as a value.
    #[must_use]
    pub fn topic_named(&self, cluster: Option<&Arc<str>>, name: &[u8]) -> Value {
        Value::Topic(self.topic(&TopicName::named(cluster, name), Timestamp::default()))
    }

    /// A host that is at the other end of connections, as a value. It counts as a client.
    #[must_use]
    pub fn peer(&self, address: IpAddr) -> Value {
        Value::PeerAddress(self.client(&self.client_name(None, address, None)))
    }

    fn other_topic(&self, names: &mut Names) -> Arc<Topic> {
        let new = || Arc::new(Topic::named(self.number(), None, OTHER.into(), Arc::new(Place::other())));
        names.other_topic.get_or_insert_with(new).clone()
    }

    /// `other` as the topic of what was not told apart in the first place.
    pub(crate) fn overflow_topic(&self) -> Arc<Topic> {
        self.account(Dimension::Topic).fold();
        self.other_topic(&mut lock(&self.names))
    }

    /// A Metadata response says that the topic with the id `id` is called `name`. Returns whether that is new.
    pub(crate) fn learn_topic(&self, cluster: Option<&Arc<str>>, id: TopicId, name: &[u8]) -> bool {
        self.name_topic(cluster, id, name, true)
    }

    /// Another proxy says so: that is worth less than what was seen here, and takes no place that is used.
    pub(crate) fn hear_of_topic(&self, cluster: Option<&Arc<str>>, id: TopicId, name: &[u8]) {
        self.name_topic(cluster, id, name, false);
    }

    fn name_topic(&self, cluster: Option<&Arc<str>>, id: TopicId, name: &[u8], is_own: bool) -> bool {
        if id.0 == [0; 16] || name.is_empty() {
            return false;
        }
        let names = &mut *lock(&self.names);
        let key = (cluster.cloned(), id);
        let name: Arc<str> = attribute::text(Some(name)).into();
        if let Some(known) = names.topic_names.get_mut(&key) {
            let is_better = is_own && *known != name;
            if is_better {
                *known = name;
            }
            return is_better;
        }
        let account = self.account(Dimension::TopicId);
        if names.topic_ids.len() >= account.cap() {
            account.fold();
            if !is_own {
                return false;
            }
            if let Some(oldest) = names.topic_ids.pop_front() {
                names.topic_names.remove(&oldest);
            }
        }
        if let Some(topic) = names.topics_by_id.get(&key).and_then(Weak::upgrade) {
            topic.name(&name);
            self.settle_topic(names, &topic);
        }
        names.topic_ids.push_back(key.clone());
        names.topic_names.insert(key, name);
        true
    }

    /// The name of an API key, `unknown(N)` for one that no release of Kafka defines.
    pub(crate) fn api(&self, key: ApiKey) -> Value {
        match key.name() {
            Some(name) => Value::Static(name),
            None => self.unknown(key.0),
        }
    }

    /// The name of an error, `unknown(N)` for one that no release of Kafka defines.
    pub(crate) fn error(&self, code: ErrorCode) -> Value {
        match code.name() {
            Some(name) => Value::Static(name),
            None => self.unknown(code.0),
        }
    }

    /// A version, `other` if it is absurd.
    pub(crate) fn version(&self, version: i16) -> Value {
        if (0..=HIGHEST_VERSION).contains(&version) {
            Value::Integer(version.into())
        } else {
            self.account(Dimension::Unknown).fold();
            Value::Static(OTHER)
        }
    }

    fn unknown(&self, number: i16) -> Value {
        let text: Arc<str> = format!("unknown({number})").into();
        let unknown = &mut lock(&self.names).unknown;
        if let Some(known) = unknown.get(&text) {
            return Value::Text(known.clone());
        }
        let account = self.account(Dimension::Unknown);
        if unknown.len() >= account.cap() {
            account.fold();
            return Value::Static(OTHER);
        }
        unknown.insert(text.clone());
        Value::Text(text)
    }

    /// The series of `metric` with `attributes`. When there are too many, that of the client and topic `other`, which
    /// always finds its place: what remains are closed sets.
    pub(crate) fn series(&self, metric: Metric, attributes: Attributes) -> Arc<Series> {
        if let Some(series) = self.find(metric, &attributes) {
            return series;
        }
        let account = self.account(Dimension::Series);
        // Clients times topics may be so many that no client would be left a series.
        let is_product = [Attribute::ClientId, Attribute::Topic].map(|key| attributes.iter().any(|one| one.0 == key));
        let reserve = if is_product == [true, true] { account.cap() / RESERVED } else { 0 };
        match account.take_beyond(reserve) {
            Some(live) => self.insert(metric, attributes, Some(live)),
            None => {
                self.fold_series();
                let attributes = self.folded(attributes);
                self.find(metric, &attributes).unwrap_or_else(|| self.insert(metric, attributes, None))
            }
        }
    }

    /// A series of the process itself: never folded.
    pub(crate) fn own_series(&self, metric: Metric, attributes: Attributes) -> Arc<Series> {
        self.find(metric, &attributes).unwrap_or_else(|| self.insert(metric, attributes, None))
    }

    fn find(&self, metric: Metric, attributes: &Attributes) -> Option<Arc<Series>> {
        let hash = series::hash(&self.hasher, metric, attributes);
        let table = lock(&self.series);
        let alive = |(_, weak): &Entry| weak.upgrade().is_some_and(|series| series.is(metric, attributes));
        table.find(hash, alive).and_then(|(_, weak)| weak.upgrade())
    }

    fn insert(&self, metric: Metric, attributes: Attributes, live: Option<Live>) -> Arc<Series> {
        let hash = series::hash(&self.hasher, metric, &attributes);
        let mut table = lock(&self.series);
        // Another worker may have come first.
        let alive = |(_, weak): &Entry| weak.upgrade().is_some_and(|series| series.is(metric, &attributes));
        if let Some(series) = table.find(hash, alive).and_then(|(_, weak)| weak.upgrade()) {
            return series;
        }
        if table.len() > 2 * self.account(Dimension::Series).live() + 1024 {
            table.retain(|(_, weak)| weak.strong_count() > 0);
        }
        let number = self.next_series.fetch_add(1, Ordering::Relaxed);
        let series = Arc::new(Series::new(number, metric, attributes, live));
        table.insert_unique(hash, (hash, Arc::downgrade(&series)), |(hash, _)| *hash);
        series
    }

    /// The client, topic and partition that stand for all above their caps.
    pub(crate) fn others(&self) -> (Arc<Client>, Arc<Topic>, Arc<Partition>) {
        let names = &mut *lock(&self.names);
        (self.other_client(names), self.other_topic(names), self.other_partition(names))
    }

    fn folded(&self, attributes: Attributes) -> Attributes {
        let (client, topic, partition) = self.others();
        // Nobody knows who others are.
        let attributes =
            attributes.into_iter().filter(|(key, _)| ![Attribute::UserName, Attribute::ClientSoftware].contains(key));
        let folded = attributes.map(|(key, value)| match key {
            Attribute::ClientId => (key, Value::ClientId(client.clone())),
            Attribute::PeerAddress => (key, Value::PeerAddress(client.clone())),
            Attribute::Topic => (key, Value::Topic(topic.clone())),
            Attribute::Partition => (key, Value::Partition(partition.clone())),
            _ => (key, value),
        });
        folded.collect()
    }
}

/// Drops the keys of values that died, when they are more than those that live.
fn forget_dead<K, V>(map: &mut HashMap<K, Weak<V>>, account: &Account) {
    if map.len() > 2 * account.live() + 64 {
        map.retain(|_, value| value.strong_count() > 0);
    }
}

/// Nothing is left half-done under these locks, so a thread that died with one does not stop the others.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
