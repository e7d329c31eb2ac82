//! A group that falls behind, seeks, commits ahead and commits in transactions, compared while it does so: items 24, 25,
//! 27, 39, 40, 44.
//!
//! What stands at a moment has to be read at that moment, so the clients stop at stations and both sides are read there. The
//! oracles' own requests would be among those that brokers count, so all this has a proxy of its own, after the others.

use std::{fs, net::SocketAddr, path::Path, thread, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;

use super::{
    ours::{self, Filter, key},
    row::{Figure, Measured, Row, Tolerance},
    scenario::{Bootstrap, Break, GROUP_TOPIC},
};
use crate::{
    eventually::eventually,
    java::Tool,
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

const STATIONS: [&str; 6] = ["read", "behind", "ahead", "pending", "committed", "aborted"];
const TOOL: &str = "kafka-consumer-groups";

/// What the clients say at a station.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Station {
    position: f64,
    consumed: f64,
    sought_over: f64,
    ahead: f64,
}

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
    let folder = tempfile::tempdir()?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("java/Groups.java");
    let past = |change| if breaking == Some(change) { &bootstrap.direct } else { &bootstrap.proxied };
    let arguments = [past(Break::UnseenConsumer), GROUP_TOPIC, "classic"];
    let tool = Tool::source(cluster.version(), &source)?.args(arguments).args([folder.path()]);
    let tool = tool.args([past(Break::UnseenRecords)]);
    let clients = thread::spawn(move || tool.run(WHOLE));
    let play = Play { cluster, receiver: &receiver, folder: folder.path() };
    let rows = play.rows(&|| clients.is_finished());
    if rows.is_err() {
        // Lets them end.
        for station in STATIONS {
            fs::write(folder.path().join(format!("{station}.go")), "")?;
        }
    }
    let said = clients.join().map_err(|_panic| anyhow!("the clients' thread panicked"))?;
    let rows = rows?;
    said.map(|_| rows)
}

struct Play<'a> {
    cluster: &'a Cluster,
    receiver: &'a Receiver,
    folder: &'a Path,
}

impl Play<'_> {
    fn rows(&self, ended: &dyn Fn() -> bool) -> Result<Vec<Row>> {
        let group = format!("{GROUP_TOPIC}-group");
        let consumer = format!("{GROUP_TOPIC}-consumer");
        let of_topic = [("topic", GROUP_TOPIC)];
        let of_group = [("group", group.as_str()), ("topic", GROUP_TOPIC)];
        let reader = [(key::CLIENT, consumer.as_str()), (key::TOPIC, GROUP_TOPIC)];
        let named = [("messaging.consumer.group.name", group.as_str())];
        let mut rows = Vec::new();

        self.at("read", ended)?;
        let (offset, lag) = self.described(&group)?;
        rows.push(self.row(40, "committed offset, at rest", "kafka.consumer_group.offset", &of_group, offset, TOOL));
        rows.push(self.row(24, "committed lag, at rest", "kafka.consumer_group.lag", &of_group, lag, TOOL));
        self.go("read")?;

        let said = self.at("behind", ended)?;
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
        self.go("behind")?;

        let said = self.at("ahead", ended)?;
        let (offset, _) = self.described(&group)?;
        rows.push(self.row(40, "committed offset, ahead", "kafka.consumer_group.offset", &of_group, offset, TOOL));
        let (metric, source) = ("kafkascope.consumer.skipped_records", "the client's seek");
        rows.push(self.row(44, "records sought over", metric, &reader, said.sought_over, source));
        let (metric, source) = ("kafkascope.consumer_group.commits.ahead", "the client's commits");
        rows.push(self.row(44, "commits past what was delivered", metric, &named, said.ahead, source));
        self.go("ahead")?;

        for (station, name) in [
            ("pending", "committed offset, transaction open"),
            ("committed", "committed offset, transaction committed"),
            ("aborted", "committed offset, transaction aborted"),
        ] {
            let said = self.at(station, ended)?;
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
            self.go(station)?;
        }
        Ok(rows)
    }

    /// Waits until the clients are there.
    fn at(&self, station: &str, ended: &dyn Fn() -> bool) -> Result<Station> {
        let path = self.folder.join(station);
        eventually(&format!("the group's clients to be at {station}"), PATIENCE, || {
            ensure!(!ended(), "the group's clients have ended");
            Ok(path.exists().then_some(()))
        })?;
        let text = fs::read_to_string(path)?;
        serde_json::from_str(&text).with_context(|| text.clone())
    }

    fn go(&self, station: &str) -> Result<()> {
        Ok(fs::write(self.folder.join(format!("{station}.go")), "")?)
    }

    /// Ours, when it has become the truth; after a while, as it is. A zero is a figure here: something was read.
    fn row(&self, item: u8, name: &str, metric: &str, filter: Filter<'_>, truth: f64, source: &str) -> Row {
        let read = || self.receiver.sum(metric, filter);
        // Not becoming it is for the row to say.
        let _met = eventually(name, CATCH_UP, || Ok((read() == Some(truth)).then_some(())));
        let ours: Measured = read().map(|value| Figure::mean(value, 1.0)).ok_or_else(|| ours::missing(metric, filter));
        Row::compared(item, name, ours, Ok(Figure::mean(truth, 1.0)), source, Tolerance::EXACT)
    }

    /// Offset and lag, as `kafka-consumer-groups.sh --describe` tells.
    fn described(&self, group: &str) -> Result<(f64, f64)> {
        let tool = Tool::class(self.cluster.version(), "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand")?;
        let servers = self.cluster.direct();
        let said = tool.args(["--bootstrap-server", &servers, "--describe", "--group", group]).run(PATIENCE)?;
        let line = |first: &str| {
            let words = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            words.into_iter().find(|words| words.first() == Some(&first)).with_context(|| format!("no {first}: {said}"))
        };
        let (head, row) = (line("GROUP")?, line(group)?);
        let field = |name: &str| -> Result<f64> {
            let at = head.iter().position(|column| *column == name);
            let text = at.and_then(|at| row.get(at)).with_context(|| format!("no {name}: {said}"))?;
            text.parse().with_context(|| said.clone())
        };
        Ok((field("CURRENT-OFFSET")?, field("LAG")?))
    }

    /// An offset of the only partition, as `kafka-get-offsets.sh` tells.
    fn listed(&self, time: &str) -> Result<f64> {
        let tool = Tool::class(self.cluster.version(), "org.apache.kafka.tools.GetOffsetShell")?;
        let servers = self.cluster.direct();
        let said = tool.args(["--bootstrap-server", &servers, "--topic", GROUP_TOPIC, "--time", time]).run(PATIENCE)?;
        let line = said.lines().find(|line| line.starts_with(GROUP_TOPIC)).with_context(|| said.clone())?;
        line.rsplit(':').next().unwrap_or_default().trim().parse().with_context(|| said.clone())
    }
}
