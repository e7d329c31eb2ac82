//! What reads find in the page cache, by process and topic.
//!
//! The kernel counts by process, which is exact, and by file, of which the least recently used are forgotten when there are
//! too many. What a process has more than its files together stands in the series without a topic, so that the series of a
//! process always add up to what it did.

use std::collections::HashMap;

use kafkascope_probe_ebpf::{FileKey, FilePages, Pages};
use kafkascope_telemetry::metric::Metric;
use kafkascope_telemetry::{Attribute, AttributeValue as Value, Event, Readings};
use rustix::time::ClockId;

use super::hit_ratio::HitRatio;
use super::known::Known;
use super::labels::{self, Attributes};
use super::spans::Spans;
use crate::clock;
use crate::config::BURST_GAP;
use crate::discovery::log_dirs::Inode;
use crate::kernel::{Counted, Growth, Reading, plus};

/// Cold reads of a file that went on for so long, or so many pages, are worth a span: a fetch waited for them.
const BURST_PAGES: u64 = 256;

/// Totals by process and by what of it, since the probe began.
#[derive(Debug, Default)]
pub(crate) struct PageCache {
    processes: Growth<u32, Pages>,
    files: Growth<FileKey, Pages>,
    ratios: HashMap<Subject, Ratio>,
    /// Pages of files that are not known yet.
    unplaced: Vec<(FileKey, Pages)>,
    /// The last burst of each file that was told.
    told: HashMap<FileKey, u64>,
}

/// A process, or its files of a topic, or of a partition.
type Subject = (u32, Option<(String, Option<u32>)>);

#[derive(Debug, Default)]
struct Ratio {
    asked: u64,
    added: u64,
    attributes: Attributes,
    over_a_minute: HitRatio,
}

impl PageCache {
    /// What has changed.
    pub(crate) fn report(
        &mut self,
        reading: &Reading,
        asked_is_seen: bool,
        known: &mut Known<'_>,
        readings: &mut Readings,
        spans: &mut Spans,
    ) {
        let processes = reading.processes.iter().map(|(tgid, process)| (*tgid, 0, process.pages));
        let mut rest: HashMap<u32, Pages> = self.processes.advance(processes).into_iter().collect();
        for (&tgid, pages) in &rest {
            if let Some(watched) = known.process(tgid) {
                self.add((tgid, None), &watched.attributes, pages);
            }
        }
        let files = reading.files.iter().map(|(key, file)| (*key, file.since_ns, file.pages));
        let mut grown = self.files.advance(files);
        grown.retain(|(_, pages)| *pages != Pages::default());
        // A file that was made a moment ago is known after the next look at the log directories; until then its pages are
        // neither of a topic nor of none.
        for (key, pages) in grown.iter().chain(&self.unplaced) {
            let left = rest.entry(key.tgid).or_default();
            *left = left.minus(pages);
        }
        known.look_for(grown.iter().map(|(key, _)| *key));
        let waited = std::mem::take(&mut self.unplaced).into_iter().map(|placed| (placed, true));
        for ((key, pages), has_waited) in grown.into_iter().map(|placed| (placed, false)).chain(waited) {
            let Some((attributes, subject)) = known.of_topic(key, readings.dictionary()) else {
                if has_waited {
                    let left = rest.entry(key.tgid).or_default();
                    *left = plus(left, &pages);
                } else {
                    self.unplaced.push((key, pages));
                }
                continue;
            };
            report(&pages, asked_is_seen, &attributes, readings);
            self.add((key.tgid, Some(subject)), &attributes, &pages);
        }
        for (tgid, pages) in rest {
            if let Some(watched) = known.process(tgid) {
                report(&pages, asked_is_seen, &watched.attributes, readings);
            }
        }
        self.ratios.retain(|(tgid, _), _| known.process(*tgid).is_some());
        if asked_is_seen {
            for ratio in self.ratios.values_mut() {
                if let Some(now) = ratio.over_a_minute.sample(readings.at(), ratio.asked, ratio.added) {
                    readings.state(Metric::PageCacheHitRatio, &ratio.attributes, now);
                }
            }
        }
        self.bursts(&reading.files, known, readings, spans);
    }

    fn add(&mut self, subject: Subject, attributes: &Attributes, pages: &Pages) {
        let ratio = self.ratios.entry(subject).or_default();
        if ratio.attributes.len() != attributes.len() {
            ratio.attributes.clone_from(attributes);
        }
        ratio.asked += pages.asked;
        ratio.added += pages.read_in + pages.readahead_unasked;
    }

    /// Reads that missed the cache for a while.
    fn bursts(
        &mut self,
        files: &[(FileKey, FilePages)],
        known: &mut Known<'_>,
        readings: &mut Readings,
        spans: &mut Spans,
    ) {
        let ended_before = clock::read(ClockId::Monotonic).saturating_sub(clock::nanos(BURST_GAP));
        for (key, file) in files {
            let long = file.burst_pages >= BURST_PAGES
                || spans.is_slow(file.burst_end_ns - file.burst_start_ns.min(file.burst_end_ns));
            let over = file.burst_end_ns < ended_before;
            if file.burst_start_ns == 0 || !long || !over || self.told.get(key) == Some(&file.burst_start_ns) {
                continue;
            }
            self.told.insert(*key, file.burst_start_ns);
            let Some(found) = known.file(*key) else { continue };
            let Some(watched) = known.process(key.tgid) else { continue };
            let mut attributes = watched.attributes.clone();
            attributes.extend(labels::of_partition(
                &found.partition,
                watched.cluster.as_ref(),
                true,
                readings.dictionary(),
            ));
            attributes.push((Attribute::Count, Value::Integer(super::signed(file.burst_pages))));
            let (start, end) = clock::span_of_monotonic(file.burst_start_ns, file.burst_end_ns);
            let name = format!("cold read {}", found.partition.topic);
            spans.push(readings, Event { name, start, end, attributes });
        }
        if self.told.len() > 2 * files.len() + 64 {
            let live: std::collections::HashSet<_> = files.iter().map(|(key, _)| *key).collect();
            self.told.retain(|key, _| live.contains(key));
        }
    }
}

fn report(pages: &Pages, asked_is_seen: bool, attributes: &Attributes, readings: &mut Readings) {
    let kinds = [
        ("asked", if asked_is_seen { pages.asked } else { 0 }),
        ("read_in", pages.read_in),
        ("readahead_unasked", pages.readahead_unasked),
        ("fault", pages.fault),
        ("write", pages.write),
    ];
    let mut attributes = attributes.clone();
    for (kind, count) in kinds {
        attributes.push((Attribute::PageKind, Value::Static(kind)));
        readings.more(Metric::PageCachePages, &attributes, count);
        attributes.pop();
    }
}

/// Device and inode number as the index of log directories has them.
pub(crate) fn inode(key: FileKey) -> Inode {
    Inode { device: key.dev, number: key.ino }
}
