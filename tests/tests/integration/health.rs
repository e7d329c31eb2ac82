//! What clients are told of leaders, losses, quotas and brokers, beside what the cluster says of itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kafkascope_tests::eventually::{eventually, until};
use kafkascope_tests::jmx;
use kafkascope_tests::kafka::{Broker, Cluster, ClusterSpec, Version};
use kafkascope_tests::proxy::{Proxy, ProxySpec};
use kafkascope_tests::testbed::Need;
use libtest_mimic::Trial;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, ClientContext, Statistics};

use crate::trial::trial;

/// Brokers that stop and start, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Led by all brokers in turn.
const MOVES: &str = "moves";
/// Has a replica on brokers 2 and 3, of which the one that is not in sync may lead.
const LOSSY: &str = "lossy";
const PARTITIONS: u16 = 6;
/// How often a client asks for metadata.
const POLL: Duration = Duration::from_millis(100);

pub(crate) fn trials() -> Vec<Trial> {
    let of = |version: Version| {
        [
            trial(
                format!("kafka_{version}::health::elections_losses_and_windows_are_those_of_the_cluster"),
                &[Need::Kafka],
                move || elections(version),
            ),
            trial(format!("kafka_{version}::health::throttling_is_what_the_client_says"), &[Need::Kafka], move || {
                throttled(version)
            }),
        ]
    };
    let bypass = trial("health::a_broker_that_clients_reach_past_the_proxy_is_named", &[Need::Kafka], bypass);
    Version::ALL.into_iter().flat_map(of).chain([bypass]).collect()
}

/// Broker 3 is stopped and started; then 2 takes records that 3 does not have, dies, and 3 leads.
fn elections(version: Version) -> Result<()> {
    let mut cluster = Cluster::start(&ClusterSpec::new(version, 3))?;
    cluster.create_topic(MOVES, PARTITIONS, 3)?;
    let topic = ["--create", "--topic", LOSSY, "--replica-assignment", "2:3"];
    let topic = [&topic[..], &["--config", "unclean.leader.election.enable=true"]].concat();
    cluster.administer("org.apache.kafka.tools.TopicCommand", &topic, PATIENCE)?;
    let mut oracle = jmx::Reader::start(
        version,
        &cluster.jmx()?[..1],
        &["kafka.controller:type=ControllerStats,name=UncleanLeaderElectionsPerSec"],
    )?;
    let before = oracle.read()?;
    let proxy = Proxy::start(&ProxySpec::new(cluster.routes()))?;
    let watcher = Watcher::start(&cluster)?;
    watcher.until("both topics", |seen| seen.leaders.len() == usize::from(PARTITIONS) + 1)?;

    cluster.stop(3)?;
    watcher
        .until("broker 3 to lead nothing", |seen| seen.leaders.values().all(|leader| *leader != 3 && *leader > 0))?;
    let producer = producer(&cluster, &[("acks", "1")])?;
    send(&producer, LOSSY, 100)?;
    watcher.until("broker 2 alone in sync", |seen| seen.in_sync == [2])?;
    cluster.kill(2)?;
    watcher.until("no leader", |seen| seen.leaders.get(&(LOSSY.to_owned(), 0)).is_some_and(|leader| *leader < 0))?;
    let dark = Instant::now();
    cluster.restart(3)?;
    cluster.wait_ready(PATIENCE)?;
    watcher.until("broker 3 to lead", |seen| seen.leaders.get(&(LOSSY.to_owned(), 0)) == Some(&3))?;
    send(&producer, LOSSY, 1)?;
    let dark = dark.elapsed();
    cluster.restart(2)?;
    cluster.wait_ready(PATIENCE)?;
    watcher.until("all leaders", |seen| seen.leaders.values().all(|leader| *leader > 0))?;

    // Preferred leaders may come back by themselves meanwhile, so both sides are read until they agree.
    let of = [("kafkascope_vantage", "wire")];
    eventually("our elections to be those of the metadata log", PATIENCE, || {
        let truth = cluster.leader_changes(&[MOVES, LOSSY])?;
        let ours = proxy.metrics()?.sum("kafka_leader_election_rate_total", &of).context("no elections")?;
        ensure!(truth > 0 && ours == truth as f64, "{ours} elections, but the metadata log has {truth}");
        Ok(Some(()))
    })?;
    let after = oracle.read()?;
    let unclean = jmx::Window { start: &before, end: &after }
        .count(&[("name", "UncleanLeaderElectionsPerSec")])
        .map_err(anyhow::Error::msg)?;
    let topic = [("messaging_destination_name", LOSSY)];
    // Where the controller keeps eligible leaders (KIP-966) nobody is told who was in sync, and only the lower end tells.
    let window = "kafkascope_partition_unavailable_duration_seconds_sum";
    let scrape = eventually("our unclean elections to be those of JMX, and the window's end", PATIENCE, || {
        let scrape = proxy.metrics()?;
        let ours = scrape.sum("kafka_unclean_election_rate_total", &topic);
        let of_all = scrape.sum("kafka_unclean_election_rate_total", &[]);
        let say = || format!("{}\n{}", scrape.show("kafka_"), scrape.show("kafkascope_partition"));
        ensure!(unclean >= 1.0 && ours == Some(unclean), "{ours:?}, but JMX has {unclean}:\n{}", say());
        ensure!(of_all == ours, "another topic is said to have lost records:\n{}", say());
        Ok(scrape.sum(window, &topic).is_some().then_some(scrape))
    })?;
    let window = scrape.sum(window, &topic).context("no window")?;
    let (least, most) = (dark.as_secs_f64() * 0.9, (dark + Duration::from_secs(2)).as_secs_f64());
    ensure!((least..=most).contains(&window), "unavailable for {window} s instead of {dark:?}");
    let errors = scrape.count(
        "kafkascope_partition_errors_total",
        &[("kafka_api", "Metadata"), ("error_type", "LEADER_NOT_AVAILABLE"), topic[0]],
    );
    ensure!(errors > 0, "no error of the window:\n{}", scrape.show("kafkascope_partition_errors"));
    drop(watcher);
    Ok(())
}

