//! What consumers say of themselves: items 26, 27, 28.

use crate::truth::{
    evidence::Evidence,
    ours::{self, key},
    row::{Figure, Measured, Row, Tolerance},
    scenario::{AUDIT, EVENTS, JAVA_CONSUMERS, NATIVE_CONSUMER, ORDERS, READINGS},
};

const JAVA_GROUP: &str = "consumer-fetch-manager-metrics";
/// Size of a record batch's head, which Java does not count as consumed.
const BATCH_HEAD: f64 = 61.0;

/// Items 26, 27, 28.
pub(super) fn rows(evidence: &Evidence) -> Vec<Row> {
    [bytes(evidence), records(evidence), fetches(evidence)].into_iter().flatten().collect()
}

fn bytes(evidence: &Evidence) -> Vec<Row> {
    let [orders, events, audit] = JAVA_CONSUMERS;
    // Each topic has one reader, so what the brokers sent of the topic is what the reader received.
    let mut rows: Vec<_> = [(orders, ORDERS), (events, EVENTS), (audit, AUDIT), (NATIVE_CONSUMER, READINGS)]
        .into_iter()
        .map(|(client, topic)| {
            let truth = evidence.whole().count(&[("name", "BytesOutPerSec"), ("topic", topic)]).map(Figure::count);
            let name = format!("record bytes, {client}");
            Row::compared(26, &name, received(evidence, client), truth, "JMX BytesOutPerSec", Tolerance::percent(1.0))
        })
        .collect();
    let truth = java_total(evidence, orders, "bytes-consumed-total");
    let name = format!("record bytes less batch heads, {orders}");
    let ours = without_heads(evidence, orders, ORDERS);
    rows.push(Row::compared(26, &name, ours, truth, "Java bytes-consumed-total", Tolerance::percent(1.0)));
    rows
}

fn received(evidence: &Evidence, client: &str) -> Measured {
    ours::counter(&evidence.receiver, "kafkascope.record.io", &[(key::CLIENT, client), (key::DIRECTION, "out")])
}

/// For a topic without compression: every batch that was produced was received once.
fn without_heads(evidence: &Evidence, client: &str, topic: &str) -> Measured {
    let batches = ours::histogram(&evidence.receiver, "kafkascope.produce.batch.size", &[(key::TOPIC, topic)])?;
    let received = received(evidence, client)?;
    Ok(Figure::count(received.value - BATCH_HEAD * batches.count as f64))
}

fn records(evidence: &Evidence) -> Vec<Row> {
    let ours =
        |client: &str| ours::counter(&evidence.receiver, "kafkascope.consumed.messages", &[(key::CLIENT, client)]);
    let row = |client: &str, truth: Measured, source: &str| {
        Row::compared(27, &format!("records, {client}"), ours(client), truth, source, Tolerance::EXACT)
    };
    let java = JAVA_CONSUMERS.iter().map(|client| {
        row(client, java_total(evidence, client, "records-consumed-total"), "Java records-consumed-total")
    });
    let native = Ok(Figure::count(evidence.native_reader.records as f64));
    java.chain([row(NATIVE_CONSUMER, native, "librdkafka rxmsgs")]).collect()
}

fn fetches(evidence: &Evidence) -> Vec<Row> {
    let row = |client: &&str| {
        let truth = java_total(evidence, client, "fetch-total");
        let name = format!("fetches answered, {client}");
        Row::compared(28, &name, answered_fetches(evidence, client), truth, "Java fetch-total", Tolerance::EXACT)
    };
    JAVA_CONSUMERS.iter().map(row).collect()
}

/// Java counts neither errors nor the fetch that closes a session (epoch -1). Both have no wait.
fn answered_fetches(evidence: &Evidence, client: &str) -> Measured {
    let filter = [(key::CLIENT, client), (key::API, "FetchConsumer")];
    let series = evidence.receiver.series("kafkascope.request.duration", &filter);
    let counted = series
        .iter()
        .filter(|series| series.attributes.contains_key(key::FETCH_WAIT) && !series.attributes.contains_key(key::ERROR))
        .filter_map(|series| series.value.distribution())
        .map(|distribution| distribution.count as f64);
    if series.is_empty() {
        Err(ours::missing("kafkascope.request.duration", &filter))
    } else {
        Ok(Figure::count(counted.sum()))
    }
}

fn java_total(evidence: &Evidence, client: &str, metric: &str) -> Measured {
    evidence.java(client)?.total(JAVA_GROUP, metric)
}
