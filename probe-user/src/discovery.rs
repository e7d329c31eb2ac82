//! Finds the processes to watch: brokers, controllers, ZooKeeper servers, proxies, and others by rules.
//!
//! Meant to be asked every second. Each process of the host is looked at when it is new, several times while it is
//! young (a broker begins as a shell script), and then in turn with all others: a thousand a minute at least. Those
//! found are looked at each time: whether they live, and where they listen.

mod cgroup;
mod classify;
mod command_line;
mod identity;
pub mod log_dirs;
mod properties;
mod sockets;
mod table;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

pub use self::cgroup::Cgroup;
pub use self::classify::Rule;
use self::classify::{Class, classify};
use self::identity::Identity;
pub(crate) use self::sockets::network_namespace;
use self::sockets::{Listeners, Ports};
pub use self::table::StartTime;
use self::table::{Life, News, Table};
use crate::roots::{self, Pid, Roots};

/// A process younger than this may still become another one by `exec`; looked at each time.
const YOUNG: Duration = Duration::from_secs(10);

/// What an older one is may change too; of those found, it is asked so often.
const SETTLED_INTERVAL: Duration = Duration::from_secs(10);

/// Of all others, this many each time at least, or so many that a round takes this many scans.
const TURN_LEAST: usize = 32;
const TURN_SCANS: usize = 120;

/// The environment is as large as the command line may be.
const ENVIRONMENT_LIMIT: u64 = 2 << 20;

/// Node id of a broker or controller, or `myid` of a ZooKeeper server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub i32);

/// What a process is to Kafka.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Role {
    /// A broker that is no controller.
    Broker,
    /// A KRaft controller that is no broker.
    Controller,
    /// Both (`process.roles=broker,controller`).
    Combined,
    /// A ZooKeeper server.
    ZooKeeper,
    /// kafkascope-proxy.
    Proxy,
    /// Found by the rule of this name.
    Other(Arc<str>),
}

/// A log dir, or data dir of ZooKeeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDir {
    /// As the process names it; absolute unless its working directory is unknown.
    pub inside: PathBuf,
    /// As the probe reaches it, but for links in it that are absolute.
    pub reachable: PathBuf,
}

/// A process to watch, as it was when last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Id in the host's namespace.
    pub pid: Pid,
    /// Id in its own namespace; the same outside of containers.
    pub namespaced_pid: u32,
    /// When it was started.
    pub started: StartTime,
    /// Effective user id.
    pub uid: u32,
    /// What it is.
    pub role: Role,
    /// `broker-1`, `controller-3000`, `zookeeper-1`, `proxy-19092`, or the rule's name; `.2`, `.3` is appended where
    /// a process of the same cluster has that name.
    pub name: String,
    /// Of a broker, controller or ZooKeeper server.
    pub node: Option<NodeId>,
    /// `cluster.id` of a broker or controller.
    pub cluster: Option<String>,
    /// Where its data are.
    pub log_dirs: Vec<LogDir>,
    /// TCP sockets on which it listens, by port.
    pub listeners: Vec<SocketAddr>,
    /// Inode number of its network namespace.
    pub network_namespace: Option<u64>,
    /// Control group, container and pod.
    pub cgroup: Cgroup,
    /// `HOSTNAME` of its environment, if it is in a container: the name of the pod.
    pub pod_name: Option<String>,
    /// Whether it is a JVM.
    pub jvm: bool,
    /// Flags of the JVM because of which it writes no performance data.
    pub(crate) perf_data_off: Option<&'static str>,
}

/// What a scan found.
#[derive(Debug, Default)]
pub struct Changes {
    /// New ones.
    pub appeared: Vec<Arc<Process>>,
    /// Known ones of which something is different, as they are now.
    pub changed: Vec<Arc<Process>>,
    /// Ended, or become something else, as they last were.
    pub gone: Vec<Arc<Process>>,
}

impl Changes {
    /// Whether all is as before.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.appeared.is_empty() && self.changed.is_empty() && self.gone.is_empty()
    }
}

/// The search.
#[derive(Debug)]
pub struct Discovery {
    /// This process, where ids mean the same to it.
    own: Option<Pid>,
    roots: Roots,
    rules: Vec<Rule>,
    listeners: Listeners,
    table: Table<Interest>,
    found: Vec<Found>,
    /// Started a moment ago.
    young: Vec<Pid>,
    /// All others that are none to watch, in the order in which they are looked at again.
    turn: VecDeque<Pid>,
}

