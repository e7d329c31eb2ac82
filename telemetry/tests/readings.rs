//! What is read off a host becomes totals that are true, whoever begins anew.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::sync::Arc;

use kafkascope_protocol::Timestamp;
use kafkascope_telemetry::histogram::Histogram;
use kafkascope_telemetry::metric::Metric;
use kafkascope_telemetry::{
    Attribute, AttributeValue, Caps, Dictionary, Point, Readings, Registry, Resource, Settings, Value,
};

const SECOND: u64 = 1_000_000_000;

struct Host {
    registry: Arc<Registry>,
}

impl Host {
    fn new(settings: Settings) -> Self {
        let resource = Resource::new("test", "1", |_| None).unwrap();
        Self { registry: Registry::new(Dictionary::new(settings), resource, at(100)) }
    }

    /// Reads at `second`.
    fn read(&self, second: u64, read: impl FnOnce(&mut Readings)) {
        let mut readings = Readings::new(Arc::clone(self.registry.dictionary()), at(second - 1), at(second));
        read(&mut readings);
        self.registry.read(readings);
        self.registry.settle(at(second));
    }

    fn points(&self, metric: Metric, second: u64) -> Vec<Point> {
        let points = self.registry.snapshot(at(second)).points.into_iter();
        points.filter(|point| point.series.metric() == metric).collect()
    }
}

fn at(second: u64) -> Timestamp {
    Timestamp(second * SECOND)
}

fn mode(mode: &'static str) -> [(Attribute, AttributeValue); 1] {
    [(Attribute::CpuMode, AttributeValue::Static(mode))]
}

#[test]
fn a_total_counts_from_its_own_beginning_and_goes_on_when_it_begins_again() {
    let host = Host::new(Settings::default());
    for (second, total) in [(101, 50), (102, 70), (103, 5), (104, 5)] {
        host.read(second, |readings| readings.total(Metric::ProcessCpuTime, &mode("user"), total, at(7)));
    }
    let points = host.points(Metric::ProcessCpuTime, 105);
    assert_eq!(points.len(), 1);
    assert_eq!((points[0].start, &points[0].value), (at(7), &Value::Counter(75)));
}

#[test]
fn a_state_is_the_last_one_read_and_soon_forgotten_when_it_is_read_no_more() {
    let host = Host::new(Settings::default());
    host.read(101, |readings| readings.state(Metric::ProcessUp, &[], 1));
    host.read(102, |readings| readings.state(Metric::ProcessUp, &[], 0));
    host.read(102, |readings| readings.state(Metric::MemoryAvailable, &[], -3));
    assert_eq!(host.points(Metric::ProcessUp, 103)[0].value, Value::Gauge(0));
    assert_eq!(host.points(Metric::MemoryAvailable, 103)[0].value, Value::UpDown(-3));
    host.read(117, |_| {});
    assert_eq!(host.points(Metric::ProcessUp, 117).len(), 1);
    host.read(118, |_| {});
    assert!(host.points(Metric::ProcessUp, 118).is_empty() && host.points(Metric::MemoryAvailable, 118).is_empty());
}

#[test]
fn distributions_keep_their_exact_sum_and_attributes_their_order() {
    let host = Host::new(Settings::default());
    let attributes = [
        (Attribute::Reason, AttributeValue::Static("not of this metric")),
        (Attribute::Operation, AttributeValue::Static("read")),
        (Attribute::Device, AttributeValue::name(b"sd\xff")),
    ];
    let values = || Histogram::of_nanos([(1_000_000, 3), (0, 1), (5_000_000, 0)], 3_100_000);
    host.read(101, |readings| readings.values(Metric::DiskDuration, &attributes, values()));
    host.read(102, |readings| readings.values(Metric::DiskDuration, &attributes, values()));
    let points = host.points(Metric::DiskDuration, 103);
    let histogram = points[0].value.as_histogram().unwrap();
    assert_eq!((histogram.count(), histogram.sum(), histogram.zero()), (8, 6_200_000, 2));
    let texts = points[0].series.attributes().iter().map(|(_, value)| value.scalar().to_string());
    assert_eq!(texts.collect::<Vec<_>>(), ["sd\u{fffd}", "read"]);
}

#[test]
fn too_many_series_are_folded_and_counted() {
    let caps = Caps { series: kafkascope_telemetry::Cap::new(10).unwrap(), ..Caps::default() };
    let host = Host::new(Settings { caps, ..Settings::default() });
    host.read(101, |readings| {
        for number in 0..100_u32 {
            let topic = readings.dictionary().topic_named(None, number.to_string().as_bytes());
            readings.more(Metric::PageCachePages, &[(Attribute::Topic, topic)], 1);
        }
    });
    let points = host.points(Metric::PageCachePages, 102);
    assert_eq!(points.len(), 11);
    assert_eq!(points.iter().map(|point| point.value.as_count().unwrap()).sum::<u64>(), 100);
    let folded = host.points(Metric::SeriesFolded, 102);
    assert_eq!(folded.iter().map(|point| point.value.as_count().unwrap()).sum::<u64>(), 90);
}
