//! Clients that share no code with Kafka's own: franz-go, kafka-python, KafkaJS, and kcat on an old librdkafka.
//!
//! Each is set to produce with every acks and codec and to consume all of it in a group. Beside our figures lies what it was
//! set to do, what it tells of itself, what the brokers' logs hold, and what passed the taps.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kafkascope_tests::java::run;
use kafkascope_tests::kafka::{LoggedBatch, Version};
use kafkascope_tests::proxy::ApiUse;
use kafkascope_tests::testbed::{self, Need};
use libtest_mimic::Trial;
use serde::Deserialize;

use crate::figures::{self, Figures, near, same};
use crate::records::{Received, compressible};
use crate::stage::{Stage, Stages};
use crate::trial::trial;

const PATIENCE: Duration = Duration::from_secs(120);
const RECORDS: usize = 200;
const PARTITIONS: u16 = 2;
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

const CLIENTS: [Client; 4] = [
    Client {
        name: "franz_go",
        needs: &[Need::Kafka, Need::Franz],
        codecs: &CODECS,
        software: Some("kgo/"),
        program: Program::Ours(testbed::franz),
    },
    Client {
        name: "kafka_python",
        needs: &[Need::Kafka, Need::KafkaPython],
        codecs: &CODECS,
        software: Some("kafka-python/3.0.12"),
        program: Program::Ours(testbed::kafka_python),
    },
    Client {
        name: "kafkajs",
        needs: &[Need::Kafka, Need::Kafkajs],
        // Its LZ4 is native code that would have to be compiled; brokers refuse what LZ4 in JavaScript makes (dependent blocks).
        codecs: &["none", "gzip", "snappy", "zstd"],
        // Its versions of ApiVersions are older than KIP-511.
        software: None,
        program: Program::Ours(testbed::kafkajs),
    },
    Client {
        name: "kcat",
        needs: &[Need::Kafka, Need::Kcat],
        codecs: &CODECS,
        software: Some("librdkafka/"),
        program: Program::Kcat,
    },
];

pub(crate) fn trials(stages: &Arc<Stages>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for client in &CLIENTS {
        for version in Version::ALL {
            let stages = stages.clone();
            trials.push(trial(format!("kafka_{version}::{}", client.name), client.needs, move || {
                stages.on(version, |stage| agrees(stage, client))
            }));
        }
    }
    trials
}

/// A client, and what is known of it.
#[derive(Debug)]
struct Client {
    name: &'static str,
    needs: &'static [Need],
    codecs: &'static [&'static str],
    /// How what it calls itself begins.
    software: Option<&'static str>,
    program: Program,
}

#[derive(Debug)]
enum Program {
    /// One of `tests/clients`; all have the same flags.
    Ours(fn() -> Command),
    Kcat,
}

/// What a client tells of itself at its end, if it does; see the sources in `tests/clients`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Report {
    records: Option<u64>,
    batches: Option<u64>,
    batch_bytes: Option<u64>,
    requests: Option<u64>,
    bytes_out: Option<u64>,
    bytes_in: Option<u64>,
    apis: Option<BTreeMap<String, ApiUse>>,
}

/// Batches of one codec as our figures have them.
#[derive(Debug, Default)]
struct Batches {
    count: u64,
    bytes: u64,
    /// The sum of their compression ratios.
    ratios: f64,
}

