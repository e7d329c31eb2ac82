//! librdkafka through the proxy: every acks with every codec, both kinds of consumer groups, a run that goes past us.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kafkascope_tests::eventually::{eventually, until};
use kafkascope_tests::kafka::{LoggedBatch, Version};
use kafkascope_tests::testbed::Need;
use libtest_mimic::Trial;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Statistics};

use crate::figures::{self, Figures, near, not_longer, same};
use crate::records::{Received, compressible, incompressible};
use crate::stage::{Play, Stage, Stages};
use crate::trial::trial;

/// For everything that a client does in one go.
const PATIENCE: Duration = Duration::from_secs(120);
/// Records of one run.
const RECORDS: usize = 240;
const PARTITIONS: u16 = 3;
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

pub(crate) fn trials(stages: &Arc<Stages>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for acks in ["all", "1", "0"] {
        for version in Version::ALL {
            let stages = stages.clone();
            trials.push(trial(
                format!("kafka_{version}::librdkafka::acks_{acks}_with_every_codec"),
                &[Need::Kafka],
                move || stages.on(version, |stage| every_codec(stage, acks)),
            ));
        }
    }
    let more: [(&str, Play); 2] = [
        ("what_does_not_compress_is_reported_as_none", incompressible_is_none),
        ("what_goes_past_the_proxy_is_missing_from_its_figures", past_the_proxy),
    ];
    for (name, play) in more {
        for version in Version::ALL {
            let stages = stages.clone();
            trials.push(trial(format!("kafka_{version}::librdkafka::{name}"), &[Need::Kafka], move || {
                stages.on(version, play)
            }));
        }
    }
    trials
}

/// One producer for each codec, then a consumer of a classic group and, where librdkafka and the broker agree on
/// KIP-848, one of a new group, for all of their records.
fn every_codec(stage: &mut Stage, acks: &str) -> Result<()> {
    let topic = format!("rd-{acks}");
    stage.cluster.create_topic(&topic, PARTITIONS, 3)?;
    let (mut runs, mut ratios) = (Vec::new(), Vec::new());
    for codec in CODECS {
        let run = format!("rd-{acks}-{codec}");
        let settings = [("acks", acks), ("compression.type", codec)];
        let producer = Producer::open(&stage.cluster.front(), &run, &settings)?;
        producer.send(&topic, RECORDS, |number| compressible(&run, number))?;
        let own = producer.finish()?;
        let ours = Figures::read(&stage.proxy, &run, |ours| {
            ours.produced() >= own.messages && ours.io().1 >= own.bytes_in && ours.is_measured()
        })
        .with_context(|| run.clone())?;
        producer_agrees(stage, &run, &ours, &own, acks, codec).with_context(|| run.clone())?;
        ratios.push((codec, ours.compression()));
        runs.push(run);
    }
    let logged = stage.cluster.logged_batches(&topic, PARTITIONS)?;
    for (codec, (ratio, measured)) in ratios {
        let (truth, batches) = LoggedBatch::mean_ratio(&logged, |logged| logged == codec);
        ensure!(measured == batches as u64, "{codec}: a compression ratio of {measured} batches of {batches}");
        near(&format!("mean compression ratio, {codec}"), ratio, truth, 0.0, 1e-6)?;
    }
    let mut clients = runs.clone();
    let protocols: &[&str] =
        if stage.cluster.version() == Version::V4 { &["classic", "consumer"] } else { &["classic"] };
    for protocol in protocols {
        let name = format!("rd-{acks}-{protocol}");
        read_all(stage, &topic, &name, protocol, &runs).with_context(|| name.clone())?;
        clients.push(name);
    }
    figures::account_for_all_bytes(stage, &clients)
}

