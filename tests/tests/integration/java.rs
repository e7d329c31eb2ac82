//! Kafka's own Java clients and tools through the proxy.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kafkascope_tests::http;
use kafkascope_tests::java::Tool;
use kafkascope_tests::jmx;
use kafkascope_tests::kafka::Version;
use kafkascope_tests::testbed::Need;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::figures::{self, Figures, near, not_longer, same};
use crate::librdkafka;
use crate::records::VALUE_BYTES;
use crate::stage::{Play, Stage, Stages};
use crate::trial::trial;

/// A JVM on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
const RECORDS: usize = 300;
const PARTITIONS: u16 = 3;
/// Of the performance tools: so small that all is measured even when it comes within a second, see the budget of
/// compression ratios.
const RECORD_BYTES: usize = 500;
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

pub(crate) fn trials(stages: &Arc<Stages>) -> Vec<Trial> {
    let mut trials = Vec::new();
    let plays: [(&str, Play); 6] = [
        ("acks_all_with_every_codec", |stage| every_codec(stage, "all")),
        ("acks_1_with_every_codec", |stage| every_codec(stage, "1")),
        ("acks_0_with_every_codec", |stage| every_codec(stage, "0")),
        ("performance_tools_and_both_kinds_of_groups", performance_tools),
        ("verifiable_producer_and_consumer", verifiable_clients),
        ("transactions", transactions),
    ];
    for (name, play) in plays {
        for version in Version::ALL {
            let stages = stages.clone();
            trials.push(trial(format!("kafka_{version}::java::{name}"), &[Need::Kafka], move || {
                stages.on(version, play)
            }));
        }
    }
    let (version, stages) = (Version::V4, stages.clone());
    let name = format!("kafka_{version}::java::share_group");
    trials.push(trial(name, &[Need::Kafka], move || stages.on(version, share_group)));
    trials
}

fn every_codec(stage: &mut Stage, acks: &str) -> Result<()> {
    let topic = format!("java-{acks}");
    stage.cluster.create_topic(&topic, PARTITIONS, 3)?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("java/Producers.java");
    let tool = Tool::source(stage.cluster.version(), &source)?;
    let (records, bytes) = (RECORDS.to_string(), VALUE_BYTES.to_string());
    let said = tool.args([&stage.cluster.front(), &topic, acks, &records, &bytes]).run(PATIENCE)?;
    let lines: Vec<&str> = said.lines().collect();
    ensure!(lines.len() == CODECS.len(), "{said}");

    let mut spent = 0;
    let mut runs = Vec::new();
    for (line, codec) in lines.iter().zip(CODECS) {
        let run = format!("java-{acks}-{codec}");
        let own = Metrics::of_line(line, &run)?;
        producer_agrees(stage, &run, &own, acks, codec, RECORDS as u64).with_context(|| run.clone())?;
        spent += own.whole("outgoing-byte-total")? + own.whole("incoming-byte-total")?;
        runs.push(run);
    }
    let passed = stage.taps.bytes();
    ensure!(passed == spent, "{passed} bytes went through the proxy, but the clients speak of {spent}");
    let reader = format!("{topic}-check");
    let received = librdkafka::read_topic(&stage.cluster.direct(), &topic, &reader, runs.len() * RECORDS)?;
    received.must_be_complete(&runs, RECORDS)
}

fn producer_agrees(stage: &Stage, id: &str, own: &Metrics, acks: &str, codec: &str, records: u64) -> Result<()> {
    let (out, received) = (own.whole("outgoing-byte-total")?, own.whole("incoming-byte-total")?);
    let ours = Figures::read(&stage.proxy, id, |ours| {
        ours.produced() >= records && ours.io().1 >= received && ours.io().0 >= out && ours.is_measured()
    })?;
    same("records", ours.records_sent(), own.whole("record-send-total")?, &ours)?;
    same("messages", ours.produced(), records, &ours)?;
    same("requests", ours.all_requests(), own.whole("request-total")?, &ours)?;
    same("responses", ours.all_responses(), own.whole("response-total")?, &ours)?;
    same("bytes sent", ours.io().0, out, &ours)?;
    same("bytes received", ours.io().1, received, &ours)?;
    let acks_said = if acks == "-1" { "all" } else { acks };
    ensure!(ours.acks().keys().eq([acks_said]), "acks {:?}", ours.acks());
    ensure!(ours.codecs().keys().eq([codec]), "codecs {:?}", ours.codecs());
    let (batches, bytes) = ours.batches();
    near("mean batch in bytes", bytes as f64 / batches as f64, own.number("batch-size-avg")?, 0.01, 0.0)?;
    let (ratio, measured) = ours.compression();
    same("batches with a compression ratio", measured, batches, &ours)?;
    near("mean compression ratio", ratio, own.number("compression-rate-avg")?, 0.02, 0.0)?;
    if acks != "0" {
        not_longer("mean latency", ours.mean_ms("Produce")?, own.number("request-latency-avg")?)?;
    }
    let version = stage.cluster.version();
    // Client and broker are of one release, so the newest version of each API is used.
    let newest = match version {
        Version::V39 => 11,
        Version::V4 => 13,
    };
    let used =
        stage.proxy.client(id)?.apis.get("Produce").and_then(|produce| produce.min_version.zip(produce.max_version));
    ensure!(used == Some((newest, newest)), "versions of Produce: {used:?} instead of {newest}");
    figures::row_says(&stage.proxy, id, Some(&format!("apache-kafka-java/{}", version.number())), acks_said, codec)
}

