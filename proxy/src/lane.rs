//! An open route: what all its connections have in common.

use std::sync::Arc;

use kafkascope_telemetry::Broker;

use crate::config::Route;

/// A route, and the broker it leads to as metrics name it.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) route: Route,
    pub(crate) broker: Arc<Broker>,
}

impl Lane {
    pub(crate) fn new(route: Route) -> Arc<Self> {
        let (host, port) = (route.upstream.host().to_string(), route.upstream.port());
        let broker = Broker::new(&host, port, route.id, route.name.as_deref());
        Arc::new(Self { route, broker })
    }
}
