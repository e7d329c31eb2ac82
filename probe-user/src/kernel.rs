//! The kernel programs, and what they have counted.
//!
//! Nothing is pinned: when a [`Kernel`] is dropped, or its process dies, the kernel takes the programs out. Each sampler
//! is loaded by itself, and says in words what is wrong if it cannot be.

mod attach;
mod btf;
mod cost;
mod event;
mod limits;
mod object;
mod reading;
mod sampler;
mod shared;

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{
    Array, HashMap as KernelMap, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues, RingBuf,
};
use kafkascope_probe_ebpf::{
    DiskKey, DiskTimes, FileKey, FilePages, FsyncKey, Histogram, Peer, PeerKey, Port, Process, Socket, control, lost,
    made,
};

pub use cost::{Cost, MapFill, ProgramCost};
pub use event::{Connection, Event, address, connection, device};
pub use limits::{Limits, Wanted};
pub use object::PROGRAMS;
pub use reading::{Counted, Growth, Reading, plus};
pub(crate) use sampler::lacking;
pub use sampler::{Sampler, State};

use attach::{Loaded, Refusal};
use shared::Shared;

/// The kernel programs that could be loaded.
pub struct Kernel {
    inner: Result<Box<Inner>, String>,
    samplers: Vec<Sampler>,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel").field("samplers", &self.samplers).finish_non_exhaustive()
    }
}

/// A process or port that cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// There are as many as the limits allow.
    #[error("more of them than the limit allows")]
    Full,
    /// The kernel refuses.
    #[error("the kernel refuses: {0}")]
    Kernel(String),
}

struct Inner {
    ebpf: Ebpf,
    limits: Limits,
    maps: Maps,
    watched: HashSet<u32>,
    /// Bursts of retransmits that were told of while their connection went on: cookie and start.
    told: HashSet<(u64, u64)>,
    /// The kernel takes times for as long as this is open.
    stats: Result<OwnedFd, String>,
}

type Entries<K, V> = KernelMap<MapData, Shared<K>, Shared<V>>;

struct Maps {
    processes: PerCpuHashMap<MapData, u32, Shared<Process>>,
    files: Entries<FileKey, FilePages>,
    disks: Entries<DiskKey, DiskTimes>,
    fsync_processes: Entries<FsyncKey, Histogram>,
    fsync_files: Entries<FileKey, Histogram>,
    ports: KernelMap<MapData, Shared<Port>, u32>,
    sockets: KernelMap<MapData, u64, Shared<Socket>>,
    peers: Entries<PeerKey, Peer>,
    events: RingBuf<MapData>,
    lost: PerCpuArray<MapData, u64>,
    made: PerCpuArray<MapData, u64>,
    controls: Array<MapData, u64>,
}

impl Kernel {
    /// Loads what can be loaded; see [`Kernel::samplers`] for what could not.
    #[must_use]
    pub fn load(limits: Limits, wanted: Wanted) -> Self {
        let loaded = if wanted == Wanted::NONE { Err(Refusal::Unwanted) } else { Inner::load(limits, wanted) };
        match loaded {
            Ok((inner, samplers)) => Self { inner: Ok(Box::new(inner)), samplers },
            Err(refusal) => {
                let why = refusal.to_string();
                let names = ["page_cache", "disk", "disk_queue", "fsync", "tcp"];
                let mut samplers = names.map(|name| Sampler { name, state: State::off(&why) }).to_vec();
                samplers.push(sampler::sock_diag());
                Self { inner: Err(why), samplers }
            }
        }
    }

    /// Every sampler, and how it is.
    #[must_use]
    pub fn samplers(&self) -> &[Sampler] {
        &self.samplers
    }

