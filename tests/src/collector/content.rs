//! The content of a set of metrics, so that different ways of telling it can be compared.
//!
//! Names and units are turned into those of Prometheus by its rules, written here independently of the product.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::prometheus::{Labels, Scrape};

/// Name and labels.
pub type Series = (String, Labels);

/// The values of all series, a histogram as its `_count` and `_sum`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Content {
    values: BTreeMap<Series, f64>,
}

impl Content {
    /// From a scrape. The labels that a collector adds from the resource and the scope are left out.
    #[must_use]
    pub fn of_scrape(scrape: &Scrape) -> Self {
        let mut content = Self::default();
        for sample in scrape.samples() {
            if !sample.name.ends_with("_bucket") {
                content.insert(sample.name.clone(), sample.labels.clone(), sample.value);
            }
        }
        content
    }

    /// From the lines of a collector's file exporter: for each series its newest point.
    pub fn of_file(text: &str) -> Result<Self> {
        let mut content = Self::default();
        // The last line may be half written.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let export: Value = serde_json::from_str(line).context("not JSON")?;
            for metric in each(&each(&each(&[export], "resourceMetrics"), "scopeMetrics"), "metrics") {
                content.metric(&metric)?;
            }
        }
        Ok(content)
    }

    /// Only what `keep` says.
    #[must_use]
    pub fn filter(mut self, keep: impl Fn(&str) -> bool) -> Self {
        self.values.retain(|(name, _), _| keep(name));
        self
    }

    /// All series.
    #[must_use]
    pub fn values(&self) -> &BTreeMap<Series, f64> {
        &self.values
    }

    /// The first differences, for a message; nothing if there are none. Counts must be equal; sums of seconds may differ in
    /// the last digits, by the order in which they were added.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        let mut text = String::new();
        let equal = |a: f64, b: f64| a == b || (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
        for (series, value) in &self.values {
            match other.values.get(series) {
                Some(there) if equal(*value, *there) => {}
                there => _ = writeln!(text, "{series:?}: {value} here, {there:?} there"),
            }
        }
        for (series, value) in other.values.iter().filter(|(series, _)| !self.values.contains_key(*series)) {
            _ = writeln!(text, "{series:?}: not here, {value} there");
        }
        (!text.is_empty()).then(|| text.lines().take(12).collect::<Vec<_>>().join("\n"))
    }

    fn insert(&mut self, name: String, mut labels: Labels, value: f64) {
        labels.retain(|key, _| key != "job" && key != "instance" && !key.starts_with("otel_scope_"));
        if name != "target_info" {
            self.values.insert((name, labels), value);
        }
    }

    fn metric(&mut self, metric: &Value) -> Result<()> {
        let text = |key: &str| metric.get(key).and_then(Value::as_str).unwrap_or_default();
        let mut name = text("name").replace('.', "_");
        match text("unit") {
            "s" => name += "_seconds",
            "By" => name += "_bytes",
            "By/s" => name += "_bytes_per_second",
            "ms" => name += "_milliseconds",
            // Of gauges only, and no word twice.
            "1" if metric.get("gauge").is_some() && !name.split('_').any(|word| word == "ratio") => name += "_ratio",
            _ => {}
        }
        if let Some(sum) = metric.get("sum") {
            if sum.get("isMonotonic").and_then(Value::as_bool) == Some(true) {
                name += "_total";
            }
            self.numbers(&name, sum)?;
        } else if let Some(gauge) = metric.get("gauge") {
            self.numbers(&name, gauge)?;
        } else if let Some(histogram) = metric.get("exponentialHistogram").or_else(|| metric.get("histogram")) {
            for point in each(std::slice::from_ref(histogram), "dataPoints") {
                let labels = labels(&point);
                for field in ["count", "sum"] {
                    let value = number(point.get(field).unwrap_or(&Value::from(0)))?;
                    self.insert(format!("{name}_{field}"), labels.clone(), value);
                }
            }
        }
        Ok(())
    }

    fn numbers(&mut self, name: &str, data: &Value) -> Result<()> {
        for point in each(std::slice::from_ref(data), "dataPoints") {
            // A point without a value says that the series has ended.
            let Some(value) = point.get("asInt").or_else(|| point.get("asDouble")) else { continue };
            self.insert(name.to_owned(), labels(&point), number(value)?);
        }
        Ok(())
    }
}

/// The names of the spans in the lines of a collector's file exporter.
pub(super) fn span_names(text: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let export: Value = serde_json::from_str(line).context("not JSON")?;
        let spans = each(&each(&each(&[export], "resourceSpans"), "scopeSpans"), "spans");
        names.extend(spans.iter().filter_map(|span| span.get("name")?.as_str().map(str::to_owned)));
    }
    Ok(names)
}

/// All elements of the array `key` of each value.
fn each(values: &[Value], key: &str) -> Vec<Value> {
    let arrays = values.iter().filter_map(|value| value.get(key)?.as_array());
    arrays.flatten().cloned().collect()
}

fn labels(point: &Value) -> Labels {
    let attributes = each(std::slice::from_ref(point), "attributes");
    let label = |attribute: &Value| -> Option<(String, String)> {
        let key = attribute.get("key")?.as_str()?.replace('.', "_");
        let value = attribute.get("value")?.as_object()?.values().next()?;
        Some((key, value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
    };
    attributes.iter().filter_map(label).collect()
}

/// JSON has 64-bit integers as strings.
fn number(value: &Value) -> Result<f64> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.parse().with_context(|| format!("not a number: {text}"))
}
