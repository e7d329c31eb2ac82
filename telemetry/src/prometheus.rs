//! The text endpoint: a snapshot in Prometheus' exposition format 0.0.4.
//!
//! Names, units, `_total` and label names are those that the OpenTelemetry collector's Prometheus exporter makes of our OTLP
//! (contrib v0.161, which names by `prometheus/otlptranslator` v1.0.0), so that dashboards fit both ways. Three things
//! differ, because a scraper adds them itself or cannot use them: there are no `job`, `instance` and `otel_scope_*` labels
//! (the resource stands in `target_info`), and histograms are shown with buckets where the collector, which keeps
//! exponential histograms as native ones, shows only `le="+Inf"` in this format. Counts and sums are equal.

mod name;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::learned::Learned;
use crate::metric::{Bounds, Descriptor, Kind, Metric};
use crate::resource::Resource;
use crate::snapshot::{Point, Snapshot, Value};

/// The `Content-Type` of what [`chunks`] make.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Size of the parts that [`chunks`] makes, about.
const CHUNK_BYTES: usize = 64 << 10;

/// All series of a snapshot, in parts: a hundred thousand series are a text of some hundred megabytes, which nobody needs
/// as a whole.
pub fn chunks(snapshot: Snapshot) -> impl Iterator<Item = String> {
    let mut head = Text::default();
    head.target_info(&snapshot.resource);
    let mut first = Some(head.0);
    let (mut points, learned) = (snapshot.points.into_iter(), snapshot.learned);
    let mut current: Option<Metric> = None;
    let mut name = String::new();
    std::iter::from_fn(move || {
        let mut text = Text(first.take().unwrap_or_default());
        for point in points.by_ref() {
            let descriptor = point.series.metric().descriptor();
            if current != Some(descriptor.metric) {
                current = Some(descriptor.metric);
                name = name::metric(descriptor);
                text.head(&name, descriptor.help, kind(descriptor.kind));
            }
            text.point(&name, descriptor, &point, &learned);
            if text.0.len() >= CHUNK_BYTES {
                break;
            }
        }
        (!text.0.is_empty()).then_some(text.0)
    })
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::UpDown | Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        // Help texts hold neither line feeds nor backslashes; a test of the table says so.
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing into a string cannot fail.
        let _infallible = self.0.write_fmt(line);
        self.0.push('\n');
    }

    fn target_info(&mut self, resource: &Resource) {
        self.head("target_info", "Target metadata", "gauge");
        // Keys that become equal share a label, as the collector joins them.
        let mut labels: BTreeMap<String, String> = BTreeMap::new();
        for (key, value) in resource.iter().filter(|(_, value)| !value.is_empty()) {
            match labels.entry(name::label(key)) {
                std::collections::btree_map::Entry::Vacant(label) => {
                    label.insert(value.to_owned());
                }
                std::collections::btree_map::Entry::Occupied(mut label) => {
                    label.get_mut().push(';');
                    label.get_mut().push_str(value);
                }
            }
        }
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
        self.line(format_args!("target_info{{{}}} 1", labels.join(",")));
    }

    fn point(&mut self, name: &str, descriptor: &Descriptor, point: &Point, learned: &Learned) {
        let mut labels = String::new();
        for (key, value) in learned.attributes(&point.series) {
            let separator = if labels.is_empty() { "" } else { "," };
            let (key, value) = (name::label(key.name()), escaped(&value.to_string()));
            let _infallible = write!(labels, "{separator}{key}=\"{value}\"");
        }
        let per_unit = descriptor.unit.per_unit();
        match &point.value {
            Value::Counter(total) if per_unit == 1.0 => self.sample(name, &labels, total),
            Value::Counter(total) => self.sample(name, &labels, &(*total as f64 / per_unit)),
            Value::UpDown(total) | Value::Gauge(total) if per_unit == 1.0 => self.sample(name, &labels, total),
            Value::UpDown(total) | Value::Gauge(total) => self.sample(name, &labels, &(*total as f64 / per_unit)),
            Value::Histogram(histogram) => {
                let Kind::Histogram(Bounds { first, last }) = descriptor.kind else { return };
                let separator = if labels.is_empty() { "" } else { "," };
                for exponent in first..=last {
                    let (bound, count) = (f64::from(exponent).exp2(), histogram.count_to(exponent));
                    self.line(format_args!("{name}_bucket{{{labels}{separator}le=\"{bound}\"}} {count}"));
                }
                let count = histogram.count();
                self.line(format_args!("{name}_bucket{{{labels}{separator}le=\"+Inf\"}} {count}"));
                self.sample(&format!("{name}_sum"), &labels, &(histogram.sum() as f64 / per_unit));
                self.sample(&format!("{name}_count"), &labels, &count);
            }
        }
    }

    fn sample(&mut self, name: &str, labels: &str, value: &dyn std::fmt::Display) {
        if labels.is_empty() {
            self.line(format_args!("{name} {value}"));
        } else {
            self.line(format_args!("{name}{{{labels}}} {value}"));
        }
    }
}

