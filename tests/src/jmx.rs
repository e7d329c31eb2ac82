//! Reads the MBeans of running brokers: the oracle for what brokers say of themselves.
//!
//! One JVM stays up for the whole run and is asked again and again, because starting one costs more CPU than the reading.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::{dialogue::Dialogue, java::Tool, kafka::Version};

/// Longest that one reading of all JVMs may take.
const READING: Duration = Duration::from_secs(60);
/// Time between the two readings that must be equal before counters are taken to rest.
const REST: Duration = Duration::from_millis(400);

/// Asks several JVMs.
#[derive(Debug)]
pub struct Reader {
    dialogue: Dialogue,
    patterns: String,
}

impl Reader {
    /// A reader of the JVMs whose JMX connectors listen at `addresses`, for the MBeans that match any of the object name
    /// `patterns`. Connects at the first reading.
    pub fn start(version: Version, addresses: &[SocketAddr], patterns: &[&str]) -> Result<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("java/JmxReader.java");
        let tool = Tool::source(version, &source)?.args(addresses.iter().map(ToString::to_string));
        Ok(Self { dialogue: Dialogue::start(&tool.into_command())?, patterns: patterns.join("\t") })
    }

    /// Reads now. A JVM that does not answer is noted in the reading.
    pub fn read(&mut self) -> Result<Reading> {
        let deadline = Instant::now() + READING;
        self.dialogue.tell(&self.patterns)?;
        let mut reading = Reading::default();
        loop {
            let line = self.dialogue.next(deadline).context("the JMX reader gave no complete answer")?;
            let line: Line =
                serde_json::from_str(&line).with_context(|| format!("not a line of the JMX reader: {line}"))?;
            if reading.accept(line) {
                return Ok(reading);
            }
        }
    }

    /// Reads until two readings in a row are equal in all their counts, at most for `limit`; gives the last one.
    pub fn read_at_rest(&mut self, limit: Duration) -> Result<Reading> {
        let deadline = Instant::now() + limit;
        let mut earlier = self.read()?;
        loop {
            std::thread::sleep(REST);
            let later = self.read()?;
            if later.counts() == earlier.counts() || Instant::now() > deadline {
                return Ok(later);
            }
            earlier = later;
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    End { end: bool },
    Failed { jvm: usize, error: String },
    Bean { jvm: usize, mbean: String, attributes: BTreeMap<String, f64> },
}

/// MBeans of several JVMs at one moment.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    beans: BTreeMap<(usize, Name), BTreeMap<String, f64>>,
    failures: BTreeSet<String>,
}

impl Reading {
    /// Takes a line in; whether it was the last one.
    fn accept(&mut self, line: Line) -> bool {
        match line {
            Line::End { end } => return end,
            Line::Failed { jvm, error } => {
                self.failures.insert(format!("JVM {jvm}: {error}"));
            }
            Line::Bean { jvm, mbean, attributes } => {
                self.beans.insert((jvm, Name::parse(&mbean)), attributes);
            }
        }
        false
    }

    /// An attribute of the one MBean, of any JVM, that has all the `properties`.
    pub fn attribute(&self, properties: &[(&str, &str)], attribute: &str) -> Option<f64> {
        let mut matching = self.beans.iter().filter(|((_, name), _)| name.has(properties));
        matching.find_map(|(_, attributes)| attributes.get(attribute).copied())
    }

    /// An attribute, summed over all JVMs and MBeans that have all the `properties`.
    pub fn total(&self, properties: &[(&str, &str)], attribute: &str) -> f64 {
        let matching = self.beans.iter().filter(|((_, name), _)| name.has(properties));
        matching.filter_map(|(_, attributes)| attributes.get(attribute)).sum()
    }

    /// Values of property `key` among the MBeans that have all the `properties`.
    pub fn values(&self, key: &str, properties: &[(&str, &str)]) -> BTreeSet<String> {
        let matching = self.beans.keys().filter(|(_, name)| name.has(properties));
        matching.filter_map(|(_, name)| name.0.get(key).cloned()).collect()
    }

    fn counts(&self) -> BTreeMap<&(usize, Name), f64> {
        self.beans.iter().filter_map(|(key, attributes)| Some((key, *attributes.get("Count")?))).collect()
    }
}

/// An object name, with its properties in no order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name(BTreeMap<String, String>);