fn producer_agrees(stage: &Stage, run: &str, ours: &Figures, own: &Own, acks: &str, codec: &str) -> Result<()> {
    let only = |key: &str, count: u64| BTreeMap::from([(key.to_owned(), count)]);
    same("records", ours.records_sent(), RECORDS as u64, ours)?;
    same("messages", ours.produced(), own.messages, ours)?;
    same("Produce requests", ours.requests("Produce"), own.requests("Produce"), ours)?;
    own.is_part_of(ours)?;
    ensure!(ours.acks() == only(acks, own.requests("Produce")), "acks {:?}\n{}", ours.acks(), ours.show());
    ensure!(ours.codecs() == only(codec, ours.batches().0), "codecs {:?}\n{}", ours.codecs(), ours.show());
    let (batches, bytes) = ours.batches();
    let plain = (RECORDS * crate::records::VALUE_BYTES) as u64;
    ensure!((bytes > plain) == (codec == "none"), "{bytes} bytes in {batches} batches with codec {codec}");
    if acks != "0" {
        not_longer("mean duration of Produce", ours.mean_ms("Produce")?, own.longest_round_trip_ms)?;
        let row = stage.proxy.client(run)?.produce_ms.context("/api/clients: no produce_ms")?;
        same("produce_ms.count", row.count, own.requests("Produce"), ours)?;
    }
    figures::row_says(&stage.proxy, run, Some("librdkafka/2."), acks, codec)
}

fn read_all(stage: &Stage, topic: &str, name: &str, protocol: &str, runs: &[String]) -> Result<()> {
    let settings = [("enable.auto.commit", "false"), ("group.protocol", protocol)];
    let consumer = subscribe(&stage.cluster.front(), topic, name, &settings)?;
    let mut received = Received::default();
    poll(&consumer, runs.len() * RECORDS, |partition, value| received.note(partition, value))?;
    consumer.commit_consumer_state(CommitMode::Sync)?;
    received.must_be_complete(runs, RECORDS)?;
    let consumed = (runs.len() * RECORDS) as u64;
    // It goes on with heartbeats and fetches, so ours, read later, must have at least what it told.
    let told = consumer.context().own();
    let complete = |ours: &Figures| ours.consumed() >= consumed && ours.io() >= (told.bytes_out, told.bytes_in);
    let ours = Figures::read(&stage.proxy, name, complete)?;
    same("messages", ours.consumed(), consumed, &ours)?;
    let (sent, received) = ours.io();
    ensure!(sent >= told.bytes_out && received >= told.bytes_in, "we saw less than it told: {told:?}\n{}", ours.show());
    let api = if protocol == "classic" { "JoinGroup" } else { "ConsumerGroupHeartbeat" };
    ensure!(ours.requests(api) > 0, "no {api} of a {protocol} group\n{}", ours.show());
    Ok(())
}

/// All of `count` records in `topic`.
pub(crate) fn read_topic(bootstrap: &str, topic: &str, name: &str, count: usize) -> Result<Received> {
    let consumer = subscribe(bootstrap, topic, name, &[])?;
    let mut received = Received::default();
    poll(&consumer, count, |partition, value| received.note(partition, value))?;
    Ok(received)
}

/// How many records there are in `topic`, read until there are `count`.
pub(crate) fn read_with(
    bootstrap: &str,
    topic: &str,
    name: &str,
    settings: &[(&str, &str)],
    count: usize,
) -> Result<usize> {
    let mut total = 0;
    poll(&subscribe(bootstrap, topic, name, settings)?, count, |_, _| {
        total += 1;
        Ok(())
    })?;
    Ok(total)
}

fn subscribe(bootstrap: &str, topic: &str, name: &str, settings: &[(&str, &str)]) -> Result<BaseConsumer<Ledger>> {
    let mut config = configure(bootstrap, name, settings);
    config.set("group.id", name).set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer<Ledger> = config.create_with_context(Ledger::default()).context("no consumer")?;
    consumer.subscribe(&[topic])?;
    Ok(consumer)
}

/// Reads `count` records, and what comes on top of them at once.
fn poll(consumer: &BaseConsumer<Ledger>, count: usize, mut note: impl FnMut(i32, &[u8]) -> Result<()>) -> Result<()> {
    let mut total = 0;
    let mut last_error = None;
    let read = until("all records", PATIENCE, || {
        while let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let noted = message.map_err(anyhow::Error::from).and_then(|message| {
                total += 1;
                note(message.partition(), message.payload().unwrap_or_default())
            });
            last_error = noted.err().or(last_error.take());
        }
        total >= count
    });
    read.with_context(|| format!("{total} of {count} records, last error {last_error:?}"))
}

