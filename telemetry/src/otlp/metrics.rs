//! A snapshot as OTLP metrics.

use std::sync::Arc;

use kafkascope_protocol::Timestamp;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, DataPointFlags, Exemplar as ProtoExemplar, ExponentialHistogram,
    ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, exemplar, metric, number_data_point,
};
use prost::Message;

use super::settings::{Aggregation, Temporality};
use super::temporality::Baseline;
use super::{PAYLOAD, resource, scalar, scope};
use crate::exemplar::Exemplar;
use crate::histogram::{self, SCALE, ZERO_EXPONENT};
use crate::learned::Learned;
use crate::metric::{Bounds, Descriptor, Kind, Unit};
use crate::series::Series;
use crate::snapshot::{Gone, Point, Snapshot, Value};

/// How totals are written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shape {
    pub(super) temporality: Temporality,
    pub(super) aggregation: Aggregation,
}

/// A part of a snapshot that fits into one request, and what it carries.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) request: ExportMetricsServiceRequest,
    pub(super) points: u64,
    /// Totals that are delivered with it, with the start of their series; delta temporality only.
    pub(super) totals: Vec<(u64, Timestamp, Value)>,
    /// Those in it, which are delivered but once.
    pub(super) exemplars: Vec<Arc<Exemplar>>,
}

/// A snapshot in parts of at most [`PAYLOAD`] bytes. Of the ended series those after number `told` are told.
pub(super) fn parts(snapshot: &Snapshot, told: u64, baseline: &Baseline, shape: Shape) -> Vec<Part> {
    let mut writer = Writer {
        snapshot,
        shape,
        parts: Vec::new(),
        metrics: Vec::new(),
        size: 0,
        points: 0,
        totals: Vec::new(),
        exemplars: Vec::new(),
        closed: false,
    };
    if shape.temporality == Temporality::Cumulative {
        // First, so that a series that has come back since is not ended by its own past.
        for gone in snapshot.gone.iter().filter(|gone| gone.number > told) {
            writer.gone(gone);
        }
    }
    for point in &snapshot.points {
        let delta =
            shape.temporality == Temporality::Delta && !matches!(point.value, Value::UpDown(_) | Value::Gauge(_));
        if delta {
            let Some((start, value)) = baseline.since(point) else { continue };
            writer.point(point, start.0, &value);
            // After the point, which may have opened the part that carries it.
            writer.totals.push((point.series.number(), point.start, point.value.clone()));
        } else {
            writer.point(point, point.start.0, &point.value);
        }
    }
    writer.finish_part();
    writer.parts
}

struct Writer<'a> {
    snapshot: &'a Snapshot,
    shape: Shape,
    parts: Vec<Part>,
    metrics: Vec<Metric>,
    size: usize,
    points: u64,
    totals: Vec<(u64, Timestamp, Value)>,
    exemplars: Vec<Arc<Exemplar>>,
    /// The last metric takes no more points.
    closed: bool,
}

fn attributes(learned: &Learned, series: &Series) -> Vec<KeyValue> {
    learned.attributes(series).map(|(key, value)| scalar(key.name(), value)).collect()
}

/// A data point of any kind.
enum DataPoint {
    Number(NumberDataPoint),
    Exponential(ExponentialHistogramDataPoint),
    Explicit(HistogramDataPoint),
}

