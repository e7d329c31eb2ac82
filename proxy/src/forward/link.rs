//! The two directions between two sockets, as one state machine.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::net::TcpStream;
use tokio::task::yield_now;

use super::pipes::{PIPE_BYTES, Pipe};
use super::resources::add;
use super::socket::{Attempt, Socket};
use super::{Direction, Ending, Peer, READ_BYTES, Resources, Tap};

/// Shortest opaque run worth splicing, in bytes. Copying wins below: a splice of 64 KiB costs more than its copy.
const SPLICE_FROM: u64 = 128 << 10;

/// Of a run without a known end nobody knows how much is there to be spliced, so a splice has to move this many bytes
/// for the next one to be tried: less, and copying is cheaper.
const BRISK: usize = 64 << 10;

/// The end of a run that is being spliced is spliced down to this many bytes; what is left comes with the next head.
const SPLICE_DOWN_TO: u64 = 32 << 10;

/// Read size, in bytes, at the head of a message when long runs are to be expected: each byte read is a byte copied.
const HEAD_READ_BYTES: usize = 64 << 10;

/// Bytes that one connection may read in each direction before the others of its worker get their turn. A read full of
/// the smallest frames takes some milliseconds.
const TURN_BYTES: usize = READ_BYTES;

/// Bytes that are spliced take so much less time.
const SPLICE_DISCOUNT: usize = 4;

/// Everything that forwarding one connection needs.
pub(super) struct Link<'s, T> {
    client: Socket<'s>,
    upstream: Socket<'s>,
    up: Flow,
    down: Flow,
    pub(super) tap: &'s mut T,
    pub(super) resources: &'s Resources,
    /// Whose end of stream was read first.
    ended_first: Option<Peer>,
    /// Whether upwards reading stops at the next place between two messages.
    pub(super) draining: bool,
}

/// State of one direction.
#[derive(Default)]
struct Flow {
    /// Bytes to come that need not be shown.
    opaque: u64,
    /// The current opaque run is being spliced.
    splicing: bool,
    /// The last move took as much as it could, or much.
    brisk: bool,
    /// The last head was followed by a long run, so the next one is probably, too.
    long_runs: bool,
    /// Read, and not yet taken by the receiver. Not allocated unless the receiver is slow.
    spill: Vec<u8>,
    /// How many bytes of `spill` the receiver has taken.
    spill_sent: usize,
    /// Spliced in, and not yet taken by the receiver.
    pipe: Option<Pipe>,
    stage: Stage,
}

#[derive(Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    /// The sender's end was read; it is passed on when all before it is.
    Ending,
    /// The end was passed on.
    Closed,
}

impl Flow {
    fn holds_bytes(&self) -> bool {
        self.pipe.is_some() || !self.spill.is_empty()
    }

    /// Whether it does not read: its receiver is slow, or its sender has ended.
    fn is_deaf(&self) -> bool {
        self.holds_bytes() || self.stage != Stage::Open
    }

    fn wants_splice(&self) -> bool {
        match self.opaque {
            u64::MAX => self.brisk,
            run => run > if self.splicing { SPLICE_DOWN_TO } else { SPLICE_FROM },
        }
    }
}

impl<'s, T: Tap> Link<'s, T> {
    pub(super) fn new(
        client: &'s TcpStream,
        upstream: &'s TcpStream,
        tap: &'s mut T,
        resources: &'s Resources,
    ) -> Self {
        Self {
            client: Socket::new(client),
            upstream: Socket::new(upstream),
            up: Flow::default(),
            down: Flow::default(),
            tap,
            resources,
            ended_first: None,
            draining: false,
        }
    }

