//! Proof of byte identity: a relay before the proxy and one behind it, both of which remember what passed.
//!
//! ```text
//! client -> before -> proxy -> behind -> broker
//! ```
//! A relay hands on bytes, half-closes and resets, and keeps for each connection and direction a running hash of the
//! bytes with their number, and how the stream ended. What went into the proxy on one side must have come out on the
//! other, connection by connection.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use socket2::SockRef;

use crate::eventually::until;
use crate::port::Port;

/// One direction of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Stream {
    /// Bytes that passed.
    pub bytes: u64,
    /// A hash of exactly these bytes in this order.
    pub hash: u64,
    /// How it ended.
    pub end: End,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum End {
    /// It has not.
    #[default]
    Open,
    /// With an orderly end of the stream.
    Closed,
    /// With a reset, or because the other side of the relay had gone.
    Reset,
}

/// Both directions of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Pair {
    /// From the client.
    pub request: Stream,
    /// To the client.
    pub response: Stream,
}

/// Relays for all routes of a proxy.
#[derive(Debug)]
pub struct Recorder {
    before: Vec<Relay>,
    behind: Vec<Relay>,
    /// For the proxy: where to listen, and where to forward to.
    routes: Vec<(SocketAddr, SocketAddr)>,
    _ports: Vec<Port>,
}

impl Recorder {
    /// Puts relays around a proxy that is to be started with [`Recorder::routes`], for `(front, upstream)` pairs:
    /// clients connect to `front`, the broker is at `upstream`.
    pub fn start(ends: impl IntoIterator<Item = (SocketAddr, SocketAddr)>) -> Result<Self> {
        let mut recorder = Self { before: Vec::new(), behind: Vec::new(), routes: Vec::new(), _ports: Vec::new() };
        for (front, upstream) in ends {
            let listen = Port::claim()?;
            let behind = Relay::start((std::net::Ipv4Addr::LOCALHOST, 0).into(), upstream)?;
            recorder.routes.push((listen.address(), behind.address));
            recorder.before.push(Relay::start(front, listen.address())?);
            recorder.behind.push(behind);
            recorder._ports.push(listen);
        }
        Ok(recorder)
    }

    /// What the proxy has to do.
    #[must_use]
    pub fn routes(&self) -> &[(SocketAddr, SocketAddr)] {
        &self.routes
    }

    /// Waits until all connections have ended on both sides, then compares them; gives how many connections and bytes
    /// were compared.
    pub fn compare(&self, limit: Duration) -> Result<(usize, u64)> {
        self.wait_until_quiet(limit)?;
        let (mut connections, mut bytes) = (0, 0);
        for (route, (before, behind)) in self.before.iter().zip(&self.behind).enumerate() {
            let (sent, arrived) = (before.pairs(), behind.pairs());
            ensure!(sent.len() == arrived.len(), "route {route}: {} connections in, {} out", sent.len(), arrived.len());
            for (sent, arrived) in sent.iter().zip(&arrived) {
                let same = |a: Stream, b: Stream| a.bytes == b.bytes && a.hash == b.hash;
                if !same(sent.request, arrived.request) || !same(sent.response, arrived.response) {
                    bail!("route {route}: not the same bytes:\n  before the proxy {sent:?}\n  behind it {arrived:?}");
                }
                connections += 1;
                bytes += sent.request.bytes + sent.response.bytes;
            }
        }
        Ok((connections, bytes))
    }

    /// Waits until no connection is open.
    pub fn wait_until_quiet(&self, limit: Duration) -> Result<()> {
        let all = || self.before.iter().chain(&self.behind);
        until("all connections through the taps to end", limit, || all().all(Relay::is_quiet))
    }

    /// Forgets the connections that have ended.
    pub fn forget(&self) {
        for relay in self.before.iter().chain(&self.behind) {
            let ended = |pair: &Pair| pair.request.end != End::Open && pair.response.end != End::Open;
            lock(&relay.connections).retain(|_, pair| !ended(pair));
        }
    }

    /// Bytes so far, in both directions, on the clients' side.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.before.iter().flat_map(Relay::pairs).map(|pair| pair.request.bytes + pair.response.bytes).sum()
    }
}

