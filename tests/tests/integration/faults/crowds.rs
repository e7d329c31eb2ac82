//! Many of something: connections, requests without answers, client ids.

use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

use anyhow::{Result, ensure};
use kafkascope_tests::eventually::eventually;
use kafkascope_tests::port::Port;
use kafkascope_tests::proxy::{Proxy, ProxySpec};
use kafkascope_tests::wire::{self, Connection};
use libtest_mimic::Trial;

use crate::sink::Sink;
use crate::trial::{Plain, trial};

const PATIENCE: Duration = Duration::from_secs(300);

pub(super) fn trials() -> Vec<Trial> {
    let all: [Plain; 3] = [
        ("1000_clients_that_connect_and_vanish_leave_nothing_behind", vanishing_clients),
        ("10_million_requests_without_answers_leave_memory_flat", requests_without_answers),
        ("100_000_client_ids_are_bounded_and_counted_as_folded", many_client_ids),
    ];
    all.map(|(name, run)| trial(format!("faults::{name}"), &[], run)).into()
}

fn before(sink: &Sink) -> Result<(Port, Proxy)> {
    let front = Port::claim()?;
    let proxy = Proxy::start(&ProxySpec::new([(front.address(), sink.address)]).flags(["--workers", "2"]))?;
    Ok((front, proxy))
}

/// Every second one in the middle of a frame.
fn vanishing_clients() -> Result<()> {
    const CLIENTS: usize = 1000;
    let sink = Sink::accepting()?;
    let (front, mut proxy) = before(&sink)?;
    let files = |proxy: &mut Proxy| -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", proxy.process().id()))?.count())
    };
    let files_before = files(&mut proxy)?;
    let frame = wire::produce(1, Some("ghost"), 1, "t", &wire::batch(0, 1, &[0; 100]));
    for number in 0..CLIENTS {
        let mut client = Connection::open(front.address())?;
        if number % 2 == 0 {
            client.send(&frame[..frame.len() / 2])?;
        }
    }
    eventually("all connections to be gone", PATIENCE, || {
        let metrics = proxy.metrics()?;
        let closed = metrics.count("kafkascope_connections_closed_total", &[]);
        let open = metrics.sum("kafkascope_connections", &[]).unwrap_or(0.0);
        ensure!(closed == CLIENTS as u64 && open == 0.0, "{closed} closed, {open} open");
        let files = files(&mut proxy)?;
        ensure!(files <= files_before + 4, "{files} open files, {files_before} before");
        Ok(Some(()))
    })
}

fn requests_without_answers() -> Result<()> {
    const REQUESTS: usize = 10_000_000;
    const LIMIT: u64 = 2 << 20;
    const BURST: usize = 2_500;
    let sink = Sink::swallowing()?;
    let (front, proxy) = before(&sink)?;
    let burst: Vec<u8> = (0..BURST)
        .flat_map(|number| wire::produce(number as i32, Some("careless"), 0, "t", &wire::batch(0, 1, &[0; 8])))
        .collect();
    let mut client = Connection::open(front.address())?;
    for _ in 0..REQUESTS / 10 / BURST {
        client.send(&burst)?;
    }
    let first_tenth = proxy.memory()?;
    for _ in 0..REQUESTS / BURST - REQUESTS / 10 / BURST {
        client.send(&burst)?;
    }
    client.stream.shutdown(Shutdown::Write)?;
    let acks = [("kafkascope_acks", "0"), ("messaging_client_id", "careless")];
    eventually("all requests to be counted", PATIENCE, || {
        let metrics = proxy.metrics()?;
        let counted = metrics.count("kafkascope_produce_requests_total", &acks);
        ensure!(counted == REQUESTS as u64, "{counted} requests counted");
        let in_flight = metrics.sum("kafkascope_request_in_flight", &[]).unwrap_or(0.0);
        ensure!(in_flight == 0.0, "{in_flight} requests in flight");
        Ok(Some(()))
    })?;
    let grown = proxy.memory()?.resident.saturating_sub(first_tenth.resident);
    ensure!(grown < LIMIT, "memory grew by {grown} bytes in nine million requests");
    Ok(())
}

fn many_client_ids() -> Result<()> {
    const IDS: usize = 100_000;
    const LIMIT: u64 = 128 << 20;
    let sink = Sink::swallowing()?;
    let (front, proxy) = before(&sink)?;
    for connection in 0..IDS / 1000 {
        let mut client = Connection::open(front.address())?;
        let mut frames = Vec::new();
        for number in 0..1000 {
            let id = format!("client-{}", connection * 1000 + number);
            frames.extend(wire::produce(number as i32, Some(&id), 0, "t", &wire::batch(0, 1, &[0; 8])));
        }
        client.stream.write_all(&frames)?;
    }
    let mut folded = 0;
    eventually("all requests to be counted", PATIENCE, || {
        let metrics = proxy.metrics()?;
        let counted = metrics.count("kafkascope_produce_requests_total", &[]);
        ensure!(counted == IDS as u64, "{counted} requests counted");
        folded = metrics.count("kafkascope_series_folded_total", &[]);
        let kept = metrics.by("messaging_client_id", "kafkascope_produce_requests_total", &[]).len();
        ensure!(folded > 0 && kept > 1, "{kept} ids kept, {folded} folded");
        ensure!(folded as usize + kept >= IDS, "{kept} ids kept and {folded} folded make less than {IDS}");
        Ok(Some(()))
    })?;
    let memory = proxy.memory()?.peak;
    ensure!(memory < LIMIT, "{memory} bytes of memory at the peak");
    Ok(())
}
