//! Spans between real clients and brokers: linked to exactly the contexts that the records carry, and found by exemplars.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kafkascope_tests::eventually::eventually;
use kafkascope_tests::kafka::{Cluster, ClusterSpec, Version};
use kafkascope_tests::proxy::{Proxy, ProxySpec};
use kafkascope_tests::receiver::{Receiver, Span};
use kafkascope_tests::testbed::Need;
use libtest_mimic::Trial;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};

use crate::collector::export_flags;
use crate::records::compressible;
use crate::trial::trial;

const PATIENCE: Duration = Duration::from_secs(90);
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
/// Of each codec. All of them together have no more contexts than a span has links.
const RECORDS: u8 = 6;
const PARTITIONS: i32 = 2;
const TOPIC: &str = "traced";

pub(crate) fn trials() -> Vec<Trial> {
    let trials = Version::ALL.into_iter().map(|version| {
        let name = format!("kafka_{version}::spans::are_linked_to_the_contexts_of_their_records");
        trial(name, &[Need::Kafka], move || linked(version))
    });
    trials.collect()
}

/// Trace, span, partition and offset: of a record as its client was told, or of a link.
type Traced = (Vec<u8>, Vec<u8>, i32, i64);

fn linked(version: Version) -> Result<()> {
    let cluster = Cluster::start(&ClusterSpec::new(version, 1))?;
    cluster.create_topic(TOPIC, u16::try_from(PARTITIONS)?, 1)?;
    let receiver = Receiver::start()?;
    let export = export_flags(&receiver.grpc_endpoint(), "grpc");
    let spec = ProxySpec::new(cluster.routes()).flags(export).flags(["--trace-sample-ratio", "1"]);
    let mut proxy = Proxy::start(&spec)?;
    let mut all = BTreeSet::new();
    for (number, codec) in CODECS.iter().enumerate() {
        let sent = produce(&cluster, codec, u8::try_from(number)? + 1)?;
        let client = format!("traced-{codec}");
        links_are(&receiver, "send traced", &client, &sent).with_context(|| client.clone())?;
        let of_codec = [("messaging.client.id", client.as_str()), ("kafkascope.codec", codec)];
        let batches = receiver.wait_for(PATIENCE, |it| it.histogram("kafkascope.produce.batch.size", &of_codec));
        ensure!(batches.is_some_and(|batches| batches.count > 0), "no batch of {codec}");
        all.extend(sent);
    }
    consume(&cluster, &all)?;
    links_are(&receiver, "poll traced", "reader", &all)?;
    let commit = receiver.wait_for(PATIENCE, |it| it.spans().into_iter().find(|span| span.name == "commit traced"));
    let commit = commit.context("no span of a commit")?;
    let group = commit.attributes.get("messaging.consumer.group.name");
    ensure!(group.is_some_and(|group| group == "readers") && commit.links.is_empty(), "{commit:?}");
    exemplars_lead_to_spans(&receiver, &["Produce", "FetchConsumer", "OffsetCommit"])?;
    ensure!(receiver.spans().iter().all(|span| span.parent.is_empty()), "a parent that nobody asked for");

    proxy.terminate()?;
    ensure!(proxy.wait(PATIENCE)?.success(), "{}", proxy.log());
    receiver.clear();
    let _proxy = Proxy::start(&spec.flags(["--trace-parent", "single"]))?;
    let sent = send_records(&cluster, "single", "lz4", &[200])?;
    let [(trace, parent, ..)] = &sent.iter().cloned().collect::<Vec<_>>()[..] else { bail!("{sent:?}") };
    links_are(&receiver, "send traced", "single", &sent)?;
    let child = receiver.spans().into_iter().find(|span| span.name == "send traced").context("no span")?;
    ensure!(&child.trace_id == trace && &child.parent == parent, "no child of {parent:?}: {child:?}");
    exemplars_lead_to_spans(&receiver, &["Produce"])
}

/// Sends the records of a codec; gives what its client was told of them.
fn produce(cluster: &Cluster, codec: &str, number: u8) -> Result<BTreeSet<Traced>> {
    let contexts: Vec<u8> = (0..RECORDS).map(|record| number * 10 + record).collect();
    send_records(cluster, &format!("traced-{codec}"), codec, &contexts)
}

/// Sends a record with each context.
fn send_records(cluster: &Cluster, client: &str, codec: &str, contexts: &[u8]) -> Result<BTreeSet<Traced>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.front()).set("client.id", client).set("compression.type", codec);
    // Long enough for all records to be in one batch of each partition.
    config.set("linger.ms", "500").set("acks", "all");
    let producer: ThreadedProducer<Told> = config.create_with_context(Told::default())?;
    for (at, &context) in contexts.iter().enumerate() {
        let text = traceparent(context);
        let header = |key, value| Header { key, value: Some(value) };
        let headers = OwnedHeaders::new().insert(header("other", "x")).insert(header("traceparent", text.as_str()));
        let value = compressible(client, at);
        let record = BaseRecord::with_opaque_to(TOPIC, Box::new(context)).payload(&value).headers(headers);
        let record: BaseRecord<'_, str, Vec<u8>, Box<u8>> = record.partition(i32::from(context) % PARTITIONS).key("k");
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.flush(PATIENCE)?;
    let told = std::mem::take(&mut *producer.context().0.lock().unwrap_or_else(PoisonError::into_inner));
    ensure!(told.len() == contexts.len(), "{} of {} records were delivered", told.len(), contexts.len());
    Ok(told)
}

