//! Pages asked for and added, against mincore.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};
use kafkascope_probe::kernel::{Kernel, device};
use kafkascope_probe_ebpf::Pages;

use crate::stage::{self, DiskFile, PAGE, Plain};

const PAGES: u64 = 8192;

pub(crate) fn trials() -> Vec<Plain> {
    vec![
        ("page_cache::read_of_a_file_that_is_not_cached", || against_mincore(0, read)),
        ("page_cache::read_of_a_file_that_is_half_cached", || against_mincore(50, read)),
        ("page_cache::read_of_a_file_that_is_cached", || against_mincore(100, read)),
        ("page_cache::sendfile_of_a_file_that_is_not_cached", || against_mincore(0, sendfile)),
        ("page_cache::sendfile_of_a_file_that_is_half_cached", || against_mincore(50, sendfile)),
        ("page_cache::sendfile_of_a_file_that_is_cached", || against_mincore(100, sendfile)),
        ("page_cache::sendfile_from_within_a_page_asks_for_each_page_once", unaligned_sendfile),
        ("page_cache::reads_beyond_the_end_ask_for_what_is_there", beyond_the_end),
        ("page_cache::a_mapping_faults_and_does_not_read", mapping),
        ("page_cache::writes_are_no_reads", writes),
        ("page_cache::other_processes_are_not_counted", unwatched),
    ]
}

fn against_mincore(percent: u64, consume: fn(&DiskFile) -> Result<()>) -> Result<()> {
    let kernel = stage::kernel(&["page_cache"])?;
    let file = DiskFile::new("page-cache", PAGES)?;
    file.drop_cached()?;
    // Every other block of 64 pages, so that hits and misses alternate.
    let mut block = vec![0; 64 * PAGE as usize];
    for index in 0..PAGES / 64 {
        if index % 2 < percent / 50 || percent == 100 {
            advise(&file, libc::POSIX_FADV_RANDOM);
            file.file.read_exact_at(&mut block, index * 64 * PAGE)?;
        }
    }
    advise(&file, libc::POSIX_FADV_NORMAL);
    let cached = file.cached()?;
    let before = pages(&kernel, &file)?;
    let total_before = total(&kernel)?;
    consume(&file)?;
    let after = pages(&kernel, &file)?;
    let total = total(&kernel)?;
    let (asked, added) = (after.asked - before.asked, added(&after) - added(&before));
    let missing = PAGES - cached;
    println!("{percent} %: asked {asked} of {PAGES}, added {added}, mincore says {missing}; {after:?}");
    ensure!(
        cached * 100 / PAGES >= percent.saturating_sub(2) && cached * 100 / PAGES <= percent + 2,
        "{cached} cached"
    );
    ensure!(asked == PAGES, "asked for {asked} of {PAGES}");
    ensure!(added.abs_diff(missing) * 200 <= PAGES, "added {added}, but {missing} were missing");
    ensure!(after.fault == before.fault && after.write == before.write, "{before:?} {after:?}");
    ensure!(total.asked - total_before.asked >= asked, "the process's total has less than its file's");
    Ok(())
}

fn read(file: &DiskFile) -> Result<()> {
    let mut buffer = vec![0; 100_000];
    let mut at = 0;
    while at < PAGES * PAGE {
        // In steps of whole pages, so that each is asked for once.
        let step = (24 * PAGE).min(PAGES * PAGE - at) as usize;
        file.file.read_exact_at(&mut buffer[..step], at)?;
        at += step as u64;
    }
    Ok(())
}

fn sendfile(file: &DiskFile) -> Result<()> {
    send(file, 0, PAGES * PAGE)
}

fn send(file: &DiskFile, mut from: u64, to: u64) -> Result<()> {
    let sink = File::options().write(true).open("/dev/null")?;
    while from < to {
        let size = (to - from).min(1 << 20) as usize;
        from += rustix::fs::sendfile(&sink, &file.file, Some(&mut from.clone()), size)? as u64;
    }
    Ok(())
}