impl Writer<'_> {
    fn point(&mut self, point: &Point, start: u64, value: &Value) {
        let descriptor = point.series.metric().descriptor();
        let told = point.exemplar.as_ref().filter(|exemplar| !exemplar.was_told());
        let exemplar = told.and_then(|exemplar| self::exemplar(exemplar, descriptor.unit.per_unit()));
        let told = told.filter(|_| exemplar.is_some()).cloned();
        let point = self.data_point(&point.series, start, value, exemplar);
        self.add(descriptor, point, false);
        // After the point, which may have opened the part that carries it.
        self.exemplars.extend(told);
    }

    /// The end of a series: a point without a value.
    fn gone(&mut self, gone: &Gone) {
        let series = &gone.series;
        let descriptor = series.metric().descriptor();
        let flags = DataPointFlags::NoRecordedValueMask as u32;
        let (attributes, at) = (attributes(&gone.learned, series), gone.at.0);
        let point = match (descriptor.kind, self.shape.aggregation) {
            (Kind::Histogram(_), Aggregation::Exponential) => DataPoint::Exponential(ExponentialHistogramDataPoint {
                attributes,
                time_unix_nano: at,
                flags,
                ..Default::default()
            }),
            (Kind::Histogram(_), Aggregation::Explicit) => {
                DataPoint::Explicit(HistogramDataPoint { attributes, time_unix_nano: at, flags, ..Default::default() })
            }
            _ => DataPoint::Number(NumberDataPoint { attributes, time_unix_nano: at, flags, ..Default::default() }),
        };
        // A metric of its own: the collector's Prometheus exporter (v0.161) stops reading a metric at such a point.
        self.add(descriptor, point, true);
    }

    fn data_point(&self, series: &Series, start: u64, value: &Value, exemplar: Option<ProtoExemplar>) -> DataPoint {
        let descriptor = series.metric().descriptor();
        let per_unit = descriptor.unit.per_unit();
        let (attributes, start_time_unix_nano, time_unix_nano) =
            (attributes(&self.snapshot.learned, series), start, self.snapshot.at.0);
        let number = |value| {
            DataPoint::Number(NumberDataPoint {
                attributes: attributes.clone(),
                start_time_unix_nano,
                time_unix_nano,
                value: Some(value),
                ..Default::default()
            })
        };
        match value {
            Value::Counter(total) if per_unit != 1.0 => {
                number(number_data_point::Value::AsDouble(*total as f64 / per_unit))
            }
            Value::UpDown(total) | Value::Gauge(total) if per_unit != 1.0 => {
                number(number_data_point::Value::AsDouble(*total as f64 / per_unit))
            }
            Value::Counter(total) => number(number_data_point::Value::AsInt(i64::try_from(*total).unwrap_or(i64::MAX))),
            Value::UpDown(total) | Value::Gauge(total) => number(number_data_point::Value::AsInt(*total)),
            Value::Histogram(histogram) => {
                let (count, sum) = (histogram.count(), Some(histogram.sum() as f64 / per_unit));
                let exemplars = exemplar.into_iter().collect();
                match (self.shape.aggregation, descriptor.kind) {
                    (Aggregation::Explicit, Kind::Histogram(bounds)) => DataPoint::Explicit(HistogramDataPoint {
                        attributes,
                        start_time_unix_nano,
                        time_unix_nano,
                        count,
                        sum,
                        bucket_counts: bucket_counts(histogram, bounds),
                        explicit_bounds: bounds.iter().collect(),
                        exemplars,
                        ..Default::default()
                    }),
                    _ => {
                        let (offset, counts) = histogram.buckets();
                        DataPoint::Exponential(ExponentialHistogramDataPoint {
                            attributes,
                            start_time_unix_nano,
                            time_unix_nano,
                            count,
                            sum,
                            scale: SCALE,
                            zero_count: histogram.zero(),
                            positive: Some(Buckets { offset, bucket_counts: counts.to_vec() }),
                            zero_threshold: zero_threshold(descriptor),
                            exemplars,
                            ..Default::default()
                        })
                    }
                }
            }
        }
    }

    fn add(&mut self, descriptor: &Descriptor, point: DataPoint, alone: bool) {
        let size = 16
            + match &point {
                DataPoint::Number(point) => point.encoded_len(),
                DataPoint::Exponential(point) => point.encoded_len(),
                DataPoint::Explicit(point) => point.encoded_len(),
            };
        if self.size + size > PAYLOAD {
            self.finish_part();
        }
        if alone || self.closed || self.metrics.last().is_none_or(|last| last.name != descriptor.name) {
            let metric = self.metric(descriptor);
            self.size += metric.encoded_len() + 16;
            self.metrics.push(metric);
        }
        self.size += size;
        self.points += 1;
        match (self.metrics.last_mut().and_then(|metric| metric.data.as_mut()), point) {
            (Some(metric::Data::Gauge(gauge)), DataPoint::Number(point)) => gauge.data_points.push(point),
            (Some(metric::Data::Sum(sum)), DataPoint::Number(point)) => sum.data_points.push(point),
            (Some(metric::Data::ExponentialHistogram(all)), DataPoint::Exponential(point)) => {
                all.data_points.push(point)
            }
            (Some(metric::Data::Histogram(all)), DataPoint::Explicit(point)) => all.data_points.push(point),
            _ => debug_assert!(false, "a point of another kind than its metric"),
        }
        self.closed = alone;
    }

    fn metric(&self, descriptor: &Descriptor) -> Metric {
        let aggregation_temporality = match self.shape.temporality {
            Temporality::Cumulative => AggregationTemporality::Cumulative,
            Temporality::Delta => AggregationTemporality::Delta,
        } as i32;
        let cumulative = AggregationTemporality::Cumulative as i32;
        let data = match (descriptor.kind, self.shape.aggregation) {
            (Kind::Counter, _) => {
                metric::Data::Sum(Sum { aggregation_temporality, is_monotonic: true, ..Default::default() })
            }
            (Kind::UpDown, _) => metric::Data::Sum(Sum {
                aggregation_temporality: cumulative,
                is_monotonic: false,
                ..Default::default()
            }),
            (Kind::Gauge, _) => metric::Data::Gauge(Gauge::default()),
            (Kind::Histogram(_), Aggregation::Exponential) => {
                metric::Data::ExponentialHistogram(ExponentialHistogram {
                    aggregation_temporality,
                    ..Default::default()
                })
            }
            (Kind::Histogram(_), Aggregation::Explicit) => {
                metric::Data::Histogram(Histogram { aggregation_temporality, ..Default::default() })
            }
        };
        Metric {
            name: descriptor.name.to_owned(),
            description: descriptor.help.to_owned(),
            unit: descriptor.unit.ucum().to_owned(),
            data: Some(data),
            ..Default::default()
        }
    }

    fn finish_part(&mut self) {
        if self.metrics.is_empty() {
            return;
        }
        let scope_metrics =
            ScopeMetrics { scope: Some(scope()), metrics: std::mem::take(&mut self.metrics), ..Default::default() };
        let resource_metrics = ResourceMetrics {
            resource: Some(resource(&self.snapshot.resource)),
            scope_metrics: vec![scope_metrics],
            ..Default::default()
        };
        self.parts.push(Part {
            request: ExportMetricsServiceRequest { resource_metrics: vec![resource_metrics] },
            points: std::mem::take(&mut self.points),
            totals: std::mem::take(&mut self.totals),
            exemplars: std::mem::take(&mut self.exemplars),
        });
        self.size = 0;
    }
}