/// `ProducerPerformance`, then `ConsumerPerformance` in a classic group and in one of KIP-848.
fn performance_tools(stage: &mut Stage) -> Result<()> {
    const MANY: u64 = 5_000;
    let topic = "java-performance";
    stage.cluster.create_topic(topic, PARTITIONS, 3)?;
    let version = stage.cluster.version();
    let own = producer_performance(stage, topic, "perf-producer", MANY, &[])?;
    producer_agrees(stage, "perf-producer", &own, "all", "lz4", MANY)?;
    let mut clients = vec!["perf-producer".to_owned()];
    let mut brokers = BytesOut::start(stage, topic)?;
    for protocol in ["classic", "consumer"] {
        let id = format!("perf-{protocol}");
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("consumer.properties");
        fs::write(&file, format!("client.id={id}\ngroup.protocol={protocol}\nauto.offset.reset=earliest\n"))?;
        let (config, messages) = match version {
            Version::V4 => ("--command-config", "--num-records"),
            Version::V39 => ("--consumer.config", "--messages"),
        };
        let tool = Tool::class(version, "org.apache.kafka.tools.ConsumerPerformance")?;
        let tool = tool.args(["--bootstrap-server", &stage.cluster.front(), "--topic", topic, "--group", &id]);
        let tool = tool.args([messages, &MANY.to_string(), "--timeout", "60000", config]).args([&file]);
        let (said, sent) = brokers.of(|| tool.run(PATIENCE))?;
        let read = records_read(&said)?;
        ensure!(read == MANY, "the client read {read} records of {MANY}");
        // Its records-consumed-total was seen to fall short of what the application was given, with both kinds.
        let ours = consumer_agrees(stage, &id, read, &sent)?;
        let api = if protocol == "classic" { "JoinGroup" } else { "ConsumerGroupHeartbeat" };
        ensure!(ours.requests(api) > 0, "no {api} of a {protocol} group\n{}", ours.show());
        clients.push(id);
    }
    figures::account_for_all_bytes(stage, &clients)
}

/// Compares a consumer that has read a whole topic of `read` records with what brokers say to have `sent` it.
fn consumer_agrees(stage: &Stage, id: &str, read: u64, sent: &Sent) -> Result<Figures> {
    let ours = Figures::read(&stage.proxy, id, |ours| ours.consumed() >= read)?;
    let &Sent { bytes, held } = sent;
    if bytes == held {
        same("messages", ours.consumed(), read, &ours)?;
        same("record bytes", ours.record_bytes_out(), bytes, &ours)?;
    } else {
        // A consumer may drop what it has fetched ahead and fetch it again, as while its assignment grows. What it closes upon
        // was sent, but it never got it.
        let got = ours.record_bytes_out();
        ensure!((held..=bytes).contains(&got), "{got} bytes, of {held} the brokers sent {bytes}\n{}", ours.show());
    }
    Ok(ours)
}

/// Record bytes of a topic, by the brokers' own figures.
struct BytesOut {
    brokers: jmx::Reader,
}

/// What brokers say of a while.
struct Sent {
    /// Record bytes that they sent to consumers.
    bytes: u64,
    /// Record bytes that the topic holds: all that producers ever sent.
    held: u64,
}

impl BytesOut {
    fn start(stage: &Stage, topic: &str) -> Result<Self> {
        let bytes = format!("kafka.server:type=BrokerTopicMetrics,name=Bytes*PerSec,topic={topic}");
        let brokers = jmx::Reader::start(stage.cluster.version(), &stage.cluster.jmx()?, &[&bytes])?;
        Ok(Self { brokers })
    }

    /// Does `work`, and says what the brokers sent meanwhile.
    fn of<T>(&mut self, work: impl FnOnce() -> Result<T>) -> Result<(T, Sent)> {
        let before = self.brokers.read_at_rest(PATIENCE)?;
        let done = work()?;
        let window = jmx::Window { start: &before, end: &self.brokers.read_at_rest(PATIENCE)? };
        let bytes = window.count(&[("name", "BytesOutPerSec")]).map_err(anyhow::Error::msg)? as u64;
        let held = window.end.total(&[("name", "BytesInPerSec")], "Count") as u64;
        Ok((done, Sent { bytes, held }))
    }
}

