//! A group that falls behind, seeks, commits ahead and commits in transactions, compared while it does so: items 24, 25,
//! 27, 39, 40, 44.
//!
//! What stands at a moment has to be read at that moment, so the clients stop at stations and both sides are read there. The
//! oracles' own requests would be among those that brokers count, so all this has a proxy of its own, after the others.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};

use super::{
    ours::{self, Filter, key},
    row::{Figure, Measured, Row, Tolerance},
    scenario::{Bootstrap, Break, GROUP_TOPIC},
};
use crate::{
    eventually::eventually,
    groups::{Clients, Stations},
    kafka::Cluster,
    proxy::{Proxy, ProxySpec},
    receiver::Receiver,
};

/// A JVM on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// All stations together, when each figure is awaited in vain.
const WHOLE: Duration = Duration::from_secs(600);
/// Exports come each second. A figure that is not right by then is taken as it is.
const CATCH_UP: Duration = Duration::from_secs(12);

const TOOL: &str = "kafka-consumer-groups";

/// Lets the clients work and compares at their stations.
pub(crate) fn run(
    cluster: &Cluster,
    routes: Vec<(SocketAddr, SocketAddr)>,
    bootstrap: &Bootstrap,
    breaking: Option<Break>,
) -> Result<Vec<Row>> {
    let receiver = Receiver::start()?;
    let flags = ["--otlp-endpoint", &receiver.grpc_endpoint(), "--otlp-protocol", "grpc", "--export-interval", "1s"];
    let _proxy = Proxy::start(&ProxySpec::new(routes).flags(flags))?;
    let past = |change| if breaking == Some(change) { &bootstrap.direct } else { &bootstrap.proxied };
    let clients = Clients {
        bootstrap: past(Break::UnseenConsumer),
        late: past(Break::UnseenRecords),
        topic: GROUP_TOPIC,
        protocol: "classic",
    };
    clients.run(cluster.version(), WHOLE, |stations| Play { cluster, receiver: &receiver, stations }.rows())
}

struct Play<'a> {
    cluster: &'a Cluster,
    receiver: &'a Receiver,
    stations: &'a Stations<'a>,
}

impl Play<'_> {
    fn rows(&self) -> Result<Vec<Row>> {
        let group = format!("{GROUP_TOPIC}-group");
        let consumer = format!("{GROUP_TOPIC}-consumer");
        let of_topic = [("topic", GROUP_TOPIC)];
        let of_group = [("group", group.as_str()), ("topic", GROUP_TOPIC)];
        let reader = [(key::CLIENT, consumer.as_str()), (key::TOPIC, GROUP_TOPIC)];
        let named = [("messaging.consumer.group.name", group.as_str())];
        let mut rows = Vec::new();

        self.stations.reach("read")?;
        let (offset, lag) = self.described(&group)?;
        rows.push(self.row(40, "committed offset, at rest", "kafka.consumer_group.offset", &of_group, offset, TOOL));
        rows.push(self.row(24, "committed lag, at rest", "kafka.consumer_group.lag", &of_group, lag, TOOL));
        self.stations.leave("read")?;

        let said = self.stations.reach("behind")?;
        let (offset, lag) = self.described(&group)?;
        let end = self.listed("-1")?;
        rows.push(self.row(40, "committed offset, behind", "kafka.consumer_group.offset", &of_group, offset, TOOL));
        rows.push(self.row(40, "sum of lag", "kafka.consumer_group.lag_sum", &of_group, lag, TOOL));
        rows.push(self.row(24, "committed lag, behind", "kafka.consumer_group.lag", &of_group, lag, TOOL));
        let behind = end - said.position;
        let source = "kafka-get-offsets less Java position()";
        rows.push(self.row(24, "position lag, behind", "kafkascope.consumer.position_lag", &reader, behind, source));
        rows.push(self.row(25, "position lag, most", "kafkascope.consumer.position_lag.max", &reader, behind, source));
        let source = "kafka-get-offsets";
        rows.push(self.row(39, "newest offset", "kafka.partition.current_offset", &of_topic, end, source));
        let start = self.listed("-2")?;
        rows.push(self.row(39, "oldest offset", "kafka.partition.oldest_offset", &of_topic, start, source));
        self.stations.leave("behind")?;

        let said = self.stations.reach("ahead")?;
        let (offset, _) = self.described(&group)?;
        rows.push(self.row(40, "committed offset, ahead", "kafka.consumer_group.offset", &of_group, offset, TOOL));
        let (metric, source) = ("kafkascope.consumer.skipped_records", "the client's seek");
        rows.push(self.row(44, "records sought over", metric, &reader, said.sought_over, source));
        let (metric, source) = ("kafkascope.consumer_group.commits.ahead", "the client's commits");
        rows.push(self.row(44, "commits past what was delivered", metric, &named, said.ahead, source));
        self.stations.leave("ahead")?;

        for (station, name) in [
            ("pending", "committed offset, transaction open"),
            ("committed", "committed offset, transaction committed"),
            ("aborted", "committed offset, transaction aborted"),
        ] {
            let said = self.stations.reach(station)?;
            let (offset, _) = self.described(&group)?;
            rows.push(self.row(40, name, "kafka.consumer_group.offset", &of_group, offset, TOOL));
            if station == "aborted" {
                let name = format!("records, {consumer}, which reads committed ones");
                let metric = "kafkascope.consumed.messages";
                rows.push(self.row(27, &name, metric, &reader, said.consumed, "Java records-consumed-total"));
                let metric = "kafkascope.consumer.position_lag";
                rows.push(self.row(
                    24,
                    "position lag, markers and aborted records",
                    metric,
                    &reader,
                    0.0,
                    "Java: at the end",
                ));
            }
            self.stations.leave(station)?;
        }
        Ok(rows)
    }

    /// Ours, when it has become the truth; after a while, as it is. A zero is a figure here: something was read.
    fn row(&self, item: u8, name: &str, metric: &str, filter: Filter<'_>, truth: f64, source: &str) -> Row {
        let read = || self.receiver.sum(metric, filter);
        // Not becoming it is for the row to say.
        let _met = eventually(name, CATCH_UP, || Ok((read() == Some(truth)).then_some(())));
        let ours: Measured = read().map(|value| Figure::mean(value, 1.0)).ok_or_else(|| ours::missing(metric, filter));
        Row::compared(item, name, ours, Ok(Figure::mean(truth, 1.0)), source, Tolerance::EXACT)
    }

    /// Offset and lag, as Kafka's tool tells.
    fn described(&self, group: &str) -> Result<(f64, f64)> {
        let (offset, lag) = self.cluster.described(group, PATIENCE)?;
        Ok((offset as f64, lag as f64))
    }

    /// An offset of the only partition, as Kafka's tool tells.
    fn listed(&self, time: &str) -> Result<f64> {
        let offsets = self.cluster.offsets(GROUP_TOPIC, time, PATIENCE)?;
        Ok(*offsets.first().context("no offset")? as f64)
    }
}
