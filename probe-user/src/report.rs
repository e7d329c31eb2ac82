//! From what was read to metrics and spans.

mod budget;
mod disk;
mod hit_ratio;
mod host;
pub(crate) mod jvm;
mod known;
pub(crate) mod labels;
pub(crate) mod older;
mod own;
mod page_cache;
mod process;
mod running;
mod spans;
mod tcp;

use std::collections::HashMap;
use std::time::Duration;

use kafkascope_protocol::Timestamp;
use kafkascope_telemetry::Readings;

use known::Known;
pub(crate) use known::Watched;

use crate::config::Config;
use crate::discovery::log_dirs::LogDirs;
use crate::discovery::{Process, network_namespace};
use crate::kernel::{Event, Kernel, Sampler, State};
use crate::process::up::Up;
use crate::roots::{Pid, Roots};

/// Where readings come from.
pub(crate) struct Sources<'a> {
    pub(crate) roots: &'a Roots,
    pub(crate) kernel: &'a Kernel,
    pub(crate) up: &'a Up,
    /// What has happened since the last time.
    pub(crate) events: &'a [Event],
    pub(crate) partitions: bool,
}

/// From when on the kernel's programs tell of a disk request and of an fsync by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Thresholds {
    pub(crate) disk: Duration,
    pub(crate) fsync: Duration,
}

/// All reports, and what they remember.
#[derive(Debug)]
pub(crate) struct Reports {
    spans: spans::Spans,
    page_cache: page_cache::PageCache,
    disks: disk::Disks,
    tcp: tcp::Tcp,
    older: older::OlderConnections,
    host: host::HostReport,
    /// The network namespace of the host.
    host_network: Option<u64>,
    /// That of the probe.
    own_network: Option<u64>,
    /// When the probe began to count.
    since: Timestamp,
}

impl Reports {
    pub(crate) fn new(config: &Config, roots: &Roots, since: Timestamp) -> Self {
        Self {
            spans: spans::Spans::new(config.slow),
            page_cache: page_cache::PageCache::default(),
            disks: disk::Disks::default(),
            tcp: tcp::Tcp::default(),
            older: older::OlderConnections::default(),
            host: host::HostReport::new(roots),
            host_network: network_namespace(roots, Pid(1)),
            own_network: network_namespace(roots, Pid(std::process::id())),
            since,
        }
    }

    /// A process is watched from now on.
    pub(crate) fn watch(&mut self, roots: &Roots, process: &Process) {
        self.older.open(roots, self.own_network, process);
    }

    /// All processes that are older than the probe are watched.
    pub(crate) fn begin(&mut self) {
        self.older.begin();
    }

    /// Reports everything. What is slow from now on.
    pub(crate) fn report(
        &mut self,
        sources: &Sources<'_>,
        processes: &mut HashMap<u32, Watched>,
        log_dirs: &mut LogDirs,
        readings: &mut Readings,
    ) -> Thresholds {
        let Self { spans, page_cache, disks, tcp, older, host, host_network, since, .. } = self;
        for watched in processes.values_mut() {
            if let Some(jvm) = &mut watched.jvm {
                jvm.report(&watched.attributes, watched.started, readings, spans);
            }
        }
        let processes = &*processes;
        host.report(sources.roots, processes, readings);
        for watched in processes.values() {
            process::figures(sources.roots, watched, *host_network, readings);
        }
        process::up(&sources.up.states().collect::<Vec<_>>(), readings);

        let reading = sources.kernel.read();
        let mut known = Known { processes, log_dirs, partitions: sources.partitions };
        page_cache.report(&reading, sees_asked(sources.kernel.samplers()), &mut known, readings, spans);
        let files = disks.report(&reading, &mut known, readings);
        let peers = tcp.report(&reading, &known, readings);
        older.retain(processes);
        older.report(sources.kernel, &reading, &known, readings);
        for event in sources.events {
            disks.event(event, &mut known, readings, spans);
            tcp::Tcp::event(event, &known, readings, spans);
        }
        // Whether sock_diag answers is known best by who asks it.
        let of_kernel = sources.kernel.samplers().iter().filter(|sampler| sampler.name != older::SAMPLER);
        own::samplers(of_kernel.chain([&older.sampler()]), readings);
        own::cost(&sources.kernel.cost(), &[("fsync", files), ("tcp", peers)], *since, readings);
        own::process(&Roots::default(), *since, readings);
        disks.thresholds(spans.slow())
    }
}

/// Whether it is known what reads ask for, and so the ratio.
fn sees_asked(samplers: &[Sampler]) -> bool {
    samplers.iter().any(|sampler| sampler.name == "page_cache" && matches!(sampler.state, State::On { .. }))
}

/// Gauges are signed; no host has so many bytes of anything.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
