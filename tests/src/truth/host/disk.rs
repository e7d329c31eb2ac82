//! Item 38: disk requests beside /proc/diskstats, fsync beside the kernel's tracing and a program that counts its calls.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rustix::fs::{Advice, fadvise, fstat, major, minor};

use super::Break;
use super::actor::{FDATASYNCS, FSYNCS};
use super::stage::{Stage, counted, growth, output, say, sum_of_threads};
use super::tracing::{Calls, Tracing};
use crate::java::Tool;
use crate::prometheus::Scrape;
use crate::truth::row::{Figure, Measured, Row, Tolerance};

const O_DIRECT: i32 = rustix::fs::OFlags::DIRECT.bits() as i32;
const PAGE: usize = 4096;
/// What is written at once, and how often.
const PART: usize = 64 << 10;
const PARTS: u64 = 400;

const DURATION: &str = "kafkascope_disk_io_duration_seconds";
const QUEUE: &str = "kafkascope_disk_queue_duration_seconds";
const TOPIC_FSYNC: &str = "kafkascope_topic_fsync_duration_seconds";
const FSYNC: &str = "kafkascope_fsync_duration_seconds";

pub(super) fn rows(stage: &mut Stage) -> Result<Vec<Row>> {
    let mut rows = of_requests(stage)?;
    rows.extend(of_a_program(stage)?);
    rows.extend(of_the_broker(stage)?);
    Ok(rows)
}

/// A line of /proc/diskstats (Documentation/admin-guide/iostats.rst): requests completed and milliseconds that they took,
/// from the moment that they are queued.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Completed {
    reads: f64,
    read_ms: f64,
    writes: f64,
    write_ms: f64,
    flushes: f64,
    flush_ms: f64,
}

impl Completed {
    fn of(device: &str) -> Result<Self> {
        let text = fs::read_to_string("/proc/diskstats")?;
        let line = text.lines().find(|line| line.split_whitespace().nth(2) == Some(device));
        let line = line.with_context(|| format!("/proc/diskstats has no {device}"))?;
        let field =
            |at| line.split_whitespace().nth(at).and_then(|field| field.parse::<f64>().ok()).context("a number");
        let (flushes, flush_ms) = (field(18)?, field(19)?);
        // A flush is asked for by a write of nothing, which the kernel counts too, and the disk never sees.
        let (writes, write_ms) = (field(7)? - flushes, field(10)? - flush_ms);
        Ok(Self { reads: field(3)?, read_ms: field(6)?, writes, write_ms, flushes, flush_ms })
    }
}

/// Reads and writes past the page cache, large and small.
fn of_requests(stage: &Stage) -> Result<Vec<Row>> {
    say("disk requests");
    let path = stage.cluster.folder().join("requests");
    let file = File::create(&path)?;
    let status = fstat(&file)?;
    let link = fs::read_link(format!("/sys/dev/block/{}:{}", major(status.st_dev), minor(status.st_dev)))?;
    let device = link.file_name().context("a device has a name")?.to_string_lossy().into_owned();
    // A partition's requests are its disk's.
    let disk = if fs::exists(format!("/sys/class/block/{device}/partition"))? {
        link.parent()
            .and_then(|disk| disk.file_name())
            .context("a partition is of a disk")?
            .to_string_lossy()
            .into_owned()
    } else {
        device
    };
    let mut rows = Vec::new();
    output("sync", &[])?;
    let window = Window::around(stage, &disk, || write_and_read(&path))?;
    rows.extend(window.rows("read", |seen| (seen.reads, seen.read_ms)));
    rows.extend(window.rows("write", |seen| (seen.writes, seen.write_ms)));
    let window = Window::around(stage, &disk, || flush(&path))?;
    rows.extend(window.rows("flush", |seen| (seen.flushes, seen.flush_ms)));
    fs::remove_file(&path)?;
    Ok(rows)
}

/// What both sides say of some work.
struct Window<'a> {
    disk: &'a str,
    before: Scrape,
    begin: Completed,
    end: Completed,
    after: Scrape,
    /// Percent of the time of which no tracer is told.
    untold: f64,
}

