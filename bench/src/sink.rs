//! Stands for the broker: answers each request that it knows, looks at nothing but heads.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    frames::{Exchange, REQUEST_HEAD, RESPONSE_HEAD},
    poll::{Poll, Ready},
    socket::{Inbox, Outbox, Read, ReadBuffer},
};

/// A running sink. It lives as long as the process.
#[derive(Debug)]
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its kernel thread id, for the accounting of CPU time.
    pub thread: i32,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    answered: AtomicU64,
    stalled: AtomicBool,
}

impl Sink {
    /// Starts the thread. It answers the requests of `exchanges`, recognised by API key and size.
    pub fn start(exchanges: &[Exchange]) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        rustix::net::listen(&listener, 4096)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let answers =
            exchanges.iter().map(|exchange| (key(&exchange.request), Arc::clone(&exchange.response))).collect();
        let shared = Arc::new(Shared::default());
        let (started, thread_id) = mpsc::channel();
        thread::Builder::new().name("sink".into()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                let here = rustix::thread::gettid().as_raw_nonzero().get();
                if let Err(error) =
                    started.send(here).map_err(Into::into).and_then(|()| run(&listener, &answers, &shared))
                {
                    // Nothing can be measured without it.
                    eprintln!("the sink failed: {error:#}");
                    std::process::exit(1);
                }
            }
        })?;
        Ok(Self { address, thread: thread_id.recv().context("the sink did not start")?, shared })
    }

    /// Requests answered so far.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Whether the sink leaves in its sockets what arrives there.
    pub fn stall(&self, stalled: bool) {
        self.shared.stalled.store(stalled, Ordering::Relaxed);
    }
}

type Key = [u8; 6];

/// The size and the API key of a request.
fn key(head: &[u8]) -> Key {
    [head[0], head[1], head[2], head[3], head[4], head[5]]
}

struct Connection {
    socket: TcpStream,
    inbox: Inbox<REQUEST_HEAD>,
    outbox: Outbox,
}

const LISTENER: u64 = u64::MAX;

fn run(listener: &TcpListener, answers: &HashMap<Key, Arc<[u8]>>, shared: &Shared) -> Result<()> {
    let mut poll = Poll::new()?;
    poll.add(listener, LISTENER)?;
    let mut connections: HashMap<u64, Connection> = HashMap::new();
    let mut next = 0_u64;
    let mut ready = Vec::new();
    let mut missed: Vec<Ready> = Vec::new();
    let mut buffer = ReadBuffer::default();
    loop {
        poll.wait(Duration::from_millis(if missed.is_empty() { 1000 } else { 10 }), &mut ready)?;
        let stalled = shared.stalled.load(Ordering::Relaxed);
        if !stalled {
            ready.append(&mut missed);
        }
        for Ready { token, hung_up } in ready.drain(..) {
            if token == LISTENER {
                while let Ok((socket, _)) = listener.accept() {
                    socket.set_nonblocking(true)?;
                    socket.set_nodelay(true)?;
                    if stalled {
                        // As brokers do by default (socket.receive.buffer.bytes): else the kernel would hold
                        // megabytes for a broker that does not read, and the proxy would not notice it.
                        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 100 << 10)?;
                    }
                    poll.add(&socket, next)?;
                    connections.insert(next, Connection { socket, inbox: Inbox::default(), outbox: Outbox::default() });
                    next += 1;
                }
                continue;
            }
            if stalled {
                missed.push(Ready { token, hung_up });
                continue;
            }
            let Some(connection) = connections.get_mut(&token) else { continue };
            match serve(connection, hung_up, answers, shared, &mut buffer) {
                Ok(Read::Drained) => {}
                Ok(Read::Closed) => {
                    connections.remove(&token);
                }
                // A reset is how the end of a run looks from here; anything else fails the run.
                Err(error) => match error.downcast_ref::<rustix::io::Errno>() {
                    Some(&rustix::io::Errno::CONNRESET | &rustix::io::Errno::PIPE) => {
                        connections.remove(&token);
                    }
                    _ => return Err(error),
                },
            }
        }
    }
}

fn serve(
    connection: &mut Connection,
    hung_up: bool,
    answers: &HashMap<Key, Arc<[u8]>>,
    shared: &Shared,
    buffer: &mut ReadBuffer,
) -> Result<Read> {
    let Connection { socket, inbox, outbox } = connection;
    let read = inbox.drain(socket, hung_up, buffer, |head, bytes| {
        let Some(answer) = answers.get(&key(head)) else {
            bail!("a request of {bytes} bytes arrived that nobody sent: {head:02x?}");
        };
        shared.answered.fetch_add(1, Ordering::Relaxed);
        let [.., a, b, c, d] = *head;
        outbox.push(answer, RESPONSE_HEAD, i32::from_be_bytes([a, b, c, d]));
        Ok(())
    })?;
    outbox.flush(socket)?;
    Ok(read)
}
