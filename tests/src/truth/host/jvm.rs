//! Items 15 and 16: garbage collections of the broker beside its own MBeans.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::Break;
use super::stage::{Stage, say, sum_of_threads};
use crate::java;
use crate::jmx::{Reader, Reading};
use crate::truth::row::{Figure, Row, Tolerance};

const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn rows(stage: &mut Stage) -> Result<Vec<Row>> {
    say("a broker that collects garbage");
    let mut jmx = Reader::start(stage.version, &stage.cluster.jmx()?, &["java.lang:type=GarbageCollector,*"])?;
    work(stage)?;
    let broker = stage.broker()?.to_string();
    for _ in 0..5 {
        java::run("jcmd", Command::new("jcmd").args([broker.as_str(), "GC.run"]), LIMIT)?;
    }
    // Reading by JMX makes garbage, too: compared is what stood still meanwhile.
    let (mut truth, ours) = stage.at_rest("no collection while both sides are read", || collections(&jmx.read()?))?;
    if stage.is_broken(Break::Afterwards) {
        java::run("jcmd", Command::new("jcmd").args([broker.as_str(), "GC.run"]), LIMIT)?;
        truth = collections(&jmx.read()?)?;
    }
    let waited = waited(stage.broker()?)?.as_secs_f64() * 1e3;
    let mut rows = Vec::new();
    for (collector, count, ms) in truth {
        let labels = [("kafkascope_process_name", "broker-1"), ("jvm_gc_name", collector.as_str())];
        let of = |name: &str| ours.sum(name, &labels).ok_or_else(|| format!("no series {name}{labels:?}"));
        let truth = || Ok(Figure::count(count));
        let ours = of("jvm_gc_collections_count_total").map(Figure::count);
        rows.push(Row::compared(15, &format!("{collector}, collections"), ours, truth(), "JMX", Tolerance::EXACT));
        let ours = of("jvm_gc_collections_elapsed_milliseconds_total").map(|ms| Figure::mean(ms, count));
        let tolerance = Tolerance::percent(1.0).plus((2.0 + waited).round(), "ms");
        rows.push(Row::compared(16, &format!("{collector}, ms"), ours, Ok(Figure::mean(ms, count)), "JMX", tolerance));
    }
    ensure!(rows.len() >= 4, "JMX tells of fewer than two collectors");
    Ok(rows)
}

/// How long the thread that collects waited for a processor, ever. The JVM reads a clock for its performance data and
/// another for its MBeans, and what it waits between the two is in one of them only.
fn waited(broker: u32) -> Result<Duration> {
    sum_of_threads(broker, |thread| {
        let collects = thread.status().is_ok_and(|status| status.name == "VM Thread");
        // A thread may end meanwhile.
        if collects { thread.schedstat().map_or(0, |times| times.run_delay) } else { 0 }
    })
}

/// Name, count and milliseconds of each collector that has collected.
fn collections(reading: &Reading) -> Result<Vec<(String, f64, f64)>> {
    let mut all = Vec::new();
    for name in reading.values("name", &[("type", "GarbageCollector")]) {
        let of =
            |attribute| reading.attribute(&[("name", name.as_str())], attribute).context("an MBean without numbers");
        all.push((name.clone(), of("CollectionCount")?, of("CollectionTime")?));
    }
    all.retain(|(_, count, _)| *count > 0.0);
    Ok(all)
}

/// Enough to fill the young generation several times.
fn work(stage: &Stage) -> Result<()> {
    let topic = &stage.fresh("garbage");
    stage.cluster.create_topic(topic, 1, 1)?;
    let mut configuration = ClientConfig::new();
    configuration
        .set("bootstrap.servers", stage.bootstrap().to_string())
        .set("compression.type", "gzip")
        .set("linger.ms", "5");
    let producer: BaseProducer = configuration.create()?;
    let value = vec![b'x'; 1000];
    for _ in 0..200_000 {
        let mut record = BaseRecord::<(), _>::to(topic).payload(&value);
        while let Err((_, again)) = producer.send(record) {
            producer.poll(Duration::from_millis(20));
            record = again;
        }
    }
    Ok(producer.flush(LIMIT)?)
}
