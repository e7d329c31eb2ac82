//! Moves bytes between two sockets and shows them to a tap as they pass.
//!
//! One connection is one task, both directions in it, polled by hand. Every byte goes out as it came in, in order, and
//! so do half-closes and resets. Nothing here knows what the bytes mean: a [`Tap`] looks at them and answers only how
//! many of the bytes to come nobody needs to see. Long runs of those are spliced from socket to socket through a pipe
//! and never enter this process.
//!
//! Reading stops while the receiver does not keep up (backpressure): at most one read, or one pipe, is held for each
//! direction. An idle connection owns no buffer at all.

mod clock;
mod drain;
mod link;
mod pipes;
mod resources;
mod socket;
mod tcp_info;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Poll, Waker};

use tokio::net::TcpStream;

pub use clock::{Clock, UnixNanos};
pub use drain::Drain;
use link::Link;
pub use pipes::PipePool;
pub use resources::{Counters, READ_BYTES, Resources};
pub use socket::reset_on_close;
pub use tcp_info::{TcpInfo, tcp_info};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the upstream.
    Up,
    /// From the upstream to the client.
    Down,
}

/// An end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// Who connected to us.
    Client,
    /// Whom we connected to.
    Upstream,
}

/// Where the tap stands in the two byte streams. A drain needs it to end a connection between two messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Bytes to come before the message that has begun upwards ends, as far as they are known by now (while only a part
    /// of a length field has passed: its rest). 0: between two messages.
    pub up_rest: u64,
    /// The same downwards.
    pub down_rest: u64,
    /// Messages that went up and whose answer has not come down yet.
    pub awaited: usize,
}

/// Watches one connection. It cannot stop or change what passes.
pub trait Tap {
    /// `bytes` were read at `now`. Returns how many of the bytes to come in this direction need not be shown.
    fn on_bytes(&mut self, direction: Direction, now: UnixNanos, bytes: &[u8]) -> u64;

    /// `count` of the bytes that need not be shown passed unread at `now`. Returns how many are left of them.
    fn on_opaque(&mut self, direction: Direction, now: UnixNanos, count: u64) -> u64;

    /// `count` bytes of this direction were handed to the receiving socket by `now`.
    fn on_written(&mut self, direction: Direction, now: UnixNanos, count: u64);

    /// Where in the streams it is, unless it does not know.
    fn place(&self) -> Option<Place>;
}

/// Why forwarding ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Both sides had nothing more to say, and everything was delivered.
    Finished {
        /// Who had nothing more to say first.
        first: Peer,
    },
    /// One side reset the connection or vanished; the other one has been told by a reset.
    Reset(Peer),
    /// A drain ended it between two messages.
    Drained {
        /// Bytes that the client sent after its last forwarded message and that went nowhere.
        discarded: u64,
    },
}

/// Forwards between `client` and `upstream` until both have ended, or one of them is reset, or a drain completes. Then
/// both are to be closed.
pub async fn forward<T: Tap>(
    client: &TcpStream,
    upstream: &TcpStream,
    tap: &mut T,
    resources: &Resources,
    drain: &Drain,
) -> Ending {
    let ending = {
        let mut link = Link::new(client, upstream, tap, resources);
        let mut draining = pin!(drain.begun());
        let mut waiting = None;
        let ended = poll_fn(|cx| {
            if drain.has_begun() {
                return Poll::Ready(None);
            }
            // Waking is asked for once, not in every turn.
            if !waiting.as_ref().is_some_and(|waker: &Waker| waker.will_wake(cx.waker())) {
                waiting = Some(cx.waker().clone());
                _ = draining.as_mut().poll(cx);
            }
            link.poll(cx).map(Some)
        })
        .await;
        match ended {
            Some(ending) => ending,
            // In a box: what it needs is not kept for it all the time before.
            None => Box::pin(drain::finish(&mut link)).await,
        }
    };
    if let Ending::Reset(by) = ending {
        // Without it the other side would see an orderly end of a stream that was cut.
        reset_on_close(match by {
            Peer::Client => upstream,
            Peer::Upstream => client,
        });
    }
    ending
}
