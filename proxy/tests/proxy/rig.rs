//! One forwarded connection with both of its peers in the test's hands.

use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use kafkascope_proxy::forward::{Clock, Direction, Drain, Ending, PipePool, Place, Resources, Tap, UnixNanos, forward};
use tokio::sync::oneshot;

/// No step of a test may take longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The peers, and the forwarder between them.
pub(crate) struct Rig {
    pub(crate) client: TcpStream,
    pub(crate) upstream: TcpStream,
    drain: Option<oneshot::Sender<Sender<()>>>,
    forwarder: JoinHandle<Outcome>,
}

/// How it went.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) ending: Ending,
    pub(crate) copied: u64,
    pub(crate) spliced: u64,
    pub(crate) without_pipe: u64,
}

impl Rig {
    pub(crate) fn new(tap: impl Tap + Send + 'static) -> Self {
        Self::with_pipes(tap, 8)
    }

    pub(crate) fn with_pipes(tap: impl Tap + Send + 'static, pipes: usize) -> Self {
        let (client, from_client) = pair();
        let (to_upstream, upstream) = pair();
        let (drain, begin_drain) = oneshot::channel();
        let forwarder = spawn(move || run(from_client, to_upstream, tap, pipes, begin_drain));
        Self { client, upstream, drain: Some(drain), forwarder }
    }

    /// Begins a drain; it has begun when this returns.
    pub(crate) fn drain(&mut self) {
        let (begun, wait) = channel();
        self.drain.take().unwrap().send(begun).unwrap();
        wait.recv_timeout(DEADLINE).unwrap();
    }

    /// Waits for the forwarder, after letting go of the peers.
    pub(crate) fn end(self) -> Outcome {
        drop((self.client, self.upstream));
        self.forwarder.join().unwrap()
    }

    /// Waits for the forwarder, with the peers still there.
    pub(crate) fn ended(self) -> (Outcome, TcpStream, TcpStream) {
        (self.forwarder.join().unwrap(), self.client, self.upstream)
    }
}

fn run(
    client: TcpStream,
    upstream: TcpStream,
    mut tap: impl Tap,
    pipes: usize,
    begin_drain: oneshot::Receiver<Sender<()>>,
) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let resources = Resources::new(Clock::start(), PipePool::with_limit(pipes));
        let drain = Drain::default();
        let [client, upstream] = [client, upstream].map(|stream| {
            stream.set_nonblocking(true).unwrap();
            tokio::net::TcpStream::from_std(stream).unwrap()
        });
        let ending = {
            let forwarding = forward(&client, &upstream, &mut tap, &resources, &drain);
            let draining = async {
                if let Ok(begun) = begin_drain.await {
                    drain.begin();
                    begun.send(()).unwrap();
                }
                std::future::pending::<()>().await;
            };
            tokio::time::timeout(DEADLINE * 4, async {
                tokio::select! { ending = forwarding => ending, () = draining => unreachable!() }
            })
            .await
            .expect("forwarding ends")
        };
        let counters = resources.counters();
        Outcome {
            ending,
            copied: counters.copied.get(),
            spliced: counters.spliced.get(),
            without_pipe: counters.without_pipe.get(),
        }
    })
}

/// A connection over loopback, both ends with a deadline.
pub(crate) fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    for stream in [&one, &other] {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
    }
    (one, other)
}

/// What a tap was told, to be looked at from outside.
#[derive(Debug, Default, Clone)]
pub(crate) struct Told(Arc<Mutex<[Totals; 2]>>);

/// Of one direction, in bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) shown: u64,
    pub(crate) opaque: u64,
    pub(crate) written: u64,
}

impl Told {
    pub(crate) fn totals(&self, direction: Direction) -> Totals {
        self.0.lock().unwrap()[direction as usize]
    }

    pub(crate) fn update(&self, direction: Direction, change: impl FnOnce(&mut Totals)) {
        change(&mut self.0.lock().unwrap()[direction as usize]);
    }
}

/// A tap for a made-up protocol: in each direction heads and long bodies take turns, the sizes following from a seed,
/// and bodies need not be shown.
pub(crate) struct Turns {
    pub(crate) told: Told,
    flows: [Flow; 2],
}

struct Flow {
    random: Random,
    /// Longest body.
    body: u64,
    head_left: u64,
    body_left: u64,
    last: UnixNanos,
}

impl Turns {
    pub(crate) fn new(seed: u64, body: u64) -> Self {
        let flow = |seed| Flow { random: Random(seed), body, head_left: 100, body_left: 0, last: UnixNanos(0) };
        Self { told: Told::default(), flows: [flow(seed | 1), flow(!seed | 1)] }
    }

    fn flow(&mut self, direction: Direction, now: UnixNanos) -> &mut Flow {
        let flow = &mut self.flows[direction as usize];
        assert!(now >= flow.last, "time never goes backwards");
        flow.last = now;
        flow
    }
}

impl Tap for Turns {
    fn on_bytes(&mut self, direction: Direction, now: UnixNanos, bytes: &[u8]) -> u64 {
        self.told.update(direction, |totals| totals.shown += bytes.len() as u64);
        let flow = self.flow(direction, now);
        let mut left = bytes.len() as u64;
        while left > 0 {
            let turn = if flow.head_left > 0 { &mut flow.head_left } else { &mut flow.body_left };
            let passed = left.min(*turn);
            *turn -= passed;
            left -= passed;
            if flow.head_left == 0 && flow.body_left == 0 {
                flow.head_left = 1 + flow.random.below(300);
                flow.body_left = flow.random.below(flow.body);
            }
        }
        if flow.head_left > 0 { 0 } else { flow.body_left }
    }

    fn on_opaque(&mut self, direction: Direction, now: UnixNanos, count: u64) -> u64 {
        self.told.update(direction, |totals| totals.opaque += count);
        let flow = self.flow(direction, now);
        assert!(flow.head_left == 0 && count <= flow.body_left, "never past the end of a run");
        flow.body_left -= count;
        if flow.body_left == 0 {
            flow.head_left = 1 + flow.random.below(300);
            flow.body_left = flow.random.below(flow.body);
            return 0;
        }
        flow.body_left
    }

    fn on_written(&mut self, direction: Direction, now: UnixNanos, count: u64) {
        self.flow(direction, now);
        self.told.update(direction, |totals| {
            totals.written += count;
            assert!(totals.written <= totals.shown + totals.opaque, "written after it was read");
        });
    }

    fn place(&self) -> Option<Place> {
        None
    }
}

/// Numbers that look random and follow from a seed (xorshift64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}
