//! What the proxy says of connections, beside what the kernel says of the same sockets, and of the versions that clients
//! use, beside those that were sent.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kafkascope_tests::eventually::eventually;
use kafkascope_tests::java::run;
use kafkascope_tests::prometheus::Scrape;
use kafkascope_tests::wire::{self, Body, Connection};
use libtest_mimic::Trial;

use crate::namespace::{Lossy, in_own_network};
use crate::sink::{Bridge, Stand, exchange};
use crate::trial::{as_root, trial};

const LOSS: &str = "connections::what_the_proxy_sent_again_is_what_the_namespace_counts";
const REST: &str = "connections::round_trip_time_and_delivery_rate_are_the_kernels";

/// What trials in a network of their own need.
const TOOLS: &[&str] = &["unshare", "ip", "nft", "ss"];

/// Each connection is looked at every ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        as_root((LOSS, || in_own_network(LOSS, retransmits)), None, &[], TOOLS),
        as_root((REST, || in_own_network(REST, round_trips)), None, &[], TOOLS),
        trial("connections::versions_are_those_that_were_sent_and_what_kafka_4_0_lacks_is_named", &[], versions),
        trial("connections::age_is_told_while_they_are_open_and_when_they_end", &[], ages),
        trial("connections::a_principal_is_told_only_where_it_is_wanted", &[], principals),
    ]
}

/// Sends Produce requests of `bytes` bytes, and waits for each one's answer.
fn produce(connection: &mut Connection, requests: i32, bytes: usize) -> Result<()> {
    exchange(connection, requests, &wire::batch(0, 1, &vec![7; bytes]))
}

fn retransmits_of(stand: &Stand, side: &str) -> Result<u64> {
    Ok(stand.proxy.metrics()?.count("kafkascope_connection_retransmits_total", &[("kafkascope_side", side)]))
}

/// What the proxy sends gets lost, first on the way to the broker, then on the way to the client. What its peers sent again,
/// because an acknowledgement came with what was lost, is not the proxy's.
fn retransmits() -> Result<()> {
    let stand = Stand::start()?;
    let (broker, client) = (stand.sink.address.port(), stand.front.number());
    let mut truth = BTreeMap::new();
    for (side, lost, bytes) in [
        ("broker", format!("tcp dport {broker} meta length > 100"), 200_000),
        ("client", format!("tcp sport {client} meta length > 60"), 200),
    ] {
        let mut connection = Connection::open(stand.front.address())?;
        produce(&mut connection, 5, 200)?;
        let before = sent_again()?;
        {
            // Each eighth packet.
            let _lossy = Lossy::on(&format!("{lost} numgen inc mod 8 < 1"))?;
            produce(&mut connection, 40, bytes)?;
        }
        produce(&mut connection, 5, 200)?;
        let sent = sent_again()? - before - sent_again_by_peers(client, broker)?;
        ensure!(sent >= 3, "only {sent} segments were lost on the way to the {side}");
        truth.insert(side, sent);
        drop(connection);
        // It has ended, so the total is known at once, not only when its turn to be looked at comes.
        let told = eventually("the total at the end", Duration::from_secs(5), || {
            Ok((retransmits_of(&stand, side)? >= sent).then_some(()))
        });
        let ours = retransmits_of(&stand, side)?;
        told.with_context(|| format!("{side}: we say {ours}, the namespace {sent}"))?;
    }
    for (side, sent) in truth {
        let ours = retransmits_of(&stand, side)?;
        ensure!(ours == sent, "{side}: we say {ours}, the namespace {sent}");
        let row = stand.proxy.client("sender")?;
        ensure!(row.retransmits.get(side) == Some(&sent), "/api/clients: {:?}", row.retransmits);
    }
    Ok(())
}

/// `RetransSegs` of this namespace.
fn sent_again() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/net/snmp")?;
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = lines.next().zip(lines.next()).context("/proc/net/snmp has no Tcp")?;
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    let (_, value) = pairs.find(|(name, _)| *name == "RetransSegs").context("no RetransSegs")?;
    Ok(value.parse()?)
}

/// What sockets of this namespace that are not the proxy's sent again.
fn sent_again_by_peers(front: u16, broker: u16) -> Result<u64> {
    let mut peers = Command::new("ss");
    peers.args(["-tinHO", "state", "established"]);
    peers.arg(format!("( dport = :{front} or sport = :{broker} )"));
    let said = run("ss", &peers, PATIENCE)?;
    ensure!(said.lines().count() >= 2, "not both peers:\n{said}");
    let retransmits = said.lines().filter_map(|line| line.split(" retrans:").nth(1)?.split(['/', ' ']).nth(1));
    Ok(retransmits.map(str::parse::<u64>).sum::<Result<_, _>>()?)
}

