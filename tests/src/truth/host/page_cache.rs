//! Item 11: what a consumer's reads find in the page cache, beside what mincore said just before (`fincore` asks it).

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use rustix::fs::{Advice, fadvise, fsync};

use super::Break;
use super::stage::{Stage, growth, output, say};
use crate::truth::row::{Figure, Row, Tolerance};

/// How much of a log is in the page cache when its consumer comes.
#[derive(Clone, Copy)]
enum Warmth {
    Cold,
    Half,
    Hot,
}

const CASES: [(&str, Warmth); 3] = [("cold", Warmth::Cold), ("half", Warmth::Half), ("hot", Warmth::Hot)];

const RECORD: usize = 16 << 10;
const RECORDS: usize = 3_000;
const PAGE: u64 = 4096;
const PATIENCE: Duration = Duration::from_secs(60);

/// By case: the pages of the log, how many of them were asked for and added, and the ratio.
pub(super) fn rows(stage: &mut Stage) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let cases = CASES.map(|(case, warmth)| (case, stage.fresh(case), warmth));
    for (_, topic, _) in &cases {
        stage.cluster.create_topic(topic, 1, 1)?;
        fill(stage, topic)?;
    }
    for (case, topic, warmth) in &cases {
        let log = stage.folder_of(topic, 0).join("00000000000000000000.log");
        prepare(&log, *warmth)?;
        // The probe must know the file, and have nothing to say of it any more.
        let labels = [("messaging_destination_name", topic.as_str())];
        let before = stage.scrape()?;
        let (pages, cached) = cached(&log)?;
        if stage.is_broken(Break::DropCache) {
            prepare(&log, Warmth::Cold)?;
        }
        say(&format!("reading topic {topic}: {pages} pages, {cached} of them cached"));
        consume(stage, topic)?;
        let after = stage.scrape()?;
        let of = |kind| {
            let labels = [labels[0], ("kind", kind)];
            growth(&before, &after, "kafkascope_page_cache_pages_total", &labels)
        };
        let asked = of("asked");
        let added = of("read_in")
            .or(Ok(0.0))
            .and_then(|read_in: f64| Ok(read_in + of("readahead_unasked").or(Ok::<_, String>(0.0))?));
        let samples = asked.clone().unwrap_or(0.0);
        let tolerance = Tolerance::percent(0.5);
        rows.push(Row::compared(
            11,
            &format!("{case}: pages asked for"),
            asked.clone().map(Figure::count),
            Ok(Figure::count(pages as f64)),
            "size of the log",
            tolerance,
        ));
        rows.push(Row::compared(
            11,
            &format!("{case}: pages added by reads"),
            added.map(|added| Figure::mean(added, samples)),
            Ok(Figure::mean((pages - cached) as f64, pages as f64)),
            "mincore",
            // Half a percent of the pages that were read, also where none had to be added.
            Tolerance::EXACT.plus(pages as f64 * 0.005, "pages"),
        ));
        let ratio = after
            .sum("kafkascope_page_cache_hit_ratio", &labels)
            .context("no ratio")
            .map_err(|error| error.to_string());
        rows.push(Row::compared(
            11,
            &format!("{case}: hit ratio"),
            ratio.map(|ratio| Figure::mean(ratio, samples)),
            Ok(Figure::mean(cached as f64 / pages as f64, pages as f64)),
            "mincore",
            Tolerance::EXACT.plus(0.01, "of 1"),
        ));
    }
    Ok(rows)
}

/// Fills and reads a topic whose only use is that its bytes pass.
pub(super) fn read_something(stage: &Stage) -> Result<()> {
    let topic = "passing";
    if !stage.folder_of(topic, 0).exists() {
        stage.cluster.create_topic(topic, 1, 1)?;
        fill(stage, topic)?;
    }
    consume(stage, topic)
}

/// Pages of a file, and how many of them are in the page cache.
fn cached(file: &Path) -> Result<(u64, u64)> {
    let pages = std::fs::metadata(file)?.len().div_ceil(PAGE);
    let path = file.to_str().context("a path of the tests is text")?;
    let said = output("fincore", &["--noheadings", "--bytes", "--output", "PAGES", path])?;
    Ok((pages, said.trim().parse().with_context(|| format!("not a number of pages: {said:?}"))?))
}

fn prepare(file: &Path, warmth: Warmth) -> Result<()> {
    let mut log = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    fsync(&log)?;
    fadvise(&log, 0, None, Advice::DontNeed)?;
    let length = log.metadata()?.len();
    let read = match warmth {
        Warmth::Cold => 0,
        Warmth::Half => length / 2,
        Warmth::Hot => length,
    };
    let mut buffer = vec![0; 1 << 20];
    let mut log = Read::by_ref(&mut log).take(read);
    while log.read(&mut buffer)? > 0 {}
    Ok(())
}

fn fill(stage: &Stage, topic: &str) -> Result<()> {
    let mut configuration = ClientConfig::new();
    configuration.set("bootstrap.servers", stage.bootstrap().to_string()).set("linger.ms", "20");
    let producer: BaseProducer = configuration.create()?;
    let value = vec![b'x'; RECORD];
    for _ in 0..RECORDS {
        let mut record = BaseRecord::<(), _>::to(topic).payload(&value);
        while let Err((_, again)) = producer.send(record) {
            producer.poll(Duration::from_millis(100));
            record = again;
        }
    }
    Ok(producer.flush(PATIENCE)?)
}

/// Reads all of a topic as one who comes late: few and large fetches, from the beginning.
fn consume(stage: &Stage, topic: &str) -> Result<()> {
    let mut configuration = ClientConfig::new();
    configuration.set("bootstrap.servers", stage.bootstrap().to_string()).set("group.id", format!("reader-of-{topic}"));
    configuration.set("enable.auto.commit", "false").set("fetch.message.max.bytes", "67108864");
    configuration.set("fetch.max.bytes", "100000000").set("receive.message.max.bytes", "110000000");
    let consumer: BaseConsumer = configuration.create()?;
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&from)?;
    for record in 0..RECORDS {
        let message =
            consumer.poll(PATIENCE).with_context(|| format!("record {record} of {topic} does not come"))??;
        ensure!(message.payload_len() == RECORD, "record {record} of {topic} is another one");
    }
    Ok(())
}