/// What a client is told, as a client sees it.
#[derive(Debug, Default)]
struct Seen {
    leaders: BTreeMap<(String, i32), i32>,
    in_sync: Vec<i32>,
}

/// Asks for metadata through the proxy all the time, at the broker that stays.
struct Watcher {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watcher {
    fn start(cluster: &Cluster) -> Result<Self> {
        let first = cluster.brokers().first().context("no broker")?.front().to_string();
        let consumer: BaseConsumer = client(&first, "watcher").create()?;
        let (seen, stop) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let (shared, stopped) = (seen.clone(), stop.clone());
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for topic in [MOVES, LOSSY] {
                    // Of a broker that is stopping there may be none.
                    let Ok(metadata) = consumer.fetch_metadata(Some(topic), Duration::from_secs(5)) else { continue };
                    let mut seen = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
                        seen.leaders.insert((topic.to_owned(), partition.id()), partition.leader());
                        if topic == LOSSY {
                            seen.in_sync = partition.isr().to_vec();
                        }
                    }
                }
                thread::sleep(POLL);
            }
        });
        Ok(Self { seen, stop, thread: Some(thread) })
    }

    fn until(&self, what: &str, holds: impl Fn(&Seen) -> bool) -> Result<()> {
        until(what, PATIENCE, || holds(&self.seen.lock().unwrap_or_else(PoisonError::into_inner)))
            .with_context(|| format!("{:?}", self.seen.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // One that panicked has ended, too.
        _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// Adds up what its brokers told it to wait.
#[derive(Debug, Default, Clone)]
struct Throttle {
    millis: Arc<AtomicU64>,
}

impl ClientContext for Throttle {
    fn stats(&self, statistics: Statistics) {
        let windows = statistics.brokers.values().filter_map(|broker| broker.throttle.as_ref());
        let millis: i64 = windows.map(|window| window.sum).sum();
        self.millis.fetch_add(millis.max(0).unsigned_abs(), Ordering::Relaxed);
    }
}

impl rdkafka::producer::ProducerContext for Throttle {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &rdkafka::producer::DeliveryResult<'_>, (): ()) {}
}

/// A producer that may send 20 kB/s sends faster.
fn throttled(version: Version) -> Result<()> {
    let cluster = Cluster::start(&ClusterSpec::new(version, 1))?;
    cluster.create_topic(MOVES, 1, 1)?;
    let quota = ["--alter", "--entity-type", "clients", "--entity-name", "throttled"];
    let quota = [&quota[..], &["--add-config", "producer_byte_rate=20000"]].concat();
    cluster.administer("kafka.admin.ConfigCommand", &quota, PATIENCE)?;
    let proxy = Proxy::start(&ProxySpec::new(cluster.routes()))?;
    let throttle = Throttle::default();
    let mut configuration = client(&cluster.front(), "throttled");
    configuration.set("acks", "1").set("linger.ms", "0").set("statistics.interval.ms", "200");
    let producer: BaseProducer<Throttle> = configuration.create_with_context(throttle.clone())?;
    for _ in 0..100 {
        producer.send(BaseRecord::<(), [u8]>::to(MOVES).payload(&[7; 5_000])).map_err(|(error, _)| error)?;
        producer.flush(PATIENCE)?;
    }
    let of = [("messaging_client_id", "throttled"), ("kafka_api", "Produce")];
    eventually("the two to agree", Duration::from_secs(30), || {
        producer.poll(Duration::from_millis(50));
        let theirs = throttle.millis.load(Ordering::Relaxed) as f64 / 1e3;
        let scrape = proxy.metrics()?;
        let ours = scrape.sum("kafkascope_throttle_duration_seconds_sum", &of).context("nothing is throttled")?;
        ensure!(theirs > 1.0, "the client says {theirs} s");
        ensure!((ours - theirs).abs() < 0.001, "we say {ours} s, the client {theirs} s");
        Ok(Some(()))
    })
}

/// The proxy leads to broker 1 only; whatever leads to broker 2 is not ours.
fn bypass() -> Result<()> {
    let cluster = Cluster::start(&ClusterSpec::new(Version::V4, 2))?;
    cluster.create_topic(MOVES, PARTITIONS, 1)?;
    let routes = cluster.routes();
    let (ours, theirs) = routes.split_at(1);
    let proxy = Proxy::start(&ProxySpec::new(ours.iter().copied()))?;
    let other = Proxy::start(&ProxySpec::new(theirs.iter().copied()))?;
    let producer = producer(&cluster, &[("acks", "all")])?;
    for partition in 0..i32::from(PARTITIONS) {
        let record = BaseRecord::<(), [u8]>::to(MOVES).partition(partition).payload(b"record");
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.flush(PATIENCE)?;
    // A client goes on asking the broker that it has spoken with last: each of these begins with another one.
    for broker in cluster.brokers() {
        let asker: BaseConsumer = client(&broker.front().to_string(), "asker").create()?;
        asker.fetch_metadata(Some(MOVES), PATIENCE)?;
    }
    let second = cluster.brokers().get(1).context("no second broker")?.front().port();
    let scrape = eventually("a word on both brokers", Duration::from_secs(60), || {
        let scrape = proxy.metrics()?;
        Ok((scrape.select("kafkascope_coverage", &[]).count() == 2).then_some(scrape))
    })?;
    let covered = |id: &str| scrape.sum("kafkascope_coverage", &[("kafkascope_broker_id", id)]);
    ensure!(covered("1") == Some(1.0), "broker 1:\n{}", scrape.show("kafkascope_coverage"));
    let port = second.to_string();
    let past = scrape.sum("kafkascope_coverage", &[("kafkascope_broker_id", "2"), ("server_port", &port)]);
    ensure!(past == Some(0.0), "broker 2:\n{}", scrape.show("kafkascope_coverage"));
    let log = proxy.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("that traffic is not seen")).collect();
    ensure!(
        lines.len() == 1 && lines.iter().all(|line| line.contains(&port) && line.contains("broker=2")),
        "the log names it once:\n{log}"
    );
    eventually("both to know their names", PATIENCE, || {
        let brokers = cluster.brokers().iter().zip([&proxy, &other]);
        brokers.into_iter().try_for_each(|(broker, proxy)| is_named(&cluster, broker, proxy)).map(Some)
    })
}

/// Nobody has told the proxy which broker of which cluster it stands before: it has learned that.
fn is_named(cluster: &Cluster, broker: &Broker, proxy: &Proxy) -> Result<()> {
    let (id, port) = (broker.id().to_string(), broker.upstream().port().to_string());
    let of_broker = [("server_port", port.as_str())];
    let named = [("kafkascope_broker_id", id.as_str()), ("messaging_kafka_cluster_id", cluster.id())];
    let all = proxy.metrics()?;
    let of_broker = all.samples().iter().filter(|sample| sample.matches(&of_broker));
    let of_topics = all.samples().iter().filter(|sample| sample.matches(&[("messaging_destination_name", MOVES)]));
    let (named_brokers, named_topics) = (
        of_broker.clone().filter(|sample| sample.matches(&named)).count(),
        of_topics.clone().filter(|sample| sample.matches(&named[1..])).count(),
    );
    ensure!(named_brokers > 0 && named_brokers == of_broker.count(), "broker {id}:\n{}", all.show("kafkascope"));
    ensure!(named_topics > 0 && named_topics == of_topics.count(), "topic {MOVES}:\n{}", all.show("kafkascope"));
    Ok(())
}

pub(crate) fn client(servers: &str, id: &str) -> ClientConfig {
    let mut configuration = ClientConfig::new();
    configuration.set("bootstrap.servers", servers).set("client.id", id);
    configuration
}

fn producer(cluster: &Cluster, settings: &[(&str, &str)]) -> Result<BaseProducer> {
    let mut configuration = client(&cluster.front(), "producer");
    configuration.set("topic.metadata.refresh.interval.ms", "500");
    for (key, value) in settings {
        configuration.set(*key, *value);
    }
    Ok(configuration.create()?)
}

fn send(producer: &BaseProducer, topic: &str, records: usize) -> Result<()> {
    for _ in 0..records {
        producer.send(BaseRecord::<(), [u8]>::to(topic).payload(b"record")).map_err(|(error, _)| error)?;
    }
    Ok(producer.flush(PATIENCE)?)
}
