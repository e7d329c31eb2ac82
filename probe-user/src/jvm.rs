//! Garbage collections and memory of a JVM, from the performance data that it writes into a file: no agent, no port.
//!
//! The file is `/tmp/hsperfdata_USER/PID` as the JVM sees it, `java.io.tmpdir` notwithstanding (HotSpot has `/tmp`
//! compiled in). It is read, not mapped: a JVM, or anybody who may write there, can cut it off at any time.

mod clock;
mod gc;
mod memory;
mod perf_data;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Dir, FileType, OFlags, fstat};
use thiserror::Error;

use self::clock::Clock;
pub use self::clock::Now;
use self::gc::{Counters, GcTracker};
pub use self::memory::{Area, Pool};
use self::memory::{Family, Pools};
pub use self::perf_data::Broken;
use self::perf_data::{Place, Prologue};
use crate::discovery::{Process, StartTime};
use crate::roots::{Pid, Roots};

/// 32 KiB unless `-XX:PerfDataMemorySize` says otherwise.
const FILE_LIMIT: usize = 1 << 20;

/// Folders in /tmp that are looked into: one for each user.
const FOLDERS_LIMIT: usize = 4096;

/// Generations and the concurrent cycle.
const COLLECTORS_LIMIT: usize = 8;

/// Readings until two in a row are the same.
const ATTEMPTS: usize = 4;

/// Why nothing is known of a JVM, and what to do about it.
#[derive(Debug, Error)]
pub enum Unavailable {
    /// It was started so.
    #[error("the JVM was started with {0} and writes no performance data: start it without")]
    SwitchedOff(&'static str),
    /// It writes none, or somewhere else.
    #[error(
        "no /tmp/hsperfdata_*/{0} in the JVM's file system: start it without -XX:-UsePerfData and \
         -XX:+PerfDisableSharedMem (also in JAVA_TOOL_OPTIONS), and keep the folder while it runs"
    )]
    Missing(u32),
    /// It is there and may not be read.
    #[error(
        "the JVM's performance data cannot be read ({0}): run as root, or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
    )]
    Denied(#[source] io::Error),
    /// The JVM has ended, or replaced a file that was there before it: look for it again.
    #[error("the JVM's performance data were removed")]
    Removed,
    /// What is there is not a JVM's.
    #[error("{0}")]
    Broken(#[from] Broken),
}

/// Totals of a collector since the JVM began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// As the performance data has it: `G1 young collection pauses`.
    pub name: String,
    /// As `GarbageCollectorMXBean` has it, where that is known: `G1 Young Generation`.
    pub bean: Option<&'static str>,
    /// Collections, or pauses of concurrent ones, that have ended.
    pub count: u64,
    /// Their time in nanoseconds.
    pub time: u64,
}

/// One pause, or several alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// Position in [`Jvm::collectors`].
    pub collector: usize,
    /// Nanoseconds. Of several, their mean; the remainder is in another one, so that the sum is exact.
    pub duration: u64,
    /// How many.
    pub times: u64,
    /// Begin and end in nanoseconds since 1970, of one that was seen by itself.
    pub span: Option<(u64, u64)>,
}

/// What a poll found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Polled {
    /// Pauses since the last poll.
    pub pauses: Vec<Pause>,
    /// Those among them that are only known by their mean.
    pub split: u64,
}

/// A JVM that is watched.
#[derive(Debug)]
pub struct Jvm {
    file: File,
    started: StartTime,
    bytes: Vec<u8>,
    prologue: Prologue,
    places: Places,
    clock: Clock,
    collectors: Vec<Collector>,
    trackers: Vec<GcTracker>,
    rejected: u64,
}

/// Where in the file is what is wanted.
#[derive(Debug, Default)]
struct Places {
    ticks: Option<Place>,
    collectors: Vec<CollectorPlaces>,
    pools: Pools,
}

#[derive(Debug, Clone, Copy)]
struct CollectorPlaces {
    invocations: Place,
    time: Place,
    entry: Option<Place>,
    exit: Option<Place>,
}

impl Jvm {
    /// Opens the performance data of a process. Right after its start there may be none yet.
    pub fn open(roots: &Roots, process: &Process) -> Result<Self, Unavailable> {
        if let Some(option) = process.perf_data_off {
            return Err(Unavailable::SwitchedOff(option));
        }
        let file = find(roots, process.pid, process.namespaced_pid, process.uid)?;
        Self::of_file(file, process.started, Now::read())
    }

    fn of_file(file: File, started: StartTime, now: Now) -> Result<Self, Unavailable> {
        let mut bytes = Vec::new();
        read(&file, &mut bytes).map_err(Unavailable::Denied)?;
        let prologue = Prologue::read(&bytes)?;
        let clock = Clock::new(1_000_000_000, None);
        let mut jvm = Self {
            file,
            started,
            bytes,
            prologue,
            places: Places::default(),
            clock,
            collectors: Vec::new(),
            trackers: Vec::new(),
            rejected: 0,
        };
        jvm.arrange()?;
        jvm.observe(now, &mut Polled::default());
        Ok(jvm)
    }

