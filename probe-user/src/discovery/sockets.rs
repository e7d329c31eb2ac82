//! On which TCP ports a process listens: the listening sockets of its network namespace that it holds open.
//!
//! Which of them a process holds is a walk over its descriptors, so that is done only when the list has changed. For the
//! list see [`Listeners`].

mod listeners;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use self::listeners::Listeners;
use self::listeners::Listening;
use crate::roots::{self, Pid, Roots};

/// A broker has a handful. Each is a series or more, and a place in the kernel's map.
const PORTS_LIMIT: usize = 256;

/// The ports of one process, and what they were found from.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    namespace: Arc<[Listening]>,
    own: Vec<SocketAddr>,
    /// Those that are left out.
    more: usize,
    known: bool,
}

impl Ports {
    /// Addresses that the process listens on, sorted.
    pub(crate) fn own(&self) -> &[SocketAddr] {
        &self.own
    }

    /// How many more there are.
    pub(crate) fn more(&self) -> usize {
        self.more
    }

    /// Looks again.
    pub(crate) fn refresh(&mut self, roots: &Roots, listeners: &Listeners, pid: Pid) {
        let namespace = listeners.of(roots, pid);
        if self.known && namespace == self.namespace {
            return;
        }
        let sockets = if namespace.is_empty() { Some(Vec::new()) } else { sockets(roots, pid) };
        // Without leave to read its descriptors nothing is known; better none than those of other processes.
        self.known = sockets.is_some();
        let held = sockets.unwrap_or_default();
        self.own =
            namespace.iter().filter(|socket| held.binary_search(&socket.inode).is_ok()).map(|s| s.address).collect();
        self.own.sort_unstable_by_key(|address| (address.port(), address.ip()));
        self.own.dedup();
        self.more = self.own.len().saturating_sub(PORTS_LIMIT);
        self.own.truncate(PORTS_LIMIT);
        self.namespace = namespace;
    }
}

/// Whether a process listens on a port. Its descriptors are looked at only if anybody in its namespace does.
pub(crate) fn listens(roots: &Roots, listeners: &Listeners, pid: Pid, port: u16) -> bool {
    let namespace = listeners.of(roots, pid);
    let mut there = namespace.iter().filter(|socket| socket.address.port() == port).peekable();
    there.peek().is_some()
        && sockets(roots, pid).is_some_and(|held| there.any(|socket| held.binary_search(&socket.inode).is_ok()))
}

/// The inode number of the process's network namespace.
pub(crate) fn network_namespace(roots: &Roots, pid: Pid) -> Option<u64> {
    // `net:[4026531840]`
    let link = fs::read_link(roots.process(pid).join("ns/net")).ok()?;
    roots::decimal(link.as_os_str().as_bytes().strip_prefix(b"net:[")?.strip_suffix(b"]")?)
}

/// Files that the process holds open, as it names them.
pub(crate) fn open_files(roots: &Roots, pid: Pid) -> impl Iterator<Item = PathBuf> {
    descriptors(roots, pid).filter(|path| path.is_absolute())
}

/// Inode numbers of the sockets that a process holds, sorted; nothing if that may not be read.
fn sockets(roots: &Roots, pid: Pid) -> Option<Vec<u64>> {
    fs::read_dir(roots.process(pid).join("fd")).ok()?;
    let mut inodes: Vec<u64> = descriptors(roots, pid).filter_map(|path| socket(&path)).collect();
    inodes.sort_unstable();
    Some(inodes)
}

/// `socket:[12345]`
fn socket(link: &Path) -> Option<u64> {
    roots::decimal(link.as_os_str().as_bytes().strip_prefix(b"socket:[")?.strip_suffix(b"]")?)
}

fn descriptors(roots: &Roots, pid: Pid) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(roots.process(pid).join("fd")).into_iter().flatten();
    // A descriptor may be closed meanwhile.
    entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn ports_of_this_process_appear_and_go() {
        let (roots, own) = (Roots::default(), Pid(std::process::id()));
        let listeners = ["127.0.0.1:0", "[::1]:0"].map(|address| TcpListener::bind(address).ok());
        let addresses: Vec<_> = listeners.iter().flatten().map(|listener| listener.local_addr().unwrap()).collect();
        let mut namespaces = Listeners::new(&roots);
        let mut ports = Ports::default();
        ports.refresh(&roots, &namespaces, own);
        for address in &addresses {
            assert!(ports.own().contains(address), "{address} of {:?}", ports.own());
            assert!(listens(&roots, &namespaces, own, address.port()));
        }
        assert_eq!(ports.more(), 0);
        drop(listeners);
        namespaces.look_again();
        ports.refresh(&roots, &namespaces, own);
        for address in &addresses {
            assert!(!ports.own().contains(address), "{address} is closed");
            assert!(!listens(&roots, &namespaces, own, address.port()));
        }
        assert!(network_namespace(&roots, own).is_some());
    }
}
