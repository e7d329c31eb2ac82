//! What is said of brokers while traffic passes here or at other proxies: the id of their cluster, and their node ids.
//!
//! Series are told apart by what was known beforehand. What is learned belongs to all of a broker's series alike, so it is
//! added where they are shown. Clients ask soon after they have connected: until then, but for at most [`HOLD`], or
//! [`HOLD_FOR_PEERS`], a broker's series are not shown, so that they do not begin under another name. What is learned later
//! ends them, and they begin anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafkascope_protocol::Timestamp;

use crate::attribute::{Attribute, Scalar, Value};
use crate::dictionary::Broker;
use crate::health::coverage::Route;
use crate::series::Series;

/// How long the series of a broker wait for its ids, from its first connection on: 2 s.
const HOLD: u64 = 2_000_000_000;

/// The same where there are other proxies: 5 s. What they are told is known here some 3 s later.
const HOLD_FOR_PEERS: u64 = 5_000_000_000;

/// What was learned by a time of the brokers that routes lead to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Learned {
    cluster: Option<Arc<str>>,
    /// By their numbers.
    brokers: BTreeMap<u32, Identity>,
    /// Series of no broker wait for the id of the cluster.
    waits: bool,
}

/// What was learned of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    cluster: Option<Arc<str>>,
    id: Option<i32>,
    waits: bool,
}

impl Identity {
    fn of(broker: &Broker, now: Option<Timestamp>, has_peers: bool) -> Self {
        let (cluster, id) = (broker.known_cluster().cloned(), broker.known_id());
        let hold = if has_peers { HOLD_FOR_PEERS } else { HOLD };
        let is_new = now.is_some_and(|now| broker.opened().is_none_or(|at| now.since(at) < hold));
        Self { waits: is_new && (cluster.is_none() || id.is_none()), cluster, id }
    }
}

impl Learned {
    /// Of the brokers of `routes`. `None`: nothing more will be learned.
    pub(crate) fn of(routes: &[Route], now: Option<Timestamp>, has_peers: bool) -> Self {
        let brokers = || routes.iter().map(|route| &*route.broker);
        let is_named = brokers().any(|broker| broker.cluster().is_some());
        let mut clusters = brokers().filter_map(Broker::known_cluster);
        let first = clusters.next().filter(|first| clusters.all(|other| other == *first));
        let cluster = first.filter(|_| !is_named).cloned();
        let brokers: BTreeMap<u32, Identity> =
            brokers().map(|broker| (broker.number(), Identity::of(broker, now, has_peers))).collect();
        let waits =
            cluster.is_none() && !is_named && brokers.values().all(|broker| broker.waits) && !brokers.is_empty();
        Self { cluster, brokers, waits }
    }

    /// The id of the cluster, when all routes lead to one and none has a name for it.
    #[must_use]
    pub fn cluster(&self) -> Option<&Arc<str>> {
        self.cluster.as_ref()
    }

    /// Whether a series is shown by now.
    pub(crate) fn shows(&self, series: &Series) -> bool {
        match broker(series) {
            Some(broker) => self.brokers.get(&broker.number()).is_none_or(|identity| !identity.waits),
            None => !(self.waits && lacks(series, Attribute::Cluster)),
        }
    }

    /// The attributes of a series with what was learned.
    pub fn attributes<'a>(&'a self, series: &'a Series) -> impl Iterator<Item = (Attribute, Scalar<'a>)> {
        let identity = broker(series).and_then(|broker| self.brokers.get(&broker.number()));
        let cluster = || identity.and_then(|identity| identity.cluster.as_ref()).or(self.cluster.as_ref());
        let cluster = lacks(series, Attribute::Cluster).then(cluster).flatten();
        let id = lacks(series, Attribute::BrokerId).then(|| identity?.id).flatten();
        let known = series.attributes().iter().map(|(key, value)| (*key, value.scalar()));
        known
            .chain(cluster.map(|cluster| (Attribute::Cluster, Scalar::Text(cluster))))
            .chain(id.map(|id| (Attribute::BrokerId, Scalar::Integer(id.into()))))
    }

    /// Whether a series that was shown has another name now than it had by `before`.
    pub(crate) fn renames(&self, before: &Self, series: &Series) -> bool {
        before.shows(series) && !self.attributes(series).eq(before.attributes(series))
    }
}

