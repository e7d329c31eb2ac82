//! Open files: each connection takes two.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors kept for what is not a connection: listeners, reactors, exporters, the admin server's clients.
const KEPT: u64 = 128;

/// Pipes of a worker, two descriptors each, and its reactor.
const PER_WORKER: u64 = 24;

/// Without any limit, so many descriptors are counted on.
const UNLIMITED: u64 = 1 << 20;

/// Raises the soft limit to the hard one. Returns how many connections that leaves room for.
pub(crate) fn room_for_connections(workers: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum } else { current }.unwrap_or(UNLIMITED).min(UNLIMITED);
    let kept = KEPT.saturating_add(PER_WORKER.saturating_mul(workers as u64)).min(limit / 2);
    usize::try_from((limit - kept) / 2).unwrap_or(usize::MAX).max(1)
}
