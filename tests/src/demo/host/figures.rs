//! What stands in the host pane, from two scrapes of the probe.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::prometheus::{Sample, Scrape};

/// What the probe says of its host.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Pane {
    pub(super) processes: Vec<Process>,
    pub(super) disks: Vec<Disk>,
    /// Absent where connections are not followed.
    pub(super) tcp_retransmits_per_s: Option<f64>,
    pub(super) memory_available_bytes: Option<f64>,
    /// Share of the time in which some task was held up, by resource.
    pub(super) pressure_percent: BTreeMap<String, f64>,
    pub(super) samplers_off: Vec<Off>,
}

/// A process that it found. What it does not say is absent.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(in crate::demo) struct Process {
    pub(in crate::demo) name: String,
    pub(in crate::demo) cluster: Option<String>,
    pub(in crate::demo) up: bool,
    /// Of one processor.
    pub(in crate::demo) cpu_percent: Option<f64>,
    pub(in crate::demo) memory_bytes: Option<f64>,
    pub(in crate::demo) open_files: Option<f64>,
    /// Absent of what is no JVM.
    pub(in crate::demo) gc_pauses: Option<u64>,
    pub(in crate::demo) gc_p99_ms: Option<f64>,
    pub(in crate::demo) page_cache_hit_ratio: Option<f64>,
    pub(in crate::demo) fsync_p99_ms: Option<f64>,
}

/// A disk.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Disk {
    pub(super) device: String,
    pub(super) requests_per_s: f64,
    pub(super) p99_ms: Option<f64>,
}

/// A part of the probe that does not work, or not wholly.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Off {
    pub(super) sampler: String,
    pub(super) reason: String,
}

const NAME: &str = "kafkascope_process_name";
const CLUSTER: &str = "messaging_kafka_cluster_id";
const TOPIC: &str = "messaging_destination_name";

impl Pane {
    /// Rates are of the time between the two; distributions are of all the time until the second.
    pub(super) fn between(before: &Scrape, after: &Scrape, time: Duration) -> Self {
        let rate = |name: &str, labels: &[(&str, &str)]| {
            let grown = after.sum(name, labels).unwrap_or(0.0) - before.sum(name, labels).unwrap_or(0.0);
            if time.is_zero() { 0.0 } else { grown.max(0.0) / time.as_secs_f64() }
        };
        let named = |name: &str, label: &str| -> BTreeSet<String> {
            after.select(name, &[]).map(|sample| sample.label(label).to_owned()).collect()
        };
        let disk = |device: String| Disk {
            requests_per_s: rate("kafkascope_disk_io_duration_seconds_count", &[("system_device", &device)]),
            p99_ms: p99_ms(after, "kafkascope_disk_io_duration_seconds", |sample| {
                sample.label("system_device") == device
            }),
            device,
        };
        let pressure = |resource: String| {
            let labels = [("kafkascope_pressure_resource", resource.as_str()), ("kafkascope_pressure", "some")];
            let share = 100.0 * rate("kafkascope_pressure_time_seconds_total", &labels);
            (resource, share)
        };
        let follows_tcp = after.sum("kafkascope_sampler_up", &[("kafkascope_sampler", "tcp")]) == Some(1.0);
        let off = after.select("kafkascope_sampler_up", &[]).filter(|sample| sample.value == 0.0).map(|sample| Off {
            sampler: sample.label("kafkascope_sampler").to_owned(),
            reason: sample.label("reason").to_owned(),
        });
        Self {
            processes: after.select("kafkascope_process_up", &[]).map(|up| process(up, after, rate)).collect(),
            disks: named("kafkascope_disk_io_duration_seconds_count", "system_device").into_iter().map(disk).collect(),
            tcp_retransmits_per_s: follows_tcp.then(|| rate("kafkascope_tcp_retransmits_total", &[])),
            memory_available_bytes: after.sum("system_memory_linux_available_bytes", &[]),
            pressure_percent: named("kafkascope_pressure_time_seconds_total", "kafkascope_pressure_resource")
                .into_iter()
                .map(pressure)
                .collect(),
            samplers_off: off.collect(),
        }
    }
}

