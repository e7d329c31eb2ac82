//! One socket of a connection: raw, non-blocking calls, and what tokio has to be told about their outcome.

use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown, sockopt};
use rustix::pipe::{SpliceFlags, splice};
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;

use super::pipes::Pipe;

/// Outcome of a call that may have to wait.
pub(super) enum Attempt {
    /// So many bytes.
    Done(usize),
    /// Not now.
    Blocked,
    /// The connection is broken.
    Failed,
    /// The kernel does not splice here.
    Unsupported,
}

/// A socket and whether a call on it may succeed. The flags save a system call; they begin as true because trying is
/// cheaper than asking.
pub(super) struct Socket<'s> {
    pub(super) stream: &'s TcpStream,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// Becomes ready when the connection is broken; made when that is asked for first.
    failure: Option<Failure<'s>>,
}

type Failure<'s> = Pin<Box<dyn Future<Output = io::Result<Ready>> + 's>>;

impl<'s> Socket<'s> {
    pub(super) fn new(stream: &'s TcpStream) -> Self {
        Self { stream, readable: true, writable: true, failure: None }
    }

    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Attempt {
        let outcome = retry(|| recv(self.stream, &mut *buffer, RecvFlags::DONTWAIT).map(|(_, count)| count));
        self.after_reading(outcome)
    }

    pub(super) fn splice_into(&mut self, pipe: &mut Pipe, most: usize) -> Attempt {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let outcome = retry(|| splice(self.stream, None, &pipe.writer, None, most, flags));
        if let Ok(count) = outcome {
            pipe.held += count;
        }
        self.after_reading(outcome)
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Attempt {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let outcome = retry(|| send(self.stream, bytes, flags));
        if matches!(outcome, Ok(count) if count < bytes.len()) {
            self.not_writable();
        }
        self.after_writing(outcome)
    }

    pub(super) fn splice_from(&mut self, pipe: &mut Pipe) -> Attempt {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let outcome = retry(|| splice(&pipe.reader, None, self.stream, None, pipe.held, flags));
        if let Ok(count) = outcome {
            pipe.held = pipe.held.saturating_sub(count);
        }
        self.after_writing(outcome)
    }

    /// Passes an end of stream on. Fails when the connection is broken.
    pub(super) fn end_writing(&self) -> Attempt {
        match shutdown(self.stream, Shutdown::Write) {
            Ok(()) => Attempt::Done(0),
            Err(_) => Attempt::Failed,
        }
    }

    /// There is nothing more to read now. Has to be said before the reactor runs again, else an event that comes in
    /// between is taken for the old one and lost.
    pub(super) fn not_readable(&mut self) {
        self.readable = false;
        forget(self.stream, Interest::READABLE);
    }

    pub(super) fn not_writable(&mut self) {
        self.writable = false;
        forget(self.stream, Interest::WRITABLE);
    }

    /// Whether it is readable after all; if not, the task will be woken when it is.
    pub(super) fn poll_readable(&mut self, cx: &mut Context<'_>) -> bool {
        // An error of readiness itself (the reactor is going away) shows again in the next call.
        self.readable = matches!(self.stream.poll_read_ready(cx), Poll::Ready(_));
        self.readable
    }

    pub(super) fn poll_writable(&mut self, cx: &mut Context<'_>) -> bool {
        self.writable = matches!(self.stream.poll_write_ready(cx), Poll::Ready(_));
        self.writable
    }

    /// Whether its peer has reset it; if not, the task will be woken when it does.
    pub(super) fn has_failed(&mut self, cx: &mut Context<'_>) -> bool {
        let stream = self.stream;
        let failure = self.failure.get_or_insert_with(|| Box::pin(stream.ready(Interest::ERROR)));
        failure.as_mut().poll(cx).is_ready()
    }

    fn after_reading(&mut self, outcome: Result<usize, Errno>) -> Attempt {
        match outcome {
            Ok(count) => Attempt::Done(count),
            Err(Errno::AGAIN) => {
                self.not_readable();
                Attempt::Blocked
            }
            Err(Errno::INVAL) => Attempt::Unsupported,
            Err(_) => Attempt::Failed,
        }
    }

    fn after_writing(&mut self, outcome: Result<usize, Errno>) -> Attempt {
        match outcome {
            // Neither call takes nothing of something.
            Ok(0) => Attempt::Failed,
            Ok(count) => Attempt::Done(count),
            Err(Errno::AGAIN) => {
                self.not_writable();
                Attempt::Blocked
            }
            Err(_) => Attempt::Failed,
        }
    }
}

/// Closing `socket` will tell its peer with a reset, and drop what was not delivered, as a peer's reset does.
pub fn reset_on_close(socket: impl AsFd) {
    // A socket that is not connected any more has nobody to tell.
    _ = sockopt::set_socket_linger(socket, Some(std::time::Duration::ZERO));
}

fn forget(stream: &TcpStream, interest: Interest) {
    // The answer is the error that was put in.
    _ = stream.try_io(interest, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
}

fn retry(mut call: impl FnMut() -> Result<usize, Errno>) -> Result<usize, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            outcome => return outcome,
        }
    }
}
