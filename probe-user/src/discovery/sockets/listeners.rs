//! The listening sockets of network namespaces, each listed once in a scan, however many processes are in it.
//!
//! Those of the probe's own namespace are asked of sock_diag. Others may not be entered, and what /proc/PID/net/tcp has of
//! them is dear: with few connections the kernel walks through its whole table of them, milliseconds on a large machine,
//! to see that there are no more. So that is read only if the number of sockets in use has changed, which it does not
//! where nothing goes on, and after a while.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::network_namespace;
use crate::roots::{self, Pid, Roots};
use crate::sock_diag::{LISTENING, SockDiag};

/// Read this often although nothing seems to have changed.
const REFRESH: Duration = Duration::from_secs(10);

/// `TCP_LISTEN` of the kernel's include/net/tcp_states.h, as the file prints it.
const LISTEN: &[u8] = b"0A";

/// A namespace with more listening sockets than this is not a broker's.
const SOCKETS_LIMIT: usize = 16_384;

/// A row is 150 bytes.
const BYTES_LIMIT: u64 = SOCKETS_LIMIT as u64 * 256;

/// A listening socket of a network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Listening {
    pub(super) inode: u64,
    pub(super) address: SocketAddr,
}

/// What was found in this scan and before.
#[derive(Debug)]
pub(crate) struct Listeners {
    own: Option<(u64, RefCell<SockDiag>)>,
    namespaces: RefCell<HashMap<u64, Namespace>>,
}

#[derive(Debug)]
struct Namespace {
    sockets: Arc<[Listening]>,
    in_use: Option<[u64; 2]>,
    read: Instant,
    /// Whether it was looked at in this scan.
    fresh: bool,
}

impl Listeners {
    /// Nothing is listed yet.
    pub(crate) fn new(roots: &Roots) -> Self {
        let own = roots.is_own().then(|| network_namespace(roots, Pid(std::process::id()))).flatten();
        // Without sock_diag, by /proc like the others.
        let own = own.and_then(|inode| Some((inode, RefCell::new(SockDiag::open().ok()?))));
        Self { own, namespaces: RefCell::default() }
    }

    /// A scan begins. Namespaces that nobody asked for in the last one are forgotten.
    pub(crate) fn look_again(&mut self) {
        let namespaces = self.namespaces.get_mut();
        namespaces.retain(|_, namespace| namespace.fresh);
        namespaces.values_mut().for_each(|namespace| namespace.fresh = false);
    }

    /// All listening sockets of the namespace that a process is in, sorted.
    pub(crate) fn of(&self, roots: &Roots, pid: Pid) -> Arc<[Listening]> {
        // The process has ended, or what it is in may not be known.
        let Some(inode) = network_namespace(roots, pid) else {
            return sorted(by_proc(&roots.process(pid).join("net")));
        };
        let mut namespaces = self.namespaces.borrow_mut();
        if let Some(there) = namespaces.get(&inode).filter(|there| there.fresh) {
            return Arc::clone(&there.sockets);
        }
        let mut in_use = None;
        let asked =
            self.own.as_ref().filter(|(own, _)| *own == inode).and_then(|(_, diag)| by_diag(&mut diag.borrow_mut()));
        let sockets = match asked {
            Some(sockets) => sockets,
            None => {
                let folder = roots.process(pid).join("net");
                in_use = sockets_in_use(&folder);
                if let Some(there) = namespaces.get_mut(&inode)
                    && in_use.is_some()
                    && there.in_use == in_use
                    && there.read.elapsed() < REFRESH
                {
                    there.fresh = true;
                    return Arc::clone(&there.sockets);
                }
                by_proc(&folder)
            }
        };
        let sockets = sorted(sockets);
        let namespace = Namespace { sockets: Arc::clone(&sockets), in_use, read: Instant::now(), fresh: true };
        namespaces.insert(inode, namespace);
        sockets
    }
}

fn sorted(mut sockets: Vec<Listening>) -> Arc<[Listening]> {
    sockets.sort_unstable();
    sockets.into()
}

fn by_diag(diag: &mut SockDiag) -> Option<Vec<Listening>> {
    let sockets = diag.sockets(LISTENING, None).ok()?;
    let listening = sockets
        .into_iter()
        .take(SOCKETS_LIMIT)
        .map(|socket| Listening { inode: socket.inode.into(), address: socket.local.into() });
    Some(listening.collect())
}

