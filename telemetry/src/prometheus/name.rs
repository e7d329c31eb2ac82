//! OTLP names to Prometheus names, by the rules of `prometheus/otlptranslator` v1.0.0 (`metric_namer.go`, `label_namer.go`,
//! `unit_namer.go`) with suffixes and without UTF-8 names, as far as our table needs them.

use crate::metric::{Descriptor, Kind, Unit};

/// The name of a metric: its words, its unit, and `total` if it only grows, each once.
pub(super) fn metric(descriptor: &Descriptor) -> String {
    let mut words: Vec<&str> = descriptor.name.split(|c: char| !c.is_ascii_alphanumeric() && c != ':').collect();
    words.retain(|word| !word.is_empty());
    if let Some(unit) = unit(descriptor).filter(|unit| !words.contains(unit)) {
        words.push(unit);
    }
    if descriptor.kind == Kind::Counter {
        words.retain(|word| *word != "total");
        words.push("total");
    }
    words.join("_")
}

/// The word for a unit; none for an annotation.
fn unit(descriptor: &Descriptor) -> Option<&'static str> {
    match descriptor.unit {
        Unit::Seconds => Some("seconds"),
        Unit::Millis => Some("milliseconds"),
        Unit::Bytes => Some("bytes"),
        Unit::BytesPerSecond => Some("bytes_per_second"),
        Unit::Ratio => (descriptor.kind == Kind::Gauge).then_some("ratio"),
        Unit::Things(_) => None,
    }
}

/// The name of a label: what is no letter or digit becomes an underscore, several in a row become one.
pub(super) fn label(key: &str) -> String {
    let mut label = String::with_capacity(key.len());
    for c in key.chars() {
        if c.is_ascii_alphanumeric() {
            label.push(c);
        } else if !label.ends_with('_') {
            label.push('_');
        }
    }
    if label.starts_with(|c: char| c.is_ascii_digit()) { format!("key_{label}") } else { label }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Metric;

    #[test]
    fn metrics_are_named_as_the_collector_names_them() {
        for (ours, theirs) in [
            (Metric::Requests, "kafkascope_requests_total"),
            (Metric::RequestDuration, "kafkascope_request_duration_seconds"),
            (Metric::SegmentDuration, "kafkascope_request_segment_duration_seconds"),
            (Metric::RequestsInFlight, "kafkascope_request_in_flight"),
            (Metric::BatchSize, "kafkascope_produce_batch_size_bytes"),
            (Metric::BatchRecords, "kafkascope_produce_batch_records"),
            (Metric::RecordIo, "kafkascope_record_io_bytes_total"),
            (Metric::Connections, "kafkascope_connections"),
            (Metric::ConnectionDeliveryRate, "kafkascope_connection_delivery_rate_bytes_per_second"),
            (Metric::LostSync, "kafkascope_lost_sync_total"),
            (Metric::SelfTapTime, "kafkascope_self_tap_time_seconds_total"),
            (Metric::GcElapsed, "jvm_gc_collections_elapsed_milliseconds_total"),
            (Metric::PageCacheHitRatio, "kafkascope_page_cache_hit_ratio"),
            (Metric::FilesystemUtilization, "system_filesystem_utilization_ratio"),
            (Metric::ProcessUp, "kafkascope_process_up"),
        ] {
            assert_eq!(metric(ours.descriptor()), theirs);
        }
    }

    #[test]
    fn labels_are_named_as_the_collector_names_them() {
        assert_eq!(label("messaging.client.id"), "messaging_client_id");
        assert_eq!(label("kafkascope.fetch.wait"), "kafkascope_fetch_wait");
        assert_eq!(label("k8s.pod-name"), "k8s_pod_name");
        assert_eq!(label("1st"), "key_1st");
        assert_eq!(label("a..b"), "a_b");
    }
}
