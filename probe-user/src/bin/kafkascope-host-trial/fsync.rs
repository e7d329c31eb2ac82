//! fsync: as many calls as were made, and whose.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::Result;

use crate::exposition::Exposition;
use crate::judge::{Figure, Report};
use crate::probe::{PROCESS, Probe, TRIAL};

/// Two numbers that cannot be taken for each other, nor for twice the other.
const FSYNC: u8 = 37;
const FDATASYNC: u8 = 23;

const SAMPLER: &str = "fsync";

pub(crate) fn try_it(probe: &Probe, folder: &Path, report: &mut Report) -> Result<()> {
    let path = folder.join("synced");
    let mut file = File::create(&path)?;
    let before = probe.settled(count)?;
    for _ in 0..FSYNC {
        file.write_all(b"record")?;
        rustix::fs::fsync(&file)?;
    }
    for _ in 0..FDATASYNC {
        file.write_all(b"record")?;
        rustix::fs::fdatasync(&file)?;
    }
    let after = probe.settled(count)?;
    fs::remove_file(&path)?;
    let figure = Figure::exact(SAMPLER, count(&after) - count(&before), f64::from(FSYNC) + f64::from(FDATASYNC));
    report.figure(SAMPLER, &after, &figure)
}

/// Of the process, both calls.
fn count(scrape: &Exposition) -> f64 {
    let labels = [(PROCESS, TRIAL)];
    scrape.sum("kafkascope_fsync_duration_seconds_count", &labels)
}