fn traceparent(context: u8) -> String {
    let byte = format!("{context:02x}");
    format!("00-{}-{}-01", byte.repeat(16), byte.repeat(8))
}

fn traced(context: u8, partition: i32, offset: i64) -> Traced {
    (vec![context; 16], vec![context; 8], partition, offset)
}

/// What a producer is told of its records.
#[derive(Default)]
struct Told(Mutex<BTreeSet<Traced>>);

impl ClientContext for Told {}

impl ProducerContext for Told {
    type DeliveryOpaque = Box<u8>;

    fn delivery(&self, result: &DeliveryResult<'_>, context: Box<u8>) {
        if let Ok(message) = result {
            let traced = traced(*context, message.partition(), message.offset());
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(traced);
        }
    }
}

/// Reads all records, sees their headers as they were sent, and commits.
fn consume(cluster: &Cluster, all: &BTreeSet<Traced>) -> Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.front()).set("client.id", "reader").set("group.id", "readers");
    config.set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create()?;
    consumer.subscribe(&[TOPIC])?;
    let mut read = BTreeSet::new();
    eventually("all records", PATIENCE, || {
        while let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message?;
            let headers = message.headers().context("no headers")?;
            let found = headers.iter().find(|header| header.key == "traceparent").and_then(|header| header.value);
            let text = std::str::from_utf8(found.context("no context")?)?;
            let context = u8::from_str_radix(text.get(3..5).context("too short")?, 16)?;
            ensure!(headers.count() == 2 && text == traceparent(context), "not as it was sent: {text}");
            read.insert(traced(context, message.partition(), message.offset()));
        }
        Ok((read.len() >= all.len()).then_some(()))
    })?;
    ensure!(&read == all, "the reader got {read:?}");
    consumer.commit_consumer_state(CommitMode::Sync)?;
    Ok(())
}

/// The spans of this name and client have exactly these links together, each span each but once.
fn links_are(receiver: &Receiver, name: &str, client: &str, wanted: &BTreeSet<Traced>) -> Result<()> {
    let of_client = |span: &Span| {
        span.name == name && span.attributes.get("messaging.client.id").is_some_and(|id| id.starts_with(client))
    };
    eventually(&format!("links of {name} of {client}"), PATIENCE, || {
        let spans: Vec<Span> = receiver.spans().into_iter().filter(of_client).collect();
        let mut found = Vec::new();
        for link in spans.iter().flat_map(|span| &span.links) {
            let of = |key| link.attributes.get(key).with_context(|| format!("no {key}: {link:?}"));
            let partition = of("messaging.destination.partition.id")?.parse()?;
            let offset = of("messaging.kafka.offset")?.parse()?;
            found.push((link.trace_id.clone(), link.span_id.clone(), partition, offset));
        }
        let distinct: BTreeSet<Traced> = found.iter().cloned().collect();
        ensure!(&distinct == wanted, "{} spans with links to {distinct:?} instead of {wanted:?}", spans.len());
        ensure!(found.len() == distinct.len(), "links twice: {found:?}");
        Ok(Some(()))
    })
}

/// The duration of each of these APIs has an exemplar, and all exemplars lead to spans.
fn exemplars_lead_to_spans(receiver: &Receiver, apis: &[&str]) -> Result<()> {
    eventually("exemplars and their spans", PATIENCE, || {
        let (exemplars, spans) = (receiver.exemplars(), receiver.spans());
        for api in apis {
            let of_api = |value: &String| value == api;
            let mut of = exemplars.iter().map(|exemplar| exemplar.attributes.get("kafka.api"));
            ensure!(of.any(|value| value.is_some_and(of_api)), "no exemplar of {api}");
        }
        for exemplar in &exemplars {
            ensure!(exemplar.metric == "kafkascope.request.duration" && exemplar.value > 0.0, "{exemplar:?}");
            let of = |span: &&Span| span.trace_id == exemplar.trace_id && span.span_id == exemplar.span_id;
            let span = spans.iter().find(of).with_context(|| format!("no span of {exemplar:?}"))?;
            let api = span.attributes.get("kafka.api");
            ensure!(api == exemplar.attributes.get("kafka.api"), "{exemplar:?} leads to {span:?}");
            let took = (span.end_unix_nano - span.start_unix_nano) as f64 / 1e9;
            ensure!((took - exemplar.value).abs() < 1e-6, "{exemplar:?} is not the duration of {span:?}");
        }
        Ok(Some(()))
    })
}