fn agrees(stage: &mut Stage, client: &Client) -> Result<()> {
    let topic = client.name;
    stage.cluster.create_topic(topic, PARTITIONS, 3)?;
    let folder = tempfile::tempdir()?;
    let (mut runs, mut told) = (Vec::new(), Vec::new());
    for acks in ["all", "1", "0"] {
        for &codec in client.codecs {
            let id = format!("{topic}-{acks}-{codec}");
            let file = folder.path().join(&id);
            fs::write(&file, lines(&id))?;
            let (_, report) = client.run(&id, client.producer(stage, &id, acks, codec, &file))?;
            told.push((acks, codec, report));
            runs.push(id);
        }
    }
    let mut sent: BTreeMap<&str, Batches> = BTreeMap::new();
    for (id, (acks, codec, report)) in runs.iter().zip(&told) {
        let batches = producer_agrees(stage, client, id, acks, codec, report).with_context(|| id.clone())?;
        let sum = sent.entry(codec).or_default();
        sum.count += batches.count;
        sum.bytes += batches.bytes;
        sum.ratios += batches.ratios;
    }

    let reader = format!("{topic}-reader");
    let total = runs.len() * RECORDS;
    let (received, report) = client.run(&reader, client.consumer(stage, &reader, total))?;
    received.must_be_complete(&runs, RECORDS)?;
    let logged = stage.cluster.logged_batches(topic, PARTITIONS)?;
    for (codec, sent) in &sent {
        log_agrees(&logged, codec, sent)?;
    }
    consumer_agrees(stage, &reader, total as u64, &logged, &report)?;
    runs.push(reader);
    figures::account_for_all_bytes(stage, &runs)
}

/// The records of a producer, `KEY:VALUE` each.
fn lines(id: &str) -> String {
    let line = |number| format!("{number}:{}\n", String::from_utf8_lossy(&compressible(id, number)));
    (0..RECORDS).map(line).collect()
}

fn producer_agrees(stage: &Stage, client: &Client, id: &str, acks: &str, codec: &str, own: &Report) -> Result<Batches> {
    let records = RECORDS as u64;
    let ours = Figures::read(&stage.proxy, id, |ours| {
        ours.produced() >= records && own.is_counted(ours) && ours.is_measured()
    })?;
    same("records", ours.records_sent(), records, &ours)?;
    same("messages", ours.produced(), records, &ours)?;
    let (count, bytes) = ours.batches();
    let told = [
        ("records", ours.records_sent(), own.records),
        ("batches", count, own.batches),
        ("bytes of batches", bytes, own.batch_bytes),
        ("bytes received", ours.io().1, own.bytes_in),
    ];
    compare(&told, &ours)?;
    own.agrees(stage, id, &ours)?;
    let only = |key: &str, count: u64| BTreeMap::from([(key.to_owned(), count)]);
    ensure!(ours.acks() == only(acks, ours.requests("Produce")), "acks {:?}\n{}", ours.acks(), ours.show());
    ensure!(ours.codecs() == only(codec, count), "codecs {:?}\n{}", ours.codecs(), ours.show());
    figures::row_says(&stage.proxy, id, client.software, acks, codec)?;
    let (ratio, measured) = ours.compression();
    same("batches with a compression ratio", measured, count, &ours)?;
    Ok(Batches { count, bytes, ratios: ratio * count as f64 })
}

fn log_agrees(logged: &[LoggedBatch], codec: &str, sent: &Batches) -> Result<()> {
    let (ratio, count) = LoggedBatch::mean_ratio(logged, |logged| logged == codec);
    let bytes: u64 = logged.iter().filter(|batch| batch.codec == codec).map(|batch| batch.bytes).sum();
    let is_so = (sent.count, sent.bytes) == (count as u64, bytes);
    ensure!(is_so, "{codec}: we say {sent:?}, the log has {count} batches of {bytes} bytes");
    near(&format!("mean compression ratio, {codec}"), sent.ratios / sent.count as f64, ratio, 0.0, 1e-6)
}

fn consumer_agrees(stage: &Stage, id: &str, records: u64, logged: &[LoggedBatch], own: &Report) -> Result<()> {
    let ours = Figures::read(&stage.proxy, id, |ours| ours.consumed() >= records && own.is_counted(ours))?;
    same("messages", ours.consumed(), records, &ours)?;
    same("record bytes", ours.record_bytes_out(), logged.iter().map(|batch| batch.bytes).sum(), &ours)?;
    ensure!(ours.requests("JoinGroup") > 0, "no group\n{}", ours.show());
    same("heartbeats of KIP-848", ours.requests("ConsumerGroupHeartbeat"), 0, &ours)?;
    // Who closes does not wait for the answer to its last fetch.
    let (received, told) = (ours.io().1, own.bytes_in.unwrap_or(0));
    ensure!(received >= told, "bytes received: we say {received}, the client {told}\n{}", ours.show());
    own.agrees(stage, id, &ours)
}

