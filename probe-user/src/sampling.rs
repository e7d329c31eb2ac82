//! The thread that reads: what must be looked at often on its own, everything else when totals are asked for.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use kafkascope_protocol::Timestamp;
use kafkascope_telemetry::otlp::Source;
use kafkascope_telemetry::{Readings, Registry};
use tokio::sync::oneshot;
use tracing::{debug, info, warn};

use crate::clock;
use crate::config::Config;
use crate::discovery::log_dirs::LogDirs;
use crate::discovery::{Discovery, Process};
use crate::kernel::{Event, Kernel};
use crate::process::up::{Expected, Up};
use crate::report::{Reports, Sources, Thresholds, Watched, jvm, labels};
use crate::roots::Roots;

/// Garbage collections and deaths are looked for so often.
const TICK: Duration = Duration::from_millis(100);

/// Processes are looked for every so many ticks.
const SCAN: u32 = 10;

/// Files in log directories that are known by topic and partition: some 100 bytes each.
const MOST_LOG_FILES: usize = 200_000;

/// Asks the thread that reads.
#[derive(Debug, Clone)]
pub(crate) struct Rounds {
    requests: mpsc::Sender<oneshot::Sender<Timestamp>>,
}

impl Rounds {
    /// Starts the thread. It ends when the last of its `Rounds` is gone.
    pub(crate) fn start(sampling: Sampling) -> io::Result<(Self, JoinHandle<()>)> {
        let (requests, asked) = mpsc::channel();
        let thread = Builder::new().name("sampling".to_owned()).spawn(move || run(sampling, &asked))?;
        Ok((Self { requests }, thread))
    }
}

impl Source for Rounds {
    async fn collect(&self) -> Timestamp {
        let (answer, answered) = oneshot::channel();
        match self.requests.send(answer) {
            Ok(()) => answered.await.unwrap_or_else(|_ended| clock::now()),
            Err(_ended) => clock::now(),
        }
    }
}

