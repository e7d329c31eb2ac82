//! All processes of the host, listed as cheaply as can be.
//!
//! The kernel gives each process's folder in /proc an inode number, which the listing has; so one call tells of a
//! thousand processes, also that a process id is another process's now. And where /proc/loadavg says that no process
//! or thread was started since the last time and as many are there, nothing is listed at all.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::{Dir, Mode, OFlags, open};

use crate::roots::{self, Pid, Roots};

/// Listed this often even if nothing seems to have changed.
const LISTED: Duration = Duration::from_secs(10);

/// `PF_KTHREAD` of the kernel's include/linux/sched.h.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// When a process was started: nanoseconds since the boot, in steps of the kernel's clock tick (10 ms).
///
/// With it a process id is unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StartTime(pub u64);

/// What /proc/PID/stat tells of a process's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) started: StartTime,
    /// Ended, and its parent has not yet asked how.
    pub(crate) zombie: bool,
    pub(crate) kernel: bool,
}

impl Life {
    pub(crate) fn of(roots: &Roots, pid: Pid) -> Option<Self> {
        Self::parse(&roots.read_of(pid, "stat").ok()?)
    }

    /// `pid (comm) state ppid pgrp session tty tpgid flags .. starttime ..`; `comm` may hold anything.
    fn parse(stat: &[u8]) -> Option<Self> {
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        let mut fields = roots::fields(stat.get(end + 1..)?);
        let zombie = matches!(fields.next()?, b"Z" | b"X" | b"x");
        let flags = roots::decimal(fields.nth(5)?)?;
        let ticks = roots::decimal(fields.nth(12)?)?;
        let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
        let started = StartTime(ticks.saturating_mul(tick));
        Some(Self { started, zombie, kernel: flags & KERNEL_THREAD != 0 })
    }
}

/// A process in the table. `T` is what the owner of the table knows about it.
#[derive(Debug)]
pub(crate) struct Known<T> {
    inode: u64,
    pub(crate) started: StartTime,
    listing: u32,
    pub(crate) what: T,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Table<T> {
    folder: OwnedFd,
    known: HashMap<Pid, Known<T>>,
    listing: u32,
    listed: Option<Instant>,
    /// The last process id that was given out, and the number of threads.
    load: Option<(u64, u64)>,
    /// Whether that is about the processes that this /proc shows.
    own: bool,
}

/// What is new in the table.
#[derive(Debug)]
pub(crate) struct News<T> {
    pub(crate) appeared: Vec<Pid>,
    pub(crate) gone: Vec<(Pid, T)>,
}

impl<T> Table<T> {
    pub(crate) fn new(roots: &Roots) -> io::Result<Self> {
        let folder = open(&roots.proc, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        // /proc/loadavg counts in the namespace of who reads it.
        Ok(Self { folder, known: HashMap::new(), listing: 0, listed: None, load: None, own: roots.is_own() })
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    pub(crate) fn what(&mut self, pid: Pid) -> Option<&mut Known<T>> {
        self.known.get_mut(&pid)
    }

    pub(crate) fn remove(&mut self, pid: Pid) -> Option<T> {
        self.known.remove(&pid).map(|known| known.what)
    }

    /// Lists the processes if there may be others than last time; `new` makes the entry of one.
    pub(crate) fn refresh(
        &mut self,
        roots: &Roots,
        now: Instant,
        mut new: impl FnMut(Pid, Life) -> T,
    ) -> io::Result<News<T>> {
        let mut news = News { appeared: Vec::new(), gone: Vec::new() };
        let load = self.own.then(|| load(roots)).flatten();
        let recent = self.listed.is_some_and(|listed| now.saturating_duration_since(listed) < LISTED);
        if recent && load.is_some() && load == self.load {
            return Ok(news);
        }
        self.listing = self.listing.wrapping_add(1);
        for entry in Dir::read_from(&self.folder)?.flatten() {
            let name = entry.file_name().to_bytes();
            let Some(pid) = roots::decimal(name).and_then(|pid| u32::try_from(pid).ok()).map(Pid) else { continue };
            let inode = entry.ino();
            if let Some(known) = self.known.get_mut(&pid).filter(|known| known.inode == inode) {
                known.listing = self.listing;
                continue;
            }
            // New, or another process by the same id, or the same one and the kernel had forgotten its folder.
            let Some(life) = Life::of(roots, pid) else { continue };
            if let Some(known) = self.known.get_mut(&pid).filter(|known| known.started == life.started) {
                (known.inode, known.listing) = (inode, self.listing);
                continue;
            }
            let known = Known { inode, started: life.started, listing: self.listing, what: new(pid, life) };
            news.gone.extend(self.known.insert(pid, known).map(|known| (pid, known.what)));
            news.appeared.push(pid);
        }
        let listing = self.listing;
        let gone = self.known.extract_if(|_, known| known.listing != listing);
        news.gone.extend(gone.map(|(pid, known)| (pid, known.what)));
        (self.load, self.listed) = (load, Some(now));
        Ok(news)
    }
}

/// `0.20 0.18 0.12 1/80 11206`: the threads there are, and the last process id.
fn load(roots: &Roots) -> Option<(u64, u64)> {
    let text = roots::read(&roots.proc.join("loadavg"), 256).ok()?;
    let mut fields = roots::fields(&text).skip(3);
    let threads = fields.next()?.split(|byte| *byte == b'/').nth(1)?;
    Some((roots::decimal(fields.next()?)?, roots::decimal(threads)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_command_name_of_any_bytes_does_not_hide_the_start_time() {
        let stat = b"7 (a) R (\xff\n 1) S 1 7 7 0 -1 2097152 0 0 0 0 1 2 3 4 20 0 1 0 5000 0 0";
        let life = Life::parse(stat).unwrap();
        assert_eq!(life, Life { started: StartTime(50_000_000_000), zombie: false, kernel: true });
        assert_eq!(Life::parse(b"7 (a) Z 1 7 7"), None, "cut off");
    }

    #[test]
    fn nothing_is_listed_while_no_process_comes_or_goes() {
        let roots = Roots::default();
        let mut table = Table::new(&roots).unwrap();
        assert!(table.own);
        let start = Instant::now();
        table.refresh(&roots, start, |_, _| ()).unwrap();
        assert!(table.what(Pid(std::process::id())).is_some());
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid(child.id());
        let news = table.refresh(&roots, start, |_, _| ()).unwrap();
        assert!(news.appeared.contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        let news = table.refresh(&roots, start + LISTED, |_, _| ()).unwrap();
        assert!(news.gone.iter().any(|(gone, ())| *gone == pid));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(stat: Vec<u8>) {
            Life::parse(&stat);
            Life::parse(&[b"1 (x)".as_slice(), &stat].concat());
        }
    }
}
