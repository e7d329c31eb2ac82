//! Requests to disks, against /proc/diskstats.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kafkascope_probe::kernel::{Event, Kernel, device};
use kafkascope_probe_ebpf::{DiskKey, Histogram, disk};

use crate::stage::{self, DiskFile, Plain, diskstats};

/// Columns of /proc/diskstats, Documentation/admin-guide/iostats.rst.
const COLUMNS: [(u32, usize); 3] = [(disk::READ, 0), (disk::WRITE, 4), (disk::FLUSH, FLUSHES)];
const FLUSHES: usize = 15;
const READ_MS: usize = 3;

pub(crate) fn trials() -> Vec<Plain> {
    vec![
        ("disk::as_many_requests_as_diskstats_has", requests),
        ("disk::queue_and_service_are_what_diskstats_has_as_time", times),
        ("disk::slow_requests_are_events", events),
    ]
}

/// How often the file is read and written.
const ROUNDS: u32 = 20;
const PAGES: u64 = 64;

fn load(file: &DiskFile) -> Result<()> {
    file.drop_cached()?;
    file.touch()?;
    file.file.write_all_at(&[7; 8192], 0)?;
    file.file.sync_all()?;
    Ok(())
}

/// What was counted while the file was read and written.
#[derive(Debug, Clone, Copy, Default)]
struct Grown {
    least: u64,
    most: u64,
    diskstats: u64,
}

fn requests() -> Result<()> {
    let kernel = stage::kernel(&["disk"])?;
    let file = DiskFile::new("disk", PAGES)?;
    let dev = whole_disk(file.dev()?)?;
    let (mut all, mut nothing, mut compared) = ([Grown::default(); 3], 0, 0);
    for _ in 0..10 * ROUNDS {
        // Others use the disk as well: what lies within both readings of diskstats is at most what lies within the
        // programs' readings around them, and the other way round.
        let (untold, first) = (untold()?, counts(&kernel, dev));
        let outer = diskstats(dev)?;
        let second = counts(&kernel, dev);
        load(&file)?;
        let third = counts(&kernel, dev);
        let inner = diskstats(dev)?;
        let fourth = counts(&kernel, dev);
        if self::untold()? != untold {
            continue;
        }
        for (sum, (operation, column)) in all.iter_mut().zip(COLUMNS) {
            let grown = |from: &Counts, to: &Counts| to[operation as usize].count() - from[operation as usize].count();
            sum.least += grown(&second, &third);
            sum.most += grown(&first, &fourth);
            sum.diskstats += inner[column] - outer[column];
        }
        // Writes of nothing, whose only purpose is the flush, some kernels count beside the flush. The disk gets only that.
        nothing += inner[FLUSHES] - outer[FLUSHES];
        compared += 1;
        if compared == ROUNDS {
            break;
        }
    }
    ensure!(compared == ROUNDS, "the first process of this machine ran in all but {compared} windows");
    for ((operation, _), Grown { least, most, diskstats }) in COLUMNS.into_iter().zip(all) {
        let nothing = if operation == disk::WRITE { nothing } else { 0 };
        let what =
            format!("operation {operation}: {least}..={most}, diskstats {diskstats}, {nothing} may be of nothing");
        println!("{what}");
        // A few are in flight when one of both is read, and completed when the other is.
        ensure!(least <= diskstats + 4 && diskstats.saturating_sub(nothing) <= most + 4, "{what}");
        ensure!(operation != disk::READ || diskstats >= 1000, "only {diskstats} reads");
    }
    ensure!(kernel.cost().lost.iter().all(|(_, lost)| *lost == 0), "{:?}", kernel.cost().lost);
    Ok(())
}

/// How long the first process has run. Kernels of some virtual machines tell no tracer, perf's neither, of what happens
/// while it has the processor, and that includes interrupts of a disk.
fn untold() -> Result<u64> {
    let mut nanos = 0;
    for task in procfs::process::Process::new(1)?.tasks()?.flatten() {
        // A thread may end meanwhile.
        nanos += task.schedstat().map_or(0, |thread| thread.sum_exec_runtime);
    }
    Ok(nanos)
}

