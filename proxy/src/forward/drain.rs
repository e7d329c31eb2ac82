//! Ending a connection between two messages: nothing that the client was promised gets lost.
//!
//! Reading from the client stops where one of its messages ends. When the answers to all of them have been delivered,
//! the client is told that no more will come, what it sends all the same is read and dropped for a moment (closing a
//! socket with unread input sends a reset, which may overtake the last answer), and the connection is closed. With a
//! tap that cannot tell messages apart, a pause in the traffic takes the place of their end.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::link::Link;
use super::socket::Attempt;
use super::{Ending, Tap};

/// How long the client's last bytes are read and dropped.
const DISCARD: Duration = Duration::from_secs(1);

/// With a tap that does not know its place, so long without a byte passes for the end of a conversation: twice a
/// consumer's default long poll (`fetch.max.wait.ms`).
const QUIET: Duration = Duration::from_secs(1);

/// Tells the connections of a worker that they are to end.
#[derive(Debug, Default)]
pub struct Drain {
    begun: Cell<bool>,
    begin: Notify,
}

impl Drain {
    /// From now on every connection ends at its next opportunity.
    pub fn begin(&self) {
        self.begun.set(true);
        self.begin.notify_waiters();
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun.get()
    }

    pub(super) fn begun(&self) -> impl Future<Output = ()> {
        self.begin.notified()
    }
}

pub(super) async fn finish<T: Tap>(link: &mut Link<'_, T>) -> Ending {
    link.draining = true;
    let moved = |link: &Link<'_, T>| {
        let counters = link.resources.counters();
        (counters.copied.get(), counters.spliced.get())
    };
    let mut quiet = pin!(sleep(QUIET));
    let ended = poll_fn(|cx| {
        let before = moved(link);
        if let Poll::Ready(ending) = link.poll_move(cx) {
            return Poll::Ready(Some(ending));
        }
        match link.tap.place() {
            Some(place) => {
                let between = place.up_rest == 0 && place.down_rest == 0 && place.awaited == 0;
                if between && link.holds_nothing() { Poll::Ready(None) } else { Poll::Pending }
            }
            None => {
                if moved(link) != before || !link.holds_nothing() {
                    quiet.as_mut().reset(Instant::now() + QUIET);
                }
                quiet.as_mut().poll(cx).map(|()| None)
            }
        }
    })
    .await;
    if let Some(ending) = ended {
        return ending;
    }
    Ending::Drained { discarded: discard(link).await }
}

/// Tells the client that nothing more will come, and drops what it sends until it has closed, too. Returns the bytes
/// dropped.
async fn discard<T: Tap>(link: &mut Link<'_, T>) -> u64 {
    let resources = link.resources;
    let mut deadline = pin!(sleep_until(Instant::now() + DISCARD));
    let mut discarded = 0;
    if let Attempt::Failed = link.client().end_writing() {
        return discarded;
    }
    poll_fn(|cx| {
        match link.client().receive(&mut resources.buffer.borrow_mut()) {
            Attempt::Done(count @ 1..) => {
                discarded += count as u64;
                cx.waker().wake_by_ref();
            }
            Attempt::Blocked => {
                if link.client().poll_readable(cx) {
                    cx.waker().wake_by_ref();
                }
            }
            Attempt::Done(_) | Attempt::Failed | Attempt::Unsupported => return Poll::Ready(()),
        }
        deadline.as_mut().poll(cx)
    })
    .await;
    discarded
}