    /// Reads again; cheap enough for ten times a second. A reading that cannot be true is counted and left out.
    pub fn poll(&mut self, now: Now) -> Result<Polled, Unavailable> {
        let mut polled = Polled::default();
        let removed = fstat(&self.file).is_ok_and(|stat| stat.st_nlink == 0);
        read(&self.file, &mut self.bytes).map_err(Unavailable::Denied)?;
        let prologue = Prologue::read(&self.bytes)?;
        if prologue != self.prologue {
            self.prologue = prologue;
            self.arrange()?;
        }
        // Most polls find nothing new. Else the JVM may be at it: believe what stays the same.
        for _ in 0..ATTEMPTS {
            let before = self.counters();
            if before.iter().zip(&self.trackers).all(|(now, tracker)| now.is_none_or(|now| now.exit == tracker.exit()))
            {
                break;
            }
            read(&self.file, &mut self.bytes).map_err(Unavailable::Denied)?;
            if before == self.counters() {
                break;
            }
        }
        self.observe(now, &mut polled);
        // What it wrote last still counts, once.
        if removed && polled.pauses.is_empty() {
            return Err(Unavailable::Removed);
        }
        Ok(polled)
    }

    /// Totals, by collector.
    #[must_use]
    pub fn collectors(&self) -> &[Collector] {
        &self.collectors
    }

    /// Memory by pool, as of the last poll.
    #[must_use]
    pub fn memory(&self) -> Vec<Pool> {
        self.places.pools.read(&self.prologue, &self.bytes)
    }

    /// Readings of a collector that could not be true.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Finds all places anew: the JVM is still making them when it has just started.
    fn arrange(&mut self) -> Result<(), Broken> {
        let (prologue, file) = (self.prologue, self.bytes.as_slice());
        let index = prologue.index(file)?;
        let long = |name: &str| index.place(name).and_then(|place| prologue.long(file, place));
        let text = |name: &str| index.place(name).and_then(|place| prologue.text(file, place));
        let frequency = long("sun.os.hrt.frequency").filter(|frequency| *frequency > 0).unwrap_or(1_000_000_000);
        self.clock = Clock::new(frequency, long("sun.rt.createVmBeginTime"));
        let mut places = Places { ticks: index.place("sun.os.hrt.ticks"), ..Places::default() };
        let mut names = Vec::new();
        for number in 0..COLLECTORS_LIMIT {
            let place = |counter: &str| index.place(&format!("sun.gc.collector.{number}.{counter}"));
            let (Some(invocations), Some(time)) = (place("invocations"), place("time")) else { continue };
            let (entry, exit) = (place("lastEntryTime"), place("lastExitTime"));
            places.collectors.push(CollectorPlaces { invocations, time, entry, exit });
            let name = text(&format!("sun.gc.collector.{number}.name"));
            names.push(name.unwrap_or_else(|| format!("collector {number}")));
        }
        places.pools = Pools::find(&index, family(&names, text("sun.gc.policy.name").as_deref()));
        // What was given out of a collector stays given out.
        let known: Vec<_> = self.collectors.drain(..).zip(self.trackers.drain(..)).collect();
        for name in names {
            let before = known.iter().find(|(collector, _)| collector.name == name).cloned();
            let bean = bean(&name);
            let (collector, tracker) =
                before.unwrap_or_else(|| (Collector { name, bean, count: 0, time: 0 }, GcTracker::default()));
            self.collectors.push(collector);
            self.trackers.push(tracker);
        }
        self.places = places;
        Ok(())
    }

    fn counters(&self) -> Vec<Option<Counters>> {
        let value = |place: Place| self.prologue.long(&self.bytes, place);
        let read = |places: &CollectorPlaces| {
            let (invocations, time) = (value(places.invocations)?, value(places.time)?);
            // Without the two times each collection counts as ended when it has begun.
            let entry = places.entry.map_or(Some(0), value)?;
            let exit = places.exit.map_or(Some(time), value)?;
            Some(Counters { invocations, time, entry, exit })
        };
        self.places.collectors.iter().map(read).collect()
    }

