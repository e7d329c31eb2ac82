//! Running totals: every export is folded into them as a backend would.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, DataPointFlags, Exemplar as ProtoExemplar, Metric, NumberDataPoint, ResourceMetrics,
        exemplar, metric::Data, number_data_point,
    },
    trace::v1::{ResourceSpans, span::Link as ProtoLink, status::StatusCode},
};

use super::distribution::Distribution;

/// Attributes, with every value as text.
pub type Attributes = BTreeMap<String, String>;

const MAX_SPANS: usize = 20_000;
const MAX_VIOLATIONS: usize = 100;

/// Everything received.
#[derive(Debug, Default)]
pub(super) struct Store {
    series: BTreeMap<String, BTreeMap<SeriesKey, Series>>,
    pub(super) points: u64,
    pub(super) exports: u64,
    pub(super) spans: VecDeque<Span>,
    pub(super) span_count: u64,
    pub(super) exemplars: VecDeque<Exemplar>,
    pub(super) resources: BTreeSet<Attributes>,
    pub(super) violations: Vec<String>,
}

/// Two processes may report the same attributes: the resource is part of the identity.
type SeriesKey = (Attributes, Attributes);

/// One series of a metric.
#[derive(Debug, Clone)]
pub struct Series {
    /// Attributes of the point.
    pub attributes: Attributes,
    /// Attributes of the resource that reported it.
    pub resource: Attributes,
    /// What kind of metric it belongs to.
    pub kind: Kind,
    /// UCUM unit.
    pub unit: String,
    /// Total since the first export, over all restarts of the series; for gauges and up-down counters the last value.
    pub value: Value,
    /// Start of the current run of a cumulative series, nanoseconds since the epoch.
    pub start_unix_nano: u64,
    /// Time of the last point, nanoseconds since the epoch.
    pub time_unix_nano: u64,
    /// Whether the sender said that the series has no value any more.
    pub ended: bool,
    /// What earlier runs had reached.
    before: Value,
}

/// Kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Monotonic sum.
    Counter,
    /// Sum that may fall.
    UpDownCounter,
    /// Last value.
    Gauge,
    /// Histogram, explicit or exponential.
    Histogram,
}

/// A series' value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Of a counter, an up-down counter or a gauge. Exact for integers below 2^53.
    Number(f64),
    /// Of a histogram.
    Distribution(Distribution),
}

impl Value {
    /// The number, unless this is a histogram.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Distribution(_) => None,
        }
    }

    /// The histogram, if this is one.
    pub fn distribution(&self) -> Option<&Distribution> {
        match self {
            Self::Number(_) => None,
            Self::Distribution(distribution) => Some(distribution),
        }
    }

    fn zero(kind: Kind) -> Self {
        match kind {
            Kind::Histogram => Self::Distribution(Distribution::default()),
            Kind::Counter | Kind::UpDownCounter | Kind::Gauge => Self::Number(0.0),
        }
    }

    fn plus(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => Self::Number(a + b),
            (Self::Distribution(a), Self::Distribution(b)) => {
                let mut sum = a.clone();
                sum.merge(b);
                Self::Distribution(sum)
            }
            // A metric that changed its kind starts anew.
            (Self::Number(_), Self::Distribution(_)) | (Self::Distribution(_), Self::Number(_)) => other.clone(),
        }
    }

    /// Number, or count of a histogram: what must not fall.
    fn magnitude(&self) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Distribution(distribution) => distribution.count as f64,
        }
    }
}

/// A span as received.
#[derive(Debug, Clone)]
pub struct Span {
    /// Name, e.g. `send orders`.
    pub name: String,
    /// Start, nanoseconds since the epoch.
    pub start_unix_nano: u64,
    /// End, nanoseconds since the epoch.
    pub end_unix_nano: u64,
    /// OTLP number of the kind; 3 is CLIENT.
    pub kind: i32,
    /// Whether its status is an error.
    pub error: bool,
    /// Trace id, 16 bytes.
    pub trace_id: Vec<u8>,
    /// Span id, 8 bytes.
    pub span_id: Vec<u8>,
    /// Span id of the parent; empty if there is none.
    pub parent: Vec<u8>,
    /// Links.
    pub links: Vec<Link>,
    /// Attributes of the span.
    pub attributes: Attributes,
    /// Attributes of the resource that reported it.
    pub resource: Attributes,
}

/// A link of a span.
#[derive(Debug, Clone)]
pub struct Link {
    /// Trace id, 16 bytes.
    pub trace_id: Vec<u8>,
    /// Span id, 8 bytes.
    pub span_id: Vec<u8>,
    /// Attributes of the link.
    pub attributes: Attributes,
}

