//! A request that waits because packets are lost, and the retransmits of these packets, find each other.

use anyhow::{Context, Result, ensure};
use kafkascope_tests::port::Port;
use kafkascope_tests::probe::Probe;
use kafkascope_tests::proxy::{Proxy, ProxySpec};
use kafkascope_tests::receiver::{Receiver, Span};
use kafkascope_tests::wire::{self, Connection};
use libtest_mimic::Trial;

use super::{PATIENCE, now, privileged, told};
use crate::collector::export_flags;
use crate::namespace::{Lossy, in_own_network};
use crate::sink::Sink;

const NAME: &str = "probe::network::a_request_and_the_retransmits_that_delay_it_share_a_community_id";

pub(super) fn trials() -> Vec<Trial> {
    vec![privileged((NAME, || in_own_network(NAME, retransmits)), &[], &["unshare", "ip", "nft"])]
}

fn retransmits() -> Result<()> {
    let receiver = Receiver::start()?;
    let sink = Sink::accepting()?;
    let front = Port::claim()?;
    let export = export_flags(&receiver.grpc_endpoint(), "grpc");
    let spec = ProxySpec::new([(front.address(), sink.address)]).flags(export.clone());
    let _proxy = Proxy::start(&spec.flags(["--trace-sample-ratio=1"]))?;
    let probe = Probe::start(["--samplers=tcp".to_owned()].into_iter().chain(export))?;
    let name = format!("proxy-{}", front.number());
    let of = [("kafkascope_process_name", name.as_str())];
    let port = front.number().to_string();
    told(&probe, "the proxy to be found", PATIENCE, |scrape| {
        scrape.sum("kafkascope_process_listening", &[of[0], ("server_port", &port)]) == Some(1.0)
    })?;

    let mut connection = Connection::open(front.address())?;
    let request = |number| wire::produce(number, Some("delayed"), 1, "orders", &wire::batch(0, 1, &[7; 500]));
    connection.exchange(&request(1))?;
    told(&probe, "the proxy's connections to be followed", PATIENCE, |scrape| {
        scrape
            .sum("kafkascope_tcp_sockets", &[of[0], ("kafkascope_method", "sock_ops")])
            .is_some_and(|count| count >= 2.0)
    })?;
    let lossy = Lossy::on(&format!("tcp dport {}", sink.address.port()))?;
    let sent = now();
    connection.send(&request(2))?;
    told(&probe, "retransmits", PATIENCE, |scrape| {
        scrape.sum("kafkascope_tcp_retransmits_total", &of).is_some_and(|segments| segments >= 2.0)
    })?;
    drop(lossy);
    connection.receive()?.context("no answer")?;

    // Other trials lose packets, too.
    let burst = receiver.wait_for(PATIENCE, |receiver| {
        let is_of = |span: &Span| span.attributes.get("kafkascope.process.name") == Some(&name);
        receiver.spans().into_iter().rfind(|span| span.name == "retransmits 127.0.0.1" && is_of(span))
    });
    let burst = burst.context("no span of retransmits")?;
    let id = burst.attributes.get("network.community_id").context("no community id")?;
    let delayed = receiver.wait_for(PATIENCE, |receiver| {
        let slow = |span: &Span| {
            let took = span.end_unix_nano - span.start_unix_nano;
            span.name == "send orders" && span.start_unix_nano >= sent && took > 100_000_000
        };
        receiver.spans().into_iter().find(slow)
    });
    let delayed = delayed.context("no span of the request")?;
    ensure!(delayed.attributes.get("kafkascope.broker.community_id") == Some(id), "{delayed:?}\n{burst:?}");
    ensure!(delayed.attributes.get("kafkascope.client.community_id").is_some_and(|client| client != id), "{delayed:?}");
    ensure!(burst.attributes.get("network.peer.port") == Some(&sink.address.port().to_string()), "{burst:?}");
    // It is what the request waited for.
    ensure!(
        delayed.start_unix_nano <= burst.end_unix_nano && burst.start_unix_nano <= delayed.end_unix_nano,
        "{delayed:?}\n{burst:?}"
    );
    Ok(())
}
