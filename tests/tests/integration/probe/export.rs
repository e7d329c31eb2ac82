//! What collectors get of the probe: figures of processes, and spans of what was slow.

use std::collections::BTreeSet;
use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kafkascope_tests::collector::Collector;
use kafkascope_tests::eventually::eventually;
use kafkascope_tests::java;
use kafkascope_tests::kafka::{Cluster, ClusterSpec, Version};
use kafkascope_tests::probe::{self, Probe};
use kafkascope_tests::receiver::{Receiver, Span};
use kafkascope_tests::testbed::Need;
use libtest_mimic::Trial;

use super::{PATIENCE, name_at, now, privileged, samplers, told};
use crate::collector::export_flags;
use crate::librdkafka::Producer;
use crate::trial::trial;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        privileged(
            ("probe::export::a_brokers_figures_slow_flushes_and_collections_arrive", broker),
            &[Need::Kafka],
            &["unshare", "jcmd"],
        ),
        privileged(("probe::export::slow_requests_to_a_disk_arrive_and_too_many_are_counted", requests), &[], &[]),
        trial("probe::export::a_collector_gets_what_metrics_shows_by_grpc", &[Need::Collector], || collector("grpc")),
        trial("probe::export::a_collector_gets_what_metrics_shows_by_http", &[Need::Collector], || {
            collector("http/protobuf")
        }),
    ]
}

fn broker() -> Result<()> {
    let began = now();
    // Each batch is flushed to the disk before it is acknowledged.
    let spec = ClusterSpec::new(Version::V4, 1).property("log.flush.interval.messages", "1");
    let cluster = Cluster::start(&spec)?;
    let topic = format!("flushed-{}", std::process::id());
    cluster.create_topic(&topic, 1, 1)?;
    let receiver = Receiver::start()?;
    // Only these: with such a threshold every request to a disk of this machine would want to be a span.
    let flags = ["--samplers=fsync", "--slow=1ns"].map(str::to_owned).into_iter();
    let flags: Vec<_> = flags.chain(export_flags(&receiver.grpc_endpoint(), "grpc")).collect();
    let mut probe = Probe::start_by(probe::with_tracing(), flags)?;
    let port = cluster.brokers()[0].direct().port();
    let found = told(&probe, "the broker to be found", PATIENCE, |scrape| name_at(scrape, port).is_some())?;
    let name = name_at(&found, port).context("no name")?;

    // The file of a new topic becomes known a moment later.
    let producer = Producer::open(&cluster.direct(), "flusher", &[("acks", "all")])?;
    let flush = eventually("a span of a flush of the topic", PATIENCE, || {
        producer.send(&topic, 1, |_| b"value".to_vec())?;
        let named = |span: &Span| span.name == format!("fsync {topic}") || span.name == format!("fdatasync {topic}");
        Ok(receiver.spans().into_iter().find(named))
    })?;
    is_of_broker(&flush, &name, cluster.id(), began)?;
    for (key, value) in [("messaging.destination.name", topic.as_str()), ("messaging.destination.partition.id", "0")] {
        ensure!(flush.attributes.get(key).is_some_and(|has| has == value), "{key}: {flush:?}");
    }
    let operation = flush.attributes.get("kafkascope.operation").context("no operation")?;
    ensure!(flush.name.starts_with(operation.as_str()), "{flush:?}");

    let id = cluster.brokers()[0].process().context("not up")?.id().to_string();
    let mut jcmd = std::process::Command::new("jcmd");
    jcmd.args([id.as_str(), "GC.run"]);
    let collection = eventually("a span of a garbage collection", PATIENCE, || {
        java::run("jcmd", &jcmd, PATIENCE)?;
        // Other trials have brokers with the same name.
        let of = |span: &Span| {
            let has = |key, value| span.attributes.get(key).is_some_and(|has| has == value);
            span.name.starts_with("gc ") && has("messaging.kafka.cluster.id", cluster.id())
        };
        Ok(receiver.wait_for(Duration::from_secs(3), |receiver| receiver.spans().into_iter().find(of)))
    })?;
    is_of_broker(&collection, &name, cluster.id(), began)?;
    ensure!(
        collection.attributes.get("jvm.gc.name").is_some_and(|gc| collection.name == format!("gc {gc}")),
        "{collection:?}"
    );

    // Spans may come before the figures of the same moment.
    let told = |receiver: &Receiver| figures(receiver, (&name, cluster.id()), &topic);
    _ = receiver.wait_for(PATIENCE, |receiver| told(receiver).ok());
    told(&receiver)?;
    ensure!(receiver.violations().is_empty(), "{:?}", receiver.violations());
    probe.process().must_run()
}

