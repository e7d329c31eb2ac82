//! The cluster behind the proxy: embedded, Apache Kafka's own, or the user's.

use std::{collections::HashMap, fmt, fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
};

use super::{
    clients::TOPICS,
    relay::{Advertised, Relay},
};
use crate::{
    kafka::{Cluster, ClusterSpec, Version},
    mock::{MockCluster, Topic},
    port::Port,
};

/// Which Kafka stands behind the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kafka {
    /// librdkafka's mock brokers: no Java, starts at once.
    Embedded,
    /// Apache Kafka, by Java.
    Apache(Version),
    /// The user's own cluster, by one of its brokers' `HOST:PORT`.
    Own(String),
}

impl fmt::Display for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded Kafka"),
            Self::Apache(version) => write!(f, "Apache Kafka {version} (it may take a minute)"),
            Self::Own(bootstrap) => write!(f, "the cluster at {bootstrap}"),
        }
    }
}

const BROKERS: u16 = 3;
const PARTITIONS: u16 = 6;
const LIMIT: Duration = Duration::from_secs(20);

/// A cluster that clients reach through the proxy only.
#[derive(Debug)]
pub(super) struct Backend {
    kind: Kind,
    relay: Option<Relay>,
    routes: Vec<(SocketAddr, SocketAddr)>,
    _ports: Vec<Port>,
}

#[derive(Debug)]
enum Kind {
    Embedded(MockCluster),
    Apache(Cluster),
    Own(Guest),
}

/// What we have made in somebody else's cluster.
#[derive(Debug)]
struct Guest {
    bootstrap: String,
    topics: Vec<String>,
}

impl Backend {
    /// Starts the cluster, or finds it, and makes the topics. `program` is this program: it can be the embedded one.
    pub(super) fn start(kafka: &Kafka, program: &Path) -> Result<Self> {
        match kafka {
            Kafka::Embedded => {
                let topic = |name: &&str| Topic { name: (*name).into(), partitions: i32::from(PARTITIONS) };
                let topics: Vec<_> = TOPICS.iter().map(topic).collect();
                let cluster = MockCluster::start(program, i32::from(BROKERS), &topics)?;
                let advertised =
                    |broker: &SocketAddr| Advertised { host: broker.ip().to_string(), port: i32::from(broker.port()) };
                let brokers: Vec<_> = cluster.brokers().iter().map(advertised).collect();
                Self::relayed(Kind::Embedded(cluster), &brokers)
            }
            Kafka::Apache(version) => {
                let cluster = Cluster::start(&ClusterSpec::new(*version, BROKERS))?;
                for topic in TOPICS {
                    cluster.create_topic(topic, PARTITIONS, BROKERS)?;
                }
                let routes = cluster.routes();
                Ok(Self { kind: Kind::Apache(cluster), relay: None, routes, _ports: Vec::new() })
            }
            Kafka::Own(bootstrap) => {
                let brokers = brokers(bootstrap)?;
                Self::relayed(Kind::Own(Guest::arrive(bootstrap)?), &brokers)
            }
        }
    }

    /// A cluster that is not told of the proxy: relays stand in for its `advertised.listeners`.
    fn relayed(kind: Kind, brokers: &[Advertised]) -> Result<Self> {
        let relay = Relay::start(brokers)?;
        let ports = brokers.iter().map(|_| Port::claim()).collect::<Result<Vec<_>>>()?;
        let fronts = ports.iter().map(Port::address);
        relay.show(brokers.iter().cloned().zip(fronts.clone()).collect::<HashMap<_, _>>());
        let routes = fronts.zip(relay.addresses().iter().copied()).collect();
        Ok(Self { kind, relay: Some(relay), routes, _ports: ports })
    }

    /// What it is, for people.
    pub(super) fn describe(&self) -> String {
        let brokers = self.routes.len();
        match &self.kind {
            Kind::Embedded(_) => format!("embedded Kafka (librdkafka's mock cluster), {brokers} brokers"),
            Kind::Apache(cluster) => format!("Apache Kafka {}, {brokers} brokers", cluster.version()),
            Kind::Own(guest) => format!("your cluster at {}, {brokers} brokers", guest.bootstrap),
        }
    }

    /// For the proxy: where to listen, and where to forward that to; one for each broker.
    pub(super) fn routes(&self) -> &[(SocketAddr, SocketAddr)] {
        &self.routes
    }

