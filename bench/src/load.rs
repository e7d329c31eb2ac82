//! The clients: one thread that keeps requests going over some connections.

use std::{
    collections::VecDeque,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;

use crate::{
    cpu::{Accounts, Usage},
    frames::{Exchange, REQUEST_HEAD, RESPONSE_HEAD},
    poll::{Poll, Ready},
    socket::{Inbox, Outbox, Read, ReadBuffer},
};

/// How requests follow each other.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// Each connection keeps so many requests unanswered.
    Closed { in_flight: usize },
    /// So many requests a second over all connections together, whether answered or not.
    Open { per_second: u32 },
}

/// A load over connections that stay.
#[derive(Debug, Clone)]
pub struct Load {
    pub exchange: Exchange,
    pub connections: usize,
    pub pace: Pace,
}

/// What happened in the measuring window.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Window {
    /// Length, in seconds.
    pub seconds: f64,
    /// Requests answered (or connections made and closed).
    pub requests: u64,
    /// Bytes of all their frames, both ways.
    pub bytes: u64,
    /// Time from when each request was due until it was answered, in nanoseconds, ascending.
    #[serde(skip)]
    pub latencies: Vec<u64>,
    /// CPU time used.
    pub usage: Usage,
}

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    pub warm_up: Duration,
    pub window: Duration,
}

struct Connection {
    socket: TcpStream,
    inbox: Inbox<RESPONSE_HEAD>,
    outbox: Outbox,
    /// When the unanswered requests were due.
    due: VecDeque<Instant>,
    next: i32,
}

impl Connection {
    fn request(&mut self, exchange: &Exchange, due: Instant) {
        self.outbox.push(&exchange.request, REQUEST_HEAD, self.next);
        self.next = self.next.wrapping_add(1);
        self.due.push_back(due);
    }
}

/// Applies `load` to `address`; what `accounts` name is charged for the window.
pub fn run(load: &Load, address: SocketAddr, accounts: &Accounts, timing: Timing) -> Result<Window> {
    let mut poll = Poll::new()?;
    let mut connections = Vec::new();
    for token in 0..load.connections {
        let socket = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        poll.add(&socket, token as u64)?;
        connections.push(Connection {
            socket,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            due: VecDeque::new(),
            next: 0,
        });
    }
    let mut clock = Clock::start(timing, load.pace);
    let mut buffer = ReadBuffer::default();
    let mut ready = Vec::new();
    let mut before = None;
    let mut window = Window::default();
    if let Pace::Closed { in_flight } = load.pace {
        for connection in &mut connections {
            let now = Instant::now();
            (0..in_flight).for_each(|_| connection.request(&load.exchange, now));
            connection.outbox.flush(&connection.socket)?;
        }
    }
    loop {
        let now = Instant::now();
        if before.is_none() && now >= clock.measure {
            before = Some((now, accounts.read()?));
            window = Window::default();
            clock.end = now + timing.window;
        }
        if now >= clock.end {
            break;
        }
        while let Some(due) = clock.next_due(now) {
            let connection = &mut connections[clock.turn % load.connections];
            clock.turn += 1;
            connection.request(&load.exchange, due);
            connection.outbox.flush(&connection.socket)?;
        }
        poll.wait(clock.until_next(Instant::now()), &mut ready)?;
        let now = Instant::now();
        for Ready { token, hung_up } in ready.drain(..) {
            let Connection { socket, inbox, outbox, due, next } = &mut connections[token as usize];
            let mut answered = 0;
            let read = inbox.drain(socket, hung_up, &mut buffer, |head, bytes| {
                let [_, _, _, _, a, b, c, d] = *head;
                let expected = next.wrapping_sub(due.len() as i32);
                ensure!(i32::from_be_bytes([a, b, c, d]) == expected, "a response came out of order");
                ensure!(bytes == load.exchange.response.len(), "a response of {bytes} bytes came");
                let due = due.pop_front().context("a response came that was not asked for")?;
                // Requests that were due before the window began are not its own.
                if before.is_none_or(|(start, _)| due >= start || matches!(load.pace, Pace::Closed { .. })) {
                    window.latencies.push(now.saturating_duration_since(due).as_nanos() as u64);
                }
                window.requests += 1;
                window.bytes += load.exchange.bytes();
                answered += 1;
                Ok(())
            })?;
            if read == Read::Closed {
                bail!("a connection was closed under load");
            }
            if matches!(load.pace, Pace::Closed { .. }) {
                for _ in 0..answered {
                    outbox.push(&load.exchange.request, REQUEST_HEAD, *next);
                    *next = next.wrapping_add(1);
                    due.push_back(now);
                }
            }
            outbox.flush(socket)?;
        }
    }
    let (start, usage) = before.context("the window never began")?;
    if matches!(load.pace, Pace::Open { .. }) {
        // What a stalled proxy still holds has waited at least until now.
        let now = Instant::now();
        let waiting = connections.iter().flat_map(|connection| &connection.due).filter(|due| **due >= start);
        window.latencies.extend(waiting.map(|due| now.saturating_duration_since(*due).as_nanos() as u64));
    }
    finish(&mut window, start, usage, accounts)?;
    Ok(window)
}

