//! Lets real clients work with real brokers through the real proxy, and reads every oracle in the same window.

use std::{fs, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::busy::Busy;
use super::{
    evidence::Evidence,
    faults, groups,
    java::Workload,
    librdkafka::{self, Reader},
    relay,
    scenario::{
        self, Bootstrap, Break, CARELESS_PHASE, GROUP_TOPIC, NATIVE_CONSUMER, NATIVE_PRODUCERS, NativeProducer,
        PACED_PHASE, PARTITIONS, READINGS, STRANGER_PHASE, TOPICS,
    },
};
use crate::{
    eventually::{eventually, until},
    jmx,
    kafka::{Cluster, ClusterSpec, Version},
    port::Port,
    proxy::{Proxy, ProxySpec},
    receiver::Receiver,
};

const BROKERS: u16 = 3;
/// How long the producer with acks=0 works.
const CARELESS: Duration = Duration::from_secs(3);
/// How long all others work. Long enough for some hundred requests of each kind.
const PACED: Duration = Duration::from_secs(25);
/// How long a broker may take to stop or start.
const RESTART: Duration = Duration::from_secs(120);
/// How long what is told may take to arrive.
const EXPORTED: Duration = Duration::from_secs(20);
/// How often waiting requests are counted.
const SAMPLES: usize = 6;
/// How long brokers may take to come to rest.
const REST: Duration = Duration::from_secs(20);
/// How late a slow network is, before and behind the proxy. The latter also has to stand out from long polls.
const SLOW_CLIENTS: Duration = Duration::from_millis(50);
const SLOW_BROKERS: Duration = Duration::from_millis(150);

const MBEANS: [&str; 5] = [
    "kafka.server:type=DelayedOperationPurgatory,name=NumDelayedOperations,*",
    "kafka.network:type=RequestMetrics,name=TotalTimeMs,*",
    "kafka.network:type=RequestMetrics,name=RequestsPerSec,*",
    "kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec,topic=*",
    "kafka.server:type=BrokerTopicMetrics,name=BytesOutPerSec,topic=*",
];

/// One run from the start of the brokers to the last export.
pub(crate) fn run(version: Version, breaking: Option<Break>) -> Result<Evidence> {
    say(&format!("starting Apache Kafka {version}, {BROKERS} brokers"));
    // Leaders move when a broker is stopped, and not when a clock of the controller says so.
    let spec = ClusterSpec::new(version, BROKERS).property("auto.leader.rebalance.enable", "false");
    let mut cluster = Cluster::start(&spec)?;
    for topic in TOPICS {
        cluster.create_topic(topic, PARTITIONS, BROKERS)?;
    }
    cluster.create_topic(GROUP_TOPIC, 1, BROKERS)?;
    let mut oracle = jmx::Reader::start(version, &cluster.jmx()?, &MBEANS)?;
    let before = oracle.read_at_rest(REST)?;
    let idle = idle(&mut oracle)?;
    let receiver = Receiver::start()?;
    let (routes, _held) = routes(&cluster, breaking)?;
    let flags = ["--otlp-endpoint", &receiver.grpc_endpoint(), "--otlp-protocol", "grpc", "--export-interval", "1s"];
    let mut proxy = Proxy::start(&ProxySpec::new(routes.iter().copied()).flags(flags))?;
    // Whose series they are is known before what is compared begins, however slowly clients start.
    leaders(&asker(cluster.brokers()[0].front())?)?;

    say("starting clients");
    let bootstrap = Bootstrap { proxied: cluster.front(), direct: cluster.direct() };
    let folder = tempfile::tempdir()?;
    let specification = folder.path().join("clients.json");
    fs::write(&specification, scenario::java(version, &bootstrap, breaking).to_string())?;
    let mut java = Workload::start(version, &specification)?;
    let servers = bootstrap.instances(breaking);
    let reader = Reader::start(NATIVE_CONSUMER, READINGS, PARTITIONS, &servers)?;

    let busy = Busy::begin()?;
    let mut phases = vec![(CARELESS_PHASE, CARELESS)];
    phases.extend((breaking == Some(Break::Stranger)).then_some((STRANGER_PHASE, CARELESS)));
    for (phase, time) in phases {
        say(&format!("{phase} producers work for {} s", time.as_secs()));
        java.begin(phase, time)?;
        java.finish(phase, time)?;
    }
    let between = oracle.read_at_rest(REST)?;
    say(&format!("{PACED_PHASE} producers work for {} s", PACED.as_secs()));
    java.begin(PACED_PHASE, PACED)?;
    let working = NATIVE_PRODUCERS.map(|producer| (producer.id, librdkafka::produce(producer, &servers, PACED)));
    let joined =
        working.map(|(id, producer)| Ok((id, producer.join().unwrap_or_else(|_| anyhow::bail!("{id} panicked"))?)));
    let native_producers = joined.into_iter().collect::<Result<Vec<_>>>()?;
    java.finish(PACED_PHASE, PACED)?;
    let load = busy.share()?;

    say("consumers have nothing to read");
    let waiting = waiting(&mut oracle, idle, &receiver)?;
    say("consumers read to the end");
    let native_reader = reader.drain()?;
    let java = java.drain()?;
    let after = oracle.read_at_rest(REST)?;
    let log = |producer: NativeProducer| Ok((producer.topic, cluster.logged_batches(producer.topic, PARTITIONS)?));
    let logged = NATIVE_PRODUCERS.into_iter().map(log).collect::<Result<_>>()?;
    let leader_changes = elections(&mut cluster, &receiver, breaking)?;
    proxy.terminate()?;
    let status = proxy.wait(Duration::from_secs(60))?;
    ensure!(status.success(), "the proxy ended with {status}:\n{}", proxy.log());
    say("a group falls behind, seeks, commits ahead and in transactions");
    let groups = groups::run(&cluster, routes, &bootstrap, breaking)?;
    say("requests break off, strangers come, a broker and the collector are away");
    let faults = faults::run(&cluster, breaking)?;
    Ok(Evidence {
        receiver,
        before,
        between,
        after,
        java,
        native_producers,
        logged,
        native_reader,
        waiting,
        leader_changes,
        groups,
        faults,
        load,
    })
}

/// Fetches that wait at the brokers.
fn delayed(oracle: &mut jmx::Reader) -> Result<f64> {
    let of = [("name", "NumDelayedOperations"), ("delayedOperation", "Fetch")];
    Ok(oracle.read()?.total(&of, "Value"))
}

/// The same on average, while there are no clients: those of brokers, each of which is between two fetches at times.
fn idle(oracle: &mut jmx::Reader) -> Result<f64> {
    let mut sum = 0.0;
    for _ in 0..SAMPLES {
        std::thread::sleep(Duration::from_millis(500));
        sum += delayed(oracle)?;
    }
    Ok(sum / SAMPLES as f64)
}

/// Fetches that wait, ours and the brokers' less what waits there without clients.
fn waiting(oracle: &mut jmx::Reader, idle: f64, receiver: &Receiver) -> Result<Vec<(f64, f64)>> {
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        // As often as we export.
        std::thread::sleep(Duration::from_secs(1));
        let truth = delayed(oracle)? - idle;
        let ours = receiver.sum("kafkascope.purgatory.size", &[("kafka.api", "FetchConsumer")]);
        samples.push((ours.unwrap_or(0.0), truth));
    }
    Ok(samples)
}

