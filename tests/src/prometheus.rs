//! The text format of Prometheus, read into a map that can be asked.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};

/// The labels of a sample.
pub type Labels = BTreeMap<String, String>;

/// All samples of one scrape. Histograms come as their `_bucket`, `_sum` and `_count` samples.
#[derive(Debug, Clone, Default)]
pub struct Scrape {
    samples: Vec<Sample>,
}

/// One line of a scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name of the metric.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
}

impl Sample {
    /// Whether it has all of these labels with these values.
    #[must_use]
    pub fn matches(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(key, value)| self.labels.get(*key).is_some_and(|has| has == value))
    }

    /// The value of a label; empty if there is none.
    #[must_use]
    pub fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }
}

impl Scrape {
    /// Reads the text.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(|line| sample(line).with_context(|| format!("not a sample: {line}")));
        Ok(Self { samples: samples.collect::<Result<_>>()? })
    }

    /// Without the samples that carry the label `key` with another value than `value`.
    #[must_use]
    pub fn of(mut self, key: &str, value: &str) -> Self {
        self.samples.retain(|sample| sample.labels.get(key).is_none_or(|has| has == value));
        self
    }

    /// Every sample.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The samples of `name` with all of `labels`.
    pub fn select<'a>(&'a self, name: &'a str, labels: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| sample.name == name && sample.matches(labels))
    }

    /// The sum over [`Scrape::select`]; nothing if that is empty, which is not the same as 0.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.select(name, labels).map(|sample| sample.value).reduce(|sum, value| sum + value)
    }

    /// [`Scrape::sum`] of a count that may not have begun.
    #[must_use]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.sum(name, labels).unwrap_or(0.0) as u64
    }

    /// Sums over [`Scrape::select`] by the value of one label.
    #[must_use]
    pub fn by(&self, label: &str, name: &str, labels: &[(&str, &str)]) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for sample in self.select(name, labels) {
            *sums.entry(sample.label(label).to_owned()).or_insert(0) += sample.value as u64;
        }
        sums.retain(|_, sum| *sum > 0);
        sums
    }

    /// The samples whose name begins with `prefix`, as text, for a message.
    #[must_use]
    pub fn show(&self, prefix: &str) -> String {
        let mut text = String::new();
        for Sample { name, labels, value } in self.samples.iter().filter(|sample| sample.name.starts_with(prefix)) {
            // Writing to a string cannot fail.
            _ = writeln!(text, "{name} {labels:?} {value}");
        }
        text
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (name, rest) = line.split_at(line.find(['{', ' '])?);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (Labels::new(), rest),
    };
    // A timestamp or an exemplar may follow.
    let value = match rest.split_whitespace().next()? {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().ok()?,
    };
    Some(Sample { name: name.to_owned(), labels, value })
}

/// Labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(Labels, &str)> {
    let mut labels = Labels::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (key, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        loop {
            match characters.next()? {
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (at, '"') => {
                    rest = quoted.get(at + 1..)?;
                    break;
                }
                (_, other) => value.push(other),
            }
        }
        labels.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_escapes_infinities_and_plain_samples() {
        let text = "# HELP a b\na_total{x=\"1\\\"}\\n\",y=\"\"} 3 1700\nb 2.5\na_bucket{le=\"+Inf\"} +Inf\n";
        let scrape = Scrape::parse(text).unwrap();
        assert_eq!(scrape.sum("a_total", &[("x", "1\"}\n")]), Some(3.0));
        assert_eq!(scrape.sum("b", &[]), Some(2.5));
        assert_eq!(scrape.sum("a_bucket", &[("le", "+Inf")]), Some(f64::INFINITY));
        assert_eq!(scrape.sum("c", &[]), None);
    }

    #[test]
    fn refuses_what_is_not_a_sample() {
        Scrape::parse("a{x=\"1\" 3").unwrap_err();
        Scrape::parse("a three").unwrap_err();
    }
}
