//! Items 14 and 35: bytes of interfaces beside nftables and a known amount, retransmits beside the namespace's own count
//! less what the clients sent again.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result};

use super::Break;
use super::stage::{Stage, counted, growth, output, say};
use super::tracing::Tracing;
use crate::truth::row::{Figure, Row, Tolerance};

const SENT: usize = 256 << 20;
const RETRANSMITS: &str = "kafkascope_tcp_retransmits_total";
const ORACLE: &str = "RetransSegs less the clients'";

pub(super) fn rows(stage: &mut Stage) -> Result<Vec<Row>> {
    let mut rows = of_host(stage)?;
    rows.extend(of_broker(stage)?);
    rows.extend(retransmits(stage)?);
    Ok(rows)
}

/// A known amount over the host's loopback interface.
fn of_host(stage: &Stage) -> Result<Vec<Row>> {
    say("bytes over an interface of the host");
    let labels = |direction| [("network_interface_name", "lo"), ("network_io_direction", direction)];
    let before = stage.scrape()?;
    stage.on_host(send)?;
    let mut sent = SENT as f64;
    if stage.is_broken(Break::Unseen) {
        send()?;
        sent *= 2.0;
    }
    let after = stage.scrape()?;
    let of = |item, direction| {
        let ours = counted(&before, &after, "system_network_io_bytes_total", &labels(direction));
        // A segment of 64 KiB has 52 bytes of headers, and acknowledgements come on top.
        let tolerance = Tolerance::percent(1.0);
        let name = format!("bytes of the host's lo, {direction}");
        Row::compared(item, &name, ours, Ok(Figure::count(sent)), "bytes that were sent", tolerance)
    };
    Ok(vec![of(14, "receive"), of(14, "transmit"), of(35, "receive"), of(35, "transmit")])
}

fn send() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (mut receiver, _) = listener.accept()?;
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || -> Result<()> {
            let part = vec![0; 1 << 20];
            for _ in 0..SENT >> 20 {
                sender.write_all(&part)?;
            }
            Ok(())
        });
        let mut buffer = vec![0; 1 << 20];
        while receiver.read(&mut buffer)? > 0 {}
        sending.join().map_err(|_panic| anyhow::anyhow!("the sender ended by a panic"))?
    })
}

/// All that passes the interface of the broker's own network namespace.
fn of_broker(stage: &Stage) -> Result<Vec<Row>> {
    let rules = Rules::load("chain out { type filter hook output priority 0; oifname \"lo\" counter\n}")?;
    let labels = |direction| {
        [("kafkascope_process_name", "broker-1"), ("network_interface_name", "lo"), ("network_io_direction", direction)]
    };
    let begin = rules.bytes()?;
    let before = stage.scrape()?;
    fetch_much(stage)?;
    let after = stage.scrape()?;
    let end = rules.bytes()?;
    let rows = ["receive", "transmit"].map(|direction| {
        let ours = counted(&before, &after, "container_network_io_bytes_total", &labels(direction));
        let name = format!("bytes of the broker's lo, {direction}");
        Row::compared(14, &name, ours, Ok(Figure::count(end - begin)), "nftables", Tolerance::percent(1.0))
    });
    Ok(rows.into())
}

/// Of what the broker sends one packet in twenty is lost.
fn retransmits(stage: &Stage) -> Result<Vec<Row>> {
    say("a network that loses packets");
    let port = stage.bootstrap().port();
    let labels = [("kafkascope_process_name", "broker-1")];
    let before = stage.scrape()?;
    // A client whose request's acknowledgement is lost sends that again, and the namespace counts both sides.
    let of_clients = Tracing::retransmits()?;
    let begin = segments_retransmitted()?;
    let rules = Rules::load(&format!(
        "chain in {{ type filter hook input priority 0; tcp sport {port} numgen random mod 100 < 5 counter drop\n}}"
    ))?;
    fetch_much(stage)?;
    drop(rules);
    let (end, after) = (segments_retransmitted()?, stage.scrape()?);
    let of_clients = of_clients.to_port(port)? as f64;
    let ours = growth(&before, &after, RETRANSMITS, &labels).map(Figure::count);
    let to_peer = [labels[0], ("network_peer_address", "127.0.0.1")];
    let peer = growth(&before, &after, RETRANSMITS, &to_peer).map(Figure::count);
    let truth = || Ok(Figure::count(end - begin - of_clients));
    let tolerance = Tolerance::percent(1.0).plus(1.0, "segments");
    Ok(vec![
        Row::compared(14, "segments that the broker sent again", ours, truth(), ORACLE, tolerance),
        Row::compared(14, "the same, to the client's address", peer, truth(), ORACLE, tolerance),
    ])
}

fn segments_retransmitted() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/net/snmp")?;
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = lines.next().zip(lines.next()).context("/proc/net/snmp has no Tcp")?;
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    let (_, value) = pairs.find(|(name, _)| *name == "RetransSegs").context("no RetransSegs")?;
    Ok(value.parse()?)
}

/// A consumer of what other acts have left, or of a topic made for it.
fn fetch_much(stage: &Stage) -> Result<()> {
    super::page_cache::read_something(stage)
}

/// A table of rules in this namespace.
struct Rules;

impl Rules {
    fn load(chain: &str) -> Result<Self> {
        output("nft", &[&format!("table inet kafkascope {{\n{chain}\n}}")])?;
        Ok(Self)
    }

    fn bytes(&self) -> Result<f64> {
        let said = output("nft", &["list", "table", "inet", "kafkascope"])?;
        let bytes = said.split("bytes ").nth(1).and_then(|rest| rest.split_whitespace().next());
        Ok(bytes.context("nft counts nothing")?.parse()?)
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        _ = std::process::Command::new("nft").args(["delete", "table", "inet", "kafkascope"]).status();
    }
}
