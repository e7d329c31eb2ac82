//! A producer that keeps to its rate.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, DeliveryResult, NoCustomPartitioner, Producer, ProducerContext},
};

use super::{Context, Phase};

/// How long the last records may take.
const FLUSH_LIMIT: Duration = Duration::from_secs(30);

pub(super) fn run(
    config: &ClientConfig,
    context: Context,
    topic: &str,
    rate: f64,
    size: usize,
    phase: &Phase,
) -> Result<()> {
    let producer: BaseProducer<Context> = config.create_with_context(context).context("cannot start")?;
    let started = Instant::now();
    let mut sent = 0;
    while !phase.at_least(Phase::RESTING) {
        let due = (started.elapsed().as_secs_f64() * rate) as u64;
        while sent < due {
            match producer.send(BaseRecord::<(), [u8]>::to(topic).payload(&record(sent, size))) {
                Ok(()) => sent += 1,
                // The broker is slower than the rate: what is due waits.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => break,
                Err((error, _)) => return Err(error).context("cannot send"),
            }
        }
        producer.poll(Duration::from_millis(5));
    }
    let flushed = producer.flush(FLUSH_LIMIT);
    if producer.in_flight_count() > 0 {
        producer.context().0.trouble(format!("{} records were not delivered in time", producer.in_flight_count()));
    } else {
        flushed.context("cannot flush")?;
    }
    while !phase.at_least(Phase::ENDING) {
        producer.poll(Duration::from_millis(100));
    }
    Ok(())
}

/// A line such as applications write: compressible, but no two alike.
fn record(number: u64, size: usize) -> Vec<u8> {
    let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut record = format!(
        r#"{{"id":{number},"trace":"{scattered:016x}","customer":{},"city":"{}","state":"paid","amount":{}.{:02},"note":""#,
        scattered % 10_007,
        ["Lisbon", "Osaka", "Nairobi", "Quito"][(scattered >> 60) as usize % 4],
        scattered % 900,
        scattered % 100,
    );
    while record.len() + 2 < size {
        record.push_str("thank you for your order ");
    }
    record.truncate(size.saturating_sub(2));
    record.push_str("\"}");
    record.into_bytes()
}

impl ProducerContext<NoCustomPartitioner> for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let count = if result.is_ok() { &self.0.records } else { &self.0.lost };
        count.fetch_add(1, Ordering::AcqRel);
    }
}