/// Whether a process that is in the table may be one to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interest {
    /// Never: a thread of the kernel.
    Kernel,
    /// Not as it is now.
    None,
    Found,
}

/// A process to watch, and what is needed to look at it again.
#[derive(Debug)]
struct Found {
    process: Arc<Process>,
    class: Class,
    ports: Ports,
    /// Without the ending that makes it unique.
    base_name: String,
    asked: Instant,
}

impl Discovery {
    /// A search by the built-in rules and `rules`; the former win. An error if /proc cannot be listed.
    pub fn new(roots: Roots, rules: Vec<Rule>) -> io::Result<Self> {
        let table = Table::new(&roots)?;
        let own = roots.is_own().then(|| Pid(std::process::id()));
        let listeners = Listeners::new(&roots);
        Ok(Self { own, roots, rules, listeners, table, found: Vec::new(), young: Vec::new(), turn: VecDeque::new() })
    }

    /// All found, as of the last scan.
    pub fn processes(&self) -> impl Iterator<Item = &Arc<Process>> {
        self.found.iter().map(|found| &found.process)
    }

    /// Looks at what there is now.
    pub fn scan(&mut self, now: Instant) -> io::Result<Changes> {
        let mut changes = Changes::default();
        self.listeners.look_again();
        let interest = |_, life: Life| if life.kernel { Interest::Kernel } else { Interest::None };
        let News { appeared, gone } = self.table.refresh(&self.roots, now, interest)?;
        for (pid, _) in gone {
            self.leave(pid, &mut changes);
        }
        self.check_found(now, &mut changes);
        self.young.extend(appeared);
        self.check_young(now, &mut changes);
        self.check_turn(now, &mut changes);
        self.rename(&mut changes);
        self.settle(&mut changes);
        Ok(changes)
    }

    /// Those found before: ended, replaced, or with other ports, names, log dirs.
    fn check_found(&mut self, now: Instant, changes: &mut Changes) {
        let uptime = uptime();
        for mut found in std::mem::take(&mut self.found) {
            let pid = found.process.pid;
            if !is_there(&self.roots, pid, found.process.started) {
                // The id may be another process's, which the next listing finds.
                self.table.remove(pid);
                changes.gone.push(found.process);
                continue;
            }
            let before = Arc::clone(&found.process);
            let young = is_young(found.process.started, uptime);
            if young || now.saturating_duration_since(found.asked) >= SETTLED_INTERVAL {
                found.asked = now;
                match classify(&self.roots, &self.rules, &self.listeners, pid) {
                    // A port that is closed now, or a control group that it left, does not make it another process.
                    None => (),
                    Some(class) if class.role == found.class.role => found.class = class,
                    Some(_) => {
                        self.set_interest(pid, Interest::None);
                        self.young.push(pid);
                        changes.gone.push(found.process);
                        continue;
                    }
                }
                self.refresh(&mut found, true);
            } else {
                self.refresh(&mut found, false);
            }
            if !Arc::ptr_eq(&before, &found.process) {
                changes.changed.push(Arc::clone(&found.process));
            }
            self.found.push(found);
        }
    }

    fn check_young(&mut self, now: Instant, changes: &mut Changes) {
        let uptime = uptime();
        for pid in std::mem::take(&mut self.young) {
            let Some(known) = self.table.what(pid) else { continue };
            let started = known.started;
            if known.what != Interest::None || self.try_find(pid, started, now, changes) {
                continue;
            }
            if is_young(started, uptime) { self.young.push(pid) } else { self.turn.push_back(pid) }
        }
    }

    fn check_turn(&mut self, now: Instant, changes: &mut Changes) {
        let turn = TURN_LEAST.max(self.table.len() / TURN_SCANS).min(self.turn.len());
        for _ in 0..turn {
            let Some(pid) = self.turn.pop_front() else { return };
            // An id that ended, or is there twice because it was used again, leaves the queue here.
            let Some(known) = self.table.what(pid).filter(|known| known.what == Interest::None) else { continue };
            let started = known.started;
            if !self.try_find(pid, started, now, changes) {
                self.turn.push_back(pid);
            }
        }
    }