/// A client that asks a broker who leads.
fn asker(broker: SocketAddr) -> Result<BaseConsumer> {
    Ok(ClientConfig::new().set("bootstrap.servers", broker.to_string()).create()?)
}

/// Who leads each partition.
fn leaders(asker: &BaseConsumer) -> Result<Vec<i32>> {
    let mut leaders = Vec::new();
    for topic in TOPICS {
        let metadata = asker.fetch_metadata(Some(topic), RESTART)?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        leaders.extend(partitions.map(|partition| partition.leader()));
    }
    Ok(leaders)
}

/// Stops a broker and starts it again, while somebody asks who leads. Gives how often leaders changed.
fn elections(cluster: &mut Cluster, receiver: &Receiver, breaking: Option<Break>) -> Result<u64> {
    say("a broker is stopped and started");
    let first = cluster.brokers().first().context("no broker")?;
    let asked = if breaking == Some(Break::Unasked) { first.direct() } else { first.front() };
    let asker = asker(asked)?;
    leaders(&asker)?;
    cluster.stop(BROKERS)?;
    let of = i32::from(BROKERS);
    until("leaders to move", RESTART, || {
        leaders(&asker).is_ok_and(|all| all.iter().all(|leader| *leader > 0 && *leader != of))
    })?;
    cluster.restart(BROKERS)?;
    cluster.wait_ready(RESTART)?;
    let changes = cluster.leader_changes(&TOPICS)?;
    // They may have come back meanwhile, and what was told last has to be exported.
    let told = || -> Result<Option<()>> {
        leaders(&asker)?;
        let ours = receiver.sum("kafka.leader.election.rate", &[]);
        Ok((ours == Some(changes as f64)).then_some(()))
    };
    if eventually("our elections", EXPORTED, told).is_err() {
        say("the elections that were counted are not those of the metadata log");
    }
    cluster.leader_changes(&TOPICS)
}

/// Where the proxy listens, and where that leads.
type Route = (SocketAddr, SocketAddr);

/// The proxy's routes, and ports that must be held as long as it runs. Clients are told the brokers' front addresses.
fn routes(cluster: &Cluster, breaking: Option<Break>) -> Result<(Vec<Route>, Vec<Port>)> {
    let mut held = Vec::new();
    let mut routes = Vec::new();
    for (front, upstream) in cluster.routes() {
        routes.push(match breaking {
            Some(Break::SlowClients) => {
                let port = Port::claim()?;
                let listen = port.address();
                held.push(port);
                relay::start(front, listen, SLOW_CLIENTS)?;
                (listen, upstream)
            }
            Some(Break::SlowBrokers) => (front, relay::start(([127, 0, 0, 1], 0).into(), upstream, SLOW_BROKERS)?),
            _ => (front, upstream),
        });
    }
    Ok((routes, held))
}

/// Progress; stdout is for the report.
fn say(what: &str) {
    eprintln!("truth: {what}");
}