/// Hands connections on from one address to another, and remembers what passed.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    connections: Arc<Mutex<BTreeMap<usize, Pair>>>,
    open: Arc<std::sync::atomic::AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Relay {
    /// Starts one.
    pub fn start(listen: SocketAddr, upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen at {listen}"))?;
        let relay = Self {
            address: listener.local_addr()?,
            connections: Arc::default(),
            open: Arc::default(),
            stop: Arc::default(),
        };
        let (connections, open, stop) = (relay.connections.clone(), relay.open.clone(), relay.stop.clone());
        thread::spawn(move || {
            for (number, client) in listener.incoming().enumerate() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(client) = client else { continue };
                open.fetch_add(1, Ordering::SeqCst);
                lock(&connections).insert(number, Pair::default());
                let (connections, open) = (connections.clone(), open.clone());
                thread::spawn(move || {
                    relay_connection(&client, upstream, number, &connections);
                    if let Some(pair) = lock(&connections).get_mut(&number) {
                        // Still open are those of a connection that found no upstream.
                        for stream in [&mut pair.request, &mut pair.response] {
                            stream.end = if stream.end == End::Open { End::Reset } else { stream.end };
                        }
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Ok(relay)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether no connection is open.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.open.load(Ordering::SeqCst) == 0
    }

    /// What passed, sorted by content: the order in which connections are accepted may differ behind a proxy.
    #[must_use]
    pub fn pairs(&self) -> Vec<Pair> {
        let mut pairs: Vec<Pair> = lock(&self.connections).values().copied().collect();
        pairs.sort_unstable();
        pairs
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the acceptor, which then lets the port go.
        _ = TcpStream::connect(self.address);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn relay_connection(
    client: &TcpStream,
    upstream: SocketAddr,
    number: usize,
    connections: &Mutex<BTreeMap<usize, Pair>>,
) {
    let Ok(server) = TcpStream::connect(upstream) else {
        _ = SockRef::from(client).set_linger(Some(Duration::ZERO));
        return;
    };
    for socket in [client, &server] {
        _ = socket.set_nodelay(true);
    }
    let note_request = |stream| {
        if let Some(pair) = lock(connections).get_mut(&number) {
            pair.request = stream
        }
    };
    let note_response = |stream| {
        if let Some(pair) = lock(connections).get_mut(&number) {
            pair.response = stream
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| copy(client, &server, note_request));
        copy(&server, client, note_response);
    });
}

/// Copies until the end of the stream and passes that on as what it was.
fn copy(mut from: &TcpStream, mut to: &TcpStream, note: impl Fn(Stream)) {
    let mut buffer = vec![0; 128 * 1024];
    let mut hasher = DefaultHasher::new();
    let mut stream = Stream::default();
    loop {
        match from.read(&mut buffer) {
            Ok(0) => {
                stream.end = End::Closed;
                // The peer may be gone already, and then there is nobody to tell.
                _ = to.shutdown(Shutdown::Write);
            }
            Ok(count) => {
                let read = buffer.get(..count).unwrap_or_default();
                hasher.write(read);
                stream.bytes += count as u64;
                stream.hash = hasher.finish();
                if to.write_all(read).is_err() {
                    stream.end = End::Reset;
                    _ = SockRef::from(from).set_linger(Some(Duration::ZERO));
                    _ = from.shutdown(Shutdown::Read);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_reset) => {
                stream.end = End::Reset;
                // Without this the other direction would wait on, and the peer would see an orderly end.
                _ = SockRef::from(to).set_linger(Some(Duration::ZERO));
                _ = to.shutdown(Shutdown::Read);
            }
        }
        note(stream);
        if stream.end != End::Open {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn the_hash_does_not_depend_on_how_the_stream_was_read() {
        let (mut whole, mut parts) = (DefaultHasher::new(), DefaultHasher::new());
        whole.write(b"the same bytes");
        parts.write(b"the ");
        parts.write(b"same b");
        parts.write(b"ytes");
        assert_eq!(whole.finish(), parts.finish());
    }

    /// A stand-in for a proxy, and a server that answers with what it got.
    fn exchange(proxy: fn(SocketAddr, SocketAddr)) -> Result<(usize, u64)> {
        let front = Port::claim()?;
        let server = TcpListener::bind("127.0.0.1:0")?;
        let upstream = server.local_addr()?;
        thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).unwrap();
            stream.write_all(&got).unwrap();
        });
        let recorder = Recorder::start([(front.address(), upstream)])?;
        let (listen, forward) = recorder.routes()[0];
        proxy(listen, forward);
        let mut client = TcpStream::connect(front.address())?;
        client.write_all(b"request")?;
        client.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        drop(client);
        recorder.compare(PATIENCE)
    }

    #[test]
    fn an_honest_proxy_passes() {
        let honest = |listen, upstream| std::mem::forget(Relay::start(listen, upstream).unwrap());
        assert_eq!(exchange(honest).unwrap(), (1, 14));
    }

    #[test]
    fn a_proxy_that_changes_a_byte_is_found_out() {
        let forger = |listen, upstream| {
            let listener = TcpListener::bind(listen).unwrap();
            thread::spawn(move || {
                let (mut client, _) = listener.accept().unwrap();
                let mut server = TcpStream::connect(upstream).unwrap();
                let mut request = Vec::new();
                client.read_to_end(&mut request).unwrap();
                request[0] ^= 1;
                server.write_all(&request).unwrap();
                server.shutdown(Shutdown::Write).unwrap();
                std::io::copy(&mut server, &mut client).unwrap();
            });
        };
        let error = exchange(forger).unwrap_err().to_string();
        assert!(error.contains("not the same bytes"), "{error}");
    }
}