/// `TCP: inuse 5 orphan 0 ..` of sockstat, and `TCP6: inuse 3` of sockstat6, if the kernel has it.
fn sockets_in_use(folder: &Path) -> Option<[u64; 2]> {
    let number = |name: &str, prefix: &[u8]| {
        let text = roots::read(&folder.join(name), roots::FIGURES_LIMIT).ok()?;
        let line = roots::lines(&text).find_map(|line| line.strip_prefix(prefix))?;
        roots::decimal(roots::fields(line).next()?)
    };
    Some([number("sockstat", b"TCP: inuse")?, number("sockstat6", b"TCP6: inuse").unwrap_or(0)])
}

/// As /proc/PID/net has them: listening sockets first, so that it is read up to the first other one.
fn by_proc(folder: &Path) -> Vec<Listening> {
    let mut sockets = Vec::new();
    for name in ["tcp", "tcp6"] {
        let Ok(file) = File::open(folder.join(name)) else { continue };
        read_listening(BufReader::new(file.take(BYTES_LIMIT)), &mut sockets);
    }
    sockets
}

fn read_listening(mut file: impl BufRead, sockets: &mut Vec<Listening>) {
    let mut line = Vec::new();
    while sockets.len() < SOCKETS_LIMIT {
        line.clear();
        match file.read_until(b'\n', &mut line) {
            Ok(1..) => (),
            Ok(0) | Err(_) => return,
        }
        // The header's columns do not parse, nor does a line that is cut off.
        let Some((state, socket)) = row(&line) else { continue };
        if state != LISTEN {
            return;
        }
        sockets.push(socket);
    }
}

/// `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode ..`
fn row(line: &[u8]) -> Option<(&[u8], Listening)> {
    let mut fields = roots::fields(line).skip(1);
    let local = std::str::from_utf8(fields.next()?).ok()?;
    let state = fields.nth(1)?;
    let inode = roots::decimal(fields.nth(5)?)?;
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let ip = match address.len() {
        // Words in the byte order of the machine.
        8 => IpAddr::V4(Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?.to_ne_bytes())),
        32 => {
            let mut octets = [0; 16];
            for (word, octets) in octets.chunks_exact_mut(4).enumerate() {
                let digits = address.get(word * 8..word * 8 + 8)?;
                octets.copy_from_slice(&u32::from_str_radix(digits, 16).ok()?.to_ne_bytes());
            }
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        _ => return None,
    };
    Some((state, Listening { inode, address: SocketAddr::new(ip, port) }))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use proptest::prelude::*;

    use super::*;

    const HEADER: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    #[test]
    #[cfg(target_endian = "little")]
    fn rows_are_read_up_to_the_first_socket_that_does_not_listen() {
        let rows = "   0: 0100007F:2384 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 41 1 0 100 0 0 10 0\n\
                    1: 00000000000000000000000001000000:2385 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 42 1\n\
                    2: 0100007F:2386 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 43 1\n\
                    3: 0100007F:2387 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 44 1\n";
        let mut sockets = Vec::new();
        read_listening(format!("{HEADER}{rows}").as_bytes(), &mut sockets);
        let expected = [(41, "127.0.0.1:9092"), (42, "[::1]:9093")];
        let expected = expected.map(|(inode, address)| Listening { inode, address: address.parse().unwrap() });
        assert_eq!(sockets, expected);
    }

    #[test]
    fn both_ways_find_the_same() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let found = |sockets: Vec<Listening>| sockets.into_iter().find(|socket| socket.address == address);
        let of_proc = found(by_proc(Path::new("/proc/self/net")));
        assert!(of_proc.is_some());
        assert!(sockets_in_use(Path::new("/proc/self/net")).is_some());
        if let Ok(mut diag) = SockDiag::open() {
            assert_eq!(found(by_diag(&mut diag).unwrap()), of_proc);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(text: Vec<u8>, address in "[0-9A-F]{0,40}:[0-9A-F]{0,6}") {
            let mut sockets = Vec::new();
            read_listening(text.as_slice(), &mut sockets);
            let line = format!("0: {address} 0:0 0A 0:0 0:0 0 0 0 7 1");
            read_listening(line.as_bytes(), &mut sockets);
        }
    }
}