impl Name {
    fn parse(name: &str) -> Self {
        let properties = name.split_once(':').map_or(name, |(_domain, properties)| properties);
        Self(
            properties
                .split(',')
                .filter_map(|pair| pair.split_once('='))
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
        )
    }

    fn has(&self, properties: &[(&str, &str)]) -> bool {
        properties.iter().all(|(key, value)| self.0.get(*key).is_some_and(|found| found == value))
    }
}

/// What happened between two readings.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    /// The earlier reading.
    pub start: &'a Reading,
    /// The later one.
    pub end: &'a Reading,
}

impl Window<'_> {
    /// By how much `Count` rose, over all JVMs and MBeans that have all the `properties` (`name=BytesInPerSec`..).
    pub fn count(&self, properties: &[(&str, &str)]) -> Result<f64, String> {
        self.difference(properties, |attributes| attributes.get("Count").copied())
    }

    /// By how much `Count` times `Mean` (the sum of all values of a histogram) rose.
    pub fn sum(&self, properties: &[(&str, &str)]) -> Result<f64, String> {
        self.difference(properties, |attributes| match attributes.get("Count")? {
            // The mean of nothing need not be a number.
            0.0 => Some(0.0),
            count => Some(count * attributes.get("Mean")?),
        })
    }

    /// Values of property `key` among the MBeans of the later reading that have all the `properties`.
    pub fn values(&self, key: &str, properties: &[(&str, &str)]) -> BTreeSet<String> {
        self.end.values(key, properties)
    }

    fn difference(
        &self,
        properties: &[(&str, &str)],
        value: impl Fn(&BTreeMap<String, f64>) -> Option<f64>,
    ) -> Result<f64, String> {
        if let Some(failure) = self.start.failures.iter().chain(&self.end.failures).next() {
            return Err(failure.clone());
        }
        let mut matching = self.end.beans.iter().filter(|((_, name), _)| name.has(properties)).peekable();
        if matching.peek().is_none() {
            return Err(format!("no MBean with {properties:?}"));
        }
        matching
            .map(|(key, attributes)| {
                // Brokers make the MBean of a topic or of a request's version when they first count for it.
                let before = self.start.beans.get(key).map_or(Some(0.0), &value);
                Ok(value(attributes)
                    .zip(before)
                    .map(|(after, before)| after - before)
                    .ok_or("an MBean without Count")?)
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(lines: &[&str]) -> Reading {
        let mut reading = Reading::default();
        for line in lines {
            assert!(!reading.accept(serde_json::from_str(line).unwrap()));
        }
        assert!(reading.accept(serde_json::from_str(r#"{"end":true}"#).unwrap()));
        reading
    }

    fn bean(jvm: u8, topic: &str, count: u32, mean: f64) -> String {
        format!(
            r#"{{"jvm":{jvm},"mbean":"kafka.server:type=B,name=N,topic={topic}","attributes":{{"Count":{count},"Mean":{mean}}}}}"#
        )
    }

    #[test]
    fn differences_are_summed_over_jvms_and_a_new_mbean_counts_from_zero() {
        let start = reading(&[&bean(0, "a", 10, 2.0)]);
        let end = reading(&[&bean(0, "a", 15, 4.0), &bean(1, "a", 7, 1.0), &bean(1, "b", 100, 1.0)]);
        let window = Window { start: &start, end: &end };
        assert_eq!(window.count(&[("name", "N"), ("topic", "a")]), Ok(12.0));
        assert_eq!(window.sum(&[("topic", "a")]), Ok(15.0 * 4.0 - 10.0 * 2.0 + 7.0));
        assert_eq!(window.values("topic", &[("name", "N")]).into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn no_mbean_is_an_error_and_not_zero() {
        let end = reading(&[&bean(0, "a", 15, 4.0)]);
        let window = Window { start: &Reading::default(), end: &end };
        assert!(window.count(&[("topic", "c")]).is_err());
    }

    #[test]
    fn one_jvm_that_could_not_be_asked_spoils_the_sum() {
        let end = reading(&[&bean(0, "a", 15, 4.0), r#"{"jvm":1,"error":"refused"}"#]);
        let window = Window { start: &Reading::default(), end: &end };
        assert_eq!(window.count(&[("topic", "a")]), Err("JVM 1: refused".to_owned()));
    }
}