/// A value of a histogram and its span, as received.
#[derive(Debug, Clone)]
pub struct Exemplar {
    /// Name of the histogram.
    pub metric: String,
    /// Attributes of its series.
    pub attributes: Attributes,
    /// The value.
    pub value: f64,
    /// Trace id, 16 bytes.
    pub trace_id: Vec<u8>,
    /// Span id, 8 bytes.
    pub span_id: Vec<u8>,
}

/// A data point, whatever its kind.
struct Point<'a> {
    attributes: &'a [KeyValue],
    start: u64,
    time: u64,
    no_value: bool,
    value: Value,
}

impl Store {
    /// Series of a metric that carry all of the attributes.
    pub(super) fn matching<'a>(
        &'a self,
        name: &str,
        filter: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Series> {
        let carries = |series: &Series| {
            filter.iter().all(|(key, value)| series.attributes.get(*key).is_some_and(|found| found == value))
        };
        self.series.get(name).into_iter().flat_map(BTreeMap::values).filter(move |series| carries(series))
    }

    pub(super) fn metrics(&self) -> BTreeMap<String, (String, usize)> {
        let unit = |series: &BTreeMap<SeriesKey, Series>| {
            series.values().next().map(|series| series.unit.clone()).unwrap_or_default()
        };
        self.series.iter().map(|(name, series)| (name.clone(), (unit(series), series.len()))).collect()
    }

    pub(super) fn fold_metrics(&mut self, resources: &[ResourceMetrics]) {
        self.exports += 1;
        let mut seen = HashSet::new();
        for resource in resources {
            let attributes = resource.resource.as_ref().map(|resource| text(&resource.attributes)).unwrap_or_default();
            self.resources.insert(attributes.clone());
            for metric in resource.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
                self.fold_metric(&attributes, metric, &mut seen);
            }
        }
    }

    fn fold_metric(&mut self, resource: &Attributes, metric: &Metric, seen: &mut HashSet<(String, SeriesKey)>) {
        let Some((kind, delta, points)) = points(metric) else {
            self.violation(format!("{}: no data, or of a kind that is not read", metric.name));
            return;
        };
        for point in points {
            self.points += 1;
            let key = (text(point.attributes), resource.clone());
            if !seen.insert((metric.name.clone(), key.clone())) {
                self.violation(format!("{} {:?}: twice in one export", metric.name, key.0));
            }
            if point.time < point.start {
                self.violation(format!("{} {:?}: ends before its start", metric.name, key.0));
            }
            if let (Value::Distribution(distribution), false) = (&point.value, point.no_value)
                && distribution.bucketed() != distribution.count
            {
                self.violation(format!("{} {:?}: buckets do not add up to the count", metric.name, key.0));
            }
            self.fold_point(metric, kind, delta, key, &point);
        }
        for (attributes, exemplar) in exemplars(metric) {
            if self.exemplars.len() == MAX_SPANS {
                self.exemplars.pop_front();
            }
            let value = exemplar.value.map_or(f64::NAN, |value| match value {
                exemplar::Value::AsDouble(value) => value,
                exemplar::Value::AsInt(value) => value as f64,
            });
            self.exemplars.push_back(Exemplar {
                metric: metric.name.clone(),
                attributes: text(attributes),
                value,
                trace_id: exemplar.trace_id.clone(),
                span_id: exemplar.span_id.clone(),
            });
        }
    }

    fn fold_point(&mut self, metric: &Metric, kind: Kind, delta: bool, key: SeriesKey, point: &Point<'_>) {
        let all = self.series.entry(metric.name.clone()).or_default();
        let attributes = key.0.clone();
        let series = all.entry(key).or_insert_with_key(|(attributes, resource)| Series {
            attributes: attributes.clone(),
            resource: resource.clone(),
            kind,
            unit: metric.unit.clone(),
            value: Value::zero(kind),
            start_unix_nano: point.start,
            time_unix_nano: point.time,
            ended: false,
            before: Value::zero(kind),
        });
        series.time_unix_nano = point.time;
        series.ended = point.no_value;
        if point.no_value {
            return;
        }
        let accumulates = matches!(kind, Kind::Counter | Kind::Histogram);
        if accumulates && (delta || point.start > series.start_unix_nano) {
            series.before = series.value.clone();
        }
        series.start_unix_nano = point.start;
        let total = if accumulates { series.before.plus(&point.value) } else { point.value.clone() };
        let fell = accumulates && total.magnitude() < series.value.magnitude();
        let problem = fell.then(|| {
            let (name, from, to) = (&metric.name, series.value.magnitude(), total.magnitude());
            format!("{name} {attributes:?}: fell from {from} to {to} without a new start time")
        });
        series.value = total;
        problem.into_iter().for_each(|problem| self.violation(problem));
    }

    pub(super) fn fold_spans(&mut self, resources: &[ResourceSpans]) {
        for resource in resources {
            let attributes = resource.resource.as_ref().map(|resource| text(&resource.attributes)).unwrap_or_default();
            self.resources.insert(attributes.clone());
            for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
                if span.end_time_unix_nano < span.start_time_unix_nano {
                    self.violation(format!("span {}: ends before its start", span.name));
                }
                if self.spans.len() == MAX_SPANS {
                    self.spans.pop_front();
                }
                self.span_count += 1;
                self.spans.push_back(Span {
                    name: span.name.clone(),
                    start_unix_nano: span.start_time_unix_nano,
                    end_unix_nano: span.end_time_unix_nano,
                    kind: span.kind,
                    error: span.status.as_ref().is_some_and(|status| status.code == StatusCode::Error as i32),
                    trace_id: span.trace_id.clone(),
                    span_id: span.span_id.clone(),
                    parent: span.parent_span_id.clone(),
                    links: span.links.iter().map(link).collect(),
                    attributes: text(&span.attributes),
                    resource: attributes.clone(),
                });
            }
        }
    }

    fn violation(&mut self, what: String) {
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(what);
        }
    }
}