/// Where and when it was.
fn is_of_broker(span: &Span, name: &str, cluster: &str, began: u64) -> Result<()> {
    ensure!(span.start_unix_nano < span.end_unix_nano, "{span:?}");
    ensure!(began <= span.start_unix_nano && span.end_unix_nano <= now(), "{began} {} {span:?}", now());
    ensure!(span.end_unix_nano - span.start_unix_nano < 60_000_000_000, "{span:?}");
    for (key, value) in [
        ("kafkascope.process.role", "broker"),
        ("kafkascope.process.name", name),
        ("kafkascope.broker.id", "1"),
        ("messaging.kafka.cluster.id", cluster),
    ] {
        ensure!(span.attributes.get(key).is_some_and(|has| has == value), "{key}: {span:?}");
    }
    ensure!(span.links.is_empty() && !span.error && span.trace_id.len() == 16 && span.span_id.len() == 8, "{span:?}");
    ensure!(span.resource.get("service.name").is_some_and(|name| name == "kafkascope-probe"), "{span:?}");
    Ok(())
}

/// The same as metrics, told apart by process.
fn figures(receiver: &Receiver, (name, cluster): (&str, &str), topic: &str) -> Result<()> {
    let of = [
        ("kafkascope.process.role", "broker"),
        ("kafkascope.process.name", name),
        ("kafkascope.broker.id", "1"),
        ("messaging.kafka.cluster.id", cluster),
    ];
    let up = receiver.series("kafkascope.process.up", &of);
    ensure!(up.len() == 1 && receiver.sum("kafkascope.process.up", &of) == Some(1.0), "{up:?}");
    for metric in
        ["process.cpu.time", "process.memory.usage", "process.thread.count", "process.unix.file_descriptor.count"]
    {
        ensure!(receiver.sum(metric, &of).is_some_and(|value| value > 0.0), "{metric}");
    }
    let topic = [of[0], of[1], of[2], of[3], ("messaging.destination.name", topic)];
    for (metric, attributes) in
        [("jvm.gc.duration", &of[..]), ("kafkascope.fsync.duration", &of), ("kafkascope.topic.fsync.duration", &topic)]
    {
        let values = receiver.histogram(metric, attributes);
        ensure!(values.as_ref().is_some_and(|values| values.count > 0 && values.sum > 0.0), "{metric}: {values:?}");
    }
    Ok(())
}

/// Every request is slow here: more than anybody wants to see.
fn requests() -> Result<()> {
    let began = now();
    let receiver = Receiver::start()?;
    let flags = ["--samplers=disk", "--slow=1ns"].map(str::to_owned).into_iter();
    let probe = Probe::start(flags.chain(export_flags(&receiver.grpc_endpoint(), "grpc")))?;
    // Beside what is built, which is on a disk where other temporary files may not be.
    let mut file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR"))?;
    let spans = eventually("more requests than spans", PATIENCE, || {
        for number in 0..100_u8 {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&[number; 4096])?;
            file.sync_all()?;
        }
        let dropped = probe.metrics()?.count("kafkascope_self_spans_dropped_total", &[]);
        let spans = receiver.spans();
        Ok((dropped > 0 && !spans.is_empty()).then_some(spans))
    })?;
    let seconds = usize::try_from((now() - began) / 1_000_000_000)?;
    ensure!(spans.len() <= 50 * (seconds + 2), "{} spans in {seconds} s", spans.len());
    for span in &spans {
        ensure!(span.name.starts_with("disk ") && span.links.is_empty(), "{span:?}");
        ensure!(began <= span.start_unix_nano && span.start_unix_nano < span.end_unix_nano, "{began} {span:?}");
        ensure!(span.end_unix_nano <= now(), "{span:?}");
        for key in ["system.device", "kafkascope.operation", "kafkascope.size", "kafkascope.queue.duration_ns"] {
            ensure!(span.attributes.get(key).is_some_and(|value| !value.is_empty()), "{key}: {span:?}");
        }
    }
    ensure!(receiver.violations().is_empty(), "{:?}", receiver.violations());
    Ok(())
}

fn collector(protocol: &str) -> Result<()> {
    let collector = Collector::start()?;
    let endpoint = if protocol == "grpc" { collector.grpc() } else { collector.http() };
    let probe = Probe::start(export_flags(&endpoint, protocol))?;
    eventually("the collector to have what /metrics shows", PATIENCE, || {
        let scrape = probe.metrics()?;
        // Of processes that come and go, in other tests for one, there may be more here than there.
        let host = |name: &str| {
            name.starts_with("system_") || name.starts_with("kafkascope_pressure") || name == "kafkascope_sampler_up"
        };
        let ours: BTreeSet<_> =
            scrape.samples().iter().map(|sample| sample.name.clone()).filter(|name| host(name)).collect();
        ensure!(ours.len() > 8, "{ours:?}");
        for content in [collector.file()?, collector.prometheus()?] {
            let theirs: BTreeSet<_> = content.values().keys().map(|(name, _)| name.clone()).collect();
            let missing: Vec<_> = ours.difference(&theirs).collect();
            ensure!(missing.is_empty(), "missing: {missing:?}");
            for (sampler, is_up, _) in samplers(&scrape) {
                let of = content.values().iter().find(|((name, labels), _)| {
                    name == "kafkascope_sampler_up" && labels.get("kafkascope_sampler") == Some(&sampler)
                });
                let (_, value) = of.with_context(|| format!("no {sampler}"))?;
                ensure!(*value == f64::from(u8::from(is_up)), "{sampler}: {value}");
            }
        }
        Ok(Some(()))
    })
}