fn process(up: &Sample, after: &Scrape, rate: impl Fn(&str, &[(&str, &str)]) -> f64) -> Process {
    let (name, cluster) = (up.label(NAME), up.label(CLUSTER));
    // Two clusters may have a broker 1 each. What is told of a topic is part of what is told of the process.
    let own = |sample: &Sample| {
        sample.label(NAME) == name && sample.label(CLUSTER) == cluster && sample.label(TOPIC).is_empty()
    };
    let figure = |metric: &str| {
        let values = after.select(metric, &[]).filter(|sample| own(sample)).map(|sample| sample.value);
        values.reduce(|sum, value| sum + value)
    };
    let labels = [(NAME, name), (CLUSTER, cluster)];
    let labels = if cluster.is_empty() { &labels[..1] } else { &labels[..] };
    Process {
        name: name.to_owned(),
        cluster: Some(cluster.to_owned()).filter(|cluster| !cluster.is_empty()),
        up: up.value == 1.0,
        cpu_percent: figure("process_cpu_time_seconds_total")
            .map(|_| 100.0 * rate("process_cpu_time_seconds_total", labels)),
        memory_bytes: figure("process_memory_usage_bytes"),
        open_files: figure("process_unix_file_descriptor_count"),
        gc_pauses: figure("jvm_gc_duration_seconds_count").map(|count| count as u64),
        gc_p99_ms: p99_ms(after, "jvm_gc_duration_seconds", own),
        page_cache_hit_ratio: figure("kafkascope_page_cache_hit_ratio"),
        fsync_p99_ms: p99_ms(after, "kafkascope_fsync_duration_seconds", own),
    }
}