/// Kind, whether the points are deltas, and the points.
fn points(metric: &Metric) -> Option<(Kind, bool, Vec<Point<'_>>)> {
    // The kinds of points have the same fields by name, but no common type.
    macro_rules! read {
        ($points:expr, $value:expr) => {
            $points
                .iter()
                .map(|point| Point {
                    attributes: &point.attributes,
                    start: point.start_time_unix_nano,
                    time: point.time_unix_nano,
                    no_value: point.flags & DataPointFlags::NoRecordedValueMask as u32 != 0,
                    value: $value(point),
                })
                .collect()
        };
    }
    let delta = |temporality: i32| temporality == AggregationTemporality::Delta as i32;
    Some(match metric.data.as_ref()? {
        Data::Gauge(gauge) => (Kind::Gauge, false, read!(gauge.data_points, number)),
        Data::Sum(sum) => {
            let kind = if sum.is_monotonic { Kind::Counter } else { Kind::UpDownCounter };
            (kind, delta(sum.aggregation_temporality), read!(sum.data_points, number))
        }
        Data::Histogram(histogram) => {
            let read = |point| Value::Distribution(Distribution::explicit(point));
            (Kind::Histogram, delta(histogram.aggregation_temporality), read!(histogram.data_points, read))
        }
        Data::ExponentialHistogram(histogram) => {
            let read = |point| Value::Distribution(Distribution::exponential(point));
            (Kind::Histogram, delta(histogram.aggregation_temporality), read!(histogram.data_points, read))
        }
        Data::Summary(_) => return None,
    })
}

/// The exemplars of a histogram, with the attributes of their points.
fn exemplars(metric: &Metric) -> Vec<(&[KeyValue], &ProtoExemplar)> {
    fn of<'a>(
        attributes: &'a [KeyValue],
        all: &'a [ProtoExemplar],
    ) -> impl Iterator<Item = (&'a [KeyValue], &'a ProtoExemplar)> {
        all.iter().map(move |exemplar| (attributes, exemplar))
    }
    match &metric.data {
        Some(Data::Histogram(histogram)) => {
            histogram.data_points.iter().flat_map(|point| of(&point.attributes, &point.exemplars)).collect()
        }
        Some(Data::ExponentialHistogram(histogram)) => {
            histogram.data_points.iter().flat_map(|point| of(&point.attributes, &point.exemplars)).collect()
        }
        _ => Vec::new(),
    }
}

fn link(link: &ProtoLink) -> Link {
    Link { trace_id: link.trace_id.clone(), span_id: link.span_id.clone(), attributes: text(&link.attributes) }
}

fn number(point: &NumberDataPoint) -> Value {
    Value::Number(match point.value {
        Some(number_data_point::Value::AsInt(value)) => value as f64,
        Some(number_data_point::Value::AsDouble(value)) => value,
        None => 0.0,
    })
}

fn text(attributes: &[KeyValue]) -> Attributes {
    let render = |value: &Option<AnyValue>| match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(truth)) => truth.to_string(),
        Some(any_value::Value::DoubleValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), render(&attribute.value))).collect()
}