fn run(mut sampling: Sampling, asked: &Receiver<oneshot::Sender<Timestamp>>) {
    let mut next = Instant::now();
    let mut ticks = 0_u32;
    loop {
        match asked.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(answer) => {
                // Whoever asked may have gone.
                _ = answer.send(sampling.collect());
            }
            Err(RecvTimeoutError::Timeout) => {
                if ticks.is_multiple_of(SCAN) {
                    sampling.scan();
                }
                sampling.look();
                ticks = ticks.wrapping_add(1);
                // After a suspend there is nothing to catch up with.
                next = (next + TICK).max(Instant::now());
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Everything that is read, and what is remembered of it.
#[derive(Debug)]
pub(crate) struct Sampling {
    config: Config,
    roots: Roots,
    registry: Arc<Registry>,
    kernel: Kernel,
    discovery: Discovery,
    up: Up,
    log_dirs: LogDirs,
    processes: HashMap<u32, Watched>,
    reports: Reports,
    events: Vec<Event>,
    /// When the last readings were taken.
    read: Timestamp,
    /// What the kernel's programs were told last.
    thresholds: Option<Thresholds>,
}

impl Sampling {
    /// Looks for processes, and reads nothing yet.
    pub(crate) fn new(config: Config, roots: Roots, kernel: Kernel, registry: Arc<Registry>) -> io::Result<Self> {
        let discovery = Discovery::new(roots.clone(), config.rules.clone())?;
        let reports = Reports::new(&config, &roots, clock::now());
        let expected = config.expected.iter().map(|name| Expected { name: name.clone(), ports: Vec::new() }).collect();
        let mut sampling = Self {
            up: Up::new(roots.clone(), expected, config.forget_after),
            log_dirs: LogDirs::new(roots.clone(), MOST_LOG_FILES),
            reports,
            config,
            roots,
            registry,
            kernel,
            discovery,
            processes: HashMap::new(),
            events: Vec::new(),
            read: clock::now(),
            thresholds: None,
        };
        let slow = sampling.config.slow;
        sampling.set(Thresholds { disk: slow, fsync: slow });
        // What is there already is looked at with all capabilities.
        sampling.scan();
        sampling.reports.begin();
        Ok(sampling)
    }

    /// Whether what the kernel's programs count can be read.
    pub(crate) fn kernel_is_readable(&self) -> bool {
        self.kernel.is_readable()
    }

    /// Looks for processes that have come, changed or gone.
    fn scan(&mut self) {
        let now = Instant::now();
        let changes = match self.discovery.scan(now) {
            Ok(changes) => changes,
            Err(error) => {
                warn!(%error, "processes cannot be listed");
                return;
            }
        };
        if !changes.gone.is_empty() {
            // What they did last is counted before they are forgotten.
            self.collect();
        }
        for process in &changes.gone {
            info!(process = process.name, pid = process.pid.0, "process gone");
            self.forget(process);
        }
        for process in changes.appeared.iter().chain(&changes.changed) {
            self.watch(process, now);
        }
        for process in &changes.appeared {
            let (name, pid, cluster) = (&process.name, process.pid.0, process.cluster.as_deref());
            info!(process = name, pid, cluster, "process found");
        }
        self.up.observe(self.discovery.processes(), now);
        self.log_dirs.maintain(now);
    }

    /// Looks for what does not wait: deaths, and collections of garbage.
    fn look(&mut self) {
        if let Err(error) = self.up.wait(Duration::ZERO) {
            debug!(%error, "cannot wait for the end of processes");
        }
        let now = Instant::now();
        for watched in self.processes.values_mut() {
            if let Some(jvm) = &mut watched.jvm {
                jvm.look(&self.roots, &watched.process, now);
            }
        }
    }

    /// Reads everything and gives it to the registry. Returns when that was.
    fn collect(&mut self) -> Timestamp {
        // What is told is of now, too.
        self.look();
        let at = clock::now();
        let mut readings = Readings::new(Arc::clone(self.registry.dictionary()), self.read, at);
        self.kernel.drain_events(&mut self.events);
        let sources = Sources {
            roots: &self.roots,
            kernel: &self.kernel,
            up: &self.up,
            events: &self.events,
            partitions: self.config.partitions,
        };
        let thresholds = self.reports.report(&sources, &mut self.processes, &mut self.log_dirs, &mut readings);
        self.set(thresholds);
        self.events.clear();
        self.registry.read(readings);
        self.read = at;
        at
    }

    /// Tells the kernel's programs what is slow.
    fn set(&mut self, thresholds: Thresholds) {
        if self.thresholds.replace(thresholds) == Some(thresholds) {
            return;
        }
        if let Err(error) = self.kernel.set_thresholds(thresholds.disk, thresholds.fsync) {
            warn!(%error, "slow disk requests and fsync calls do not become spans");
        }
    }

    fn watch(&mut self, process: &Arc<Process>, now: Instant) {
        let pid = process.pid.0;
        if let Some(before) = self.processes.get(&pid) {
            self.unwatch_ports(&Arc::clone(&before.process));
        }
        if let Err(error) = self.kernel.watch(pid) {
            warn!(process = process.name, %error, "the kernel's programs do not count this process");
        }
        for (netns, port) in ports(process) {
            if let Err(error) = self.kernel.watch_port(netns, port) {
                warn!(process = process.name, port, %error, "connections to this port are not followed");
            }
        }
        self.log_dirs.watch(process);
        self.reports.watch(&self.roots, process);
        let jvm = self.processes.remove(&pid).and_then(|before| before.jvm);
        let watched = Watched {
            attributes: labels::of_process(process),
            cluster: process.cluster.as_deref().map(Into::into),
            started: clock::of_boot(process.started.0),
            jvm: process.jvm.then(|| jvm.unwrap_or_else(|| jvm::Watch::new(now))),
            process: Arc::clone(process),
        };
        self.processes.insert(pid, watched);
    }

    fn forget(&mut self, process: &Process) {
        self.kernel.unwatch(process.pid.0);
        self.unwatch_ports(process);
        self.log_dirs.forget(process.pid);
        self.processes.remove(&process.pid.0);
    }

    fn unwatch_ports(&mut self, process: &Process) {
        for (netns, port) in ports(process) {
            self.kernel.unwatch_port(netns, port);
        }
    }
}

/// Where a process listens, as the kernel's programs know it.
fn ports(process: &Process) -> impl Iterator<Item = (u32, u16)> {
    let netns = process.network_namespace.and_then(|inode| u32::try_from(inode).ok());
    netns.into_iter().flat_map(|netns| process.listeners.iter().map(move |listener| (netns, listener.port())))
}