    /// Whether what is counted can be read: an old kernel asks for a capability even for that.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.inner.as_ref().map_or(true, |inner| inner.maps.lost.get(&0, 0).is_ok())
    }

    /// Counts from now on what a process does. Watching it again does nothing.
    ///
    /// # Errors
    /// When there are too many.
    pub fn watch(&mut self, tgid: u32) -> Result<(), WatchError> {
        let Ok(inner) = &mut self.inner else { return Ok(()) };
        if inner.watched.contains(&tgid) {
            return Ok(());
        }
        let processors =
            aya::util::nr_cpus().map_err(|(what, error)| WatchError::Kernel(format!("{what}: {error}")))?;
        let zeroes = PerCpuValues::try_from(vec![Shared(Process::default()); processors])
            .map_err(|error| WatchError::Kernel(error.to_string()))?;
        inner.maps.processes.insert(tgid, zeroes, 0).map_err(|error| watch_error(&error))?;
        inner.watched.insert(tgid);
        Ok(())
    }

    /// Forgets a process, and what was counted for it.
    pub fn unwatch(&mut self, tgid: u32) {
        let Ok(inner) = &mut self.inner else { return };
        if !inner.watched.remove(&tgid) {
            return;
        }
        let maps = &mut inner.maps;
        // Whatever is gone already need not be removed.
        drop(maps.processes.remove(&tgid));
        for operation in [kafkascope_probe_ebpf::fsync::FSYNC, kafkascope_probe_ebpf::fsync::FDATASYNC] {
            drop(maps.fsync_processes.remove(&Shared(FsyncKey { tgid, operation })));
        }
        let of_files: Vec<_> = maps.files.keys().filter_map(Result::ok).filter(|key| key.0.tgid == tgid).collect();
        for key in &of_files {
            drop(maps.files.remove(key));
            drop(maps.fsync_files.remove(key));
        }
    }

    /// Follows connections that are accepted on a port from now on. `netns` is the inode of `/proc/PID/ns/net`.
    ///
    /// # Errors
    /// When there are too many.
    pub fn watch_port(&mut self, netns: u32, port: u16) -> Result<(), WatchError> {
        let Ok(inner) = &mut self.inner else { return Ok(()) };
        let key = Shared(Port { netns, port: u32::from(port) });
        inner.maps.ports.insert(key, 1, 0).map_err(|error| watch_error(&error))
    }

    /// Follows no more connections to a port.
    pub fn unwatch_port(&mut self, netns: u32, port: u16) {
        if let Ok(inner) = &mut self.inner {
            drop(inner.maps.ports.remove(&Shared(Port { netns, port: u32::from(port) })));
        }
    }

    /// From when on a request to a disk and an fsync are events; zero for never. May be changed at any time.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_thresholds(&mut self, disk: Duration, fsync: Duration) -> Result<(), WatchError> {
        let Ok(inner) = &mut self.inner else { return Ok(()) };
        for (which, threshold) in [(control::SLOW_DISK, disk), (control::SLOW_FSYNC, fsync)] {
            let threshold = u64::try_from(threshold.as_nanos()).unwrap_or(u64::MAX);
            inner.maps.controls.set(which, threshold, 0).map_err(|error| watch_error(&error))?;
        }
        Ok(())
    }

    /// All counters as they are now; empty if nothing is loaded.
    #[must_use]
    pub fn read(&self) -> Reading {
        let Ok(inner) = &self.inner else { return Reading::default() };
        let maps = &inner.maps;
        let processes = inner.watched.iter().filter_map(|&tgid| {
            let of_processors = maps.processes.get(&tgid, 0).ok()?;
            Some((tgid, reading::sum(of_processors.iter())))
        });
        let disks = reading::entries(&maps.disks);
        // Before the entries: what is made in between counts as seen before it is counted.
        let made = |which| maps.made.get(&which, 0).map_or(0, |values| values.iter().sum());
        let (peers_made, fsync_files_made) = (made(made::PEERS), made(made::FSYNC_FILES));
        Reading {
            processes: processes.collect(),
            files: reading::entries(&maps.files),
            disk_service: disks
                .iter()
                .map(|(key, disk)| (*key, Histogram { since_ns: disk.since_ns, ..disk.service }))
                .collect(),
            disk_queue: disks
                .iter()
                .map(|(key, disk)| (*key, Histogram { since_ns: disk.since_ns, ..disk.queue }))
                .collect(),
            fsync_processes: reading::entries(&maps.fsync_processes),
            fsync_files: reading::entries(&maps.fsync_files),
            peers: reading::entries(&maps.peers),
            sockets: inner.sockets(),
            peers_made,
            fsync_files_made,
        }
    }

    /// Cookies of the connections that are followed at this moment.
    #[must_use]
    pub fn followed(&self) -> HashSet<u64> {
        self.inner
            .as_ref()
            .map_or_else(|_| HashSet::new(), |inner| inner.sockets().iter().map(|socket| socket.cookie).collect())
    }

    /// Appends what has happened since the last call.
    pub fn drain_events(&mut self, events: &mut Vec<Event>) {
        let Ok(inner) = &mut self.inner else { return };
        while let Some(item) = inner.maps.events.next() {
            let Some(event) = Event::parse(&item) else { continue };
            if let Event::Retransmits { connection, start_ns, .. } = &event
                && inner.told.remove(&(connection.cookie, *start_ns))
            {
                continue;
            }
            events.push(event);
        }
        inner.tell_ended_bursts(events);
    }

    /// Readable when there are events.
    #[must_use]
    pub fn events_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.as_ref().ok().map(|inner| inner.maps.events.as_fd())
    }

    /// What the programs have cost.
    #[must_use]
    pub fn cost(&self) -> Cost {
        match &self.inner {
            Ok(inner) => inner.cost(),
            Err(why) => Cost { untimed: Some(why.clone()), ..Cost::default() },
        }
    }
}

