//! Real Java clients in one JVM, and what each of them says of itself.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::row::{Figure, Measured};
use crate::{dialogue::Dialogue, java::Tool, kafka::Version};

/// Longest that anything but the work itself may take: joining groups, flushing, reading to the end.
const PATIENCE: Duration = Duration::from_secs(180);

/// The JVM with the clients.
#[derive(Debug)]
pub(crate) struct Workload {
    dialogue: Dialogue,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event {
    Ready,
    Done { phase: String },
    Result { clients: Vec<Client> },
    Failed { error: String },
}

impl Workload {
    /// Starts the clients of a specification. Returns when every consumer has its partitions.
    pub(crate) fn start(version: Version, specification: &Path) -> Result<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("java/Workload.java");
        let tool = Tool::source(version, &source)?.args([specification]);
        let mut workload = Self { dialogue: Dialogue::start(&tool.into_command())? };
        match workload.next(PATIENCE)? {
            Event::Ready => Ok(workload),
            other => bail!("the Java clients are not ready: {other:?}"),
        }
    }

    /// Lets the producers of a phase work for so long. Does not wait for them.
    pub(crate) fn begin(&mut self, phase: &str, time: Duration) -> Result<()> {
        self.dialogue.tell(&format!("run {phase} {}", time.as_secs_f64()))
    }

    /// Waits until the producers of a phase that was begun `time` long have flushed and closed.
    pub(crate) fn finish(&mut self, phase: &str, time: Duration) -> Result<()> {
        match self.next(time + PATIENCE)? {
            Event::Done { phase: done } if done == phase => Ok(()),
            other => bail!("phase {phase} did not end: {other:?}"),
        }
    }

    /// Lets the consumers read to the end, closes them, and hears everyone out.
    pub(crate) fn drain(mut self) -> Result<Vec<Client>> {
        self.dialogue.tell("drain")?;
        match self.next(PATIENCE)? {
            Event::Result { clients } => Ok(clients),
            other => bail!("the Java clients gave no result: {other:?}"),
        }
    }

    fn next(&mut self, limit: Duration) -> Result<Event> {
        let line = self.dialogue.next(Instant::now() + limit).context("the Java clients")?;
        match serde_json::from_str(&line).with_context(|| format!("not an event: {line}"))? {
            Event::Failed { error } => bail!("a Java client failed: {error}"),
            event => Ok(event),
        }
    }
}

/// A client id, and the Kafka clients that bore it.
#[derive(Debug, Deserialize)]
pub(crate) struct Client {
    /// The client id.
    pub id: String,
    instances: Vec<Instance>,
}

#[derive(Debug, Deserialize)]
struct Instance {
    metrics: BTreeMap<String, BTreeMap<String, Value>>,
}

impl Client {
    /// A counter of the client, summed over its instances.
    pub(crate) fn total(&self, group: &str, name: &str) -> Measured {
        let values = self.instances.iter().map(|instance| instance.metric(group, name));
        values.sum::<Result<f64, String>>().map(Figure::count)
    }

    /// A mean of the client. Instances count by `weight`, a counter of the same group that grows with what the mean is
    /// made of.
    pub(crate) fn mean(&self, group: &str, name: &str, weight: &str) -> Measured {
        let (mut sum, mut samples) = (0.0, 0.0);
        for instance in &self.instances {
            let weight = instance.metric(group, weight)?;
            sum += weight * instance.metric(group, name)?;
            samples += weight;
        }
        Ok(Figure::mean(if samples > 0.0 { sum / samples } else { 0.0 }, samples))
    }
}

impl Instance {
    fn metric(&self, group: &str, name: &str) -> Result<f64, String> {
        let value = self.metrics.get(group).and_then(|metrics| metrics.get(name)).and_then(Value::as_f64);
        value.ok_or_else(|| format!("the client has no {group}/{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        serde_json::from_str(
            r#"{"id":"a","instances":[
                {"records":1,"metrics":{"g":{"t":10.0,"m":1.0}}},
                {"records":1,"metrics":{"g":{"t":30.0,"m":5.0}}}]}"#,
        )
        .unwrap()
    }

    #[test]
    fn instances_are_one_client() {
        assert_eq!(client().total("g", "t"), Ok(Figure::count(40.0)));
        assert_eq!(client().mean("g", "m", "t"), Ok(Figure::mean(4.0, 40.0)));
    }

    #[test]
    fn a_metric_that_an_instance_does_not_have_is_an_error_and_not_zero() {
        assert!(client().total("g", "x").is_err());
        assert!(client().total("x", "t").is_err());
        assert!(client().mean("g", "m", "x").is_err());
    }
}
