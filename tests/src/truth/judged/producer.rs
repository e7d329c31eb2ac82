//! What producers (and, where the metric is the same, consumers) say of themselves: items 17 to 21 and 23.

use crate::kafka::LoggedBatch;
use crate::truth::{
    evidence::Evidence,
    librdkafka::Totals,
    ours::{self, key},
    row::{Figure, Measured, Row, Tolerance},
    scenario::{CARELESS, JAVA_CONSUMERS, JAVA_PRODUCERS, NATIVE_PRODUCERS},
};

/// A counter of ours by client, and the Java metric that must be the same.
struct Counter {
    item: u8,
    name: &'static str,
    ours: &'static str,
    direction: Option<&'static str>,
    java: &'static str,
}

const COUNTERS: [Counter; 3] = [
    Counter { item: 18, name: "responses", ours: "kafkascope.responses", direction: None, java: "response-total" },
    Counter { item: 19, name: "requests", ours: "kafkascope.requests", direction: None, java: "request-total" },
    Counter {
        item: 21,
        name: "outgoing bytes",
        ours: "kafkascope.connection.io",
        direction: Some("in"),
        java: "outgoing-byte-total",
    },
];

/// Items 17 to 21 and 23.
pub(super) fn rows(evidence: &Evidence) -> Vec<Row> {
    let counters = COUNTERS.iter().flat_map(|counter| counter_rows(evidence, counter));
    counters
        .chain(native_requests(evidence))
        .chain(latency(evidence))
        .chain(batches(evidence))
        .chain(compression(evidence))
        .collect()
}

fn counter_rows(evidence: &Evidence, counter: &Counter) -> Vec<Row> {
    let row = |client: &str, truth: Measured, source: &str| {
        let filter: Vec<_> =
            [(key::CLIENT, client)].into_iter().chain(counter.direction.map(|value| (key::DIRECTION, value))).collect();
        let ours = ours::counter(&evidence.receiver, counter.ours, &filter);
        let name = format!("{}, {client}", counter.name);
        Row::compared(counter.item, &name, ours, truth, source, Tolerance::EXACT)
    };
    let java = |client: &&str, group: &str| {
        let truth = evidence.java(client).and_then(|client| client.total(group, counter.java));
        row(client, truth, &format!("Java {}", counter.java))
    };
    let producers = JAVA_PRODUCERS.iter().chain([&CARELESS]).map(|client| java(client, "producer-metrics"));
    let consumers = JAVA_CONSUMERS.iter().map(|client| java(client, "consumer-metrics"));
    producers.chain(consumers).collect()
}

fn native_requests(evidence: &Evidence) -> Vec<Row> {
    let row = |(client, totals): &(&str, Totals)| {
        let filter = [(key::CLIENT, *client), (key::API, "Produce")];
        let ours = ours::counter(&evidence.receiver, "kafkascope.requests", &filter);
        let truth = Ok(Figure::count(totals.produce_requests as f64));
        Row::compared(19, &format!("Produce requests, {client}"), ours, truth, "librdkafka req", Tolerance::EXACT)
    };
    evidence.native_producers.iter().map(row).collect()
}

fn latency(evidence: &Evidence) -> Vec<Row> {
    let tolerance = Tolerance::percent(10.0).plus(1.0, "ms");
    let ours = |filter: ours::Filter<'_>| ours::mean(&evidence.receiver, "kafkascope.request.duration", filter, 1e3);
    let java = JAVA_PRODUCERS.iter().map(|client| {
        let truth = java_mean(evidence, client, "request-latency-avg");
        let ours = ours(&[(key::CLIENT, client), (key::API, "Produce")]);
        Row::compared(20, &format!("Produce, {client}, mean ms"), ours, truth, "Java request-latency-avg", tolerance)
    });
    let native = evidence.native_producers.iter().map(|(client, totals)| {
        let ours = ours(&[(key::CLIENT, client)]);
        Row::compared(
            20,
            &format!("all APIs, {client}, mean ms"),
            ours,
            totals.round_trip_ms(),
            "librdkafka rtt",
            tolerance,
        )
    });
    java.chain(native).map(|row| row.noted(&evidence.load())).collect()
}

fn batches(evidence: &Evidence) -> Vec<Row> {
    let row = |client: &str, truth: Measured, source: &str| {
        let ours = ours::mean(&evidence.receiver, "kafkascope.produce.batch.size", &[(key::CLIENT, client)], 1.0);
        Row::compared(23, &format!("batch, {client}, mean bytes"), ours, truth, source, Tolerance::percent(1.0))
    };
    let java = JAVA_PRODUCERS.iter().chain([&CARELESS]);
    let java = java.map(|client| row(client, java_mean(evidence, client, "batch-size-avg"), "Java batch-size-avg"));
    let native = evidence.native_producers.iter();
    let native = native.map(|(client, totals)| row(client, totals.batch_bytes(), "librdkafka batchsize"));
    java.chain(native).collect()
}

fn compression(evidence: &Evidence) -> Vec<Row> {
    let row = |client: &str, truth: Measured, source: &str| {
        let filter = [(key::CLIENT, client)];
        let ours = ours::mean(&evidence.receiver, "kafkascope.produce.compression.ratio", &filter, 1.0);
        let name = format!("compression ratio, {client}, mean");
        Row::compared(17, &name, ours, truth, source, Tolerance::percent(2.0))
    };
    let java = JAVA_PRODUCERS.iter().chain([&CARELESS]);
    let java = java
        .map(|client| row(client, java_mean(evidence, client, "compression-rate-avg"), "Java compression-rate-avg"));
    let native = NATIVE_PRODUCERS.iter().map(|producer| {
        let logged = evidence.logged.iter().find(|(topic, _)| *topic == producer.topic);
        let logged = logged.ok_or_else(|| format!("no log of {}", producer.topic));
        let truth = logged.map(|(_, batches)| LoggedBatch::mean_ratio(batches, |codec| codec != producer.codec_beside));
        let truth = truth.map(|(ratio, count)| Figure::mean(ratio, count as f64));
        row(producer.id, truth, "kafka-dump-log")
    });
    java.chain(native).collect()
}

fn java_mean(evidence: &Evidence, client: &str, metric: &str) -> Measured {
    evidence.java(client)?.mean("producer-metrics", metric, "request-total")
}