/// `None` while it is not known which trace its span is part of.
fn exemplar(exemplar: &Exemplar, per_unit: f64) -> Option<ProtoExemplar> {
    Some(ProtoExemplar {
        time_unix_nano: exemplar.at.0,
        trace_id: exemplar.span.trace()?.to_vec(),
        span_id: exemplar.span.id.to_vec(),
        value: Some(exemplar::Value::AsDouble(exemplar.nanos as f64 / per_unit)),
        ..Default::default()
    })
}

fn zero_threshold(descriptor: &Descriptor) -> f64 {
    match descriptor.unit {
        Unit::Seconds => f64::from(ZERO_EXPONENT).exp2(),
        _ => 0.0,
    }
}

/// Counts between the bounds, with those below the first and above the last.
fn bucket_counts(histogram: &histogram::Histogram, bounds: Bounds) -> Vec<u64> {
    let mut counts = Vec::new();
    let mut below = 0;
    for exponent in bounds.first..=bounds.last {
        let to = histogram.count_to(exponent);
        counts.push(to - below);
        below = to;
    }
    counts.push(histogram.count() - below);
    counts
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::attribute::{Attribute, Value as AttributeValue};
    use crate::exemplar::SpanIds;
    use crate::histogram::Cell;
    use crate::metric::Metric as Name;
    use crate::resource::Resource;

    const START: Timestamp = Timestamp(1_000);
    const AT: Timestamp = Timestamp(2_000);

    fn point(number: u64, metric: Name, client: &str, value: Value) -> Point {
        let attributes = Box::new([(Attribute::Topic, AttributeValue::Text(client.into()))]);
        Point { series: Arc::new(Series::new(number, metric, attributes, None)), start: START, value, exemplar: None }
    }

    fn snapshot(points: Vec<Point>) -> Snapshot {
        let resource = Arc::new(Resource::new("test", "1", |_| None).unwrap());
        Snapshot { at: AT, resource, learned: Default::default(), points, gone: Vec::new() }
    }

    fn nanos(values: &[u64]) -> histogram::Histogram {
        let mut cell = Cell::default();
        values.iter().for_each(|&value| cell.record_nanos(value));
        cell.take().unwrap_or_default()
    }

    /// All metrics of all parts, as they come out of the wire format.
    fn wire(parts: &[Part]) -> Vec<Metric> {
        let decoded = parts
            .iter()
            .map(|part| ExportMetricsServiceRequest::decode(part.request.encode_to_vec().as_slice()).unwrap());
        let resources = decoded.flat_map(|request| request.resource_metrics);
        resources.flat_map(|resource| resource.scope_metrics).flat_map(|scope| scope.metrics).collect()
    }

    #[test]
    fn an_exemplar_has_the_ids_of_its_span_and_is_delivered_once() {
        for aggregation in [Aggregation::Exponential, Aggregation::Explicit] {
            let ids = SpanIds { trace: [1; 16], id: [2; 8], contexts: None };
            let exemplar = Some(Arc::new(Exemplar::new(1_500_000_000, Timestamp(1_500), ids)));
            let of_two = point(3, Name::RequestDuration, "a", Value::Histogram(nanos(&[1, 1_500_000_000])));
            let snapshot = snapshot(vec![Point { exemplar, ..of_two }]);
            let shape = Shape { aggregation, ..Shape::default() };
            let parts = || parts(&snapshot, 0, &Baseline::default(), shape);
            let exemplars = |parts: &[Part]| match wire(parts).swap_remove(0).data.unwrap() {
                metric::Data::ExponentialHistogram(all) => {
                    all.data_points.into_iter().flat_map(|it| it.exemplars).collect()
                }
                metric::Data::Histogram(all) => all.data_points.into_iter().flat_map(|it| it.exemplars).collect(),
                other => panic!("{other:?}"),
            };
            let first: Vec<ProtoExemplar> = exemplars(&parts());
            let [only] = &first[..] else { panic!("{first:?}") };
            assert_eq!((&only.trace_id[..], &only.span_id[..]), (&[1; 16][..], &[2; 8][..]));
            assert_eq!((only.value, only.time_unix_nano), (Some(exemplar::Value::AsDouble(1.5)), 1_500));
            assert_eq!(exemplars(&parts()).len(), 1, "it was not delivered");
            parts().iter().flat_map(|part| &part.exemplars).for_each(|exemplar| exemplar.has_been_told());
            assert_eq!(exemplars(&parts()).len(), 0);
        }
    }

    #[test]
    fn an_exemplar_waits_until_the_trace_of_its_span_is_known() {
        let contexts = Arc::new(crate::span::contexts::Contexts::default());
        let ids = SpanIds { trace: [1; 16], id: [2; 8], contexts: Some(contexts.clone()) };
        let exemplar = Arc::new(Exemplar::new(7, Timestamp(1_500), ids));
        let one = point(3, Name::RequestDuration, "a", Value::Histogram(nanos(&[7])));
        let snapshot = snapshot(vec![Point { exemplar: Some(exemplar), ..one }]);
        let told = || parts(&snapshot, 0, &Baseline::default(), Shape::default()).swap_remove(0).exemplars.len();
        assert_eq!(told(), 0);
        contexts.settle(true);
        assert_eq!(told(), 1);
    }

    #[test]
    fn what_is_on_the_wire_is_the_snapshot() {
        let values = [1_000_000, 2_000_000, 2_000_001, 0, 3_000_000_000];
        let snapshot = snapshot(vec![
            point(1, Name::Requests, "a", Value::Counter(7)),
            point(2, Name::Requests, "b", Value::Counter(8)),
            point(3, Name::RequestDuration, "a", Value::Histogram(nanos(&values))),
            point(4, Name::Connections, "a", Value::UpDown(-2)),
            point(5, Name::SelfSeries, "a", Value::Gauge(5)),
            point(6, Name::SelfTapTime, "a", Value::Counter(1_500_000_000)),
        ]);
        let metrics = wire(&parts(&snapshot, 0, &Baseline::default(), Shape::default()));
        let names: Vec<_> = metrics.iter().map(|metric| (metric.name.as_str(), metric.unit.as_str())).collect();
        assert_eq!(
            names,
            [
                ("kafkascope.requests", "{request}"),
                ("kafkascope.request.duration", "s"),
                ("kafkascope.connections", "{connection}"),
                ("kafkascope.self.series", "{series}"),
                ("kafkascope.self.tap.time", "s"),
            ]
        );
        let Some(metric::Data::Sum(sum)) = &metrics[0].data else { panic!("no sum") };
        assert!(sum.is_monotonic);
        assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Cumulative);
        let totals: Vec<_> = sum.data_points.iter().map(|point| point.value).collect();
        assert_eq!(totals, [7, 8].map(|total| Some(number_data_point::Value::AsInt(total))));
        assert_eq!((sum.data_points[0].start_time_unix_nano, sum.data_points[0].time_unix_nano), (START.0, AT.0));
        assert_eq!(sum.data_points[1].attributes[0], super::super::text("messaging.destination.name", "b"));

        let Some(metric::Data::ExponentialHistogram(histogram)) = &metrics[1].data else { panic!("no histogram") };
        let point = &histogram.data_points[0];
        assert_eq!((point.count, point.zero_count, point.scale), (5, 1, 3));
        assert_eq!(point.sum, Some(3.005000001));
        let buckets = point.positive.as_ref().unwrap();
        assert_eq!(buckets.bucket_counts.iter().sum::<u64>(), 4);
        for seconds in [0.001, 0.002, 0.002000001, 3.0] {
            let inside = buckets.bucket_counts.iter().zip(buckets.offset..).any(|(&count, index)| {
                let (low, high) = (f64::from(index) / 8.0, f64::from(index + 1) / 8.0);
                count > 0 && low.exp2() < seconds && seconds <= high.exp2()
            });
            assert!(inside, "{seconds}");
        }

        let Some(metric::Data::Sum(connections)) = &metrics[2].data else { panic!("no sum") };
        assert!(!connections.is_monotonic);
        assert_eq!(connections.data_points[0].value, Some(number_data_point::Value::AsInt(-2)));
        let Some(metric::Data::Sum(time)) = &metrics[4].data else { panic!("no sum") };
        assert_eq!(time.data_points[0].value, Some(number_data_point::Value::AsDouble(1.5)));
    }

    #[test]
    fn explicit_histograms_count_by_the_bounds_of_the_table() {
        let snapshot = snapshot(vec![point(
            1,
            Name::RequestDuration,
            "a",
            Value::Histogram(nanos(&[1, 500_000_000, 500_000_001, 40_000_000_000])),
        )]);
        let shape = Shape { aggregation: Aggregation::Explicit, ..Shape::default() };
        let metrics = wire(&parts(&snapshot, 0, &Baseline::default(), shape));
        let Some(metric::Data::Histogram(histogram)) = &metrics[0].data else { panic!("no histogram") };
        let point = &histogram.data_points[0];
        let at = |bound: f64| point.explicit_bounds.iter().position(|&known| known == bound).unwrap();
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert_eq!((point.bucket_counts[0], point.bucket_counts[at(0.5)], point.bucket_counts[at(1.0)]), (1, 1, 1));
        assert_eq!(point.bucket_counts.last(), Some(&1));
        assert_eq!(point.count, 4);
    }

    #[test]
    fn deltas_are_what_was_not_delivered() {
        let shape = Shape { temporality: Temporality::Delta, ..Shape::default() };
        let mut baseline = Baseline::default();
        let mut told = |total: u64, durations: &[u64], delivered: bool| {
            let snapshot = snapshot(vec![
                point(1, Name::Requests, "a", Value::Counter(total)),
                point(2, Name::RequestDuration, "a", Value::Histogram(nanos(durations))),
                point(3, Name::Connections, "a", Value::UpDown(4)),
            ]);
            let mut parts = parts(&snapshot, 0, &baseline, shape);
            let metrics = wire(&parts);
            if delivered {
                parts.iter_mut().for_each(|part| baseline.delivered(part, snapshot.at));
            }
            let count = metrics.iter().find_map(|metric| match (&metric.data, metric.name.as_str()) {
                (Some(metric::Data::Sum(sum)), "kafkascope.requests") => Some(sum.data_points[0].value),
                _ => None,
            });
            let durations = metrics.iter().find_map(|metric| match &metric.data {
                Some(metric::Data::ExponentialHistogram(all)) => {
                    Some((all.data_points[0].count, all.data_points[0].start_time_unix_nano))
                }
                _ => None,
            });
            let gauges = metrics.iter().filter(|metric| metric.name == "kafkascope.connections").count();
            (count.flatten(), durations, gauges)
        };
        let int = |value| Some(number_data_point::Value::AsInt(value));
        assert_eq!(told(5, &[10_000], true), (int(5), Some((1, START.0)), 1));
        assert_eq!(told(7, &[10_000, 20_000], false), (int(2), Some((1, AT.0)), 1));
        assert_eq!(told(9, &[10_000, 20_000, 10_000], true), (int(4), Some((2, AT.0)), 1));
        // Nothing new: only what is not a delta is told again.
        assert_eq!(told(9, &[10_000, 20_000, 10_000], true), (None, None, 1));
    }

    #[test]
    fn large_snapshots_are_split_and_nothing_is_lost() {
        let name = "x".repeat(120);
        let points = (0..60_000).map(|number| point(number, Name::Requests, &name, Value::Counter(number))).collect();
        let snapshot = snapshot(points);
        let parts = parts(&snapshot, 0, &Baseline::default(), Shape::default());
        assert!(parts.len() > 1);
        assert!(parts.iter().all(|part| part.request.encoded_len() < 4 << 20));
        assert_eq!(parts.iter().map(|part| part.points).sum::<u64>(), 60_000);
        let points = wire(&parts).into_iter().map(|metric| match metric.data {
            Some(metric::Data::Sum(sum)) => sum.data_points.len(),
            _ => 0,
        });
        assert_eq!(points.sum::<usize>(), 60_000);
    }

    #[test]
    fn ended_series_are_told_once_each_in_a_metric_of_its_own() {
        let mut snapshot = snapshot(vec![point(9, Name::Requests, "c", Value::Counter(1))]);
        for (number, metric) in [(1, Name::Requests), (2, Name::Requests), (3, Name::RequestDuration)] {
            let series = point(number, metric, "a", Value::Counter(0)).series;
            snapshot.gone.push(Gone { number, series, learned: Arc::default(), at: Timestamp(1_500) });
        }
        let metrics = wire(&parts(&snapshot, 1, &Baseline::default(), Shape::default()));
        let flags: Vec<u32> = metrics
            .iter()
            .map(|metric| match &metric.data {
                Some(metric::Data::Sum(sum)) => sum.data_points[0].flags,
                Some(metric::Data::ExponentialHistogram(all)) => all.data_points[0].flags,
                _ => 9,
            })
            .collect();
        assert_eq!(flags, [1, 1, 0]);
        let Some(metric::Data::Sum(ended)) = &metrics[0].data else { panic!("no sum") };
        assert_eq!((ended.data_points.len(), ended.data_points[0].value), (1, None));
    }
}
