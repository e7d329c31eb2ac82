//! A worker: one thread, one runtime, and everything that its connections share.
//!
//! A connection spends its whole life on one worker, so nothing of it needs a lock.

use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};

use crate::acceptor::Accepted;
use crate::connection;
use crate::forward::{Clock, Drain, PipePool, Resources};
use crate::rate_limit::RateLimit;

/// What a worker may be told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Forward this connection.
    Serve(Accepted),
    /// Let every connection end at its next opportunity.
    Drain,
}

/// Events of the whole process since its start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Connections closed because as many lived as may.
    pub(crate) over_limit: AtomicU64,
    /// Failures to accept.
    pub(crate) accept_failed: AtomicU64,
    /// Failures to connect to an upstream.
    pub(crate) connect_failed: AtomicU64,
    /// Bytes that clients sent during a drain after their last forwarded message.
    pub(crate) discarded: AtomicU64,
}

/// What the connections of a worker share.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) resources: Resources,
    pub(crate) drain: Drain,
    pub(crate) connect_timeout: Duration,
    pub(crate) counts: Arc<Counts>,
    pub(crate) connect_failed: RateLimit,
}

/// A worker's thread. It ends when its sender is dropped, and cuts the connections that still live.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) thread: JoinHandle<()>,
}

/// Starts the worker with this number.
pub(crate) fn start(number: usize, clock: Clock, connect_timeout: Duration, counts: Arc<Counts>) -> io::Result<Handle> {
    let (commands, receiver) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        // Host names are resolved on threads of their own.
        .max_blocking_threads(4)
        .build()?;
    let thread = Builder::new().name(format!("worker-{number}")).spawn(move || {
        let worker = Rc::new(Worker {
            resources: Resources::new(clock, PipePool::default()),
            drain: Drain::default(),
            connect_timeout,
            counts,
            connect_failed: RateLimit::default(),
        });
        let connections = LocalSet::new();
        connections.block_on(&runtime, obey(receiver, worker));
        drop(connections);
        // A resolver that hangs must not hold up the end.
        runtime.shutdown_background();
    })?;
    Ok(Handle { commands, thread })
}

fn obey(mut commands: mpsc::UnboundedReceiver<Command>, worker: Rc<Worker>) -> impl Future<Output = ()> {
    async move {
        while let Some(command) = commands.recv().await {
            match command {
                Command::Serve(accepted) => {
                    spawn_local(connection::serve(accepted, Rc::clone(&worker)));
                }
                Command::Drain => worker.drain.begin(),
            }
        }
    }
}