/// Upper bound of the bucket with the 99th percentile, over all series that `of` takes; nothing without values.
fn p99_ms(scrape: &Scrape, histogram: &str, of: impl Fn(&Sample) -> bool) -> Option<f64> {
    let name = format!("{histogram}_bucket");
    let mut buckets: Vec<(f64, f64)> = Vec::new();
    for sample in scrape.select(&name, &[]).filter(|sample| of(sample)) {
        let bound = sample.label("le").parse().unwrap_or(f64::INFINITY);
        match buckets.iter_mut().find(|(known, _)| *known == bound) {
            Some((_, count)) => *count += sample.value,
            None => buckets.push((bound, sample.value)),
        }
    }
    buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let &(_, total) = buckets.last().filter(|(_, total)| *total > 0.0)?;
    let &(bound, _) = buckets.iter().find(|(_, count)| *count >= 0.99 * total)?;
    // Beyond the last bound nothing more is known.
    let last = || buckets.iter().rev().map(|(bound, _)| *bound).find(|bound| bound.is_finite());
    Some(1000.0 * if bound.is_finite() { bound } else { last()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "\
process_cpu_time_seconds_total{kafkascope_process_name=\"broker-1\",messaging_kafka_cluster_id=\"a\",cpu_mode=\"user\"} 5
process_cpu_time_seconds_total{kafkascope_process_name=\"broker-1\",messaging_kafka_cluster_id=\"b\",cpu_mode=\"user\"} 9
kafkascope_pressure_time_seconds_total{kafkascope_pressure_resource=\"io\",kafkascope_pressure=\"some\"} 1
kafkascope_pressure_time_seconds_total{kafkascope_pressure_resource=\"io\",kafkascope_pressure=\"full\"} 1
kafkascope_tcp_retransmits_total{kafkascope_process_name=\"broker-1\"} 3
";
    const AFTER: &str = "\
kafkascope_process_up{kafkascope_process_name=\"broker-1\",messaging_kafka_cluster_id=\"a\"} 1
kafkascope_process_up{kafkascope_process_name=\"proxy-9092\"} 0
process_cpu_time_seconds_total{kafkascope_process_name=\"broker-1\",messaging_kafka_cluster_id=\"a\",cpu_mode=\"user\"} 6
process_cpu_time_seconds_total{kafkascope_process_name=\"broker-1\",messaging_kafka_cluster_id=\"b\",cpu_mode=\"user\"} 19
process_memory_usage_bytes{kafkascope_process_name=\"broker-1\",messaging_kafka_cluster_id=\"a\"} 1000
kafkascope_page_cache_hit_ratio{kafkascope_process_name=\"broker-1\",messaging_kafka_cluster_id=\"a\"} 0.5
kafkascope_page_cache_hit_ratio{kafkascope_process_name=\"broker-1\",messaging_kafka_cluster_id=\"a\",messaging_destination_name=\"t\"} 0.9
kafkascope_disk_io_duration_seconds_count{system_device=\"sda\",kafkascope_operation=\"read\"} 10
kafkascope_disk_io_duration_seconds_bucket{system_device=\"sda\",kafkascope_operation=\"read\",le=\"0.001\"} 9
kafkascope_disk_io_duration_seconds_bucket{system_device=\"sda\",kafkascope_operation=\"read\",le=\"0.002\"} 10
kafkascope_disk_io_duration_seconds_bucket{system_device=\"sda\",kafkascope_operation=\"read\",le=\"+Inf\"} 10
kafkascope_disk_io_duration_seconds_count{system_device=\"sda\",kafkascope_operation=\"write\"} 990
kafkascope_disk_io_duration_seconds_bucket{system_device=\"sda\",kafkascope_operation=\"write\",le=\"0.001\"} 990
kafkascope_disk_io_duration_seconds_bucket{system_device=\"sda\",kafkascope_operation=\"write\",le=\"0.002\"} 990
kafkascope_disk_io_duration_seconds_bucket{system_device=\"sda\",kafkascope_operation=\"write\",le=\"+Inf\"} 990
kafkascope_pressure_time_seconds_total{kafkascope_pressure_resource=\"io\",kafkascope_pressure=\"some\"} 1.5
kafkascope_pressure_time_seconds_total{kafkascope_pressure_resource=\"io\",kafkascope_pressure=\"full\"} 9
kafkascope_tcp_retransmits_total{kafkascope_process_name=\"broker-1\"} 13
kafkascope_sampler_up{kafkascope_sampler=\"tcp\"} 1
kafkascope_sampler_up{kafkascope_sampler=\"fsync\",reason=\"no tracefs\"} 0
";

    #[test]
    fn rates_are_of_the_time_between_and_each_process_has_its_own_figures() {
        let (before, after) = (Scrape::parse(BEFORE).unwrap(), Scrape::parse(AFTER).unwrap());
        let pane = Pane::between(&before, &after, Duration::from_secs(5));
        let broker = Process {
            name: "broker-1".into(),
            cluster: Some("a".into()),
            up: true,
            cpu_percent: Some(20.0),
            memory_bytes: Some(1000.0),
            page_cache_hit_ratio: Some(0.5),
            ..Process::default()
        };
        assert_eq!(pane.processes, [broker, Process { name: "proxy-9092".into(), ..Process::default() }]);
        let disk = Disk { device: "sda".into(), requests_per_s: 200.0, p99_ms: Some(1.0) };
        assert_eq!((pane.disks, pane.tcp_retransmits_per_s), (vec![disk], Some(2.0)));
        assert_eq!(pane.pressure_percent, BTreeMap::from([("io".to_owned(), 10.0)]));
        assert_eq!(pane.samplers_off, [Off { sampler: "fsync".into(), reason: "no tracefs".into() }]);
    }

    #[test]
    fn what_is_not_seen_is_absent_and_not_0() {
        let scrape =
            Scrape::parse("kafkascope_sampler_up{kafkascope_sampler=\"tcp\",reason=\"no cgroup2\"} 0\n").unwrap();
        let pane = Pane::between(&scrape, &scrape, Duration::from_secs(5));
        assert_eq!((pane.tcp_retransmits_per_s, pane.memory_available_bytes), (None, None));
        assert!(pane.processes.is_empty() && pane.disks.is_empty() && pane.pressure_percent.is_empty(), "{pane:?}");
    }

    #[test]
    fn a_percentile_is_that_of_all_series_and_absent_without_values() {
        let scrape = Scrape::parse(
            "h_bucket{a=\"1\",le=\"0.001\"} 1\nh_bucket{a=\"1\",le=\"+Inf\"} 1\n\
            h_bucket{a=\"2\",le=\"0.001\"} 0\nh_bucket{a=\"2\",le=\"+Inf\"} 0\n",
        )
        .unwrap();
        assert_eq!(p99_ms(&scrape, "h", |_| true), Some(1.0));
        assert_eq!(p99_ms(&scrape, "h", |sample| sample.label("a") == "2"), None);
        assert_eq!(p99_ms(&scrape, "other", |_| true), None);
    }
}
