//! What brokers say of themselves by JMX, and of their leaders in the metadata log: items 5, 7, 8, 9, 10.

use std::collections::BTreeSet;

use crate::{
    jmx::Window,
    truth::{
        evidence::Evidence,
        ours::{self, key},
        row::{Figure, Measured, Row, Tolerance},
        scenario::{AUDIT, TOPICS},
    },
};

/// Items 5, 7, 8, 9, 10.
pub(super) fn rows(evidence: &Evidence) -> Vec<Row> {
    let rows = [total_time(evidence), bytes(evidence), requests(evidence)].into_iter().flatten();
    [elections(evidence), purgatory(evidence)].into_iter().chain(rows).collect()
}

fn elections(evidence: &Evidence) -> Row {
    let ours = ours::counter(&evidence.receiver, "kafka.leader.election.rate", &[("kafkascope.vantage", "wire")]);
    let truth = Ok(Figure::count(evidence.leader_changes as f64));
    Row::compared(5, "leader elections", ours, truth, "metadata log", Tolerance::EXACT)
}

/// `PurgatorySize` itself counts partitions, and operations that have ended.
fn purgatory(evidence: &Evidence) -> Row {
    let samples = evidence.waiting.len() as f64;
    let mean = |side: fn(&(f64, f64)) -> f64| evidence.waiting.iter().map(side).sum::<f64>() / samples.max(1.0);
    let ours = Ok(Figure::mean(mean(|sample| sample.0), samples));
    let truth = Ok(Figure::mean(mean(|sample| sample.1), samples));
    let tolerance = Tolerance::percent(10.0).or_more();
    Row::compared(8, "Fetch, waiting requests of consumers", ours, truth, "JMX NumDelayedOperations", tolerance)
}

/// TotalTimeMs runs from the broker's receipt of a request to the end of sending its response.
fn total_time(evidence: &Evidence) -> Vec<Row> {
    // The wire shows no time for acks=0, while JMX counts it in: those requests are before this window.
    [("Produce", evidence.acknowledged()), ("FetchConsumer", evidence.whole())]
        .into_iter()
        .map(|(api, window)| {
            let name = format!("{api}, broker + download, mean ms");
            let truth = mean_of(window, &[("name", "TotalTimeMs"), ("request", api)]);
            let tolerance = Tolerance::percent(10.0).plus(1.0, "ms");
            let row = Row::compared(7, &name, broker_time(evidence, api), truth, "JMX TotalTimeMs", tolerance);
            row.noted(&quantiles(evidence, api)).noted(&evidence.load())
        })
        .collect()
}

fn broker_time(evidence: &Evidence, api: &str) -> Measured {
    let segment = |segment| {
        let filter = [(key::API, api), (key::SEGMENT, segment)];
        ours::histogram(&evidence.receiver, "kafkascope.request.segment.duration", &filter)
    };
    let (broker, download) = (segment("broker")?, segment("download")?);
    let requests = broker.count as f64;
    Ok(Figure::mean((broker.sum + download.sum) * 1e3 / requests.max(1.0), requests))
}

/// For information: quantiles of the two sides are not made of the same buckets.
fn quantiles(evidence: &Evidence, api: &str) -> String {
    let filter = [(key::API, api), (key::SEGMENT, "broker")];
    let found = ours::histogram(&evidence.receiver, "kafkascope.request.segment.duration", &filter).ok();
    match found.and_then(|found| found.quantile(0.99)) {
        Some(p99) => format!("broker p99 {:.1} ms", p99 * 1e3),
        None => "no p99".to_owned(),
    }
}

fn bytes(evidence: &Evidence) -> Vec<Row> {
    let mut rows = Vec::new();
    for topic in TOPICS {
        for (direction, bean) in [("in", "BytesInPerSec"), ("out", "BytesOutPerSec")] {
            // The markers that brokers write at the end of transactions are in this count, and on no client's wire.
            if topic == AUDIT && direction == "in" {
                continue;
            }
            let ours = ours::counter(
                &evidence.receiver,
                "kafkascope.record.io",
                &[(key::TOPIC, topic), (key::DIRECTION, direction)],
            );
            let truth = evidence.whole().count(&[("name", bean), ("topic", topic)]).map(Figure::count);
            let name = format!("record bytes {direction}, topic {topic}");
            rows.push(Row::compared(9, &name, ours, truth, &format!("JMX {bean}"), Tolerance::percent(1.0)));
        }
    }
    rows
}

/// APIs that only clients use, and that brokers do not pass on to each other.
const GROUP_APIS: [&str; 9] = [
    "ConsumerGroupHeartbeat",
    "FindCoordinator",
    "Heartbeat",
    "JoinGroup",
    "LeaveGroup",
    "ListOffsets",
    "OffsetCommit",
    "OffsetFetch",
    "SyncGroup",
];

fn requests(evidence: &Evidence) -> Vec<Row> {
    let mut rows = Vec::new();
    for api in ["Produce", "FetchConsumer"].into_iter().chain(GROUP_APIS) {
        for version in versions(evidence, api) {
            let properties = [("name", "RequestsPerSec"), ("request", api), ("version", version.as_str())];
            let truth = evidence.whole().count(&properties).map(Figure::count);
            let filter = [(key::API, api), (key::VERSION, version.as_str())];
            let ours = ours::counter(&evidence.receiver, "kafkascope.requests", &filter);
            let name = format!("{api} v{version}, requests");
            rows.push(Row::compared(10, &name, ours, truth, "JMX RequestsPerSec", Tolerance::EXACT));
        }
    }
    rows
}

/// Versions that either side saw.
fn versions(evidence: &Evidence, api: &str) -> BTreeSet<String> {
    let (window, properties) = (evidence.whole(), [("name", "RequestsPerSec"), ("request", api)]);
    let ours = evidence.receiver.series("kafkascope.requests", &[(key::API, api)]);
    let ours = ours.into_iter().filter_map(|series| series.attributes.get(key::VERSION).cloned());
    // A version that was used only before the window is no news.
    let used = |version: &String| {
        let [name, request] = properties;
        window.count(&[name, request, ("version", version.as_str())]) != Ok(0.0)
    };
    window.values("version", &properties).into_iter().filter(used).chain(ours).collect()
}

fn mean_of(window: Window<'_>, properties: &[(&str, &str)]) -> Measured {
    let (sum, count) = (window.sum(properties)?, window.count(properties)?);
    Ok(Figure::mean(sum / count.max(1.0), count))
}
