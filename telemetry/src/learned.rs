//! What brokers say of themselves while traffic passes: the id of their cluster, and their node ids.
//!
//! Series are told apart by what was known beforehand. What is learned belongs to all of a broker's series alike, so it is
//! added where they are shown.

use std::sync::Arc;

use crate::attribute::{Attribute, Scalar, Value};
use crate::health::coverage::Route;
use crate::series::Series;

/// What was learned by now of the brokers that routes lead to.
#[derive(Debug, Clone, Default)]
pub struct Learned {
    cluster: Option<Arc<str>>,
}

impl Learned {
    /// Of the brokers of `routes`. One that has told no cluster yet is taken to be of the others' cluster.
    pub(crate) fn of(routes: &[Route]) -> Self {
        let brokers = || routes.iter().map(|route| &route.broker);
        if brokers().any(|broker| broker.cluster().is_some()) {
            return Self::default();
        }
        let mut clusters = brokers().filter_map(|broker| broker.known_cluster());
        let cluster = clusters.next().filter(|first| clusters.all(|other| other == *first));
        Self { cluster: cluster.cloned() }
    }

    /// Tells those that have told no cluster, for what is shown of one broker alone.
    pub(crate) fn share(&self, routes: &[Route]) {
        let of = self.cluster.iter().flat_map(|cluster| routes.iter().map(move |route| (cluster, route)));
        of.for_each(|(cluster, route)| route.broker.is_of_cluster(cluster));
    }

    /// The id of the cluster, when all routes lead to one and none has a name for it.
    #[must_use]
    pub fn cluster(&self) -> Option<&Arc<str>> {
        self.cluster.as_ref()
    }

    /// The attributes of a series with what was learned.
    pub fn attributes<'a>(&'a self, series: &'a Series) -> impl Iterator<Item = (Attribute, Scalar<'a>)> {
        let broker = match series.value(Attribute::ServerAddress) {
            Some(Value::ServerAddress(broker)) => Some(broker),
            _ => None,
        };
        let lacks = |key| series.metric().descriptor().keys().any(|own| own == key) && series.value(key).is_none();
        let cluster = || broker.and_then(|broker| broker.known_cluster()).or(self.cluster.as_ref());
        let cluster = lacks(Attribute::Cluster).then(cluster).flatten();
        let id = lacks(Attribute::BrokerId).then(|| broker?.known_id()).flatten();
        let known = series.attributes().iter().map(|(key, value)| (*key, value.scalar()));
        known
            .chain(cluster.map(|cluster| (Attribute::Cluster, Scalar::Text(cluster))))
            .chain(id.map(|id| (Attribute::BrokerId, Scalar::Integer(id.into()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dictionary::Broker;

    fn routes(names: &[Option<&str>]) -> Vec<Route> {
        let route = |(listen, name): (u16, &Option<&str>)| Route { listen, broker: Broker::new("b", 1, None, *name) };
        (1..).zip(names).map(route).collect()
    }

    #[test]
    fn brokers_are_of_one_cluster_unless_they_say_otherwise() {
        let routes = routes(&[None, None, None]);
        assert_eq!(Learned::of(&routes).cluster(), None);
        routes[0].broker.is_of_cluster(&"a".into());
        let learned = Learned::of(&routes);
        assert_eq!(learned.cluster().map(|id| &**id), Some("a"));
        learned.share(&routes);
        assert_eq!(routes[2].broker.known_cluster().map(|id| &**id), Some("a"), "one that has not told");
    }

    #[test]
    fn where_clusters_differ_each_broker_has_its_own_and_topics_have_none() {
        let routes = routes(&[None, None, None]);
        routes[0].broker.is_of_cluster(&"a".into());
        routes[1].broker.is_of_cluster(&"b".into());
        let learned = Learned::of(&routes);
        assert_eq!(learned.cluster(), None);
        learned.share(&routes);
        let known: Vec<_> = routes.iter().map(|route| route.broker.known_cluster().map(|id| &**id)).collect();
        assert_eq!(known, [Some("a"), Some("b"), None]);
    }

    #[test]
    fn a_name_stands_and_what_was_told_first() {
        let routes = routes(&[Some("mine"), None]);
        for broker in routes.iter().map(|route| &route.broker) {
            broker.is_of_cluster(&"a".into());
            broker.is_of_cluster(&"b".into());
        }
        let known: Vec<_> = routes.iter().map(|route| route.broker.known_cluster().map(|id| &**id)).collect();
        assert_eq!(known, [Some("mine"), Some("a")]);
        assert_eq!(Learned::of(&routes).cluster(), None, "a topic without a cluster may be of either");
    }
}
