//! Who the brokers behind routes are, by what clients are told here and through other proxies.

use super::state::State;
use super::store::OWN;
use crate::health::coverage::Route;

impl State {
    /// Tells the brokers of `routes` their cluster and their node ids, as far as these are known and nobody can be mistaken.
    pub(super) fn identify(&self, routes: &[Route]) {
        let mut clusters = self.clusters.iter().map(|(id, _)| id);
        if let (Some(id), None) = (clusters.next(), clusters.next())
            && routes.iter().all(|route| route.broker.cluster().is_none())
        {
            routes.iter().for_each(|route| route.broker.hear_of_cluster(id));
        }
        for route in routes.iter().filter(|route| route.broker.awaits_id()) {
            if let Some(id) = self.node(route, routes, true) {
                route.broker.learn_id(id);
            } else if let Some(id) = self.node(route, routes, false) {
                route.broker.hear_of_id(id);
            }
        }
    }

    /// The node that `route` leads to, if it is one alone and no other route leads there; by what clients are told `here`.
    fn node(&self, route: &Route, routes: &[Route], here: bool) -> Option<i32> {
        let told = self.brokers.iter().flat_map(|(_, known)| known).filter(|known| (known.origin == OWN) == here);
        let mut brokers = told.map(|known| &known.value).filter(|broker| route.leads_to(broker));
        let first = brokers.next()?;
        let alone = brokers.all(|other| other == first);
        (alone && routes.iter().filter(|other| other.leads_to(first)).count() == 1).then_some(first.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dictionary::{Broker, Dictionary};
    use crate::knowledge::fact::{BrokerName, ClusterId, Fact};
    use crate::settings::Settings;

    const PEER: usize = 1;

    fn routes(ports: &[u16]) -> Vec<Route> {
        let route = |&listen| Route { listen, broker: Broker::new("b", 1, None, None) };
        ports.iter().map(route).collect()
    }

    fn tell(state: &mut State, origin: usize, fact: Fact) {
        state.learn(origin, fact, &Dictionary::new(Settings::default()), 1);
    }

    fn cluster(id: &str) -> Fact {
        Fact::Cluster(ClusterId { id: id.into() })
    }

    fn broker(id: i32, port: u16) -> Fact {
        Fact::Broker(BrokerName { cluster: "".into(), id, host: "h".into(), port })
    }

    fn clusters(routes: &[Route]) -> Vec<Option<&str>> {
        routes.iter().map(|route| route.broker.known_cluster().map(|id| &**id)).collect()
    }

    fn ids(routes: &[Route]) -> Vec<Option<i32>> {
        routes.iter().map(|route| route.broker.known_id()).collect()
    }

    #[test]
    fn brokers_are_of_the_one_cluster_that_somebody_was_told() {
        for origin in [OWN, PEER] {
            let (mut state, mut routes) = (State::new(), routes(&[1, 2]));
            tell(&mut state, origin, cluster("a"));
            state.identify(&routes);
            assert_eq!(clusters(&routes), [Some("a"); 2]);
            routes[0].broker.learn_cluster(&"b".into());
            assert_eq!(clusters(&routes), [Some("b"), Some("a")], "what its own clients are told counts");
            routes.push(Route { listen: 3, broker: Broker::new("b", 1, None, Some("mine")) });
            routes.push(Route { listen: 4, broker: Broker::new("b", 1, None, None) });
            state.identify(&routes);
            assert_eq!(clusters(&routes)[2..], [Some("mine"), None], "it may be of either");
        }
    }

    #[test]
    fn of_which_of_two_clusters_a_broker_is_nobody_knows() {
        let (mut state, routes) = (State::new(), routes(&[1]));
        tell(&mut state, OWN, cluster("a"));
        tell(&mut state, PEER, cluster("b"));
        state.identify(&routes);
        assert_eq!(clusters(&routes), [None]);
    }

    #[test]
    fn a_broker_is_the_one_node_that_clients_find_by_its_route() {
        let (mut state, routes) = (State::new(), routes(&[1, 2, 3, 3]));
        for (id, port) in [(11, 1), (12, 2), (22, 2), (13, 3)] {
            tell(&mut state, PEER, broker(id, port));
        }
        state.identify(&routes);
        assert_eq!(ids(&routes), [Some(11), None, None, None]);
        tell(&mut state, OWN, broker(31, 1));
        state.identify(&routes);
        assert_eq!(ids(&routes)[0], Some(31), "what its own clients are told counts");
    }
}