/// While a connection rests, the kernel's figures stay, so that ours and those of `ss` are of the same moment.
fn round_trips() -> Result<()> {
    let stand = Stand::start()?;
    let mut connection = Connection::open(stand.front.address())?;
    produce(&mut connection, 50, 50_000)?;
    let complete = |scrape: &Scrape| {
        scrape.count("kafkascope_connection_rtt_seconds_count", &[("messaging_client_id", "sender")]) >= 2
    };
    let scrape = eventually("both sides to be looked at", PATIENCE, || {
        let scrape = stand.proxy.metrics()?;
        Ok(complete(&scrape).then_some(scrape))
    })?;
    let sockets = [
        ("client", format!("sport = :{}", stand.front.number())),
        ("broker", format!("dport = :{}", stand.sink.address.port())),
    ];
    for (side, socket) in sockets {
        let labels = [("messaging_client_id", "sender"), ("kafkascope_side", side)];
        let ours = |name: &str| scrape.sum(name, &labels).with_context(|| format!("no {name} of {side}"));
        let said = run("ss", Command::new("ss").args(["-tinHO", "state", "established", &socket]), PATIENCE)?;
        let word = |key: &str| said.split(key).nth(1).and_then(|rest| rest.split([' ', '/']).next());
        let rtt: f64 = word(" rtt:").context("no rtt")?.parse()?;
        let rate = word(" delivery_rate ").context("no delivery_rate")?;
        let rate: f64 = rate.trim_end_matches("bps").parse()?;
        let (counted, sum) =
            (ours("kafkascope_connection_rtt_seconds_count")?, ours("kafkascope_connection_rtt_seconds_sum")?);
        ensure!(counted == 1.0, "{side}: {counted} round-trip times of a connection that rests");
        ensure!((sum * 1e3 - rtt).abs() < 0.002, "{side}: we say {sum} s, ss {rtt} ms\n{said}");
        let sum = ours("kafkascope_connection_delivery_rate_bytes_per_second_sum")?;
        ensure!((sum * 8.0 - rate).abs() <= 8.0, "{side}: we say {sum} bytes/s, ss {rate} bits/s\n{said}");
    }
    Ok(())
}

/// ApiVersions with the software's name, then requests in chosen versions, whose bodies do not matter.
fn versions() -> Result<()> {
    let bridge = Bridge::start(&[])?;
    let (mut client, mut broker) = bridge.connect()?;
    let sent: [(i16, i16); 8] = [(3, 1), (3, 8), (3, 5), (0, 2), (0, 7), (10, 2), (8, 1), (8, 8)];
    let software = Body::request(18, 3, 0, Some("old")).raw(&[0, 7]).raw(b"sarama").raw(&[5]).raw(b"1.44").raw(&[0]);
    client.send(&software.frame())?;
    broker.receive()?.context("no ApiVersions")?;
    for (number, (api, version)) in sent.into_iter().enumerate() {
        let head = Body::request(api, version, i32::try_from(number)? + 1, Some("old"));
        let is_flexible = matches!((api, version), (8, 8));
        client.send(&if is_flexible { head.raw(&[0]) } else { head }.raw(&[0; 8]).frame())?;
        broker.receive()?.context("no request")?;
    }
    drop((client, broker));
    let names = [(0, "Produce"), (3, "Metadata"), (8, "OffsetCommit"), (10, "FindCoordinator")];
    let of = |api: &'static str| [("messaging_client_id", "old"), ("kafka_api", api)];
    let scrape = eventually("the versions", PATIENCE, || {
        let scrape = bridge.proxy.metrics()?;
        let is_whole = |(key, name): &(i16, &'static str)| {
            let highest = sent.iter().filter(|(sent, _)| sent == key).map(|(_, version)| f64::from(*version));
            scrape.sum("kafkascope_client_api_version_max", &of(name)) == highest.reduce(f64::max)
        };
        Ok(names.iter().all(is_whole).then_some(scrape))
    })?;
    let row = bridge.proxy.client("old")?;
    ensure!(row.software.as_deref() == Some("sarama/1.44"), "{:?}", row.software);
    for (key, api) in names {
        let versions = || sent.iter().filter(|(sent, _)| *sent == key).map(|(_, version)| i64::from(*version));
        let (lowest, highest) = (versions().min(), versions().max());
        let own = row.apis.get(api).with_context(|| format!("no {api} in {:?}", row.apis))?;
        ensure!((own.min_version, own.max_version) == (lowest, highest), "{api}: {own:?}");
        ensure!(own.requests == versions().count() as u64, "{api}: {own:?}");
        for (bound, name) in [(lowest, "min"), (highest, "max")] {
            let labels = [&of(api)[..], &[("kafkascope_client_software", "sarama/1.44")]].concat();
            let ours = scrape.sum(&format!("kafkascope_client_api_version_{name}"), &labels);
            ensure!(ours == bound.map(|version| version as f64), "{api} {name}: {ours:?} instead of {bound:?}");
        }
    }
    let removed = BTreeMap::from([("OffsetCommit".to_owned(), 1), ("Produce".to_owned(), 1)]);
    ensure!(row.removed_in_4_0 == removed, "{:?}", row.removed_in_4_0);
    for (api, requests) in removed {
        let ours = scrape.count("kafkascope_client_removed_in_4_0_total", &[("kafka_api", &api)]);
        ensure!(ours == requests, "{api}: {ours}");
    }
    Ok(())
}