    /// Whether the process is one to watch; then it is among those found.
    fn try_find(&mut self, pid: Pid, started: StartTime, now: Instant, changes: &mut Changes) -> bool {
        // The probe's own command line has the rules in it.
        if self.own == Some(pid) {
            return false;
        }
        let Some(class) = classify(&self.roots, &self.rules, &self.listeners, pid) else { return false };
        let status = Status::of(&self.roots, pid);
        let cgroup = Cgroup::of(&self.roots, pid);
        let contained = cgroup.container.is_some() || cgroup.pod.is_some();
        let process = Process {
            pid,
            namespaced_pid: status.namespaced_pid.unwrap_or(pid.0),
            started,
            uid: status.uid.unwrap_or_default(),
            role: class.role.clone(),
            name: String::new(),
            node: None,
            cluster: None,
            log_dirs: Vec::new(),
            listeners: Vec::new(),
            network_namespace: network_namespace(&self.roots, pid),
            cgroup,
            pod_name: contained.then(|| self.variable(pid, b"HOSTNAME")).flatten(),
            jvm: class.java.is_some(),
            perf_data_off: None,
        };
        let base_name = String::new();
        let mut found = Found { process: Arc::new(process), class, ports: Ports::default(), base_name, asked: now };
        self.refresh(&mut found, true);
        // Its id may have become another's while it was looked at.
        if !is_there(&self.roots, pid, started) {
            return false;
        }
        self.set_interest(pid, Interest::Found);
        changes.appeared.push(Arc::clone(&found.process));
        self.found.push(found);
        true
    }

    /// Brings up to date what may change in the life of a process; the name is made unique later.
    fn refresh(&self, found: &mut Found, thoroughly: bool) {
        let pid = found.process.pid;
        found.ports.refresh(&self.roots, &self.listeners, pid);
        let mut process = Process::clone(&found.process);
        if process.listeners != found.ports.own() {
            process.listeners = found.ports.own().to_vec();
            if found.ports.more() > 0 {
                warn!(%pid, left_out = found.ports.more(), "a process listens on more ports than are followed");
            }
        }
        if thoroughly {
            process.jvm = found.class.java.is_some();
            process.perf_data_off = found.class.java.as_ref().and_then(|java| {
                let off = ["-XX:-UsePerfData", "-XX:+PerfDisableSharedMem"];
                off.into_iter().find(|option| java.has_option(option))
            });
            let arguments = found.class.java.as_ref().map(|java| java.arguments.as_slice()).unwrap_or_default();
            let identity = match found.class.role {
                Role::Broker => Some(identity::kafka(&self.roots, pid, arguments)),
                Role::ZooKeeper => Some(identity::zookeeper(&self.roots, pid, arguments)),
                _ => None,
            };
            if let Some(Identity { role, node, cluster, log_dirs }) = identity {
                process.role = role;
                // A file that cannot be read this time does not take away what was read.
                process.node = node.or(process.node);
                process.cluster = cluster.or(process.cluster);
                if !log_dirs.is_empty() {
                    process.log_dirs = log_dirs.into_iter().map(|path| self.log_dir(pid, path)).collect();
                }
            } else {
                process.role = found.class.role.clone();
            }
        }
        found.base_name = base_name(&process, &found.class);
        if process != *found.process {
            found.process = Arc::new(process);
        }
    }

    fn log_dir(&self, pid: Pid, path: PathBuf) -> LogDir {
        let inside = if path.is_relative() {
            let folder = std::fs::read_link(self.roots.process(pid).join("cwd")).unwrap_or_default();
            folder.join(path)
        } else {
            path
        };
        LogDir { reachable: self.roots.inside(pid, &inside), inside }
    }

    /// Gives names; the first of a name in a cluster has it as it is.
    fn rename(&mut self, changes: &mut Changes) {
        for position in 0..self.found.len() {
            let Some(found) = self.found.get(position) else { return };
            let taken = |name: &str| {
                self.found.iter().any(|other| {
                    other.process.pid != found.process.pid
                        && other.process.name == name
                        && other.process.cluster == found.process.cluster
                })
            };
            let base = &found.base_name;
            let current = &found.process.name;
            let numbered = current.strip_prefix(base.as_str()).is_some_and(|end| end.starts_with('.'));
            // Others than servers with an id keep the number: which of several is which would change else.
            let keep = current == base || (numbered && found.process.node.is_none());
            if keep && !taken(current) {
                continue;
            }
            let mut name = base.clone();
            let mut number = 2_u32;
            while taken(&name) {
                name = format!("{base}.{number}");
                number += 1;
            }
            if name != *current {
                let process = Process { name, ..Process::clone(&found.process) };
                if let Some(found) = self.found.get_mut(position) {
                    found.process = Arc::new(process);
                    changes.changed.push(Arc::clone(&found.process));
                }
            }
        }
    }

