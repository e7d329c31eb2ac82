//! The collector is away, or worse: it takes connections and never answers.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kafkascope_tests::collector::Collector;
use kafkascope_tests::port::Port;
use kafkascope_tests::proxy::{Proxy, ProxySpec};
use kafkascope_tests::testbed::Need;
use kafkascope_tests::wire::{self, Connection};
use libtest_mimic::Trial;

use crate::collector::{agree, export_flags, traffic};
use crate::sink::Sink;
use crate::trial::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("outages::totals_survive_a_minute_without_the_collector", &[Need::Collector], collector_comes_back),
        trial("outages::a_collector_that_never_answers_by_grpc_harms_nothing", &[], || blackhole("grpc")),
        trial("outages::a_collector_that_never_answers_by_http_harms_nothing", &[], || blackhole("http/protobuf")),
    ]
}

fn collector_comes_back() -> Result<()> {
    const AWAY: Duration = Duration::from_secs(60);
    let mut collector = Collector::start()?;
    let sink = Sink::accepting()?;
    let front = Port::claim()?;
    let spec = ProxySpec::new([(front.address(), sink.address)]);
    let proxy = Proxy::start(&spec.flags(export_flags(&collector.grpc(), "grpc")))?;
    traffic(&front, "before", 10)?;
    agree(&proxy, &collector)?;

    collector.stop()?;
    let away = Instant::now();
    let memory = proxy.memory()?.resident;
    let mut connection = Connection::open(front.address())?;
    let mut number = 0;
    while away.elapsed() < AWAY {
        number += 1;
        connection.exchange(&wire::produce(number, Some("meanwhile"), 1, "during", &wire::batch(0, 2, &[1; 500])))?;
        // A steady trickle: this is the traffic that goes on, not a wait for something to happen.
        std::thread::sleep(Duration::from_millis(20));
    }
    let grown = proxy.memory()?.resident.saturating_sub(memory);
    ensure!(grown < 8 << 20, "memory grew by {grown} bytes without the collector");

    collector.restart()?;
    agree(&proxy, &collector)?;
    let sent = collector.file()?;
    let total = |client: &str| -> f64 {
        let of_client = |labels: &std::collections::BTreeMap<String, String>| {
            labels.get("messaging_client_id").is_some_and(|id| id == client)
        };
        let requests = sent.values().iter().filter(|((name, _), _)| name == "kafkascope_produce_requests_total");
        requests.filter(|((_, labels), _)| of_client(labels)).map(|(_, value)| value).sum()
    };
    ensure!(total("meanwhile") == f64::from(number), "{} of {number} requests arrived", total("meanwhile"));
    ensure!(total("steady") == 10.0, "{} of 10 requests from before arrived", total("steady"));
    ensure!(proxy.log().lines().count() < 60, "too much log:\n{}", proxy.log());
    Ok(())
}

fn blackhole(protocol: &str) -> Result<()> {
    const DRAIN: Duration = Duration::from_secs(3);
    /// Beyond the drain: the last export is given up in time, and a busy machine is forgiven.
    const GRACE: Duration = Duration::from_secs(12);
    // Connections wait in its backlog for ever.
    let hole = TcpListener::bind("127.0.0.1:0")?;
    let sink = Sink::accepting()?;
    let front = Port::claim()?;
    let endpoint = format!("http://{}", hole.local_addr()?);
    let spec = ProxySpec::new([(front.address(), sink.address)]).flags(export_flags(&endpoint, protocol));
    let mut proxy = Proxy::start(&spec.flags(["--drain-timeout", "3s", "--trace-sample-ratio", "1"]))?;

    let mut connection = Connection::open(front.address())?;
    let mut slowest = Duration::ZERO;
    let started = Instant::now();
    let mut number = 0;
    // Several exports are due meanwhile.
    while started.elapsed() < Duration::from_secs(5) {
        number += 1;
        let sent = Instant::now();
        let request = wire::produce(number, Some("unharmed"), 1, "t", &wire::batch(0, 1, &[1; 500]));
        connection.exchange(&request).context("traffic suffers")?;
        slowest = slowest.max(sent.elapsed());
    }
    ensure!(slowest < Duration::from_secs(1), "an exchange took {slowest:?}");
    drop(connection);

    let asked = Instant::now();
    proxy.terminate()?;
    let status = proxy.wait(DRAIN + GRACE)?;
    ensure!(status.success(), "{status} after {:?}\n{}", asked.elapsed(), proxy.log());
    ensure!(
        proxy.log().to_lowercase().contains("lost") || proxy.log().to_lowercase().contains("export"),
        "silent:\n{}",
        proxy.log()
    );
    Ok(())
}
