//! Clients that share no code with Kafka's own: franz-go, and kcat on an old librdkafka.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kafkascope_tests::java::run;
use kafkascope_tests::kafka::Version;
use kafkascope_tests::testbed::{self, Need};
use libtest_mimic::Trial;
use serde::Deserialize;

use crate::figures::{self, Figures, same};
use crate::records::{Received, compressible};
use crate::stage::{Stage, Stages};
use crate::trial::trial;

const PATIENCE: Duration = Duration::from_secs(120);
const RECORDS: usize = 200;
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
/// A record batch of magic 2 without records.
const BATCH_HEAD: u64 = 61;

pub(crate) fn trials(stages: &Arc<Stages>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for version in Version::ALL {
        let (franz_stages, kcat_stages) = (stages.clone(), stages.clone());
        trials.push(trial(format!("kafka_{version}::franz_go"), &[Need::Kafka, Need::Franz], move || {
            franz_stages.on(version, franz_go)
        }));
        trials.push(trial(format!("kafka_{version}::kcat"), &[Need::Kafka, Need::Kcat], move || {
            kcat_stages.on(version, kcat)
        }));
    }
    trials
}

/// What the Go program prints; see its source.
#[derive(Debug, Deserialize)]
struct Report {
    records: u64,
    batches: u64,
    batch_bytes: u64,
    codecs: BTreeMap<String, u64>,
    bytes_out: u64,
    bytes_in: u64,
    out_of_order: u64,
    distinct_keys: usize,
}

fn franz(stage: &Stage, verb: &str, id: &str, more: &[&str]) -> Result<Report> {
    let mut command = Command::new(testbed::franz());
    command.args([verb, "--bootstrap", &stage.cluster.front(), "--client-id", id, "--limit", "100s"]).args(more);
    let said = run(id, &command, PATIENCE)?;
    serde_json::from_str(&said).with_context(|| said)
}

fn franz_go(stage: &mut Stage) -> Result<()> {
    let topic = "franz";
    let records = RECORDS.to_string();
    let mut spent = 0;
    for acks in ["all", "1", "0"] {
        for codec in CODECS {
            let id = format!("franz-{acks}-{codec}");
            // Each has its own topic, so that its keys can be told from the others'.
            let topic = format!("{topic}-{acks}-{codec}");
            stage.cluster.create_topic(&topic, 2, 1)?;
            let flags = ["--topic", &topic, "--acks", acks, "--codec", codec, "--records", &records, "--size", "1024"];
            let own = franz(stage, "produce", &id, &flags)?;
            let ours = Figures::read(&stage.proxy, &id, |ours| {
                ours.produced() >= own.records && ours.io() >= (own.bytes_out, own.bytes_in) && ours.is_measured()
            })?;
            same("records", ours.records_sent(), own.records, &ours)?;
            same("records", ours.records_sent(), RECORDS as u64, &ours)?;
            let (batches, bytes) = ours.batches();
            same("batches", batches, own.batches, &ours)?;
            same("bytes in batches", bytes, own.batch_bytes + own.batches * BATCH_HEAD, &ours)?;
            let (ratio, measured) = ours.compression();
            same("batches with a compression ratio", measured, batches, &ours)?;
            ensure!((ratio == 1.0) == (codec == "none"), "{codec}: compression ratio {ratio}\n{}", ours.show());
            ensure!(ours.codecs() == own.codecs, "codecs: we say {:?}, the client {:?}", ours.codecs(), own.codecs);
            same("bytes sent", ours.io().0, own.bytes_out, &ours)?;
            same("bytes received", ours.io().1, own.bytes_in, &ours)?;
            figures::row_says(&stage.proxy, &id, "kgo/", acks, codec)?;
            spent += own.bytes_out + own.bytes_in;
        }
    }
    let passed = stage.taps.bytes();
    ensure!(passed == spent, "{passed} bytes went through the proxy, but the clients speak of {spent}");

    let flags = ["--topic", "franz-all-zstd", "--group", "franz-group", "--records", &records];
    let own = franz(stage, "consume", "franz-reader", &flags)?;
    ensure!(own.out_of_order == 0, "{} records out of order", own.out_of_order);
    ensure!(own.distinct_keys == RECORDS && own.records == RECORDS as u64, "{own:?}");
    let ours = Figures::read(&stage.proxy, "franz-reader", |ours| ours.consumed() >= own.records)?;
    same("messages", ours.consumed(), own.records, &ours)
}

fn kcat(stage: &mut Stage) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let topic = "kcat";
    stage.cluster.create_topic(topic, 2, 3)?;
    let mut runs = Vec::new();
    for (acks, codec) in ["all", "1", "0", "all", "1"].into_iter().zip(CODECS) {
        let id = format!("kcat-{acks}-{codec}");
        let lines: Vec<String> = (0..RECORDS)
            .map(|number| format!("{number}:{}\n", String::from_utf8_lossy(&compressible(&id, number))))
            .collect();
        let file = folder.path().join(&id);
        fs::write(&file, lines.concat())?;
        let mut produce = Command::new("kcat");
        produce.args(["-P", "-b", &stage.cluster.front(), "-t", topic, "-K", ":", "-z", codec, "-l"]).arg(&file);
        produce.args(["-X", &format!("client.id={id}"), "-X", &format!("acks={acks}"), "-X", "linger.ms=20"]);
        run(&id, &produce, PATIENCE)?;
        let ours = Figures::read(&stage.proxy, &id, |ours| ours.produced() >= RECORDS as u64)?;
        same("records", ours.records_sent(), RECORDS as u64, &ours)?;
        same("messages", ours.produced(), RECORDS as u64, &ours)?;
        figures::row_says(&stage.proxy, &id, "librdkafka/", acks, codec)?;
        runs.push(id);
    }
    let total = runs.len() * RECORDS;
    let mut consume = Command::new("kcat");
    consume.args(["-C", "-b", &stage.cluster.front(), "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%p %s\\n"]);
    let said = run("kcat", consume.args(["-X", "client.id=kcat-reader"]), PATIENCE)?;
    let mut received = Received::default();
    for line in said.lines() {
        let (partition, value) = line.split_once(' ').context("a line without partition")?;
        received.note(partition.parse()?, value.as_bytes())?;
    }
    received.must_be_complete(&runs, RECORDS)?;
    let ours = Figures::read(&stage.proxy, "kcat-reader", |ours| ours.consumed() >= total as u64)?;
    same("messages", ours.consumed(), total as u64, &ours)
}
