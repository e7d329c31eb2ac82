//! Kernel pipes for splicing, owned by a worker and lent to a direction only while it holds bytes.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

/// Capacity of a pipe in bytes: a quarter of it costs a fifth more CPU for each byte, and without privilege more than
/// this is not granted (`fs.pipe-max-size`).
pub(super) const PIPE_BYTES: usize = 1 << 20;

/// Pipes of a worker. All users but root may have 64 pipes of this size together (`fs.pipe-user-pages-soft`); the
/// next ones would shrink to two pages.
const PIPES: usize = 8;

/// A pipe and what is in it.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) reader: OwnedFd,
    pub(super) writer: OwnedFd,
    pub(super) held: usize,
}

/// The pipes of one worker.
#[derive(Debug)]
pub struct PipePool {
    idle: RefCell<Vec<Pipe>>,
    /// How many exist: idle and lent.
    count: Cell<usize>,
    limit: usize,
}

impl Default for PipePool {
    fn default() -> Self {
        Self::with_limit(PIPES)
    }
}

impl PipePool {
    /// A pool of at most `limit` pipes; with 0 everything is copied.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self { idle: RefCell::default(), count: Cell::new(0), limit }
    }

    /// An empty pipe, unless all are lent or the kernel grants none of full size. Then the caller copies.
    pub(super) fn borrow(&self) -> Option<Pipe> {
        if let Some(pipe) = self.idle.borrow_mut().pop() {
            return Some(pipe);
        }
        if self.count.get() >= self.limit {
            return None;
        }
        let pipe = create()?;
        self.count.set(self.count.get() + 1);
        Some(pipe)
    }

    /// Takes a pipe back. One that still holds bytes of a connection is closed: nobody else may ever read them.
    pub(super) fn give_back(&self, pipe: Pipe) {
        if pipe.held == 0 {
            self.idle.borrow_mut().push(pipe);
        } else {
            self.count.set(self.count.get().saturating_sub(1));
        }
    }
}

fn create() -> Option<Pipe> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
    fcntl_setpipe_size(&writer, PIPE_BYTES).ok()?;
    // Over the user's quota the call may succeed with less, and a small pipe is slower than copying.
    (fcntl_getpipe_size(&writer).ok()? >= PIPE_BYTES).then_some(Pipe { reader, writer, held: 0 })
}
