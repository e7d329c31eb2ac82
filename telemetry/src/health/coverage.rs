//! Who works past this proxy: brokers that clients are told of and that nothing here reaches, and clients whose group is seen
//! while what they read is not.
//!
//! A broker is told apart by its node id where its route has one, else by the port that clients are told and the route
//! listens at, else by the address that the route leads to. It is covered when somebody asked it here for more than a client
//! asks any broker at its start. Which share of a broker's bytes is seen cannot be told from here: nobody on the wire says
//! how many there are.

use std::collections::HashMap;
use std::sync::Arc;

use hashbrown::HashSet;
use kafkascope_protocol::Timestamp;

use super::sighting::NamedBroker;
use crate::attribute::{Attribute as A, Value};
use crate::dictionary::{Broker, Client};
use crate::knowledge::cluster;
use crate::knowledge::fact::BrokerName;
use crate::knowledge::state::{BROKER_LIFE, BROKERS};
use crate::metric::Metric;
use crate::readings::Readings;
use crate::series::Series;
use crate::snapshot;

/// Nothing is said of a broker that is new: clients connect when they have been told. 15 s.
const NEW: u64 = 15_000_000_000;

/// A broker that was used is covered for 5 min.
const USED: u64 = 300_000_000_000;

/// A client that has fetched or produced nothing for so long does it elsewhere, if its group lives: 1 min.
const QUIET: u64 = 60_000_000_000;

/// Members heartbeat and commit every few seconds; one that has not for so long has left: 30 s.
const LIVES: u64 = 30_000_000_000;

/// Not more than one line of log in so long: 10 s.
const LOGGED: u64 = 10_000_000_000;

/// Clients that were named in the log and still work elsewhere.
const CLIENTS: usize = 4_096;

/// A route of the proxy.
#[derive(Debug, Clone)]
pub struct Route {
    /// The port that clients connect to.
    pub listen: u16,
    /// Where it leads.
    pub broker: Arc<Broker>,
}

impl Route {
    /// Whether it leads to the broker that clients are told of as `named`.
    pub(crate) fn leads_to(&self, named: &BrokerName) -> bool {
        let broker = &self.broker;
        let same_cluster = broker.cluster().map_or("", |cluster| cluster) == &*named.cluster;
        let is_it = match broker.id() {
            Some(id) => id == named.id,
            None => self.listen == named.port || (broker.port() == named.port && broker.address() == &*named.host),
        };
        same_cluster && is_it
    }
}

/// Brokers that clients were told of.
#[derive(Debug, Default)]
pub(super) struct Named {
    brokers: HashMap<(Arc<str>, i32), Seen>,
    logged_clients: HashSet<u32>,
    logged: u64,
    lost: u64,
}

#[derive(Debug)]
struct Seen {
    named: NamedBroker,
    first: u64,
    last: u64,
    logged: bool,
}

/// What is used of this proxy, from the series that live.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    routes: Arc<[Route]>,
    /// By number of the broker: when it was last asked for more than a client asks at its start.
    brokers: HashMap<u32, u64>,
    clients: HashMap<u32, Use>,
}

/// What a client did when, by cluster.
#[derive(Debug)]
struct Use {
    client: Arc<Client>,
    cluster: Arc<str>,
    metadata: bool,
    /// Last Produce or Fetch.
    data: u64,
    /// Since when its group lives, and until when.
    commits: Option<(u64, u64)>,
    heartbeats: Option<(u64, u64)>,
    fetching: bool,
}

impl Usage {
    pub(crate) fn new(routes: Arc<[Route]>) -> Self {
        Self { routes, ..Self::default() }
    }

    /// A series, its value, since when it counts, and when it last changed.
    pub(crate) fn add(&mut self, series: &Series, value: &snapshot::Value, start: Timestamp, changed: Timestamp) {
        let counts = series.metric() == Metric::Requests;
        if !counts && series.metric() != Metric::RequestsInFlight {
            return;
        }
        let (Some(Value::ServerAddress(broker)), Some(Value::Static(api))) =
            (series.value(A::ServerAddress), series.value(A::Api))
        else {
            return;
        };
        if counts && !AT_START.contains(api) {
            let used = self.brokers.entry(broker.number()).or_default();
            *used = changed.0.max(*used);
        }
        let Some(Value::ClientId(client)) = series.value(A::ClientId) else { return };
        let of = || Use {
            client: client.clone(),
            cluster: broker.cluster_name(),
            metadata: false,
            data: 0,
            commits: None,
            heartbeats: None,
            fetching: false,
        };
        let usage = self.clients.entry(client.number()).or_insert_with(of);
        let lives = |known: Option<(u64, u64)>| {
            let (since, until) = known.unwrap_or((u64::MAX, 0));
            Some((since.min(start.0), until.max(changed.0)))
        };
        match (counts, *api) {
            (true, "Produce" | "FetchConsumer" | "ShareFetch") => usage.data = usage.data.max(changed.0),
            (true, "Metadata") => usage.metadata = true,
            (true, "OffsetCommit") => usage.commits = lives(usage.commits),
            (true, "Heartbeat" | "ConsumerGroupHeartbeat") => usage.heartbeats = lives(usage.heartbeats),
            (false, "FetchConsumer" | "ShareFetch") => {
                usage.fetching |= matches!(value, snapshot::Value::UpDown(1..));
            }
            _ => {}
        }
    }
}

