//! Connections that are older than the probe, and what listeners dropped: asked of the kernel by sock_diag.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use kafkascope_telemetry::histogram::Histogram;
use kafkascope_telemetry::metric::Metric;
use kafkascope_telemetry::{Attribute, AttributeValue as Value, Readings};

use super::known::{Known, Watched};
use super::tcp::{BY_EVENTS, BY_POLLING, of_peer};
use crate::discovery::Process;
use crate::kernel::{Kernel, Reading, Sampler, State};
use crate::roots::Roots;
use crate::sock_diag::{CONNECTED, DiagError, LISTENING, Older, SockDiag};

/// The name of what is read here.
pub(crate) const SAMPLER: &str = BY_POLLING;

/// A socket to ask by for each network namespace in which a process is watched.
#[derive(Debug, Default)]
pub(crate) struct OlderConnections {
    namespaces: HashMap<u64, Namespace>,
    /// Whether connections of new processes may still be older than the probe.
    begun: bool,
}

#[derive(Debug)]
enum Namespace {
    Open(Box<SockDiag>, Older),
    /// It cannot be asked, and why.
    Closed(String),
    /// The same, but nothing in it is older than the probe.
    Younger,
}

impl OlderConnections {
    /// Opens what is needed for a process. To be called while the capability to enter namespaces is still there: sockets
    /// that are older than the probe are in namespaces that are, too.
    pub(crate) fn open(&mut self, roots: &Roots, own: Option<u64>, process: &Process) {
        let Some(inode) = process.network_namespace else { return };
        self.namespaces.entry(inode).or_insert_with(|| {
            let opened =
                if own == Some(inode) { SockDiag::open() } else { SockDiag::open_in(&namespace(roots, process)) };
            match opened {
                Ok(diag) => Namespace::Open(Box::new(diag), Older::default()),
                Err(_) if self.begun => Namespace::Younger,
                Err(error) => Namespace::Closed(error.to_string()),
            }
        });
    }

    /// All processes that are older than the probe are known.
    pub(crate) fn begin(&mut self) {
        self.begun = true;
    }

    /// Forgets namespaces that nobody who is watched is in.
    pub(crate) fn retain(&mut self, processes: &HashMap<u32, Watched>) {
        let used: HashSet<_> = processes.values().filter_map(|watched| watched.process.network_namespace).collect();
        self.namespaces.retain(|inode, _| used.contains(inode));
    }

    /// How it is with all of them.
    pub(crate) fn sampler(&self) -> Sampler {
        let closed = self.namespaces.values().find_map(|namespace| match namespace {
            Namespace::Closed(why) => Some(why),
            Namespace::Open(..) | Namespace::Younger => None,
        });
        let state = match closed {
            None => State::On { method: "netlink, each network namespace with a watched process".to_owned() },
            Some(why) => State::Degraded { why: format!("a namespace is not asked: {why}") },
        };
        Sampler { name: SAMPLER, state }
    }

    /// What has changed.
    pub(crate) fn report(&mut self, kernel: &Kernel, reading: &Reading, known: &Known<'_>, readings: &mut Readings) {
        let mut sockets: HashMap<(u32, &'static str), i64> = HashMap::new();
        for socket in &reading.sockets {
            let owner = if socket.tgid == 0 {
                known.listener(socket.netns, socket.local_port)
            } else {
                known.process(socket.tgid)
            };
            if let Some(owner) = owner {
                *sockets.entry((owner.process.pid.0, BY_EVENTS)).or_default() += 1;
            }
        }
        for (&inode, namespace) in &mut self.namespaces {
            let Namespace::Open(diag, older) = namespace else { continue };
            let Ok(netns) = u32::try_from(inode) else { continue };
            if let Err(error) = ask(diag, older, netns, (kernel, reading, known), &mut sockets, readings) {
                *namespace = Namespace::Closed(error.to_string());
            }
        }
        for watched in known.processes.values() {
            for method in [BY_EVENTS, BY_POLLING] {
                let count = sockets.get(&(watched.process.pid.0, method)).copied().unwrap_or(0);
                let mut attributes = watched.attributes.clone();
                attributes.push((Attribute::Method, Value::Static(method)));
                readings.state(Metric::TcpSockets, &attributes, count);
            }
        }
    }
}

fn ask(
    diag: &mut SockDiag,
    older: &mut Older,
    netns: u32,
    (kernel, reading, known): (&Kernel, &Reading, &Known<'_>),
    sockets: &mut HashMap<(u32, &'static str), i64>,
    readings: &mut Readings,
) -> Result<(), DiagError> {
    let connected = diag.sockets(CONNECTED, None)?;
    // From before and after, or one that begins or ends meanwhile would be counted twice.
    let mut followed = kernel.followed();
    followed.extend(reading.sockets.iter().map(|socket| socket.cookie));
    for (socket, retransmits) in older.advance(&connected, &followed) {
        let (address, port) = socket.local;
        let Some(owner) = known.listener(netns, port).filter(|_| !address.is_unspecified()) else { continue };
        *sockets.entry((owner.process.pid.0, BY_POLLING)).or_default() += 1;
        let mut attributes = of_peer(owner, port, readings.dictionary().peer(socket.remote.0));
        attributes.push((Attribute::Method, Value::Static(BY_POLLING)));
        readings.more(Metric::TcpRetransmits, &attributes, retransmits.into());
        if let Some(tcp) = socket.tcp {
            let nanos = u64::from(tcp.rtt_us) * 1000;
            readings.values(Metric::TcpRtt, &attributes, Histogram::of_nanos([(nanos, 1)], nanos));
        }
    }
    for listener in diag.sockets(LISTENING, None)? {
        let port = listener.local.1;
        if let Some(owner) = known.listener(netns, port) {
            let mut attributes = owner.attributes.clone();
            attributes.push((Attribute::ServerPort, Value::Integer(port.into())));
            readings.total(Metric::TcpListenOverflows, &attributes, listener.drops.into(), owner.started);
        }
    }
    Ok(())
}

fn namespace(roots: &Roots, process: &Process) -> PathBuf {
    roots.process(process.pid).join("ns/net")
}