impl Inner {
    fn load(limits: Limits, wanted: Wanted) -> Result<(Self, Vec<Sampler>), Refusal> {
        let mut loaded = attach::load(&limits)?;
        let mut maps = Maps::take(&mut loaded)?;
        let off = || State::off(Refusal::Unwanted);
        let (page_cache, sees_requests) =
            if wanted.page_cache { sampler::page_cache(&mut loaded) } else { (off(), true) };
        if !sees_requests {
            // Failing that, pages wait to be sorted until a thread has many of them.
            drop(maps.controls.set(control::REQUESTS_UNSEEN, 1, 0));
        }
        let (disk, disk_queue) = if wanted.disk { sampler::disk(&mut loaded) } else { (off(), off()) };
        let fsync = if wanted.fsync { sampler::fsync(&mut loaded) } else { off() };
        let tcp = if wanted.tcp { sampler::tcp(&mut loaded) } else { off() };
        let samplers =
            [("page_cache", page_cache), ("disk", disk), ("disk_queue", disk_queue), ("fsync", fsync), ("tcp", tcp)];
        let mut samplers = samplers.map(|(name, state)| Sampler { name, state }).to_vec();
        samplers.push(sampler::sock_diag());
        let stats = aya::sys::enable_stats(aya::sys::Stats::RunTime);
        let stats = stats.map_err(|error| format!("{} (needs CAP_SYS_ADMIN)", attach::reason(&error)));
        // The kernel's types are not needed any more.
        let ebpf = loaded.ebpf;
        let inner = Self { ebpf, limits, maps, watched: HashSet::new(), told: HashSet::new(), stats };
        Ok((inner, samplers))
    }

    fn sockets(&self) -> Vec<Socket> {
        let mut seen = HashSet::new();
        let sockets = self.maps.sockets.iter().filter_map(Result::ok).map(|(_, Shared(socket))| socket);
        sockets.filter(|socket| seen.insert(socket.cookie)).collect()
    }

