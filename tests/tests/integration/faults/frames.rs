//! Frames that are too large, unknown, broken, or not Kafka's at all.

use std::hash::{DefaultHasher, Hasher};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kafkascope_tests::eventually::eventually;
use kafkascope_tests::prometheus::Scrape;
use kafkascope_tests::wire::{self, Body};
use libtest_mimic::Trial;

use crate::sink::{self, Bridge};
use crate::trial::{Plain, trial};

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn trials() -> Vec<Trial> {
    let all: [Plain; 9] = [
        ("a_frame_of_100_mb_takes_no_memory", huge_frame),
        ("an_unknown_api_key_passes_and_is_counted", || unknown(999, 0)),
        ("produce_v99_passes_and_is_counted", || unknown(0, 99)),
        ("a_length_of_zero_passes_and_is_counted", || not_kafka(&0_i32.to_be_bytes())),
        ("a_negative_length_passes_and_is_counted", || not_kafka(&(-5_i32).to_be_bytes())),
        ("a_length_of_2_gb_passes_and_is_counted", || not_kafka(&i32::MAX.to_be_bytes())),
        ("a_tls_hello_passes_and_is_counted", || not_kafka(&tls_hello())),
        ("an_http_request_passes_and_is_counted", || not_kafka(b"GET / HTTP/1.1\r\nHost: kafka\r\n\r\n")),
        ("random_bytes_pass", random_bytes),
    ];
    all.map(|(name, run)| trial(format!("faults::{name}"), &[], run)).into()
}

/// One Produce request of 100 MB, in one batch; the broker must get exactly these bytes, and the proxy never hold them.
fn huge_frame() -> Result<()> {
    const LIMIT: u64 = 4 << 20;
    let bridge = Bridge::start(&["--workers", "1"])?;
    let small = wire::produce(1, Some("huge"), 1, "t", &wire::batch(0, 1, &[1; 1000]));
    let (mut client, mut broker) = bridge.connect()?;
    client.send(&small)?;
    answer_one(&mut broker)?;
    client.receive()?.context("no answer")?;
    let before = bridge.proxy.memory()?.peak;

    let payload: Vec<u8> = (0..100_000_000_u32).map(|at| (at % 251) as u8).collect();
    let frame = wire::produce(2, Some("huge"), 1, "t", &wire::batch(0, 1000, &payload));
    drop(payload);
    let hash = |bytes: &[u8]| {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        hasher.finish()
    };
    let sent = hash(&frame);
    let receiver = thread::spawn(move || -> Result<(u64, wire::Connection)> {
        let request = broker.receive()?.context("no request")?;
        let mut hasher = DefaultHasher::new();
        hasher.write(&u32::try_from(request.len())?.to_be_bytes());
        hasher.write(&request);
        let answer = sink::answer(&request)?.context("no answer")?;
        broker.send(&answer)?;
        Ok((hasher.finish(), broker))
    });
    client.send(&frame)?;
    client.receive()?.context("no answer")?;
    let Ok(received) = receiver.join() else { bail!("the broker panicked") };
    ensure!(received?.0 == sent, "the broker got other bytes");
    let grown = bridge.proxy.memory()?.peak - before;
    ensure!(grown < LIMIT, "peak memory grew by {grown} bytes");
    let metrics = metrics_when(&bridge, |metrics| metrics.count("kafkascope_produced_messages_total", &[]) >= 1001)?;
    ensure!(metrics.count("kafkascope_produced_messages_total", &[]) == 1001, "{}", metrics.show("kafkascope_prod"));
    Ok(())
}

/// A request that no Kafka knows, then one that we do know, on the same connection.
fn unknown(key: i16, version: i16) -> Result<()> {
    let bridge = Bridge::start(&[])?;
    let (mut client, mut broker) = bridge.connect()?;
    let strange = Body::request(key, version, 41, Some("strange")).raw(&[0xee; 333]).frame();
    client.send(&strange)?;
    let arrived = broker.receive()?.context("no request")?;
    ensure!(arrived == strange[4..], "the broker got other bytes");
    let answer = Body::default().i32(41).raw(&[0xdd; 77]).frame();
    broker.send(&answer)?;
    ensure!(client.receive()?.context("no answer")? == answer[4..], "the client got other bytes");

    client.send(&wire::produce(42, Some("strange"), 1, "t", &wire::batch(0, 3, &[1; 100])))?;
    answer_one(&mut broker)?;
    client.receive()?.context("no answer")?;
    let metrics = metrics_when(&bridge, |metrics| {
        metrics.count("kafkascope_produced_messages_total", &[]) >= 3
            && metrics.count("kafkascope_undecoded_total", &[]) >= 1
    })?;
    let labels = [("kafka_api_version", version.to_string())];
    let labels = labels.each_ref().map(|(key, value)| (*key, value.as_str()));
    ensure!(metrics.count("kafkascope_undecoded_total", &labels) >= 1, "{}", metrics.show("kafkascope_undecoded"));
    ensure!(metrics.count("kafkascope_requests_total", &labels) == 1, "{}", metrics.show("kafkascope_requests"));
    ensure!(metrics.count("kafkascope_lost_sync_total", &[]) == 0, "{}", metrics.show("kafkascope_lost"));
    ensure!(metrics.count("kafkascope_produced_messages_total", &[]) == 3, "{}", metrics.show("kafkascope_prod"));
    Ok(())
}

