//! How connections end, and what happens when one end does not read.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kafkascope_tests::eventually::{eventually, until};
use kafkascope_tests::wire::{self, Connection};
use libtest_mimic::Trial;
use socket2::SockRef;

use crate::sink::{self, Bridge};
use crate::trial::{Plain, trial};

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn trials() -> Vec<Trial> {
    let all: [Plain; 6] = [
        ("a_client_that_half_closes_gets_its_answer", client_half_closes),
        ("a_broker_that_half_closes_gets_the_rest_of_the_requests", broker_half_closes),
        ("a_reset_by_the_client_reaches_the_broker_as_a_reset", client_resets),
        ("a_reset_by_the_broker_reaches_the_client_as_a_reset", broker_resets),
        ("a_slow_reader_holds_its_broker_back_and_costs_no_memory", slow_client),
        ("a_slow_broker_holds_its_client_back_and_costs_no_memory", slow_broker),
    ];
    all.map(|(name, run)| trial(format!("faults::{name}"), &[], run)).into()
}

fn client_half_closes() -> Result<()> {
    let bridge = Bridge::start(&[])?;
    let (mut client, mut broker) = bridge.connect()?;
    let request = wire::produce(7, Some("half"), 1, "t", &wire::batch(0, 1, &[0; 100]));
    client.send(&request)?;
    client.stream.shutdown(Shutdown::Write)?;
    let mut arrived = Vec::new();
    broker.stream.read_to_end(&mut arrived)?;
    ensure!(arrived == request, "the broker got other bytes");
    let Some(answer) = sink::answer(&arrived[4..])? else { bail!("no answer") };
    broker.send(&answer)?;
    drop(broker);
    let mut got = Vec::new();
    client.stream.read_to_end(&mut got)?;
    ensure!(got == answer, "the client got other bytes");
    Ok(())
}

fn broker_half_closes() -> Result<()> {
    let bridge = Bridge::start(&[])?;
    let (mut client, mut broker) = bridge.connect()?;
    broker.stream.shutdown(Shutdown::Write)?;
    ensure!(client.stream.read(&mut [0])? == 0, "the client saw no end of the stream");
    let request = wire::produce(7, Some("half"), 0, "t", &wire::batch(0, 1, &[0; 100]));
    client.send(&request)?;
    drop(client);
    let mut arrived = Vec::new();
    broker.stream.read_to_end(&mut arrived)?;
    ensure!(arrived == request, "the broker got other bytes");
    Ok(())
}

fn client_resets() -> Result<()> {
    let bridge = Bridge::start(&[])?;
    let (client, mut broker) = bridge.connect()?;
    reset(client)?;
    is_reset(&mut broker)?;
    is_counted(&bridge)
}

fn broker_resets() -> Result<()> {
    let bridge = Bridge::start(&[])?;
    let (mut client, broker) = bridge.connect()?;
    reset(broker)?;
    is_reset(&mut client)?;
    is_counted(&bridge)
}

fn reset(connection: Connection) -> Result<()> {
    SockRef::from(&connection.stream).set_linger(Some(Duration::ZERO))?;
    drop(connection);
    Ok(())
}

fn is_reset(connection: &mut Connection) -> Result<()> {
    match connection.stream.read(&mut [0]) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        other => bail!("not a reset, but {other:?}"),
    }
}

fn is_counted(bridge: &Bridge) -> Result<()> {
    eventually("the reset to be counted", PATIENCE, || {
        let metrics = bridge.proxy.metrics()?;
        let reasons = metrics.by("kafkascope_reason", "kafkascope_connections_closed_total", &[]);
        let open = metrics.sum("kafkascope_connections", &[]).unwrap_or(0.0);
        ensure!(open == 0.0, "{open} connections are open");
        ensure!(reasons.values().sum::<u64>() == 1, "closed: {reasons:?}");
        Ok(Some(()))
    })
}

/// More than all socket buffers on the way can hold.
const FLOOD: usize = 96 << 20;
/// What the proxy may need while one side does not read.
const BOUND: u64 = 4 << 20;

fn slow_client() -> Result<()> {
    let bridge = Bridge::start(&["--workers", "1"])?;
    let (mut client, mut broker) = bridge.connect()?;
    // The flood is the response to a Fetch request.
    client.send(&fetch_request())?;
    broker.receive()?.context("no request")?;
    hold_back(&bridge, broker, client)
}

fn slow_broker() -> Result<()> {
    let bridge = Bridge::start(&["--workers", "1"])?;
    let (client, broker) = bridge.connect()?;
    hold_back(&bridge, client, broker)
}

fn fetch_request() -> Vec<u8> {
    let request = wire::Body::request(1, 4, 1, Some("slow")).i32(-1).i32(500).i32(1).i32(i32::MAX).i8(0);
    request.i32(1).string(Some("t")).i32(1).i32(0).i64(0).i32(i32::MAX).frame()
}

/// `writer` sends until nobody takes any more; then `reader` takes everything, which must be what was sent.
fn hold_back(bridge: &Bridge, mut writer: Connection, mut reader: Connection) -> Result<()> {
    let before = bridge.proxy.memory()?.peak;
    let written = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let progress = written.clone();
    let sender = thread::spawn(move || -> Result<()> {
        let mut frame = vec![0_u8; FLOOD];
        frame[..4].copy_from_slice(&u32::try_from(FLOOD - 4)?.to_be_bytes());
        for (at, byte) in frame.iter_mut().enumerate().skip(12) {
            *byte = (at % 251) as u8;
        }
        for part in frame.chunks(64 * 1024) {
            writer.stream.write_all(part)?;
            progress.fetch_add(part.len(), std::sync::atomic::Ordering::SeqCst);
        }
        writer.stream.shutdown(Shutdown::Write)?;
        Ok(())
    });
    let mut still = (0, 0);
    until("the writer to be held back", PATIENCE, || {
        let now = written.load(std::sync::atomic::Ordering::SeqCst);
        still = if now == still.0 && now > 0 { (now, still.1 + 1) } else { (now, 0) };
        still.1 >= 25
    })?;
    ensure!(still.0 < FLOOD, "all {FLOOD} bytes were taken, though nobody reads");
    let grown = bridge.proxy.memory()?.peak - before;
    ensure!(grown < BOUND, "memory grew by {grown} bytes while nobody reads");

    let (mut total, mut buffer) = (0, vec![0; 256 * 1024]);
    loop {
        let count = reader.stream.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        for (offset, byte) in buffer[..count].iter().enumerate() {
            let at = total + offset;
            ensure!(at < 12 || *byte == (at % 251) as u8, "another byte at {at}");
        }
        total += count;
    }
    ensure!(total == FLOOD, "{total} of {FLOOD} bytes arrived");
    match sender.join() {
        Ok(sent) => sent,
        Err(_panic) => bail!("the writer panicked"),
    }
}