    /// The programs tell of a burst when the next one begins or the connection ends. That may be never.
    fn tell_ended_bursts(&mut self, events: &mut Vec<Event>) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
        let gap = u64::try_from(self.limits.burst_gap.as_nanos()).unwrap_or(u64::MAX);
        let mut told = HashSet::new();
        for socket in self.sockets() {
            let Socket { burst_start_ns: start_ns, burst_end_ns, burst_segments: segments, .. } = socket;
            if segments == 0 || burst_end_ns.saturating_add(gap) >= now {
                continue;
            }
            let burst = (socket.cookie, start_ns);
            if !self.told.contains(&burst) {
                let duration_ns = burst_end_ns.saturating_sub(start_ns);
                events.push(Event::Retransmits { connection: connection(&socket), segments, start_ns, duration_ns });
            }
            told.insert(burst);
        }
        self.told.retain(|burst| !told.contains(burst));
        // Those of connections that have ended in between come out of the ring buffer once more, and then are done.
        if self.told.len() > self.limits.sockets as usize {
            self.told.clear();
        }
        self.told.extend(told);
    }

    fn cost(&self) -> Cost {
        let programs = self.ebpf.programs().filter_map(|(name, program)| {
            let descriptor = program.fd().ok()?;
            cost::of_program(name, descriptor)
        });
        let names = ["page_cache", "disk", "fsync", "tcp", "events"];
        let lost = names.into_iter().zip(0..lost::COUNT).map(|(name, index)| {
            let of_processors = self.maps.lost.get(&index, 0);
            (name, of_processors.map_or(0, |values| values.iter().sum()))
        });
        Cost {
            programs: programs.collect(),
            untimed: self.stats.as_ref().err().cloned(),
            maps: self.maps.fill(&self.limits),
            lost: lost.collect(),
        }
    }
}

impl Maps {
    fn take(loaded: &mut Loaded) -> Result<Self, Refusal> {
        fn take<T: TryFrom<Map, Error = MapError>>(loaded: &mut Loaded, name: &str) -> Result<T, Refusal> {
            let map = loaded.ebpf.take_map(name).ok_or_else(|| Refusal::Maps(format!("no map {name}")))?;
            T::try_from(map).map_err(|error| Refusal::Maps(format!("{name}: {error}")))
        }
        Ok(Self {
            processes: take(loaded, "PROCESSES")?,
            files: take(loaded, "FILES")?,
            disks: take(loaded, "DISKS")?,
            fsync_processes: take(loaded, "FSYNC_PROCESSES")?,
            fsync_files: take(loaded, "FSYNC_FILES")?,
            ports: take(loaded, "PORTS")?,
            sockets: take(loaded, "SOCKETS")?,
            peers: take(loaded, "PEERS")?,
            events: take(loaded, "EVENTS")?,
            lost: take(loaded, "LOST")?,
            made: take(loaded, "MADE")?,
            controls: take(loaded, "CONTROLS")?,
        })
    }

    fn fill(&self, limits: &Limits) -> Vec<MapFill> {
        fn count<T>(keys: impl Iterator<Item = T>) -> u32 {
            u32::try_from(keys.count()).unwrap_or(u32::MAX)
        }
        let fill = |name, entries, capacity: u32| MapFill { name, entries, capacity: capacity.max(1) };
        vec![
            fill("processes", count(self.processes.keys()), limits.processes),
            fill("files", count(self.files.keys()), limits.files),
            fill("disks", count(self.disks.keys()), limits.disks),
            fill("fsync_processes", count(self.fsync_processes.keys()), limits.processes.saturating_mul(2)),
            fill("fsync_files", count(self.fsync_files.keys()), limits.fsync_files),
            fill("ports", count(self.ports.keys()), limits.ports),
            fill("sockets", count(self.sockets.keys()), limits.sockets),
            fill("peers", count(self.peers.keys()), limits.peers),
        ]
    }
}

fn watch_error(error: &MapError) -> WatchError {
    let text = attach::reason(error);
    // E2BIG is what a full map answers.
    let is_full = matches!(error, MapError::SyscallError(error) if error.io_error.raw_os_error() == Some(7));
    if is_full { WatchError::Full } else { WatchError::Kernel(text) }
}