    /// Moves what can be moved, and watches for resets.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        if let Poll::Ready(ending) = self.poll_move(cx) {
            return Poll::Ready(ending);
        }
        // A reset is found by reading or writing. Of a side that is not read from it has to be asked for.
        if self.up.is_deaf() && self.client.has_failed(cx) {
            return Poll::Ready(Ending::Reset(Peer::Client));
        }
        if self.down.is_deaf() && self.upstream.has_failed(cx) {
            return Poll::Ready(Ending::Reset(Peer::Upstream));
        }
        Poll::Pending
    }

    /// Moves what can be moved, and sees to it that the task is woken when there is more to do.
    pub(super) fn poll_move(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let (mut up_turn, mut down_turn) = (TURN_BYTES, TURN_BYTES);
        loop {
            for (direction, turn) in [(Direction::Up, &mut up_turn), (Direction::Down, &mut down_turn)] {
                if let Err(broken) = self.pump(direction, turn) {
                    return Poll::Ready(self.after_failure(direction, broken));
                }
            }
            if self.up.stage == Stage::Closed && self.down.stage == Stage::Closed {
                return Poll::Ready(Ending::Finished { first: self.ended_first.unwrap_or(Peer::Client) });
            }
            if up_turn == 0 || down_turn == 0 {
                // Not woken at once: the sockets of the others are looked at before.
                _ = pin!(yield_now()).poll(cx);
                return Poll::Pending;
            }
            let up = wait(&self.up, &mut self.client, &mut self.upstream, cx);
            let down = wait(&self.down, &mut self.upstream, &mut self.client, cx);
            if !up && !down {
                return Poll::Pending;
            }
        }
    }

    /// Whether nothing that was read still waits for its receiver.
    pub(super) fn holds_nothing(&self) -> bool {
        !self.up.holds_bytes() && !self.down.holds_bytes()
    }

    pub(super) fn client(&mut self) -> &mut Socket<'s> {
        &mut self.client
    }

    /// Moves one direction until its sender has nothing, its receiver takes nothing, or the turn is over. `Err` names
    /// the side that is broken.
    fn pump(&mut self, direction: Direction, turn: &mut usize) -> Result<(), Peer> {
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        let is_last = self.up.stage == Stage::Closed || self.down.stage == Stage::Closed;
        let (flow, source, sink, sender, receiver) = match direction {
            Direction::Up => (&mut self.up, client, upstream, Peer::Client, Peer::Upstream),
            Direction::Down => (&mut self.down, upstream, client, Peer::Upstream, Peer::Client),
        };
        let Resources { buffer, pipes, clock, counters } = self.resources;
        let ended_first = &mut self.ended_first;
        loop {
            while flow.holds_bytes() {
                if !sink.writable {
                    return Ok(());
                }
                let attempt = match &mut flow.pipe {
                    Some(pipe) => sink.splice_from(pipe),
                    None => sink.send(flow.spill.get(flow.spill_sent..).unwrap_or_default()),
                };
                match attempt {
                    Attempt::Done(count) => {
                        self.tap.on_written(direction, clock.now(), count as u64);
                        if flow.pipe.is_none() {
                            flow.spill_sent += count;
                        }
                        flow.release(pipes);
                    }
                    Attempt::Blocked => return Ok(()),
                    Attempt::Failed | Attempt::Unsupported => return Err(receiver),
                }
            }
            match flow.stage {
                Stage::Open => {}
                Stage::Ending => {
                    flow.stage = Stage::Closed;
                    if is_last {
                        // Closing the sockets, which comes now, says the same.
                        return Ok(());
                    }
                    return match sink.end_writing() {
                        Attempt::Failed => Err(receiver),
                        _ => Ok(()),
                    };
                }
                Stage::Closed => return Ok(()),
            }
            if !source.readable || *turn == 0 {
                return Ok(());
            }
            let most = if self.draining && direction == Direction::Up {
                self.tap.place().map_or(u64::MAX, |place| place.up_rest)
            } else {
                u64::MAX
            };
            if most == 0 {
                return Ok(());
            }

            if flow.wants_splice() {
                match pipes.borrow() {
                    Some(mut pipe) => {
                        let attempt = source.splice_into(&mut pipe, at_most(flow.opaque.min(most), PIPE_BYTES));
                        if let Attempt::Done(count @ 1..) = attempt {
                            flow.opaque = self.tap.on_opaque(direction, clock.now(), count as u64);
                            flow.splicing = true;
                            flow.long_runs = true;
                            flow.brisk = count >= BRISK;
                            flow.pipe = Some(pipe);
                            *turn = turn.saturating_sub(count.div_ceil(SPLICE_DISCOUNT));
                            add(&counters.spliced, count);
                            continue;
                        }
                        pipes.give_back(pipe);
                        match attempt {
                            Attempt::Blocked => return Ok(()),
                            Attempt::Failed => return Err(sender),
                            // At the end of the stream, and where it cannot splice: let reading find out.
                            Attempt::Done(_) | Attempt::Unsupported => {}
                        }
                    }
                    None => add(&counters.without_pipe, 1),
                }
            }

            let mut buffer = buffer.borrow_mut();
            let size = if flow.long_runs { HEAD_READ_BYTES } else { READ_BYTES };
            let size = at_most(most, size);
            let read = match source.receive(buffer.get_mut(..size).unwrap_or_default()) {
                Attempt::Done(0) => {
                    ended_first.get_or_insert(sender);
                    flow.stage = Stage::Ending;
                    continue;
                }
                Attempt::Done(count) => count,
                Attempt::Blocked => return Ok(()),
                Attempt::Failed | Attempt::Unsupported => return Err(sender),
            };
            let bytes = buffer.get(..read).unwrap_or_default();
            flow.opaque = self.tap.on_bytes(direction, clock.now(), bytes);
            flow.splicing = false;
            flow.brisk = read == size;
            *turn = turn.saturating_sub(read);
            add(&counters.copied, read);
            if !flow.wants_splice() {
                if read < size {
                    // The queue is empty: another read would only say so.
                    source.not_readable();
                } else if size == HEAD_READ_BYTES {
                    flow.long_runs = false;
                }
            }

            let sent = if sink.writable {
                match sink.send(bytes) {
                    Attempt::Done(count) => count,
                    Attempt::Blocked => 0,
                    Attempt::Failed | Attempt::Unsupported => return Err(receiver),
                }
            } else {
                0
            };
            if sent > 0 {
                self.tap.on_written(direction, clock.now(), sent as u64);
            }
            if let Some(rest @ [_, ..]) = bytes.get(sent..) {
                flow.spill = rest.to_vec();
                flow.spill_sent = 0;
            }
        }
    }

    /// One side is broken: the other one gets what the broken one had sent before, as far as it takes it at once.
    fn after_failure(&mut self, direction: Direction, broken: Peer) -> Ending {
        let from_broken = match broken {
            Peer::Client => Direction::Up,
            Peer::Upstream => Direction::Down,
        };
        if from_broken != direction {
            // Which side fails next does not matter any more.
            _ = self.pump(from_broken, &mut TURN_BYTES.clone());
        }
        Ending::Reset(broken)
    }
}