    /// Found and changed in one scan is found; changed twice is changed once.
    fn settle(&self, changes: &mut Changes) {
        let Changes { appeared, changed, .. } = changes;
        changed.sort_by_key(|process| process.pid);
        changed.dedup_by_key(|process| process.pid);
        changed.retain(|process| !appeared.iter().any(|new| new.pid == process.pid));
        for process in appeared.iter_mut().chain(changed) {
            if let Some(found) = self.found.iter().find(|found| found.process.pid == process.pid) {
                *process = Arc::clone(&found.process);
            }
        }
    }

    fn leave(&mut self, pid: Pid, changes: &mut Changes) {
        let left = self.found.extract_if(.., |found| found.process.pid == pid);
        changes.gone.extend(left.map(|found| found.process));
    }

    fn set_interest(&mut self, pid: Pid, interest: Interest) {
        if let Some(known) = self.table.what(pid) {
            known.what = interest;
        }
    }

    fn variable(&self, pid: Pid, name: &[u8]) -> Option<String> {
        let environment = roots::read(&self.roots.process(pid).join("environ"), ENVIRONMENT_LIMIT).ok()?;
        let mut variables = environment.split(|byte| *byte == 0);
        let value = variables.find_map(|variable| variable.strip_prefix(name)?.strip_prefix(b"="))?;
        Some(String::from_utf8_lossy(value).into_owned()).filter(|value| !value.is_empty())
    }
}

/// When the process that has this id now was started.
#[cfg(test)]
pub(crate) fn start_time(roots: &Roots, pid: Pid) -> Option<StartTime> {
    Life::of(roots, pid).map(|life| life.started)
}

/// Whether this very process has not ended.
pub(crate) fn is_there(roots: &Roots, pid: Pid, started: StartTime) -> bool {
    Life::of(roots, pid).is_some_and(|life| life.started == started && !life.zombie)
}

/// What /proc/PID/status tells that other files do not.
#[derive(Debug, Default, PartialEq, Eq)]
struct Status {
    uid: Option<u32>,
    namespaced_pid: Option<u32>,
}

impl Status {
    fn of(roots: &Roots, pid: Pid) -> Self {
        roots.read_of(pid, "status").map_or_else(|_| Self::default(), |text| Self::parse(&text))
    }

    fn parse(text: &[u8]) -> Self {
        let mut status = Self::default();
        let number = |field: Option<&[u8]>| u32::try_from(roots::decimal(field?)?).ok();
        for line in roots::lines(text) {
            if let Some(ids) = line.strip_prefix(b"Uid:") {
                // Real, effective, saved, of the file system.
                status.uid = number(roots::fields(ids).nth(1));
            } else if let Some(ids) = line.strip_prefix(b"NSpid:") {
                // From the outermost namespace to its own.
                status.namespaced_pid = number(roots::fields(ids).last());
            }
        }
        status
    }
}

fn base_name(process: &Process, class: &Class) -> String {
    let server = |what: &str| process.node.map_or_else(|| what.to_owned(), |NodeId(id)| format!("{what}-{id}"));
    match &process.role {
        Role::Broker | Role::Combined => server("broker"),
        Role::Controller => server("controller"),
        Role::ZooKeeper => server("zookeeper"),
        Role::Proxy => {
            let first = || process.listeners.first().map(SocketAddr::port);
            let port = first_route(class.command_line.rest()).or_else(first);
            port.map_or_else(|| "proxy".to_owned(), |port| format!("proxy-{port}"))
        }
        Role::Other(name) => name.to_string(),
    }
}

/// The port of the proxy's first route: `--route LISTEN=UPSTREAM`, `LISTEN` ending in `:PORT`.
fn first_route(arguments: &[Vec<u8>]) -> Option<u16> {
    let position = arguments.iter().position(|argument| argument.starts_with(b"--route"))?;
    let route = match arguments.get(position)?.strip_prefix(b"--route=") {
        Some(route) => route,
        None => arguments.get(position + 1)?,
    };
    let listen = route.split(|byte| *byte == b'=').next()?;
    let port = listen.rsplit(|byte| *byte == b':').next()?;
    roots::decimal(port).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
}

fn is_young(started: StartTime, uptime: Duration) -> bool {
    uptime.saturating_sub(Duration::from_nanos(started.0)) < YOUNG
}

fn uptime() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