    fn observe(&mut self, now: Now, polled: &mut Polled) {
        // Start times are rounded down to the kernel's tick, and this one was read before the file.
        let age = now.boot.saturating_sub(self.started.0).saturating_add(1_000_000_000);
        let age = self.clock.ticks(age);
        let ticks = self.places.ticks.and_then(|place| self.prologue.long(&self.bytes, place));
        if let Some(ticks) = ticks.filter(|ticks| *ticks <= age) {
            self.clock.reached(ticks, now);
        }
        let counters = self.counters();
        for (position, counters) in counters.into_iter().enumerate() {
            let (Some(tracker), Some(collector)) = (self.trackers.get_mut(position), self.collectors.get_mut(position))
            else {
                continue;
            };
            let clock = &mut self.clock;
            let observed = counters.ok_or(gc::Implausible).and_then(|counters| tracker.observe(counters, age));
            let before = collector.time;
            let (count, time) = tracker.totals();
            (collector.count, collector.time) = (count, clock.nanoseconds(time));
            match observed {
                Ok(None) => (),
                Err(gc::Implausible) => self.rejected += 1,
                Ok(Some(completed)) => {
                    clock.reached(completed.exit, now);
                    let unix = |ticks| clock.unix(ticks, now);
                    let span = unix(completed.entry).zip(unix(completed.exit));
                    // In nanoseconds by the totals, so that rounding does not add up.
                    let taken = collector.time - before;
                    let last = if completed.others == 0 { taken } else { clock.nanoseconds(completed.last).min(taken) };
                    polled.pauses.extend(means(position, completed.others, taken - last));
                    polled.pauses.push(Pause { collector: position, duration: last, times: 1, span });
                    polled.split += completed.others;
                }
            }
        }
    }
}

/// So many pauses of `sum` nanoseconds together: the mean, and one nanosecond more as often as needed.
fn means(collector: usize, times: u64, sum: u64) -> impl Iterator<Item = Pause> {
    let mean = sum.checked_div(times).unwrap_or_default();
    let longer = sum - mean * times;
    let kinds = [(mean, times - longer), (mean + 1, longer)];
    let pause = move |(duration, times)| Pause { collector, duration, times, span: None };
    kinds.into_iter().map(pause).filter(|pause| pause.times > 0)
}

/// `GarbageCollectorMXBean`s that count the same, of JDK 8 to 25. One that counts cycles has no counterpart here.
fn bean(name: &str) -> Option<&'static str> {
    Some(match name {
        "Serial young collection pauses" | "Copy" => "Copy",
        "Serial full collection pauses" | "MSC" => "MarkSweepCompact",
        "Parallel young collection pauses" | "PSScavenge" => "PS Scavenge",
        "Parallel full collection pauses" | "PSParallelCompact" => "PS MarkSweep",
        "G1 young collection pauses" | "G1 incremental collections" => "G1 Young Generation",
        "G1 full collection pauses" | "G1 stop-the-world full collections" => "G1 Old Generation",
        "G1 concurrent cycle pauses" => "G1 Concurrent GC",
        "Z concurrent cycle pauses" | "ZGC concurrent cycle pauses" => "ZGC Pauses",
        "ZGC minor collection pauses" => "ZGC Minor Pauses",
        "ZGC major collection pauses" => "ZGC Major Pauses",
        _ => return None,
    })
}

fn family(names: &[String], policy: Option<&str>) -> Family {
    let any = |prefix: &str| names.iter().any(|name| name.starts_with(prefix));
    match policy {
        Some("Copy:MSC") => Family::Serial,
        Some("ParScav:MSC" | "ParScav:MarkSweep") => Family::Parallel,
        Some("GarbageFirst") => Family::G1,
        _ if any("Serial") => Family::Serial,
        _ if any("Parallel") => Family::Parallel,
        _ if any("G1") => Family::G1,
        _ if any("ZGC minor") => Family::GenerationalZ,
        _ if any("Z") => Family::Z,
        _ => Family::Other,
    }
}

/// The file of the JVM itself: somebody else's may have the same name.
fn find(roots: &Roots, pid: Pid, namespaced_pid: u32, uid: u32) -> Result<File, Unavailable> {
    let folders = roots.open_inside(pid, Path::new("/tmp"), OFlags::RDONLY | OFlags::DIRECTORY);
    let folders = match folders {
        Ok(folders) => folders,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(Unavailable::Denied(error)),
        Err(_) => return Err(Unavailable::Missing(namespaced_pid)),
    };
    let mut denied = None;
    let listing = Dir::new(folders).map_err(|error| Unavailable::Denied(error.into()))?;
    let names = listing.flatten().filter(|entry| entry.file_name().to_bytes().starts_with(b"hsperfdata_"));
    for entry in names.take(FOLDERS_LIMIT) {
        let folder = entry.file_name().to_string_lossy();
        let path = Path::new("/tmp").join(&*folder).join(namespaced_pid.to_string());
        match roots.open_inside(pid, &path, OFlags::RDONLY | OFlags::NOFOLLOW) {
            Ok(file) => {
                let stat = fstat(&file).map_err(|error| Unavailable::Denied(error.into()))?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_uid == uid {
                    return Ok(File::from(file));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => denied = Some(error),
            Err(_) => (),
        }
    }
    Err(denied.map_or(Unavailable::Missing(namespaced_pid), Unavailable::Denied))
}

/// The whole file, into the same memory as before.
fn read(file: &File, bytes: &mut Vec<u8>) -> io::Result<()> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(FILE_LIMIT).min(FILE_LIMIT);
    bytes.resize(length, 0);
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(())
}

#[cfg(test)]
mod tests;
