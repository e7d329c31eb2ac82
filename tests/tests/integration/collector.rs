//! A real collector gets what the proxy serves itself: the same names, the same numbers, by both protocols.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kafkascope_tests::collector::{Collector, Content};
use kafkascope_tests::eventually::eventually;
use kafkascope_tests::port::Port;
use kafkascope_tests::proxy::{Proxy, ProxySpec};
use kafkascope_tests::testbed::Need;
use kafkascope_tests::wire::{self, Connection};
use libtest_mimic::Trial;

use crate::sink::Sink;
use crate::trial::trial;

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn trials() -> Vec<Trial> {
    let by = |protocol: &'static str| {
        trial(
            format!("collector::gets_metrics_and_traces_by_{}", protocol.replace('/', "_")),
            &[Need::Collector],
            move || receives(protocol),
        )
    };
    vec![by("grpc"), by("http/protobuf")]
}

fn receives(protocol: &str) -> Result<()> {
    let collector = Collector::start()?;
    let endpoint = if protocol == "grpc" { collector.grpc() } else { collector.http() };
    let sink = Sink::accepting()?;
    let front = Port::claim()?;
    let spec = ProxySpec::new([(front.address(), sink.address)]);
    let proxy = Proxy::start(&spec.flags(export_flags(&endpoint, protocol)).flags(["--trace-sample-ratio", "1"]))?;
    let requests = traffic(&front, "orders", 40)?;
    agree(&proxy, &collector)?;
    eventually("all spans", PATIENCE, || {
        let spans = collector.spans()?.into_iter().filter(|name| name == "send orders").count();
        ensure!(spans == requests, "{spans} spans of {requests} requests");
        Ok(Some(()))
    })
}

/// Flags for an export every second.
pub(crate) fn export_flags(endpoint: &str, protocol: &str) -> Vec<String> {
    let flags = ["--otlp-endpoint", endpoint, "--otlp-protocol", protocol, "--export-interval", "1s"];
    flags.map(str::to_owned).into()
}

/// Three clients that differ, one connection each, left open so that gauges have something to say; gives the number of
/// requests.
pub(crate) fn traffic(front: &Port, topic: &str, rounds: i32) -> Result<usize> {
    let mut requests = 0;
    for (client, acks, codec) in [("steady", -1, 3), ("chatty", 1, 0), ("careless", 0, 4)] {
        let mut connection = Connection::open(front.address())?;
        for number in 0..rounds {
            let batch = wire::batch(codec, 1 + number, &vec![7; 100 * (1 + number as usize)]);
            let request = wire::produce(number, Some(client), acks, topic, &batch);
            connection.send(&request)?;
            if acks != 0 {
                connection.receive()?.context("no answer")?;
            }
            requests += 1;
        }
    }
    Ok(requests)
}

/// Until `/metrics`, the collector's file and the collector's Prometheus endpoint say the same.
pub(crate) fn agree(proxy: &Proxy, collector: &Collector) -> Result<()> {
    // What the proxy says of its own work goes on changing by the very export.
    let at_rest = |name: &str| name.starts_with("kafkascope_") && !name.starts_with("kafkascope_self_");
    let mut difference = String::new();
    let agreed = eventually("the collector to agree with /metrics", PATIENCE, || {
        let ours = Content::of_scrape(&proxy.metrics()?).filter(at_rest);
        ensure!(ours.values().len() > 20, "only {} series", ours.values().len());
        let told = [("file", collector.file()?), ("Prometheus endpoint", collector.prometheus()?)];
        for (name, content) in told {
            if let Some(differs) = ours.difference(&content.filter(at_rest)) {
                difference = format!("/metrics (here) and the collector's {name} (there) differ:\n{differs}");
                return Ok(None);
            }
        }
        Ok(Some(()))
    });
    if let Err(error) = agreed {
        bail!("{error:#}\n{difference}\nthe proxy's log:\n{}", proxy.log());
    }
    Ok(())
}
