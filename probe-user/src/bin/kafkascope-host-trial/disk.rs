//! Disk: requests past the page cache, and as many as the kernel's own statistics of the device count.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{OFlags, fstat, major, minor};

use crate::exposition::Exposition;
use crate::judge::{Figure, Report};
use crate::probe::Probe;

const READS: u64 = 1000;
const WRITES: u64 = 700;

/// A request goes to and from memory that is aligned like a block of the device, of at most so many bytes.
const BLOCK: usize = 4096;

const SHARE: f64 = 0.01;

/// Others use the disk too, and two readings of it cannot be made at once. With less, a count that is half or twice what it
/// should be is still told from a true one.
const OTHERS: f64 = 0.25;

const SAMPLER: &str = "disk";
const SERVICE: &str = "kafkascope_disk_io_duration_seconds_count";
const QUEUE: &str = "kafkascope_disk_queue_duration_seconds_count";

pub(crate) fn try_it(probe: &Probe, folder: &Path, report: &mut Report) -> Result<()> {
    let path = folder.join("direct");
    let Some(device) = device(&File::open(folder)?)? else {
        return report.absent(SAMPLER, &format!("{} is on no disk", folder.display()));
    };
    fs::write(&path, vec![0x5a; usize::try_from(READS)? * BLOCK])?;
    File::open(&path)?.sync_all()?;
    let direct = i32::try_from(OFlags::DIRECT.bits())?;
    let Ok(file) = OpenOptions::new().read(true).write(true).custom_flags(direct).open(&path) else {
        return report.absent(SAMPLER, "its file system always goes through the page cache");
    };
    let ours = |scrape: &Exposition, metric: &str, operation: &str| {
        scrape.sum(metric, &[("system_device", device.as_str()), ("kafkascope_operation", operation)])
    };
    let before = probe.between(|| completed(&device))?;
    let mut memory = vec![0; 2 * BLOCK];
    let aligned = memory.as_ptr().align_offset(BLOCK);
    let block = memory.get_mut(aligned..aligned + BLOCK).context("no aligned block")?;
    for number in 0..READS {
        file.read_exact_at(block, number * u64::try_from(BLOCK)?)?;
    }
    for number in 0..WRITES {
        file.write_all_at(block, number * u64::try_from(BLOCK)?)?;
    }
    let after = probe.between(|| completed(&device))?;
    fs::remove_file(&path)?;

    for (operation, of) in [("read", (|all| all.reads) as fn(&Completed) -> f64), ("write", |all| all.writes)] {
        let least = of(&after.0) - of(&before.2);
        let most = of(&after.2) - of(&before.0);
        let (truth, unsure) = (f64::midpoint(least, most), (most - least) / 2.0);
        // Each request waits once before it is served once.
        for (sampler, metric) in [(SAMPLER, SERVICE), ("disk_queue", QUEUE)] {
            let name = format!("{sampler} {operation}");
            if unsure > truth * OTHERS {
                report.absent(&name, &format!("others use {device} too much: {least} to {most} requests"))?;
                continue;
            }
            let count = ours(&after.1, metric, operation) - ours(&before.1, metric, operation);
            let figure = Figure { name, ours: count, truth, tolerance: truth * SHARE + unsure };
            report.figure(sampler, &after.1, &figure)?;
        }
    }
    Ok(())
}

/// The disk that holds a file, as the kernel names it; not the part of it.
fn device(file: &File) -> Result<Option<String>> {
    let number = fstat(file)?.st_dev;
    let link = format!("/sys/dev/block/{}:{}", major(number), minor(number));
    let Ok(path) = fs::canonicalize(link) else { return Ok(None) };
    let disk = if path.join("partition").exists() { path.parent().context("a part of nothing")? } else { &path };
    Ok(disk.file_name().map(|name| name.to_string_lossy().into_owned()))
}

struct Completed {
    reads: f64,
    writes: f64,
}

/// Requests that a device has completed (`Documentation/admin-guide/iostats.rst` of the kernel, fields 1 and 5).
fn completed(device: &str) -> Result<Completed> {
    parse(&fs::read_to_string("/proc/diskstats")?, device).with_context(|| format!("no statistics of {device}"))
}

fn parse(statistics: &str, device: &str) -> Option<Completed> {
    let mut lines = statistics.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let fields = lines.find(|fields| fields.get(2) == Some(&device))?;
    let number = |at: usize| fields.get(at)?.parse().ok();
    Some(Completed { reads: number(3)?, writes: number(7)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_statistics_of_the_whole_disk() {
        let text = " 254 0 vda 5 1 2 3 9 4 5 6 0 7 8\n 254 1 vda1 1 1 1 1 1 1 1 1 1 1 1\n";
        let completed = parse(text, "vda").unwrap();
        assert_eq!((completed.reads, completed.writes), (5.0, 9.0));
        assert!(parse(text, "vdb").is_none());
    }
}
