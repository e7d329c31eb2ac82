//! Page cache: files of which nothing, half and all is in memory are read in Kafka's two ways, once through.
//!
//! The truth is `mincore`, asked just before: dropping a file's pages drops only those that nobody holds. Pages that
//! are *added* are the missing ones, whether they were asked for or read ahead: in the end all were asked for.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, bail};
use rustix::fs::{Advice, fadvise, sendfile, statfs};

use crate::exposition::Exposition;
use crate::judge::{Figure, Report};
use crate::probe::{PROCESS, Probe, TRIAL};
use crate::sys::{page_size, pages_in_memory};

const PAGES: usize = 8192;

/// Every other piece of so many pages is in memory in the file that is half there.
const PIECE: usize = 64;

/// What is read or sent at a time, a fetch's worth.
const CHUNK: usize = 128 << 10;

/// `TMPFS_MAGIC` of the kernel's `include/uapi/linux/magic.h`.
const TMPFS: i64 = 0x0102_1994;

const SHARE: f64 = 0.005;

const SAMPLER: &str = "page_cache";

#[derive(Debug, Clone, Copy)]
enum Way {
    Read,
    Sendfile,
}

const CASES: [(Way, usize); 6] =
    [(Way::Read, 0), (Way::Read, 50), (Way::Read, 100), (Way::Sendfile, 0), (Way::Sendfile, 50), (Way::Sendfile, 100)];

pub(crate) fn try_it(probe: &Probe, folder: &Path, report: &mut Report) -> Result<()> {
    if statfs(folder)?.f_type == TMPFS {
        return report.absent(SAMPLER, &format!("{} is in memory only", folder.display()));
    }
    let files = CASES
        .iter()
        .enumerate()
        .map(|(number, (_, percent))| prepare(&folder.join(format!("pages-{number}")), *percent))
        .collect::<Result<Vec<_>>>()?;
    let mut before = probe.settled(|scrape| asked(scrape) + added(scrape))?;
    for ((way, percent), path) in CASES.iter().zip(&files) {
        let missing = PAGES - pages_in_memory(&File::open(path)?, PAGES * page_size())?;
        match way {
            Way::Read => read(path)?,
            Way::Sendfile => send(path)?,
        }
        let after = probe.settled(|scrape| asked(scrape) + added(scrape))?;
        let name = |figure: &str| format!("{SAMPLER} {figure} ({}, {percent} % cached)", way.word());
        let figure = |name: &str, of: fn(&Exposition) -> f64, truth: usize| {
            #[expect(clippy::cast_precision_loss, reason = "thousands of pages")]
            let (truth, all) = (truth as f64, PAGES as f64);
            // Of all pages, also where none had to be added: the process may read a page of something else.
            Figure { name: name.to_owned(), ours: of(&after) - of(&before), truth, tolerance: SHARE * all }
        };
        report.figure(SAMPLER, &after, &figure(&name("asked"), asked, PAGES))?;
        report.figure(SAMPLER, &after, &figure(&name("added"), added, missing))?;
        before = after;
        fs::remove_file(path)?;
    }
    Ok(())
}

impl Way {
    fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Sendfile => "sendfile",
        }
    }
}

fn asked(scrape: &Exposition) -> f64 {
    pages(scrape, "asked")
}

fn added(scrape: &Exposition) -> f64 {
    pages(scrape, "read_in") + pages(scrape, "readahead_unasked")
}

/// Of the process: its series by topic, if it has such, and that of the rest add up to it.
fn pages(scrape: &Exposition, kind: &str) -> f64 {
    let labels = [(PROCESS, TRIAL), ("kind", kind)];
    scrape.sum("kafkascope_page_cache_pages_total", &labels)
}

/// Writes a file and leaves about so much of it in memory.
fn prepare(path: &Path, percent: usize) -> Result<PathBuf> {
    let mut file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let chunk = vec![0x5a; CHUNK];
    for _ in 0..PAGES * page_size() / CHUNK {
        file.write_all(&chunk)?;
    }
    file.sync_all()?;
    if percent == 100 {
        return Ok(path.to_owned());
    }
    let file = File::open(path)?;
    fadvise(&file, 0, None, Advice::DontNeed)?;
    if percent > 0 {
        // Read nothing ahead.
        fadvise(&file, 0, None, Advice::Random)?;
        let mut piece = vec![0; PIECE * page_size()];
        for number in (0..PAGES / PIECE).step_by(2) {
            let at = u64::try_from(number * PIECE * page_size())?;
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut piece, at)?;
        }
    }
    Ok(path.to_owned())
}

fn read(path: &Path) -> Result<()> {
    let mut file = File::open(path)?;
    let mut chunk = vec![0; CHUNK];
    while file.read(&mut chunk)? > 0 {}
    Ok(())
}

/// Sends it to a socket, as a broker answers a fetch.
fn send(path: &Path) -> Result<()> {
    let file = File::open(path)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    let reader = thread::spawn(move || {
        let mut chunk = vec![0; CHUNK];
        let mut total = 0;
        loop {
            match server.read(&mut chunk)? {
                0 => return Ok::<_, std::io::Error>(total),
                length => total += length,
            }
        }
    });
    let mut left = PAGES * page_size();
    while left > 0 {
        match sendfile(&client, &file, None, left.min(CHUNK))? {
            0 => bail!("the file ended {left} bytes early"),
            length => left -= length,
        }
    }
    drop(client);
    let received = reader.join().ok().context("the reader panicked")??;
    if received == PAGES * page_size() { Ok(()) } else { bail!("{received} bytes arrived") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_left_in_memory_as_far_as_wanted() {
        // On the disk that cargo builds on: what is in memory only cannot be dropped from it.
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let cached = |percent| {
            let path = prepare(&folder.path().join("file"), percent).unwrap();
            pages_in_memory(&File::open(path).unwrap(), PAGES * page_size()).unwrap() * 100 / PAGES
        };
        if statfs(folder.path()).unwrap().f_type == TMPFS {
            return;
        }
        assert_eq!(cached(100), 100);
        let half = cached(50);
        assert!((30..80).contains(&half), "{half}");
        send(&folder.path().join("file")).unwrap();
    }
}