/// Our figures beside those that the client tells.
fn compare(figures: &[(&str, u64, Option<u64>)], ours: &Figures) -> Result<()> {
    let told = figures.iter().filter_map(|&(what, we_say, told)| Some((what, we_say, told?)));
    told.into_iter().try_for_each(|(what, we_say, told)| same(what, we_say, told, ours))
}

impl Report {
    /// Whether our figures have got as far as what it tells.
    fn is_counted(&self, ours: &Figures) -> bool {
        let (sent, received) = ours.io();
        let ours = [ours.all_requests(), sent, received];
        let told = [self.requests, self.bytes_out, self.bytes_in];
        ours.iter().zip(told).all(|(we_say, told)| *we_say >= told.unwrap_or(0))
    }

    /// What any client may tell of its requests.
    fn agrees(&self, stage: &Stage, id: &str, ours: &Figures) -> Result<()> {
        compare(
            &[("requests", ours.all_requests(), self.requests), ("bytes sent", ours.io().0, self.bytes_out)],
            ours,
        )?;
        let Some(told) = &self.apis else { return Ok(()) };
        let told: BTreeMap<String, ApiUse> = told.iter().map(|(name, api)| (renamed(name).to_owned(), *api)).collect();
        let apis = stage.proxy.client(id)?.apis;
        ensure!(apis == told, "requests and versions: we say {apis:?}, the client {told:?}");
        Ok(())
    }
}

/// What we, as Kafka's own metrics do, call an API that a client knows by another name.
fn renamed(api: &str) -> &str {
    match api {
        "Fetch" => "FetchConsumer",
        "GroupCoordinator" => "FindCoordinator",
        other => other,
    }
}

impl Client {
    fn producer(&self, stage: &Stage, id: &str, acks: &str, codec: &str, file: &Path) -> Command {
        let front = stage.cluster.front();
        match self.program {
            Program::Ours(program) => {
                let mut command = program();
                command.args(["produce", "--bootstrap", &front, "--client-id", id, "--topic", self.name]);
                command.args(["--acks", acks, "--codec", codec, "--file"]).arg(file);
                command
            }
            Program::Kcat => {
                let mut command = Command::new("kcat");
                command.args(["-P", "-b", &front, "-t", self.name, "-K", ":", "-z", codec, "-l"]).arg(file);
                command.args(["-X", &format!("client.id={id}"), "-X", &format!("acks={acks}"), "-X", "linger.ms=20"]);
                command
            }
        }
    }

    fn consumer(&self, stage: &Stage, id: &str, records: usize) -> Command {
        let (front, records) = (stage.cluster.front(), records.to_string());
        match self.program {
            Program::Ours(program) => {
                let mut command = program();
                command.args(["consume", "--bootstrap", &front, "--client-id", id, "--topic", self.name]);
                command.args(["--group", id, "--records", &records]);
                command
            }
            Program::Kcat => {
                let mut command = Command::new("kcat");
                command.args(["-G", id, "-b", &front, "-q", "-c", &records, "-f", "%p %s\\n"]);
                command.args(["-X", &format!("client.id={id}"), "-X", "auto.offset.reset=earliest", self.name]);
                command
            }
        }
    }

    /// Runs it; gives the records that it has received and what it tells of itself.
    fn run(&self, id: &str, command: Command) -> Result<(Received, Report)> {
        let (mut received, mut report) = (Received::default(), Report::default());
        for line in run(id, &command, PATIENCE)?.lines() {
            if line.starts_with('{') {
                report = serde_json::from_str(line).with_context(|| line.to_owned())?;
            } else {
                let (partition, value) = line.split_once(' ').context("a line without partition")?;
                received.note(partition.parse()?, value.as_bytes())?;
            }
        }
        Ok((received, report))
    }
}