fn broker(series: &Series) -> Option<&Arc<Broker>> {
    match series.value(Attribute::ServerAddress) {
        Some(Value::ServerAddress(broker)) => Some(broker),
        _ => None,
    }
}

/// Whether a series of its metric may have the attribute, and this one has not.
fn lacks(series: &Series, key: Attribute) -> bool {
    series.metric().descriptor().keys().any(|own| own == key) && series.value(key).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Option<Timestamp> = Some(Timestamp(HOLD));

    fn routes(names: &[Option<&str>]) -> Vec<Route> {
        let route = |(listen, name): (u16, &Option<&str>)| Route { listen, broker: Broker::new("b", 1, None, *name) };
        (1..).zip(names).map(route).collect()
    }

    fn of(routes: &[Route], now: Option<Timestamp>) -> Learned {
        Learned::of(routes, now, false)
    }

    fn cluster(learned: &Learned) -> Option<&str> {
        learned.cluster().map(|id| &**id)
    }

    fn known(routes: &[Route]) -> Vec<Option<&str>> {
        routes.iter().map(|route| route.broker.known_cluster().map(|id| &**id)).collect()
    }

    #[test]
    fn brokers_are_of_one_cluster_unless_they_say_otherwise() {
        let routes = routes(&[None, None, None]);
        assert_eq!(cluster(&of(&routes, NOW)), None);
        routes[0].broker.learn_cluster(&"a".into());
        assert_eq!(cluster(&of(&routes, NOW)), Some("a"));
        routes[1].broker.hear_of_cluster(&"b".into());
        assert_eq!(cluster(&of(&routes, NOW)), None);
        routes[1].broker.learn_cluster(&"a".into());
        assert_eq!(cluster(&of(&routes, NOW)), Some("a"), "what its own clients are told counts");
    }

    #[test]
    fn where_clusters_differ_each_broker_has_its_own_and_topics_have_none() {
        let routes = routes(&[None, None, None]);
        routes[0].broker.learn_cluster(&"a".into());
        routes[1].broker.learn_cluster(&"b".into());
        assert_eq!(cluster(&of(&routes, NOW)), None);
        assert_eq!(known(&routes), [Some("a"), Some("b"), None]);
    }

    #[test]
    fn a_name_stands_and_what_was_told_first() {
        let routes = routes(&[Some("mine"), None]);
        for broker in routes.iter().map(|route| &route.broker) {
            broker.learn_cluster(&"a".into());
            broker.learn_cluster(&"b".into());
        }
        assert_eq!(known(&routes), [Some("mine"), Some("a")]);
        assert_eq!(cluster(&of(&routes, NOW)), None, "a topic without a cluster may be of either");
    }

    #[test]
    fn a_broker_waits_for_its_ids_from_its_first_connection_on() {
        let routes = routes(&[None]);
        let broker = &routes[0].broker;
        let waits = |nanos| of(&routes, Some(Timestamp(nanos))).waits;
        assert!(waits(9 * HOLD));
        broker.opens(Timestamp(5 * HOLD));
        assert!(waits(6 * HOLD - 1));
        assert!(!waits(6 * HOLD));
        assert!(Learned::of(&routes, Some(Timestamp(6 * HOLD)), true).waits, "for other proxies");
        assert!(!of(&routes, None).waits, "at the end");
        broker.hear_of_cluster(&"a".into());
        assert!(!waits(5 * HOLD));
        let of_broker = |learned: Learned| learned.brokers[&broker.number()].waits;
        assert!(of_broker(of(&routes, Some(Timestamp(5 * HOLD)))), "for its node id");
        broker.hear_of_id(1);
        assert!(!of_broker(of(&routes, Some(Timestamp(5 * HOLD)))));
    }
}