fn unaligned_sendfile() -> Result<()> {
    let kernel = stage::kernel(&["page_cache"])?;
    let file = DiskFile::new("page-cache-unaligned", PAGES)?;
    for cached in [false, true] {
        if !cached {
            file.drop_cached()?;
        }
        let missing = PAGES - file.cached()?;
        let before = pages(&kernel, &file)?;
        // One call, which asks for 2^20 bytes from the middle of a page on: 257 pages.
        let sink = File::options().write(true).open("/dev/null")?;
        let mut from = 1000;
        let sent = rustix::fs::sendfile(&sink, &file.file, Some(&mut from), 1 << 20)?;
        ensure!(sent == 1 << 20, "sent only {sent}");
        let after = pages(&kernel, &file)?;
        println!("asked {}, added {} of {missing}", after.asked - before.asked, added(&after) - added(&before));
        ensure!(after.asked - before.asked == 257, "asked for {}", after.asked - before.asked);
    }
    Ok(())
}

fn beyond_the_end() -> Result<()> {
    let kernel = stage::kernel(&["page_cache"])?;
    let file = DiskFile::new("page-cache-short", 3)?;
    let before = pages(&kernel, &file)?;
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..10 {
        ensure!(file.file.read_at(&mut buffer, PAGE)? as u64 == 2 * PAGE, "short");
    }
    let after = pages(&kernel, &file)?;
    ensure!(after.asked - before.asked == 20, "asked for {}", after.asked - before.asked);
    Ok(())
}

fn mapping() -> Result<()> {
    let kernel = stage::kernel(&["page_cache"])?;
    let file = DiskFile::new("page-cache-mapping", PAGES)?;
    file.drop_cached()?;
    let missing = PAGES - file.cached()?;
    let before = pages(&kernel, &file)?;
    file.touch()?;
    let after = pages(&kernel, &file)?;
    println!("missing {missing}, {after:?}");
    ensure!(
        (after.fault - before.fault).abs_diff(missing) * 200 <= PAGES,
        "{} of {missing}",
        after.fault - before.fault
    );
    ensure!(after.asked == before.asked && added(&after) == added(&before), "{after:?}");
    Ok(())
}

fn writes() -> Result<()> {
    let kernel = stage::kernel(&["page_cache"])?;
    let file = DiskFile::new("page-cache-writes", PAGES)?;
    let after = pages(&kernel, &file)?;
    ensure!(after.write == PAGES && after.asked == 0 && added(&after) == 0 && after.fault == 0, "{after:?}");
    Ok(())
}

fn unwatched() -> Result<()> {
    let mut kernel = stage::kernel(&["page_cache"])?;
    kernel.unwatch(std::process::id());
    let file = DiskFile::new("page-cache-unwatched", 64)?;
    file.drop_cached()?;
    let ino = file.ino()?;
    ensure!(kernel.read().files.iter().all(|(key, _)| key.ino != ino), "a process that is not watched was counted");
    Ok(())
}

fn advise(file: &DiskFile, advice: libc::c_int) {
    // SAFETY: the descriptor is open; what comes of it is seen in the counts.
    unsafe { libc::posix_fadvise(file.file.as_raw_fd(), 0, 0, advice) };
}

fn pages(kernel: &Kernel, file: &DiskFile) -> Result<Pages> {
    let (ino, dev) = (file.ino()?, file.dev()?);
    let files = kernel.read().files;
    let found = files.iter().find(|(key, _)| key.ino == ino && device(key.dev) == dev);
    Ok(found.map(|(_, file)| file.pages).unwrap_or_default())
}

fn total(kernel: &Kernel) -> Result<Pages> {
    let processes = kernel.read().processes;
    Ok(processes.first().context("nothing is watched")?.1.pages)
}

fn added(pages: &Pages) -> u64 {
    pages.read_in + pages.readahead_unasked
}
