//! Accidents while librdkafka works: a broker dies, the proxy is replaced.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kafkascope_tests::eventually::until;
use kafkascope_tests::kafka::Version;
use kafkascope_tests::proxy::{Proxy, ProxySpec};
use kafkascope_tests::testbed::Need;
use libtest_mimic::Trial;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::librdkafka::{self, Producer};
use crate::records::compressible;
use crate::stage::{Stage, Stages};
use crate::trial::trial;

const PATIENCE: Duration = Duration::from_secs(120);
const RECORDS: usize = 4_000;

pub(crate) fn trials(stages: &Arc<Stages>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for version in Version::ALL {
        let (broker, proxy) = (stages.clone(), stages.clone());
        trials.push(trial(
            format!("kafka_{version}::a_broker_that_dies_and_returns_costs_no_record"),
            &[Need::Kafka],
            move || broker.on_broken(version, broker_dies),
        ));
        trials.push(trial(
            format!("kafka_{version}::sigterm_under_load_costs_a_reconnect_and_nothing_else"),
            &[Need::Kafka],
            move || proxy.on_broken(version, proxy_is_replaced),
        ));
    }
    trials
}

/// What happens to the stage while a producer works.
type Accident<'a> = &'a dyn Fn(&mut Stage) -> Result<()>;

/// A producer that does not stop for what happens after a third and two thirds of its records.
fn produce(stage: &mut Stage, topic: &str, accidents: [Accident<'_>; 2]) -> Result<Vec<KafkaError>> {
    stage.cluster.create_topic(topic, 3, 3)?;
    let settings = [("acks", "all"), ("enable.idempotence", "true"), ("reconnect.backoff.ms", "20")];
    let producer = Producer::open(&stage.cluster.front(), topic, &settings)?;
    let mut accidents = accidents.into_iter();
    for number in 0..RECORDS {
        producer.send_one(topic, &number.to_string(), &compressible(topic, number))?;
        if (number + 1) % (RECORDS / 3) == 0
            && let Some(accident) = accidents.next()
        {
            let delivered = || producer.ledger().delivered.load(std::sync::atomic::Ordering::SeqCst);
            until("deliveries before the accident", PATIENCE, || delivered() > number as u64 / 2)?;
            accident(stage)?;
        }
    }
    producer.flush()?;
    ensure!(producer.ledger().failures().is_empty(), "deliveries failed: {:?}", producer.ledger().failures());
    let errors = producer.ledger().errors();
    drop(producer);
    librdkafka::read_topic(&stage.cluster.front(), topic, &format!("{topic}-reader"), RECORDS)
        .and_then(|received| received.must_be_complete(&[topic.to_owned()], RECORDS))?;
    Ok(errors)
}

fn broker_dies(stage: &mut Stage) -> Result<()> {
    let dies = |stage: &mut Stage| stage.cluster.kill(2);
    let returns = |stage: &mut Stage| {
        stage.cluster.restart(2)?;
        stage.cluster.wait_ready(PATIENCE)
    };
    produce(stage, "broker-dies", [&dies, &returns])?;
    let refused = stage.proxy.metrics()?;
    ensure!(refused.sum("kafkascope_connections", &[]).is_some(), "no figures after the accident");
    Ok(())
}

/// SIGTERM while requests are under way, then a new proxy at the same addresses. The old one must end by itself, with
/// status 0, and librdkafka must not see more than that it has to connect again.
fn proxy_is_replaced(stage: &mut Stage) -> Result<()> {
    let replaced = |stage: &mut Stage| -> Result<()> {
        stage.proxy.terminate()?;
        let status = stage.proxy.wait(PATIENCE).context("the proxy does not end")?;
        ensure!(status.success(), "{status}:\n{}", stage.proxy.log());
        stage.proxy = Proxy::start(&ProxySpec::new(stage.taps.routes().iter().copied()))?;
        Ok(())
    };
    let errors = produce(stage, "proxy-is-replaced", [&replaced, &replaced])?;
    let reconnect = [RDKafkaErrorCode::BrokerTransportFailure, RDKafkaErrorCode::AllBrokersDown];
    let other = errors.iter().filter(|error| !error.rdkafka_error_code().is_some_and(|code| reconnect.contains(&code)));
    let other: Vec<_> = other.collect();
    ensure!(other.is_empty(), "librdkafka saw more than a reconnect: {other:?}");
    Ok(())
}