/// The column `data.consumed.in.nMsg` of what `ConsumerPerformance` prints: what the application was given.
fn records_read(said: &str) -> Result<u64> {
    let mut lines = said.lines().skip_while(|line| !line.contains("data.consumed.in.nMsg"));
    let (heads, values) = lines.next().zip(lines.next()).with_context(|| format!("no table in:\n{said}"))?;
    let read = heads.split(", ").zip(values.split(", ")).find(|(head, _)| *head == "data.consumed.in.nMsg");
    let (_, read) = read.with_context(|| format!("no such column in {heads}"))?;
    read.parse().with_context(|| format!("{read} records"))
}

fn producer_performance(stage: &Stage, topic: &str, id: &str, records: u64, more: &[&str]) -> Result<Metrics> {
    let version = stage.cluster.version();
    let tool = Tool::class(version, "org.apache.kafka.tools.ProducerPerformance")?;
    let tool = tool.args([
        "--topic",
        topic,
        "--record-size",
        &RECORD_BYTES.to_string(),
        "--throughput",
        "-1",
        "--print-metrics",
    ]);
    let tool = tool.args(["--num-records", &records.to_string()]).args(more);
    let properties = if version == Version::V4 { "--command-property" } else { "--producer-props" };
    let bootstrap = format!("bootstrap.servers={}", stage.cluster.front());
    let client = format!("client.id={id}");
    let tool = tool.args([properties, &bootstrap, &client, "acks=all", "compression.type=lz4", "linger.ms=5"]);
    let tool = tool.args(["metrics.sample.window.ms=600000"]);
    Metrics::of_tool(&tool.run(PATIENCE)?, id)
}

fn verifiable_clients(stage: &mut Stage) -> Result<()> {
    const MANY: usize = 2_000;
    let topic = "java-verifiable";
    stage.cluster.create_topic(topic, PARTITIONS, 3)?;
    let version = stage.cluster.version();
    let folder = tempfile::tempdir()?;
    let config = |id: &str| -> Result<String> {
        let path = folder.path().join(id);
        fs::write(&path, format!("client.id={id}\n"))?;
        Ok(path.display().to_string())
    };
    let common = |tool: Tool| tool.args(["--bootstrap-server", &stage.cluster.front(), "--topic", topic]);
    let max = MANY.to_string();

    let tool = common(Tool::class(version, "org.apache.kafka.tools.VerifiableProducer")?);
    let said = tool
        .args(["--max-messages", &max, "--acks", "1", "--producer.config", &config("v-producer")?])
        .run(PATIENCE)?;
    let acked = events(&said, "tool_data").filter_map(|event| event.get("acked")?.as_u64()).sum::<u64>();
    let ours = Figures::read(&stage.proxy, "v-producer", |ours| ours.produced() >= acked)?;
    same("messages", ours.produced(), acked, &ours)?;
    same("messages", ours.produced(), MANY as u64, &ours)?;
    figures::row_says(&stage.proxy, "v-producer", Some("apache-kafka-java/"), "1", "none")?;

    let mut brokers = BytesOut::start(stage, topic)?;
    for protocol in ["classic", "consumer"] {
        let id = format!("v-{protocol}");
        let tool = common(Tool::class(version, "org.apache.kafka.tools.VerifiableConsumer")?);
        let tool = tool.args(["--group-id", &id, "--group-protocol", protocol, "--max-messages", &max, "--verbose"]);
        let tool = tool.args(["--consumer.config", &config(&id)?]);
        let (said, sent) = brokers.of(|| tool.run(PATIENCE))?;
        let mut by_partition: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for event in events(&said, "record_data") {
            let number =
                |key: &str| event.get(key).and_then(|value| value.as_i64().or_else(|| value.as_str()?.parse().ok()));
            let (partition, value) = number("partition").zip(number("value")).context("a record without number")?;
            by_partition.entry(partition).or_default().push(value);
        }
        ensure!(by_partition.values().all(|values| values.is_sorted()), "out of order");
        let mut all: Vec<i64> = by_partition.into_values().flatten().collect();
        all.sort_unstable();
        ensure!(all.iter().copied().eq(0..MANY as i64), "{} records instead of {MANY}, or some twice", all.len());
        consumer_agrees(stage, &id, MANY as u64, &sent)?;
    }
    Ok(())
}