fn ages() -> Result<()> {
    let stand = Stand::start()?;
    let opened = Instant::now();
    let mut connection = Connection::open(stand.front.address())?;
    produce(&mut connection, 1, 100)?;
    let row = eventually("the connection to be two seconds old", PATIENCE, || {
        let row = stand.proxy.client("sender");
        Ok(row.ok().filter(|row| row.oldest_connection_s >= Some(2.0)))
    })?;
    let truth = opened.elapsed().as_secs_f64();
    ensure!(row.connections == 1, "{} connections", row.connections);
    ensure!(row.oldest_connection_s <= Some(truth), "{:?} s, but it is {truth} s old", row.oldest_connection_s);
    drop(connection);
    let age = eventually("the end", PATIENCE, || {
        let scrape = stand.proxy.metrics()?;
        let labels = [("messaging_client_id", "sender")];
        let ended = scrape.count("kafkascope_connection_duration_seconds_count", &labels) == 1;
        Ok(ended.then(|| scrape.sum("kafkascope_connection_duration_seconds_sum", &labels)).flatten())
    })?;
    ensure!((2.0..=opened.elapsed().as_secs_f64()).contains(&age), "{age} s");
    let row = stand.proxy.client("sender")?;
    ensure!((row.connections, row.oldest_connection_s) == (0, None), "{row:?}");
    Ok(())
}

/// SaslHandshake v0, then PLAIN as it was before Kafka 1.0: the token alone, and an empty answer.
fn principals() -> Result<()> {
    for (flags, expected) in [(&[][..], None), (&["--principal", "on"][..], Some("alice"))] {
        let bridge = Bridge::start(flags)?;
        let (mut client, mut broker) = bridge.connect()?;
        client.send(&Body::request(17, 0, 1, Some("c")).string(Some("PLAIN")).frame())?;
        broker.receive()?.context("no SaslHandshake")?;
        broker.send(&Body::default().i32(1).i16(0).i32(1).string(Some("PLAIN")).frame())?;
        client.receive()?.context("no answer")?;
        client.send(&Body::default().raw(b"\0alice\0secret of alice").frame())?;
        broker.receive()?.context("no token")?;
        broker.send(&Body::default().frame())?;
        client.receive()?.context("no answer to the token")?;
        client.send(&Body::request(3, 1, 2, Some("c")).i32(0).frame())?;
        broker.receive()?.context("no Metadata")?;
        drop((client, broker));
        let of = [("messaging_client_id", "c"), ("kafka_api", "Metadata")];
        let scrape = eventually("the request", PATIENCE, || {
            let scrape = bridge.proxy.metrics()?;
            Ok((scrape.count("kafkascope_requests_total", &of) == 1).then_some(scrape))
        })?;
        let request = scrape.select("kafkascope_requests_total", &of).next().context("no series")?;
        ensure!(request.label("user_name") == expected.unwrap_or(""), "user {:?}", request.label("user_name"));
        let row = bridge.proxy.client("c")?;
        ensure!(row.principals.iter().map(String::as_str).eq(expected), "{:?}", row.principals);
        ensure!(!scrape.show("").contains("secret"), "a secret is told");
    }
    Ok(())
}