impl<'a> Window<'a> {
    fn around(stage: &Stage, disk: &'a str, work: impl FnOnce() -> Result<()>) -> Result<Self> {
        let (begin, before) = Self::at_once(stage, disk)?;
        let (untold, began) = (untold()?, Instant::now());
        work()?;
        let untold = (self::untold()? - untold).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
        let (end, after) = Self::at_once(stage, disk)?;
        Ok(Self { disk, before, begin, end, after, untold })
    }

    /// What both sides say, with no request in between; on a disk that never rests, with some.
    fn at_once(stage: &Stage, disk: &str) -> Result<(Completed, Scrape)> {
        let look = || Completed::of(disk);
        stage.at_rest("the disk to rest", look).or_else(|_busy| Ok((look()?, stage.scrape()?)))
    }

    fn rows(&self, operation: &str, of: impl Fn(&Completed) -> (f64, f64)) -> [Row; 2] {
        let Self { disk, before, begin, end, after, untold } = self;
        let (count, ms) = (of(end).0 - of(begin).0, of(end).1 - of(begin).1);
        let labels = [("system_device", *disk), ("kafkascope_operation", operation)];
        let ours = counted(before, after, &format!("{DURATION}_count"), &labels);
        // What others did between the two looks.
        let tolerance = Tolerance::percent(1.0 + untold).plus(5.0, "requests");
        let name = format!("{operation} requests of {disk}");
        let counts = Row::compared(38, &name, ours, Ok(Figure::count(count)), "/proc/diskstats", tolerance);
        let name = format!("{operation} requests of {disk}, queue and service, mean ms");
        let truth = Ok(Figure::mean(ms / count.max(1.0), count));
        let tolerance = Tolerance::percent(10.0).plus(0.1, "ms");
        [counts, Row::compared(38, &name, mean_ms(before, after, &labels), truth, "/proc/diskstats", tolerance)]
    }
}

/// How long the first process has run. Kernels of some virtual machines tell no tracer, perf's neither, of what happens
/// while it has the processor, and that includes interrupts of a disk.
fn untold() -> Result<Duration> {
    // A thread may end meanwhile.
    sum_of_threads(1, |thread| thread.schedstat().map_or(0, |times| times.sum_exec_runtime))
}

/// Queue and service together, as the kernel counts.
fn mean_ms(before: &Scrape, after: &Scrape, labels: &[(&str, &str)]) -> Measured {
    let of = |name: &str| growth(before, after, name, labels);
    let count = of(&format!("{DURATION}_count"))?;
    let seconds = of(&format!("{DURATION}_sum"))? + of(&format!("{QUEUE}_sum"))?;
    Ok(Figure::mean(seconds * 1e3 / count.max(1.0), count))
}

/// Past the page cache, so that a write is a request and nothing has to be flushed.
fn write_and_read(path: &Path) -> Result<()> {
    let file = File::options().write(true).create(true).truncate(true).custom_flags(O_DIRECT).open(path)?;
    // Where it may begin is up to the disk; a page is a multiple of all.
    let memory = vec![7_u8; PART + PAGE];
    let start = memory.as_ptr().align_offset(PAGE);
    let part = memory.get(start..start + PART).context("a part in the middle")?;
    for number in 0..PARTS {
        file.write_all_at(part, number * PART as u64)?;
    }
    let file = File::open(path)?;
    fadvise(&file, 0, None, Advice::DontNeed)?;
    fadvise(&file, 0, None, Advice::Random)?;
    let mut page = [0; PAGE];
    let pages = PARTS * (PART / PAGE) as u64;
    for number in 0..2_000_u64 {
        // Every page once at most, in no order.
        file.read_exact_at(&mut page, (number * 7919 % pages) * PAGE as u64)?;
    }
    Ok(())
}

fn flush(path: &Path) -> Result<()> {
    let mut file = File::create(path)?;
    for _ in 0..100 {
        file.write_all(&[1; PAGE])?;
        file.sync_data()?;
    }
    Ok(())
}

