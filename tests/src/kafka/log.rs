//! Batches as they lie in a broker's log, told by Kafka's own program: an oracle for what passed on the wire.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Cluster, Version};
use crate::java::Tool;

/// A JVM on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes before the records of a batch.
const HEAD: u64 = 61;

/// A batch of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedBatch {
    /// Kafka's name of the codec.
    pub codec: String,
    /// Its size, with its head.
    pub bytes: u64,
    /// Size of its records, had they not been compressed.
    pub uncompressed: u64,
}

impl LoggedBatch {
    /// Size of its records over their size uncompressed.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        (self.bytes - HEAD) as f64 / self.uncompressed as f64
    }

    /// Mean ratio of those with codecs that are wanted, and how many these are.
    #[must_use]
    pub fn mean_ratio(batches: &[Self], wanted: impl Fn(&str) -> bool) -> (f64, usize) {
        let ratios: Vec<f64> = batches.iter().filter(|batch| wanted(&batch.codec)).map(Self::ratio).collect();
        (ratios.iter().sum::<f64>() / ratios.len() as f64, ratios.len())
    }
}

impl Cluster {
    /// The batches of a topic that has a replica of each partition on the first broker, and only one segment.
    pub fn logged_batches(&self, topic: &str, partitions: u16) -> Result<Vec<LoggedBatch>> {
        let data = self.brokers.first().context("no broker")?.folder.join("data");
        let file = |partition| data.join(format!("{topic}-{partition}/{:020}.log", 0)).display().to_string();
        let files: Vec<_> = (0..partitions).map(file).collect();
        let said = self.dump(&["--deep-iteration", "--files", &files.join(",")])?;
        let batches = parse(&said)?;
        ensure!(!batches.is_empty(), "no batch in the log of {topic}");
        Ok(batches)
    }

    /// How often the leaders of `topics` changed since they were created, the loss of one included, as the metadata log
    /// of a controller has it that has not yet begun a second segment.
    pub fn leader_changes(&self, topics: &[&str]) -> Result<u64> {
        let data = self.brokers.first().context("no broker")?.folder.join("data");
        let file = data.join(format!("__cluster_metadata-0/{:020}.log", 0)).display().to_string();
        Ok(leader_changes(&self.dump(&["--cluster-metadata-decoder", "--files", &file])?, topics))
    }

    fn dump(&self, arguments: &[&str]) -> Result<String> {
        let class = match self.version {
            Version::V4 => "org.apache.kafka.tools.DumpLogSegments",
            Version::V39 => "kafka.tools.DumpLogSegments",
        };
        Tool::class(self.version, class)?.args(arguments).run(PATIENCE)
    }
}

/// `baseOffset: 0 .. size: 120 .. compresscodec: gzip ..` for a batch, `| offset: 0 CreateTime: .. keySize: ..
/// valueSize: .. headerKeys: []` for each of its records.
fn parse(said: &str) -> Result<Vec<LoggedBatch>> {
    let mut batches = Vec::new();
    // Offset and time of the batch's first record.
    let mut first = (0, 0);
    for line in said.lines() {
        if line.starts_with("baseOffset:") {
            let codec = word(line, "compresscodec:").context("no codec")?.to_lowercase();
            batches.push(LoggedBatch { codec, bytes: number(line, "size:")?.try_into()?, uncompressed: 0 });
        } else if let Some(record) = line.strip_prefix("| ") {
            let batch = batches.last_mut().context("a record before a batch")?;
            let (offset, time) = (number(record, "offset:")?, number(record, "CreateTime:")?);
            if batch.uncompressed == 0 {
                first = (offset, time);
            }
            let (key, value) = (number(record, "keySize:")?, number(record, "valueSize:")?);
            ensure!(word(record, "headerKeys:").is_none_or(|keys| keys == "[]"), "headers are not reckoned with");
            // Attributes, and the number of headers.
            let body = 2 + varint(time - first.1) + varint(offset - first.0) + field(key) + field(value);
            batch.uncompressed += varint(body as i64) + body;
        }
    }
    Ok(batches)
}

