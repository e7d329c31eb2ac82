//! Which of the processes that should be there are, whether they listen, and how often they were started again.
//!
//! Should be there: what the configuration expects, and what was seen, until it has been gone for a while. A death is
//! seen at once by a pidfd, where the kernel gives one, and with the next scan otherwise.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, pidfd_open};

use crate::discovery::{NodeId, Process, Role, StartTime};
use crate::roots::{Pid, Roots};

/// A process that the configuration expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// As discovery calls it.
    pub name: String,
    /// Where it must listen; nothing: wherever it was seen to.
    pub ports: Vec<u16>,
}

/// How it is with one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// As discovery calls it.
    pub name: String,
    /// Its cluster, if it was ever known.
    pub cluster: Option<String>,
    /// What it is or last was; nothing if it was never seen.
    pub role: Option<Role>,
    /// Its number, if it is a server and that was ever known.
    pub node: Option<NodeId>,
    /// Whether it is there.
    pub up: bool,
    /// Whether it listens, by port.
    pub listening: Vec<(u16, bool)>,
    /// How often another process came in its place.
    pub restarts: u64,
}

/// The watch over all of them.
#[derive(Debug)]
pub struct Up {
    roots: Roots,
    forget_after: Duration,
    entries: BTreeMap<Key, Entry>,
    /// Whether process ids mean the same to our system calls.
    own: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    name: String,
    cluster: Option<String>,
}

#[derive(Debug, Default)]
struct Entry {
    expected: bool,
    configured_ports: bool,
    role: Option<Role>,
    node: Option<NodeId>,
    /// The present or the last one.
    incarnation: Option<(Pid, StartTime)>,
    life: Option<Life>,
    last_up: Option<Instant>,
    restarts: u64,
    ports: BTreeMap<u16, Port>,
}

/// Of a process that is there.
#[derive(Debug)]
struct Life {
    pidfd: Option<OwnedFd>,
}

#[derive(Debug, Default)]
struct Port {
    open: bool,
    last_open: Option<Instant>,
}

impl Up {
    /// Those of the configuration, down until they are seen. Others are forgotten when they have been gone this long.
    #[must_use]
    pub fn new(roots: Roots, expected: Vec<Expected>, forget_after: Duration) -> Self {
        let entry = |expected: Expected| {
            let ports = expected.ports.iter().map(|port| (*port, Port::default())).collect();
            let configured_ports = !expected.ports.is_empty();
            let entry = Entry { expected: true, configured_ports, ports, ..Entry::default() };
            (Key { name: expected.name, cluster: None }, entry)
        };
        let own = roots.is_own();
        Self { roots, forget_after, entries: expected.into_iter().map(entry).collect(), own }
    }

    /// Takes what discovery finds to be there.
    pub fn observe<'a>(&mut self, processes: impl IntoIterator<Item = &'a Arc<Process>>, now: Instant) {
        let mut seen = Vec::new();
        for process in processes {
            let key = Key { name: process.name.clone(), cluster: process.cluster.clone() };
            self.rename(process, &key);
            seen.push((process.pid, process.started));
            let (roots, own) = (&self.roots, self.own);
            self.entries.entry(key).or_default().observe(process, now, || own.then(|| pidfd(roots, process)).flatten());
        }
        for entry in self.entries.values_mut() {
            if entry.incarnation.is_none_or(|incarnation| !seen.contains(&incarnation)) {
                entry.end();
            }
        }
        let forget_after = self.forget_after;
        self.entries.retain(|_, entry| entry.expected || !older(entry.last_up, now, forget_after));
        for entry in self.entries.values_mut().filter(|entry| !entry.configured_ports && entry.life.is_some()) {
            entry.ports.retain(|_, port| !older(port.last_open, now, forget_after));
        }
    }

    /// Waits until one of the processes dies, or for this long. Whether one did: then [`Up::states`] has it already.
    pub fn wait(&mut self, limit: Duration) -> io::Result<bool> {
        let limit = Timespec::try_from(limit).ok();
        let lives = self.entries.values().filter_map(|entry| entry.life.as_ref()?.pidfd.as_ref());
        let mut descriptors: Vec<_> = lives.map(|pidfd| PollFd::new(pidfd, PollFlags::IN)).collect();
        match poll(&mut descriptors, limit.as_ref()) {
            Ok(0) | Err(Errno::INTR) => return Ok(false),
            Ok(_) => (),
            Err(error) => return Err(error.into()),
        }
        let dead: Vec<bool> = descriptors.iter().map(|descriptor| !descriptor.revents().is_empty()).collect();
        let entries =
            self.entries.values_mut().filter(|entry| entry.life.as_ref().is_some_and(|life| life.pidfd.is_some()));
        for (entry, _) in entries.zip(dead).filter(|(_, dead)| *dead) {
            entry.end();
        }
        Ok(true)
    }

    /// How it is now, in the order of names.
    pub fn states(&self) -> impl Iterator<Item = State> {
        self.entries.iter().map(|(key, entry)| State {
            name: key.name.clone(),
            cluster: key.cluster.clone(),
            role: entry.role.clone(),
            node: entry.node,
            up: entry.life.is_some(),
            listening: entry.ports.iter().map(|(number, port)| (*number, port.open)).collect(),
            restarts: entry.restarts,
        })
    }

    /// A process whose name or cluster was not known before keeps what is known of it.
    fn rename(&mut self, process: &Process, key: &Key) {
        if self.entries.contains_key(key) {
            return;
        }
        let incarnation = Some((process.pid, process.started));
        let same = |(_, entry): &(&Key, &Entry)| entry.incarnation == incarnation && !entry.expected;
        // The configuration does not say of which cluster.
        let expected = Key { name: key.name.clone(), cluster: None };
        let before = match self.entries.iter().find(same) {
            Some((before, _)) => before.clone(),
            None => expected,
        };
        if let Some(entry) = self.entries.remove(&before) {
            self.entries.insert(key.clone(), entry);
        }
    }
}

impl Entry {
    fn observe(&mut self, process: &Process, now: Instant, pidfd: impl FnOnce() -> Option<OwnedFd>) {
        let incarnation = (process.pid, process.started);
        if self.incarnation != Some(incarnation) {
            self.restarts += u64::from(self.incarnation.is_some());
            self.incarnation = Some(incarnation);
            self.life = Some(Life { pidfd: pidfd() });
        } else if self.life.is_none() {
            // Its pidfd told that it had died before the scan did.
            return;
        }
        self.role = Some(process.role.clone());
        self.node = process.node;
        self.last_up = Some(now);
        let listens = |port: u16| process.listeners.iter().any(|address| address.port() == port);
        if !self.configured_ports {
            for address in &process.listeners {
                self.ports.entry(address.port()).or_default();
            }
        }
        for (number, port) in &mut self.ports {
            port.open = listens(*number);
            if port.open || port.last_open.is_none() {
                port.last_open = Some(now);
            }
        }
    }

    fn end(&mut self) {
        self.life = None;
        for port in self.ports.values_mut() {
            port.open = false;
        }
    }
}

fn older(time: Option<Instant>, now: Instant, age: Duration) -> bool {
    time.is_none_or(|time| now.saturating_duration_since(time) > age)
}

fn pidfd(roots: &Roots, process: &Process) -> Option<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(process.pid.0).ok()?)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // The id may have been another's by then.
    crate::discovery::is_there(roots, process.pid, process.started).then_some(pidfd)
}

#[cfg(test)]
mod tests;