fn of_a_program(stage: &Stage) -> Result<Vec<Row>> {
    say("a program that counts its fsync calls");
    let labels = |operation| [("kafkascope_process_name", "sync"), ("kafkascope_operation", operation)];
    let mut actor = stage.actor("sync", true)?;
    let mut twin = stage.actor("sync", false)?;
    stage.eventually("the actor to be watched", |scrape| {
        scrape.sum("kafkascope_process_up", &[("kafkascope_process_name", "sync")]) == Some(1.0)
    })?;
    let before = stage.scrape()?;
    actor.go()?;
    actor.number()?;
    let mut factor = 1;
    if stage.is_broken(Break::Unseen) {
        twin.go()?;
        twin.number()?;
        factor = 2;
    }
    let after = stage.scrape()?;
    let rows = [("fsync", FSYNCS), ("fdatasync", FDATASYNCS)].map(|(operation, calls)| {
        let ours = counted(&before, &after, &format!("{FSYNC}_count"), &labels(operation));
        let truth = Ok(Figure::count(f64::from(calls * factor)));
        Row::compared(38, &format!("{operation} calls of a program"), ours, truth, "its own count", Tolerance::EXACT)
    });
    Ok(rows.into())
}

/// What both sides say of the broker, with no call of it in between: it flushes by itself, too.
fn at_once(stage: &Stage, oracle: &Tracing) -> Result<(Calls, Scrape)> {
    stage.at_rest("no fsync while both sides are read", || oracle.of_process(stage.broker()?))
}

/// A topic whose every append is flushed.
fn of_the_broker(stage: &Stage) -> Result<Vec<Row>> {
    say("a topic that is flushed at each append");
    let topic = &stage.fresh("flushed");
    stage.cluster.create_topic(topic, 1, 1)?;
    let alter = Tool::class(stage.version, "kafka.admin.ConfigCommand")?;
    let server = stage.bootstrap().to_string();
    alter
        .args(["--bootstrap-server", &server, "--alter", "--entity-type", "topics", "--entity-name", topic])
        .args(["--add-config", "flush.messages=1"])
        .run(Duration::from_secs(60))?;
    let labels = [("kafkascope_process_name", "broker-1")];
    let oracle = Tracing::calls()?;
    let (began, before) = at_once(stage, &oracle)?;
    let mut configuration = ClientConfig::new();
    configuration.set("bootstrap.servers", server).set("linger.ms", "0");
    let producer: BaseProducer = configuration.create()?;
    for _ in 0..200 {
        let sent = producer.send(BaseRecord::<(), _>::to(topic).payload("x"));
        ensure!(sent.is_ok(), "the producer takes no record");
        producer.flush(Duration::from_secs(30))?;
    }
    let (ended, after) = at_once(stage, &oracle)?;
    let calls = ended.count.saturating_sub(began.count) as f64;
    let truth_ms = (ended.seconds - began.seconds) * 1e3 / calls.max(1.0);
    let count = growth(&before, &after, &format!("{FSYNC}_count"), &labels);
    let sum = growth(&before, &after, &format!("{FSYNC}_sum"), &labels);
    let mean = count.clone().and_then(|count| Ok(Figure::mean(sum? * 1e3 / count.max(1.0), count)));
    let of_topic = [labels[0], ("messaging_destination_name", topic)];
    let topics = growth(&before, &after, &format!("{TOPIC_FSYNC}_count"), &of_topic);
    Ok(vec![
        Row::compared(
            38,
            "fsync calls of the broker",
            count.map(Figure::count),
            Ok(Figure::count(calls)),
            "tracefs",
            Tolerance::EXACT,
        ),
        Row::compared(
            38,
            "fsync of the broker, mean ms",
            mean,
            Ok(Figure::mean(truth_ms, calls)),
            "tracefs",
            Tolerance::percent(10.0).plus(0.1, "ms"),
        ),
        Row::compared(
            38,
            "share of them that is the topic's",
            topics.map(|topics| Figure::mean((topics / calls.max(1.0)).round(), topics)),
            Ok(Figure::mean(1.0, calls)),
            "nothing else was flushed",
            Tolerance::EXACT,
        ),
    ])
}