fn times() -> Result<()> {
    let kernel = stage::kernel(&["disk", "disk_queue"])?;
    let file = DiskFile::new("disk-times", PAGES)?;
    let dev = whole_disk(file.dev()?)?;
    let sum = |of: &[(DiskKey, Histogram)]| -> (u64, u64) {
        let reads = of.iter().filter(|(key, _)| device(key.dev) == dev && key.operation == disk::READ);
        reads.fold((0, 0), |(count, sum), (_, histogram)| (count + histogram.count(), sum + histogram.sum_ns))
    };
    let (before, reading) = (diskstats(dev)?, kernel.read());
    let (queue_before, service_before) = (sum(&reading.disk_queue), sum(&reading.disk_service));
    for _ in 0..ROUNDS {
        load(&file)?;
    }
    let (after, reading) = (diskstats(dev)?, kernel.read());
    let (queue, service) = (sum(&reading.disk_queue), sum(&reading.disk_service));
    let ours = (queue.1 - queue_before.1 + service.1 - service_before.1) as f64 / 1e6;
    // It adds up whole milliseconds, rounding each request down or up.
    let theirs = (after[READ_MS] - before[READ_MS]) as f64;
    let requests = (after[0] - before[0]) as f64;
    println!("queue and service: {ours:.1} ms, diskstats {theirs} ms for {requests} requests");
    ensure!((ours - theirs).abs() <= theirs * 0.05 + requests * 0.05 + 5.0, "{ours} ms, diskstats has {theirs} ms");
    ensure!(queue.0 - queue_before.0 >= 1000, "only {} queued", queue.0 - queue_before.0);
    Ok(())
}

fn events() -> Result<()> {
    let mut kernel = stage::kernel(&["disk"])?;
    let file = DiskFile::new("disk-slow", PAGES)?;
    let dev = whole_disk(file.dev()?)?;
    kernel.set_thresholds(Duration::from_nanos(1), Duration::ZERO)?;
    for _ in 0..10 * ROUNDS {
        let mut events = Vec::new();
        kernel.drain_events(&mut events);
        events.clear();
        let (untold, lost) = (untold()?, kernel.cost().lost);
        file.drop_cached()?;
        file.touch()?;
        kernel.drain_events(&mut events);
        // Others use the disk as well: their requests may leave no room for events, which is counted.
        if self::untold()? != untold || kernel.cost().lost != lost {
            continue;
        }
        let reads = events.iter().filter(|event| {
            matches!(event, Event::Disk { dev: of, operation: disk::READ, bytes: 4096, duration_ns, start_ns, .. }
                if *of == dev && *duration_ns > 0 && *start_ns > 0)
        });
        ensure!(reads.count() as u64 >= PAGES, "{events:?}");
        return Ok(());
    }
    bail!("the first process of this machine ran, or events were lost, in each window")
}

type Counts = [Histogram; 4];

fn counts(kernel: &Kernel, dev: u64) -> Counts {
    let mut counts = [Histogram::default(); 4];
    for (key, histogram) in kernel.read().disk_service {
        if device(key.dev) == dev {
            counts[key.operation as usize] = histogram;
        }
    }
    counts
}

/// The disk that a device is a partition of, or the device.
fn whole_disk(dev: u64) -> Result<u64> {
    let folder = format!("/sys/dev/block/{}:{}", rustix::fs::major(dev), rustix::fs::minor(dev));
    if !std::path::Path::new(&folder).join("partition").exists() {
        return Ok(dev);
    }
    let text = std::fs::read_to_string(format!("{folder}/../dev"))?;
    let (major, minor) = text.trim().split_once(':').context("no device")?;
    Ok(rustix::fs::makedev(major.parse()?, minor.parse()?))
}