/// Makes connections, one exchange each, and closes them, eight at a time.
pub fn run_connections(
    exchange: &Exchange,
    address: SocketAddr,
    accounts: &Accounts,
    timing: Timing,
) -> Result<Window> {
    const AT_ONCE: usize = 8;
    let mut clock = Clock::start(timing, Pace::Closed { in_flight: 1 });
    let mut before = None;
    let mut window = Window::default();
    let mut answer = vec![0; exchange.response.len()];
    loop {
        let now = Instant::now();
        if before.is_none() && now >= clock.measure {
            before = Some((now, accounts.read()?));
            window = Window::default();
            clock.end = now + timing.window;
        }
        if now >= clock.end {
            break;
        }
        let mut sockets = Vec::with_capacity(AT_ONCE);
        for _ in 0..AT_ONCE {
            let started = Instant::now();
            let mut socket = TcpStream::connect(address).context("connecting")?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(Duration::from_secs(10)))?;
            socket.write_all(&exchange.request)?;
            sockets.push((socket, started));
        }
        for (mut socket, started) in sockets {
            socket.read_exact(&mut answer).context("waiting for the answer on a new connection")?;
            window.latencies.push(started.elapsed().as_nanos() as u64);
            window.requests += 1;
            window.bytes += exchange.bytes();
        }
    }
    let (start, usage) = before.context("the window never began")?;
    finish(&mut window, start, usage, accounts)?;
    Ok(window)
}

/// Opens `count` connections and does one exchange on each, so that they look like a client's that is now idle.
pub fn open_idle(exchange: &Exchange, address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let mut answer = vec![0; exchange.response.len()];
    (0..count)
        .map(|number| {
            let mut socket = TcpStream::connect(address).with_context(|| format!("idle connection {number}"))?;
            socket.set_read_timeout(Some(Duration::from_secs(10)))?;
            socket.write_all(&exchange.request)?;
            socket.read_exact(&mut answer).with_context(|| format!("first answer on idle connection {number}"))?;
            Ok(socket)
        })
        .collect()
}

fn finish(window: &mut Window, start: Instant, before: Usage, accounts: &Accounts) -> Result<()> {
    window.usage = accounts.read()?.since(before);
    window.seconds = start.elapsed().as_secs_f64();
    window.latencies.sort_unstable();
    ensure!(window.requests > 0, "nothing was answered in {:.1} s", window.seconds);
    Ok(())
}

/// When the window begins and ends, and when requests of an open loop are due.
struct Clock {
    measure: Instant,
    end: Instant,
    due: Option<(Instant, Duration)>,
    turn: usize,
}

impl Clock {
    fn start(timing: Timing, pace: Pace) -> Self {
        let now = Instant::now();
        let measure = now + timing.warm_up;
        let due = match pace {
            Pace::Closed { .. } => None,
            Pace::Open { per_second } => Some((now, Duration::from_secs(1) / per_second)),
        };
        Self { measure, end: measure + timing.window, due, turn: 0 }
    }

    fn next_due(&mut self, now: Instant) -> Option<Instant> {
        let (due, interval) = self.due.as_mut()?;
        (*due <= now).then(|| std::mem::replace(due, *due + *interval))
    }

    fn until_next(&self, now: Instant) -> Duration {
        let end = self.end.saturating_duration_since(now).min(Duration::from_millis(10));
        self.due.map_or(end, |(due, _)| due.saturating_duration_since(now).min(end))
    }
}