/// Members of a share group (KIP-932) are given records that no offset of theirs tells of.
fn share_group(stage: &mut Stage) -> Result<()> {
    const MANY: u64 = 2_000;
    let (topic, group) = ("java-share", "share-group");
    stage.cluster.create_topic(topic, PARTITIONS, 3)?;
    producer_performance(stage, topic, "share-producer", MANY, &[])?;
    let sent = Figures::read(&stage.proxy, "share-producer", |ours| ours.produced() >= MANY)?;
    let earliest = ["--alter", "--entity-type", "groups", "--entity-name", group];
    let earliest = [&earliest[..], &["--add-config", "share.auto.offset.reset=earliest"]].concat();
    stage.cluster.administer("kafka.admin.ConfigCommand", &earliest, PATIENCE)?;

    let id = "share-consumer";
    let tool = Tool::class(stage.cluster.version(), "org.apache.kafka.tools.consumer.ConsoleShareConsumer")?;
    let tool = tool.args(["--bootstrap-server", &stage.cluster.front(), "--topic", topic, "--group", group]);
    let client = format!("client.id={id}");
    let tool = tool.args(["--max-messages", &MANY.to_string(), "--command-property", &client]);
    let read = tool.run(PATIENCE)?.lines().filter(|line| line.len() == RECORD_BYTES).count() as u64;
    ensure!(read == MANY, "the client read {read} records of {MANY}");
    let ours = Figures::read(&stage.proxy, id, |ours| ours.consumed() >= MANY)?;
    same("messages", ours.consumed(), read, &ours)?;
    same("record bytes", ours.record_bytes_out(), sent.batches().1, &ours)?;
    ensure!(ours.requests("ShareFetch") > 0, "no ShareFetch\n{}", ours.show());
    let groups = http::get(stage.proxy.admin(), "/api/groups")?;
    ensure!(groups.contains(&format!("\"group\":\"{group}\"")), "{groups}");
    Ok(())
}

/// Committed transactions: their markers take offsets, but are nobody's messages.
fn transactions(stage: &mut Stage) -> Result<()> {
    const MANY: u64 = 2_000;
    let topic = "java-transactions";
    stage.cluster.create_topic(topic, PARTITIONS, 3)?;
    let transactional = ["--transactional-id", "tx", "--transaction-duration-ms", "50"];
    producer_performance(stage, topic, "tx-producer", MANY, &transactional)?;
    let ours = Figures::read(&stage.proxy, "tx-producer", |ours| ours.produced() >= MANY)?;
    same("messages", ours.produced(), MANY, &ours)?;
    ensure!(ours.requests("EndTxn") > 0, "no transaction\n{}", ours.show());
    let markers = stage.cluster.record_counts(topic)?.iter().sum::<u64>() - MANY;
    ensure!(markers > 0, "no transaction markers in the log");

    let id = "tx-reader";
    let settings = [("isolation.level", "read_committed")];
    let received = librdkafka::read_with(&stage.cluster.front(), topic, id, &settings, MANY as usize)?;
    ensure!(received == MANY as usize, "{received} records instead of {MANY}");
    let ours = Figures::read(&stage.proxy, id, |ours| ours.consumed() >= MANY)?;
    same("messages", ours.consumed(), MANY, &ours)
}

fn events<'a>(said: &'a str, name: &'a str) -> impl Iterator<Item = Value> + 'a {
    let events = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter(move |event| event.get("name").and_then(Value::as_str) == Some(name))
}

/// A Java client's own metrics, by name.
#[derive(Debug)]
struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// `ID NAME VALUE NAME VALUE ..`
    fn of_line(line: &str, id: &str) -> Result<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let (first, pairs) = words.split_first().context("an empty line")?;
        ensure!(*first == id, "metrics of {first} instead of {id}");
        let pairs = pairs.chunks_exact(2).filter_map(|pair| Some((pair[0].to_owned(), pair[1].parse().ok()?)));
        Ok(Self(pairs.collect()))
    }

    /// Lines such as `producer-metrics:request-total:{client-id=perf} : 12.000`, of the client as a whole.
    fn of_tool(said: &str, id: &str) -> Result<Self> {
        let of_client = format!(":{{client-id={id}}}");
        let lines = said.lines().filter_map(|line| {
            let (name, value) = line.split_once(&of_client)?;
            let name = name.rsplit(':').next()?;
            Some((name.trim().to_owned(), value.trim().trim_start_matches(':').trim().parse().ok()?))
        });
        let metrics: BTreeMap<String, f64> = lines.collect();
        ensure!(!metrics.is_empty(), "no metrics of {id} in:\n{said}");
        Ok(Self(metrics))
    }

    fn number(&self, name: &str) -> Result<f64> {
        self.0.get(name).copied().with_context(|| format!("the client has no metric {name}: {:?}", self.0.keys()))
    }

    fn whole(&self, name: &str) -> Result<u64> {
        Ok(self.number(name)? as u64)
    }
}