/// `payload: {"type":"TOPIC_RECORD",..,"data":{"name":..,"topicId":..}}` and `PARTITION_CHANGE_RECORD`, which has a `leader`
/// (`org.apache.kafka.metadata.PartitionRegistration.merge` takes a new epoch for each).
fn leader_changes(said: &str, topics: &[&str]) -> u64 {
    let payloads = said.lines().filter_map(|line| line.split_once("payload: ")?.1.parse::<serde_json::Value>().ok());
    let (mut ids, mut changes) = (Vec::new(), 0);
    for payload in payloads {
        let data = &payload["data"];
        match payload["type"].as_str() {
            Some("TOPIC_RECORD") if data["name"].as_str().is_some_and(|name| topics.contains(&name)) => {
                ids.push(data["topicId"].clone());
            }
            Some("PARTITION_CHANGE_RECORD") if ids.contains(&data["topicId"]) => {
                changes += u64::from(data["leader"].is_i64());
            }
            _ => {}
        }
    }
    changes
}

/// A key or a value behind its length; -1: there is none.
fn field(length: i64) -> u64 {
    varint(length) + length.max(0) as u64
}

/// Bytes of a zigzag varint.
fn varint(value: i64) -> u64 {
    let zigzag = (value << 1 ^ value >> 63) as u64;
    u64::from((64 - (zigzag | 1).leading_zeros()).div_ceil(7))
}

fn number(line: &str, key: &str) -> Result<i64> {
    let word = word(line, key).with_context(|| format!("no {key} in {line}"))?;
    word.parse().with_context(|| format!("{key} {word}"))
}

fn word<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_whitespace().skip_while(|word| *word != key).nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leader_changes_are_the_records_with_a_leader_of_the_topics_asked_for() {
        let record =
            |kind: &str, data: &str| format!(r#"| offset: 1 payload: {{"type":"{kind}","version":0,"data":{data}}}"#);
        let said = [
            record("TOPIC_RECORD", r#"{"name":"t","topicId":"a"}"#),
            record("TOPIC_RECORD", r#"{"name":"u","topicId":"b"}"#),
            record("PARTITION_CHANGE_RECORD", r#"{"partitionId":0,"topicId":"a","isr":[1],"leader":-1}"#),
            record("PARTITION_CHANGE_RECORD", r#"{"partitionId":0,"topicId":"a","leader":1}"#),
            record("PARTITION_CHANGE_RECORD", r#"{"partitionId":0,"topicId":"a","isr":[1,2]}"#),
            record("PARTITION_CHANGE_RECORD", r#"{"partitionId":0,"topicId":"b","leader":1}"#),
        ];
        assert_eq!(leader_changes(&said.join("\n"), &["t"]), 2);
    }

    #[test]
    fn the_uncompressed_size_is_added_up_from_the_records() {
        let said = "Dumping /tmp/orders-0/00000000000000000000.log\n\
            Log starting offset: 0\n\
            baseOffset: 7 lastOffset: 8 count: 2 position: 0 CreateTime: 170 size: 161 magic: 2 compresscodec: gzip\n\
            | offset: 7 CreateTime: 100 keySize: -1 valueSize: 100 sequence: -1 headerKeys: []\n\
            | offset: 8 CreateTime: 170 keySize: 3 valueSize: 40 sequence: -1 headerKeys: []\n\
            baseOffset: 9 lastOffset: 9 count: 1 position: 161 CreateTime: 180 size: 75 magic: 2 compresscodec: NONE\n\
            | offset: 9 CreateTime: 180 keySize: -1 valueSize: 7 sequence: -1 headerKeys: []\n";
        let batches = parse(said).unwrap();
        // 2 + 1 + 1 + 1 + (2 + 100) and its length of 2; 2 + 2 + 1 + (1 + 3) + (1 + 40) and its length of 1.
        assert_eq!(batches[0], LoggedBatch { codec: "gzip".to_owned(), bytes: 161, uncompressed: 109 + 51 });
        assert_eq!(batches[1].ratio(), 1.0, "7 and 7 bytes of fields: {batches:?}");
        assert_eq!(LoggedBatch::mean_ratio(&batches, |codec| codec == "gzip"), (100.0 / 160.0, 1));
    }
}