/// Bytes that are no Kafka frame, followed by more bytes: all must pass, both ways, and the loss of sync be counted.
fn not_kafka(start: &[u8]) -> Result<()> {
    let bridge = Bridge::start(&[])?;
    let mut stream = start.to_vec();
    stream.extend((0..100_000_u32).map(|at| (at % 253) as u8));
    exchange(&bridge, &stream)?;
    let metrics = metrics_when(&bridge, |metrics| metrics.count("kafkascope_lost_sync_total", &[]) >= 1)?;
    ensure!(metrics.count("kafkascope_lost_sync_total", &[]) >= 1, "not counted:\n{}", metrics.show("kafkascope_"));
    ensure!(bridge.proxy.log().lines().count() < 100, "too much log:\n{}", bridge.proxy.log());
    still_serves(&bridge)
}

fn random_bytes() -> Result<()> {
    let bridge = Bridge::start(&[])?;
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..50 {
        let stream: Vec<u8> = (0..2_000)
            .flat_map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()
            })
            .collect();
        exchange(&bridge, &stream)?;
    }
    still_serves(&bridge)
}

/// Sends `stream` both ways through the proxy at once and closes; both ends must get exactly that.
fn exchange(bridge: &Bridge, stream: &[u8]) -> Result<()> {
    let (client, broker) = bridge.connect()?;
    let both = [(&client, &broker), (&broker, &client)];
    thread::scope(|scope| {
        let ends = both.map(|(from, to)| {
            let sender = scope.spawn(move || -> Result<()> {
                (&from.stream).write_all(stream)?;
                Ok(from.stream.shutdown(Shutdown::Write)?)
            });
            let receiver = scope.spawn(move || -> Result<()> {
                let mut got = Vec::new();
                (&to.stream).read_to_end(&mut got)?;
                ensure!(got == stream, "{} other bytes instead of {}", got.len(), stream.len());
                Ok(())
            });
            [sender, receiver]
        });
        for end in ends.into_iter().flatten() {
            match end.join() {
                Ok(result) => result?,
                Err(_panic) => bail!("one end panicked"),
            }
        }
        Ok(())
    })
}

/// After the fault: a new connection is served and decoded.
fn still_serves(bridge: &Bridge) -> Result<()> {
    let (mut client, mut broker) = bridge.connect()?;
    client.send(&wire::produce(1, Some("after"), 1, "t", &wire::batch(4, 5, &[1; 100])))?;
    answer_one(&mut broker)?;
    client.receive()?.context("no answer")?;
    let after = [("messaging_client_id", "after")];
    let metrics = metrics_when(bridge, |metrics| metrics.count("kafkascope_produced_messages_total", &after) >= 5)?;
    ensure!(metrics.count("kafkascope_produced_messages_total", &after) == 5, "not decoded any more");
    Ok(())
}

fn answer_one(broker: &mut wire::Connection) -> Result<()> {
    let request = broker.receive()?.context("no request")?;
    Ok(broker.send(&sink::answer(&request)?.context("no answer is wanted")?)?)
}

fn metrics_when(bridge: &Bridge, complete: impl Fn(&Scrape) -> bool) -> Result<Scrape> {
    let mut last = Scrape::default();
    let waited = eventually("the figures", PATIENCE, || {
        last = bridge.proxy.metrics()?;
        Ok(complete(&last).then_some(()))
    });
    waited.with_context(|| last.show("kafkascope_"))?;
    Ok(last)
}

/// A TLS 1.2 record with the head of a ClientHello.
fn tls_hello() -> Vec<u8> {
    let mut hello = vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
    hello.extend_from_slice(&[0x5a; 500]);
    hello
}
