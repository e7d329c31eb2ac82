//! A consumer in a group, quick or slow.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
};

use super::{Context, Phase};

pub(super) fn run(config: &ClientConfig, context: Context, topic: &str, work: Duration, phase: &Phase) -> Result<()> {
    let mut config = config.clone();
    config.set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer<Context> = config.create_with_context(context.clone()).context("cannot start")?;
    consumer.subscribe(&[topic]).context("cannot subscribe")?;
    while !phase.at_least(Phase::ENDING) {
        match consumer.poll(Duration::from_millis(100)) {
            // At rest even the slow one reads to the end: only then do both counts stand still.
            Some(Ok(_record)) if phase.at_least(Phase::RESTING) => {}
            Some(Ok(_record)) => std::thread::sleep(work),
            Some(Err(error)) => context.0.trouble(error.to_string()),
            None => {}
        }
    }
    Ok(())
}

impl ConsumerContext for Context {}