impl Flow {
    /// Lets go of what held bytes and holds none any more.
    fn release(&mut self, pipes: &super::PipePool) {
        if self.pipe.as_ref().is_some_and(|pipe| pipe.held == 0) {
            self.pipe.take().into_iter().for_each(|pipe| pipes.give_back(pipe));
        }
        if self.pipe.is_none() && self.spill_sent >= self.spill.len() {
            self.spill = Vec::new();
            self.spill_sent = 0;
        }
    }
}

/// A pipe that is lent goes back when its connection ends, however it ends.
impl<T> Drop for Link<'_, T> {
    fn drop(&mut self) {
        for flow in [&mut self.up, &mut self.down] {
            if let Some(pipe) = flow.pipe.take() {
                self.resources.pipes.give_back(pipe);
            }
        }
    }
}

/// Asks for what the direction waits for. True: it has come already.
fn wait(flow: &Flow, source: &mut Socket<'_>, sink: &mut Socket<'_>, cx: &mut Context<'_>) -> bool {
    if flow.holds_bytes() {
        !sink.writable && sink.poll_writable(cx)
    } else {
        flow.stage == Stage::Open && !source.readable && source.poll_readable(cx)
    }
}

fn at_most(count: u64, limit: usize) -> usize {
    usize::try_from(count).map_or(limit, |count| count.min(limit))
}