/// A label's value as it stands between quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kafkascope_protocol::Timestamp;

    use super::*;
    use crate::attribute::{Attribute, Value as AttributeValue};
    use crate::histogram::Cell;
    use crate::series::Series;

    fn point(metric: Metric, attributes: &[(Attribute, &'static str)], value: Value) -> Point {
        let attributes = attributes.iter().map(|&(key, text)| (key, AttributeValue::Static(text))).collect();
        Point { series: Arc::new(Series::new(1, metric, attributes, None)), start: Timestamp(1), value, exemplar: None }
    }

    #[test]
    fn every_kind_is_rendered_as_prometheus_reads_it() {
        let mut cell = Cell::default();
        [64, 65, 1 << 25].iter().for_each(|&bytes| cell.record_count(bytes));
        let resource = Resource::new("p", "1", |_| None).unwrap();
        let snapshot = Snapshot {
            at: Timestamp(2),
            resource: Arc::new(resource),
            points: vec![
                point(
                    Metric::Requests,
                    &[(Attribute::ClientId, "a\"b\\c\nd"), (Attribute::Api, "Produce")],
                    Value::Counter(7),
                ),
                point(Metric::BatchSize, &[(Attribute::Codec, "lz4")], Value::Histogram(cell.take().unwrap())),
                point(Metric::Connections, &[], Value::UpDown(-1)),
                point(Metric::SelfTapTime, &[], Value::Counter(1_500_000_000)),
            ],
            learned: Arc::default(),
            gone: Vec::new(),
        };
        let text: String = chunks(snapshot).collect();
        assert!(text.contains("# TYPE kafkascope_requests_total counter\n"));
        assert!(
            text.contains(
                "kafkascope_requests_total{messaging_client_id=\"a\\\"b\\\\c\\nd\",kafka_api=\"Produce\"} 7\n"
            )
        );
        assert!(text.contains("# TYPE kafkascope_produce_batch_size_bytes histogram\n"));
        assert!(text.contains("kafkascope_produce_batch_size_bytes_bucket{kafkascope_codec=\"lz4\",le=\"64\"} 1\n"));
        assert!(text.contains("kafkascope_produce_batch_size_bytes_bucket{kafkascope_codec=\"lz4\",le=\"128\"} 2\n"));
        assert!(
            text.contains("kafkascope_produce_batch_size_bytes_bucket{kafkascope_codec=\"lz4\",le=\"16777216\"} 2\n")
        );
        assert!(text.contains("kafkascope_produce_batch_size_bytes_bucket{kafkascope_codec=\"lz4\",le=\"+Inf\"} 3\n"));
        assert!(text.contains("kafkascope_produce_batch_size_bytes_sum{kafkascope_codec=\"lz4\"} 33554561\n"));
        assert!(text.contains("kafkascope_produce_batch_size_bytes_count{kafkascope_codec=\"lz4\"} 3\n"));
        assert!(text.contains("# TYPE kafkascope_connections gauge\nkafkascope_connections -1\n"));
        assert!(text.contains("kafkascope_self_tap_time_seconds_total 1.5\n"));
        assert!(text.contains("target_info{service_instance_id=\""));
        assert!(text.ends_with('\n'));
    }
}
