//! Disk requests by device and operation, and fsync by process and topic.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use kafkascope_probe_ebpf::{BUCKETS, DiskKey, FileKey, FsyncKey, Histogram as Counted, bucket_end, disk, fsync};
use kafkascope_telemetry::histogram::Histogram;
use kafkascope_telemetry::metric::Metric;
use kafkascope_telemetry::{Attribute, AttributeValue as Value, Event, Readings};

use super::Thresholds;
use super::known::Known;
use super::labels;
use super::running::Running;
use super::spans::Spans;
use crate::clock;
use crate::discovery::log_dirs::kernel_device;
use crate::kernel::{self, Growth, Reading};

/// Totals of what the kernel counted.
#[derive(Debug, Default)]
pub(crate) struct Disks {
    service: Growth<DiskKey, Counted>,
    queue: Growth<DiskKey, Counted>,
    processes: Growth<FsyncKey, Counted>,
    files: Growth<FileKey, Counted>,
    names: Names,
    requests: Running,
    calls: Running,
}

impl Disks {
    /// What is slow here, if it is less than `limit`.
    pub(crate) fn thresholds(&self, limit: Duration) -> Thresholds {
        Thresholds { disk: self.requests.threshold(limit), fsync: self.calls.threshold(limit) }
    }

    /// What has changed. How many files the kernel had forgotten before that could be said of them.
    pub(crate) fn report(&mut self, reading: &Reading, known: &mut Known<'_>, readings: &mut Readings) -> u64 {
        let entries =
            |of: &[(DiskKey, Counted)]| of.iter().map(|(key, seen)| (*key, seen.since_ns, *seen)).collect::<Vec<_>>();
        let service = self.service.advance(entries(&reading.disk_service).into_iter());
        let queue = self.queue.advance(entries(&reading.disk_queue).into_iter());
        for (metric, grown) in [(Metric::DiskDuration, service), (Metric::DiskQueueDuration, queue)] {
            for (key, grown) in grown {
                let attributes = [
                    (Attribute::Device, self.names.of(key.dev)),
                    (Attribute::Operation, Value::Static(request(key.operation))),
                ];
                let values = histogram(&grown);
                if metric == Metric::DiskDuration {
                    self.requests.add(readings.at(), &values);
                }
                readings.values(metric, &attributes, values);
            }
        }
        let processes = reading.fsync_processes.iter().map(|(key, seen)| (*key, seen.since_ns, *seen));
        for (key, grown) in self.processes.advance(processes) {
            let Some(watched) = known.process(key.tgid) else { continue };
            let mut attributes = watched.attributes.clone();
            attributes.push((Attribute::Operation, Value::Static(call(key.operation))));
            let values = histogram(&grown);
            self.calls.add(readings.at(), &values);
            readings.values(Metric::FsyncDuration, &attributes, values);
        }
        let files = reading.fsync_files.iter().map(|(key, seen)| (*key, seen.since_ns, *seen));
        for (key, grown) in self.files.advance(files) {
            if grown.count() > 0
                && let Some((attributes, _)) = known.of_topic(key, readings.dictionary())
            {
                readings.values(Metric::TopicFsyncDuration, &attributes, histogram(&grown));
            }
        }
        self.files.unseen(reading.fsync_files_made)
    }

    /// A span of a slow request or call.
    pub(crate) fn event(
        &mut self,
        event: &kernel::Event,
        known: &mut Known<'_>,
        readings: &mut Readings,
        spans: &mut Spans,
    ) {
        match *event {
            kernel::Event::Disk { dev, operation, bytes, start_ns, duration_ns, queued_ns } => {
                let name = request(operation);
                let attributes = vec![
                    (Attribute::Device, self.names.of_device(dev)),
                    (Attribute::Operation, Value::Static(name)),
                    (Attribute::Size, Value::Integer(super::signed(bytes))),
                    (Attribute::QueueTime, Value::Integer(super::signed(queued_ns))),
                ];
                let (start, end) = clock::span_of_monotonic(start_ns, start_ns + duration_ns);
                spans.push(readings, Event { name: format!("disk {name}"), start, end, attributes });
            }
            kernel::Event::Fsync { tgid, dev, ino, operation, start_ns, duration_ns } => {
                let Some(watched) = known.process(tgid) else { return };
                let mut attributes = watched.attributes.clone();
                let cluster = watched.cluster.clone();
                attributes.push((Attribute::Operation, Value::Static(call(operation))));
                let mut name = call(operation).to_owned();
                let key = FileKey { tgid, dev: kernel_device(dev), ino };
                if let Some(file) = known.file(key) {
                    name = format!("{name} {}", file.partition.topic);
                    attributes.extend(labels::of_partition(
                        &file.partition,
                        cluster.as_ref(),
                        true,
                        readings.dictionary(),
                    ));
                }
                let (start, end) = clock::span_of_monotonic(start_ns, start_ns + duration_ns);
                spans.push(readings, Event { name, start, end, attributes });
            }
            kernel::Event::Retransmits { .. } => {}
        }
    }
}

/// Of a bucket only its bounds are known: its values count as its middle. The sum is exact.
pub(crate) fn histogram(counted: &Counted) -> Histogram {
    let middles = (0..BUCKETS).map(|index| {
        let start = if index == 0 { 0 } else { bucket_end(index - 1) };
        start + (bucket_end(index) - start) / 2
    });
    let buckets = middles.zip(counted.buckets.iter().copied()).filter(|(_, times)| *times > 0);
    Histogram::of_nanos(buckets, counted.sum_ns)
}

const fn request(operation: u32) -> &'static str {
    match operation {
        disk::READ => "read",
        disk::WRITE => "write",
        disk::FLUSH => "flush",
        disk::DISCARD => "discard",
        _ => "other",
    }
}

const fn call(operation: u32) -> &'static str {
    match operation {
        fsync::FSYNC => "fsync",
        _ => "fdatasync",
    }
}

/// Names of block devices, by number.
#[derive(Debug, Default)]
struct Names {
    known: HashMap<u64, Value>,
}

impl Names {
    fn of(&mut self, dev: u32) -> Value {
        self.of_device(kernel::device(dev))
    }

    /// From sysfs, where a device stands under its number as a link to its folder, named as in /dev.
    fn of_device(&mut self, dev: u64) -> Value {
        let name = || {
            let number = format!("{}:{}", rustix::fs::major(dev), rustix::fs::minor(dev));
            let link = fs::read_link(PathBuf::from("/sys/dev/block").join(&number));
            let name = link.ok().and_then(|link| Some(link.file_name()?.to_string_lossy().into_owned()));
            Value::name(name.unwrap_or(number).as_bytes())
        };
        self.known.entry(dev).or_insert_with(name).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_counted_keeps_its_count_and_sum_and_nearly_its_buckets() {
        let mut counted = Counted::default();
        for nanos in [100, 5_000, 1_000_000, 1_000_001, 90_000_000] {
            counted.sum_ns += nanos;
            counted.buckets[kafkascope_probe_ebpf::bucket(nanos)] += 1;
        }
        let histogram = histogram(&counted);
        assert_eq!((histogram.count(), histogram.sum()), (5, counted.sum_ns));
        let median = histogram.quantile(0.5).expect("values");
        assert!((median / 0.001 - 1.0).abs() < 0.15, "{median}");
    }
}