    /// Bootstrap servers for clients.
    pub(super) fn bootstrap(&self) -> String {
        self.routes.iter().map(|(front, _)| front.to_string()).collect::<Vec<_>>().join(",")
    }

    /// Comes before the names of topics and groups, so that they stand apart in somebody's own cluster.
    pub(super) fn prefix(&self) -> &'static str {
        match self.kind {
            Kind::Embedded(_) | Kind::Apache(_) => "",
            Kind::Own(_) => "kafkascope-demo-",
        }
    }

    /// An error if a broker's process has ended.
    pub(super) fn must_run(&mut self) -> Result<()> {
        match &mut self.kind {
            Kind::Embedded(cluster) => cluster.process().must_run(),
            Kind::Apache(cluster) => {
                for broker in cluster.brokers() {
                    if broker.process().is_some_and(|process| has_ended(process.id())) {
                        bail!(
                            "broker {} of Kafka ended, the end of its log:\n{}",
                            broker.id(),
                            last_lines(&broker.log())
                        );
                    }
                }
                Ok(())
            }
            Kind::Own(_) => Ok(()),
        }
    }

    /// What the user should know about it.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = self.relay.as_ref().map(Relay::trouble).unwrap_or_default();
        if matches!(self.kind, Kind::Embedded(_)) {
            notes.push(
                "the embedded Kafka answers requests with acks=0, which Kafka does not (kafkascope.responses.unsolicited), \
                and some of its answers break the protocol (kafkascope.undecoded); --kafka 4 shows Apache Kafka's"
                    .into(),
            );
        }
        notes
    }

    /// Leaves nothing behind. Processes end with the value itself; topics in somebody's own cluster do not.
    pub(super) fn leave(&self) -> Result<()> {
        match &self.kind {
            Kind::Embedded(_) | Kind::Apache(_) => Ok(()),
            Kind::Own(guest) => guest.leave(),
        }
    }
}

fn brokers(bootstrap: &str) -> Result<Vec<Advertised>> {
    let client: BaseConsumer = config(bootstrap).create()?;
    let metadata = client.fetch_metadata(None, LIMIT);
    let metadata = metadata.with_context(|| format!("no Kafka answers at {bootstrap} (plain text listeners only)"))?;
    let advertised =
        |broker: &rdkafka::metadata::MetadataBroker| Advertised { host: broker.host().to_owned(), port: broker.port() };
    let brokers: Vec<_> = metadata.brokers().iter().map(advertised).collect();
    ensure!(!brokers.is_empty(), "the cluster at {bootstrap} names no broker");
    Ok(brokers)
}

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("client.id", "kafkascope-demo");
    config
}

impl Guest {
    /// Makes the topics that are not there.
    fn arrive(bootstrap: &str) -> Result<Self> {
        let names: Vec<_> = TOPICS.iter().map(|topic| format!("kafkascope-demo-{topic}")).collect();
        let new = names.iter().map(|name| NewTopic::new(name, i32::from(PARTITIONS), TopicReplication::Fixed(-1)));
        let new: Vec<_> = new.collect();
        let made = administer(bootstrap, async |admin| admin.create_topics(&new, &AdminOptions::new()).await)?;
        let mut topics = Vec::new();
        for result in made {
            match result {
                Ok(name) => topics.push(name),
                Err((_, rdkafka::types::RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, error)) => bail!("cannot make topic {name}: {error}"),
            }
        }
        Ok(Self { bootstrap: bootstrap.to_owned(), topics })
    }

    /// Deletes the topics that it made.
    fn leave(&self) -> Result<()> {
        let topics: Vec<_> = self.topics.iter().map(String::as_str).collect();
        if !topics.is_empty() {
            administer(&self.bootstrap, async |admin| admin.delete_topics(&topics, &AdminOptions::new()).await)?;
        }
        Ok(())
    }
}

fn administer<T>(
    bootstrap: &str,
    ask: impl AsyncFnOnce(&AdminClient<DefaultClientContext>) -> rdkafka::error::KafkaResult<T>,
) -> Result<T> {
    let admin: AdminClient<_> = config(bootstrap).create()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(ask(&admin))?)
}

/// A child that has ended is a zombie until somebody waits for it.
fn has_ended(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_none_or(|state| state == "Z")
}

fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