/// What clients ask any broker before they know which one they need.
const AT_START: [&str; 6] =
    ["ApiVersions", "SaslHandshake", "SaslAuthenticate", "Metadata", "DescribeCluster", "GetTelemetrySubscriptions"];

impl Named {
    pub(super) fn learn(&mut self, named: NamedBroker, now: u64) {
        let key = (named.broker.cluster.clone(), named.broker.id);
        let known = self.brokers.len();
        match self.brokers.get_mut(&key) {
            Some(seen) if seen.named.broker == named.broker => seen.last = now,
            None if known >= BROKERS => self.lost += 1,
            _ => {
                self.brokers.insert(key, Seen { named, first: now, last: now, logged: false });
            }
        }
    }

    pub(super) fn expire(&mut self, now: u64) {
        self.brokers.retain(|_, seen| now.saturating_sub(seen.last) <= BROKER_LIFE);
    }

    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    pub(super) fn report(&mut self, used: &Usage, readings: &mut Readings) {
        let now = readings.at().0;
        let mut uncovered: HashMap<Arc<str>, i32> = HashMap::new();
        for seen in self.brokers.values_mut() {
            let NamedBroker { broker, client } = &seen.named;
            let routes: Vec<&Route> = used.routes.iter().filter(|route| route.leads_to(broker)).collect();
            let last = routes.iter().filter_map(|route| used.brokers.get(&route.broker.number())).max();
            let is_covered = last.is_some_and(|last| now.saturating_sub(*last) <= USED);
            if !is_covered && now.saturating_sub(seen.first) < NEW {
                continue;
            }
            let mut attributes = vec![
                (A::ServerAddress, Value::Text(broker.host.clone())),
                (A::ServerPort, Value::Integer(broker.port.into())),
                (A::BrokerId, Value::Integer(broker.id.into())),
            ];
            attributes.extend(cluster::attribute(&broker.cluster));
            readings.state(Metric::Coverage, &attributes, i64::from(is_covered));
            if is_covered {
                seen.logged = false;
                continue;
            }
            uncovered.insert(broker.cluster.clone(), broker.id);
            let is_past_us = routes.iter().all(|route| route.listen != broker.port && route.broker.id().is_none());
            if is_past_us && !seen.logged && now.saturating_sub(self.logged) >= LOGGED {
                (seen.logged, self.logged) = (true, now);
                tracing::warn!(
                    client = &*client.id,
                    address = &*client.address,
                    broker = broker.id,
                    host = &*broker.host,
                    port = broker.port,
                    "a client is told here of a broker that no route leads to, and connects past this proxy to it: that traffic is not seen"
                );
            }
        }
        self.clients(used, &uncovered, readings);
    }

    /// Clients whose group lives here and that read elsewhere. Heartbeats alone are also those of members without
    /// partitions, so they count only where there is an elsewhere.
    fn clients(&mut self, used: &Usage, uncovered: &HashMap<Arc<str>, i32>, readings: &mut Readings) {
        let now = readings.at().0;
        let mut elsewhere: HashMap<&Arc<str>, i64> = HashMap::new();
        let mut still = HashSet::new();
        for usage in used.clients.values().filter(|usage| usage.metadata && !usage.client.is_other()) {
            let count = elsewhere.entry(&usage.cluster).or_default();
            let past = uncovered.get(&usage.cluster);
            let lives = |group: Option<(u64, u64)>| {
                group.is_some_and(|(since, until)| {
                    now.saturating_sub(until) <= LIVES && now.saturating_sub(since) > QUIET
                })
            };
            let has_group = lives(usage.commits) || (past.is_some() && lives(usage.heartbeats));
            if !has_group || usage.fetching || now.saturating_sub(usage.data) <= QUIET {
                continue;
            }
            *count += 1;
            let number = usage.client.number();
            let is_logged = self.logged_clients.contains(&number);
            let may_log = now.saturating_sub(self.logged) >= LOGGED && still.len() < CLIENTS;
            if is_logged || may_log {
                still.insert(number);
            }
            if !is_logged && may_log {
                self.logged = now;
                tracing::warn!(
                    client = usage.client.id(),
                    address = usage.client.address(),
                    broker = past,
                    "a client's group is seen here and what it reads is not: it connects past this proxy, or has paused"
                );
            }
        }
        self.logged_clients = still;
        for (cluster, count) in elsewhere {
            readings.state(Metric::ClientsElsewhere, cluster::attribute(cluster).as_slice(), count);
        }
    }
}
