//! A worker: one thread, one runtime, one telemetry shard, and everything else that its connections share.
//!
//! A connection spends its whole life on one worker, so nothing of it needs a lock.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use kafkascope_protocol::{CaptureBudget, Timestamp};
use kafkascope_service::RateLimit;
use kafkascope_telemetry::{Delta, Dictionary, Shard};
use tokio::io::unix::AsyncFd;
use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, spawn_local, yield_now};

use crate::acceptor::{Accepted, Acceptor};
use crate::connection;
use crate::forward::{Clock, Drain, PipePool, Resources};
use crate::lane::Lane;
use crate::sockets::Lookout;

/// What a worker may be told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Accept on this listener, for all workers. Answers whether that is possible.
    Accept(Acceptor, TcpListener, Arc<Lane>, oneshot::Sender<io::Result<()>>),
    /// Close all listeners. Answers when they are closed.
    StopAccepting(oneshot::Sender<()>),
    /// Forward this connection.
    Serve(Accepted),
    /// Answer with what was counted since the last time.
    Collect(oneshot::Sender<Delta>),
    /// Let every connection end at its next opportunity.
    Drain,
}

/// What the connections of a worker share.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) resources: Resources,
    pub(crate) shard: RefCell<Shard>,
    pub(crate) captures: CaptureBudget,
    pub(crate) lookout: Lookout,
    pub(crate) drain: Drain,
    pub(crate) connect_timeout: Duration,
    pub(crate) connect_failed: RateLimit,
    pub(crate) lost_sync: RateLimit,
    /// Bytes that clients sent during a drain after their last forwarded message.
    pub(crate) discarded: Cell<u64>,
}

/// What a worker leaves.
#[derive(Debug)]
pub(crate) struct Legacy {
    /// What it counted since it was last asked.
    pub(crate) delta: Delta,
    /// Bytes that clients sent during the drain after their last forwarded message.
    pub(crate) discarded: u64,
}

impl Worker {
    /// What was counted since the last time. Connections get their turns meanwhile.
    async fn collect(&self) -> Delta {
        self.lookout.begin(self.now());
        while !self.lookout.look_at_some(&mut self.shard.borrow_mut()) {
            yield_now().await;
        }
        let mut draining = self.shard.borrow_mut().begin_drain(self.now());
        while !self.shard.borrow_mut().drain_some(&mut draining) {
            yield_now().await;
        }
        draining.delta
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.resources.clock().now().0)
    }
}

/// A worker's thread. It ends when its sender is dropped, cuts the connections that still live, and leaves a
/// [`Legacy`].
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) thread: JoinHandle<io::Result<Legacy>>,
}

/// Starts the worker with this number.
pub(crate) fn start(
    number: usize,
    clock: Clock,
    connect_timeout: Duration,
    dictionary: Arc<Dictionary>,
) -> io::Result<Handle> {
    let (commands, receiver) = mpsc::unbounded_channel();
    let (started, start) = std::sync::mpsc::channel();
    let thread = Builder::new().name(format!("worker-{number}")).spawn(move || {
        // It cannot leave its thread, so the thread makes it.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            // Host names are resolved on threads of their own.
            .max_blocking_threads(4)
            .build_local(LocalOptions::default())?;
        // Whoever asked is waiting.
        _ = started.send(());
        let worker = Rc::new(Worker {
            resources: Resources::new(clock, PipePool::default()),
            shard: RefCell::new(Shard::new(dictionary, Timestamp(clock.now().0))),
            captures: CaptureBudget::default(),
            lookout: Lookout::default(),
            drain: Drain::default(),
            connect_timeout,
            connect_failed: RateLimit::default(),
            lost_sync: RateLimit::default(),
            discarded: Cell::new(0),
        });
        runtime.block_on(obey(receiver, Rc::clone(&worker)));
        // Cuts what still lives. A resolver that hangs must not hold up the end.
        runtime.shutdown_background();
        let delta = worker.shard.borrow_mut().drain(worker.now());
        Ok(Legacy { delta, discarded: worker.discarded.get() })
    })?;
    match start.recv() {
        Ok(()) => Ok(Handle { commands, thread }),
        // It ended instead.
        Err(_) => Err(match thread.join() {
            Ok(Err(error)) => error,
            _ => io::Error::other("a worker ended as it started"),
        }),
    }
}

async fn obey(mut commands: mpsc::UnboundedReceiver<Command>, worker: Rc<Worker>) {
    let mut accepting = JoinSet::new();
    while let Some(command) = commands.recv().await {
        match command {
            Command::Accept(acceptor, listener, lane, answer) => {
                #[expect(
                    deprecated,
                    reason = "its unsafe successor wants a promise that std's listener keeps: the descriptor stays open"
                )]
                let listener = AsyncFd::new(listener);
                let accepts = listener.map(|listener| {
                    accepting.spawn_local(acceptor.run(listener, lane, Rc::clone(&worker)));
                });
                // Whoever asked is waiting.
                _ = answer.send(accepts);
            }
            Command::StopAccepting(answer) => {
                accepting.shutdown().await;
                _ = answer.send(());
            }
            Command::Serve(accepted) => {
                spawn_local(connection::serve(accepted, Rc::clone(&worker)));
            }
            Command::Collect(answer) => {
                // A round is never given up half-way, unless the process is told twice to stop.
                _ = answer.send(worker.collect().await);
            }
            Command::Drain => worker.drain.begin(),
        }
    }
}