/// Random bytes of a producer that is to use lz4. librdkafka sends a batch that does not shrink uncompressed, so `none` is
/// the truth. One record a batch: the heads of several are alike enough to be compressed.
fn incompressible_is_none(stage: &mut Stage) -> Result<()> {
    const FEW: usize = 20;
    let run = "rd-random";
    stage.cluster.create_topic(run, 1, 1)?;
    let settings = [("acks", "all"), ("compression.type", "lz4"), ("batch.num.messages", "1")];
    let producer = Producer::open(&stage.cluster.front(), run, &settings)?;
    producer.send(run, FEW, incompressible)?;
    let own = producer.finish()?;
    let ours = Figures::read(&stage.proxy, run, |ours| ours.produced() >= own.messages)?;
    same("messages", ours.produced(), FEW as u64, &ours)?;
    ensure!(ours.codecs().keys().eq(["none"]), "codecs {:?}", ours.codecs());
    figures::row_says(&stage.proxy, run, Some("librdkafka/2."), "all", "none")
}

/// Two producers with one name, one of them on the brokers' own listener: we must say less than the brokers have.
fn past_the_proxy(stage: &mut Stage) -> Result<()> {
    let run = "rd-bypass";
    stage.cluster.create_topic(run, 1, 1)?;
    for bootstrap in [stage.cluster.front(), stage.cluster.direct()] {
        let producer = Producer::open(&bootstrap, run, &[("acks", "all")])?;
        producer.send(run, RECORDS, |number| compressible(run, number))?;
        producer.finish()?;
    }
    let there: u64 = stage.cluster.record_counts(run)?.iter().sum();
    ensure!(there == 2 * RECORDS as u64, "the brokers have {there} records");
    let ours = Figures::read(&stage.proxy, run, |ours| ours.produced() >= there / 2)?;
    same("messages that went through the proxy", ours.produced(), there / 2, &ours)
}

/// A producer that keeps what librdkafka says of itself.
pub(crate) struct Producer {
    inner: ThreadedProducer<Ledger>,
}

impl Producer {
    pub(crate) fn open(bootstrap: &str, client_id: &str, settings: &[(&str, &str)]) -> Result<Self> {
        let config = configure(bootstrap, client_id, settings);
        Ok(Self { inner: config.create_with_context(Ledger::default()).context("no producer")? })
    }

    /// Sends `count` records, spread over three partitions if the topic is one of several, and waits for their delivery.
    pub(crate) fn send(&self, topic: &str, count: usize, value: impl Fn(usize) -> Vec<u8>) -> Result<()> {
        for number in 0..count {
            self.send_one(topic, &number.to_string(), &value(number))?;
        }
        self.inner.flush(PATIENCE).context("not everything was delivered")
    }

    /// Queues one record.
    pub(crate) fn send_one(&self, topic: &str, key: &str, value: &[u8]) -> Result<()> {
        eventually("room in the queue", PATIENCE, || {
            match self.inner.send(BaseRecord::to(topic).key(key).payload(value)) {
                Ok(()) => Ok(Some(())),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(None),
                Err((error, _)) => bail!(error),
            }
        })
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        self.inner.context()
    }

    pub(crate) fn flush(&self) -> Result<()> {
        self.inner.flush(PATIENCE).context("not everything was delivered")
    }

    /// Closes it; gives what it says of itself at rest.
    pub(crate) fn finish(self) -> Result<Own> {
        self.flush()?;
        let context = self.inner.context().clone();
        ensure!(context.failures().is_empty(), "deliveries failed: {:?}", context.failures());
        let delivered = context.delivered.load(Ordering::SeqCst);
        context.wait_for_rest(delivered)?;
        drop(self);
        Ok(context.own())
    }
}

fn configure(bootstrap: &str, client_id: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("client.id", client_id);
    config.set("statistics.interval.ms", "100").set("linger.ms", "20");
    // No request on librdkafka's own account while the two sides are compared.
    config.set("topic.metadata.refresh.interval.ms", "-1").set("message.timeout.ms", "100000");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}

