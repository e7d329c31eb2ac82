//! What the proxy says of itself when things go wrong, compared with what was done to it: item 42.
//!
//! All of it is done while no collector takes anything, and told once one does: nothing may be lost with it.

use std::{io::Write, net::TcpStream, time::Duration};

use anyhow::{Context, Result};

use super::{
    ours::{self, Filter, key},
    row::{Figure, Measured, Row, Tolerance},
    scenario::Break,
};
use crate::{
    eventually::until,
    kafka::Cluster,
    port::Port,
    prometheus::Scrape,
    proxy::{Proxy, ProxySpec},
    receiver::Receiver,
    wire::{Body, Connection, api},
};

/// Requests that end in the middle of their body.
const TRUNCATED: i32 = 5;
/// Connections that speak something else.
const FOREIGN: usize = 3;
/// Connections to a broker that is not there.
const IN_VAIN: usize = 4;
/// How long what happened may take to be told.
const TOLD: Duration = Duration::from_secs(20);

/// Does it, and compares.
pub(crate) fn run(cluster: &Cluster, breaking: Option<Break>) -> Result<Vec<Row>> {
    let broker = cluster.brokers().first().context("no broker")?;
    let (absent, before_absent) = (Port::claim()?, Port::claim()?);
    let mut receiver = Receiver::start()?;
    let routes = [(broker.front(), broker.upstream()), (before_absent.address(), absent.address())];
    let flags = ["--otlp-endpoint", &receiver.grpc_endpoint(), "--otlp-protocol", "grpc", "--export-interval", "1s"];
    let proxy = Proxy::start(&ProxySpec::new(routes).flags(flags))?;
    until("the first export", TOLD, || receiver.metric_exports() > 0)?;
    let elsewhere = breaking == Some(Break::FaultsElsewhere);
    if !elsewhere {
        receiver.stop();
    }
    let (front, vain) =
        if elsewhere { (broker.direct(), absent.address()) } else { (broker.front(), before_absent.address()) };
    for number in 0..TRUNCATED {
        let topics = Body::request(api::PRODUCE, 3, number, Some("faulty")).string(None).i16(1).i32(1_000).i32(1 << 30);
        let mut connection = Connection::open(front)?;
        connection.send(&topics.frame())?;
        // Ended by the broker.
        drop(connection.receive());
    }
    for _ in 0..FOREIGN {
        let mut connection = Connection::open(front)?;
        connection.send(b"GET / HTTP/1.1\r\nhost: kafka\r\n\r\n")?;
        drop(connection.receive());
    }
    for _ in 0..IN_VAIN {
        // Where nobody listens there is no connection at all.
        if let Ok(mut connection) = TcpStream::connect(vain) {
            _ = connection.write_all(b"-");
            _ = std::io::copy(&mut connection, &mut std::io::sink());
        }
    }
    let failed = || Ok::<_, anyhow::Error>(proxy.metrics()?.count("kafkascope_self_export_failures_total", &[]));
    // Not becoming so is for the rows to say.
    _ = until("a failed export", TOLD, || failed().is_ok_and(|failed| failed > 0));
    receiver.resume()?;

    let row = |name: &str, metric: &str, filter: Filter<'_>, truth: f64| {
        _ = until(name, TOLD, || receiver.sum(metric, filter) == Some(truth));
        compared(name, ours::counter(&receiver, metric, filter), truth, "what was sent")
    };
    let is_told = receiver.wait_for(TOLD, |receiver| receiver.sum("kafkascope.self.export.failures", &[]));
    let is_told = is_told.map(|failures| Figure::mean(f64::from(u8::from(failures > 0.0)), 1.0));
    let is_told = is_told.ok_or_else(|| ours::missing("kafkascope.self.export.failures", &[]));
    let mut rows = vec![
        row("frames that cannot be decoded", "kafkascope.undecoded", &[(key::API, "Produce")], TRUNCATED.into()),
        row("connections that are not Kafka's", "kafkascope.lost_sync", &[], FOREIGN as f64),
        row(
            "connections to an absent broker",
            "kafkascope.connections.closed",
            &[("reason", "connect")],
            IN_VAIN as f64,
        ),
        compared("whether exports have failed", is_told, 1.0, "the collector was away"),
    ];
    // What was exported does not wait for a name any more.
    let scrape = proxy.metrics()?;
    let live = scrape.sum("kafkascope_self_series", &[]).map(|live| Figure::mean(live, 1.0));
    let live = live.ok_or_else(|| "no series".to_owned());
    rows.push(compared("series", live, series(&scrape) as f64, "those in /metrics"));
    Ok(rows)
}

fn compared(name: &str, ours: Measured, truth: f64, source: &str) -> Row {
    Row::compared(42, name, ours, Ok(Figure::mean(truth, 1.0)), source, Tolerance::EXACT)
}

/// Series that a scrape holds, but for the one that tells of them: a histogram's many lines are one.
fn series(scrape: &Scrape) -> usize {
    let is_part = |name: &str| name.ends_with("_bucket") || name.ends_with("_sum") || name == "target_info";
    scrape.samples().iter().filter(|sample| !is_part(&sample.name)).count() - 1
}