/// What librdkafka says of itself, from its statistics.
///
/// They leave out what it did with a bootstrap server before it knew the server as a broker, which is a connection of its
/// own, closed at once: a few requests that it has forgotten.
#[derive(Debug, Clone, Default)]
pub(crate) struct Own {
    pub(crate) messages: u64,
    sent: u64,
    received: u64,
    bytes_out: u64,
    bytes_in: u64,
    requests: BTreeMap<String, u64>,
    /// The longest of all round trips, whatever they were for.
    longest_round_trip_ms: f64,
}

/// Most that a client may have asked its bootstrap servers and forgotten: ApiVersions and Metadata, of each of them.
const FORGOTTEN_REQUESTS: u64 = 6;
const FORGOTTEN_BYTES: u64 = 16 * 1024;

impl Own {
    pub(crate) fn requests(&self, api: &str) -> u64 {
        self.requests.get(api).copied().unwrap_or(0)
    }

    /// Our figures are these, and what librdkafka has forgotten on top of them.
    fn is_part_of(&self, ours: &Figures) -> Result<()> {
        let pairs = [
            ("requests", ours.all_requests(), self.sent, FORGOTTEN_REQUESTS),
            ("responses", ours.all_responses(), self.received, FORGOTTEN_REQUESTS),
            ("bytes sent", ours.io().0, self.bytes_out, FORGOTTEN_BYTES),
            ("bytes received", ours.io().1, self.bytes_in, FORGOTTEN_BYTES),
        ];
        for (what, ours_says, told, forgotten) in pairs {
            let allowed = told..=told + forgotten;
            ensure!(allowed.contains(&ours_says), "{what}: we say {ours_says}, it {told}\n{}", ours.show());
        }
        Ok(())
    }

    fn note(&mut self, statistics: &Statistics) {
        let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
        self.messages = unsigned(statistics.txmsgs);
        self.sent = unsigned(statistics.tx);
        self.received = unsigned(statistics.rx);
        self.bytes_out = unsigned(statistics.tx_bytes);
        self.bytes_in = unsigned(statistics.rx_bytes);
        self.requests.clear();
        for broker in statistics.brokers.values() {
            for (api, count) in &broker.req {
                *self.requests.entry(api.clone()).or_default() += unsigned(*count);
            }
            // It takes the time when it has sent, and may wait for a processor in between.
            if let (Some(waited), Some(round_trips)) = (&broker.outbuf_latency, &broker.rtt) {
                let longest = (waited.max + round_trips.max) as f64 / 1000.0;
                self.longest_round_trip_ms = self.longest_round_trip_ms.max(longest);
            }
        }
    }
}

/// Keeps a client's statistics, errors and deliveries.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    own: Mutex<(Own, u64)>,
    errors: Mutex<Vec<KafkaError>>,
    failures: Mutex<Vec<String>>,
    pub(crate) delivered: AtomicU64,
}

impl Ledger {
    pub(crate) fn own(&self) -> Own {
        lock(&self.own).0.clone()
    }

    /// Errors that the client reported outside of deliveries.
    pub(crate) fn errors(&self) -> Vec<KafkaError> {
        lock(&self.errors).clone()
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        lock(&self.failures).clone()
    }

    /// Until the statistics know of all deliveries, and two in a row are equal.
    fn wait_for_rest(&self, messages: u64) -> Result<()> {
        let mut last = (0, 0, 0, 0);
        until("statistics at rest", PATIENCE, || {
            let (own, number) = &*lock(&self.own);
            let now = (own.sent, own.received, own.bytes_in, *number);
            if now.3 == last.3 {
                return false;
            }
            let rests = own.messages >= messages && (now.0, now.1, now.2) == (last.0, last.1, last.2);
            last = now;
            rests
        })
    }
}

impl ClientContext for Ledger {
    fn stats(&self, statistics: Statistics) {
        let mut own = lock(&self.own);
        own.0.note(&statistics);
        own.1 += 1;
    }

    fn error(&self, error: KafkaError, _reason: &str) {
        lock(&self.errors).push(error);
    }
}

impl ConsumerContext for Ledger {}

impl ProducerContext for Ledger {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _opaque: ()) {
        match result {
            Ok(_) => _ = self.delivered.fetch_add(1, Ordering::SeqCst),
            Err((error, _)) => lock(&self.failures).push(error.to_string()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
