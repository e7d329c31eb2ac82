//! What is sampled, and how well.

use std::collections::BTreeMap;
use std::fmt;

use super::attach::{Loaded, Refusal};
use crate::sock_diag::{LISTENING, SockDiag};

/// Whether a sampler works, in words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It does.
    On {
        /// By which hooks.
        method: String,
    },
    /// It does in part.
    Degraded {
        /// What is missing, and why.
        why: String,
    },
    /// It does not.
    Off {
        /// Why.
        why: String,
    },
}

/// A sampler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sampler {
    /// `page_cache`, `disk`, `disk_queue`, `fsync`, `tcp` or `sock_diag`.
    pub name: &'static str,
    /// How it is.
    pub state: State,
}

impl State {
    /// Whether it says anything at all.
    #[must_use]
    pub fn works(&self) -> bool {
        !matches!(self, Self::Off { .. })
    }

    pub(super) fn on(method: impl Into<String>) -> Self {
        Self::On { method: method.into() }
    }

    pub(super) fn off(why: impl fmt::Display) -> Self {
        Self::Off { why: why.to_string() }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On { method } => write!(f, "on ({method})"),
            Self::Degraded { why } => write!(f, "degraded: {why}"),
            Self::Off { why } => write!(f, "off: {why}"),
        }
    }
}

/// Which samplers are off or degraded against the will of who runs the probe, by the reason.
pub(crate) fn lacking(samplers: &[Sampler]) -> BTreeMap<&str, Vec<&'static str>> {
    let unwanted = Refusal::Unwanted.to_string();
    let mut lacking: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for sampler in samplers {
        if let State::Degraded { why } | State::Off { why } = &sampler.state
            && *why != unwanted
        {
            lacking.entry(why).or_default().push(sampler.name);
        }
    }
    lacking
}

/// What reads ask for, and by which function on kernels that do not tell.
const READS: &str = "mm_filemap_get_pages";
const READ_FUNCTIONS: [&str; 2] = ["filemap_read", "generic_file_buffered_read"];

/// The page cache. Whether it is seen what reads ask for.
pub(super) fn page_cache(loaded: &mut Loaded) -> (State, bool) {
    if let Err(refusal) = loaded.typed("page_cache_add", "page_cache_add_raw", "mm_filemap_add_to_page_cache") {
        return (State::off(refusal), false);
    }
    let by_tracepoint = match loaded.typed("page_cache_get", "page_cache_get_raw", READS) {
        Ok(()) => return (State::on(format!("{READS}, mm_filemap_add_to_page_cache")), true),
        Err(refusal) => refusal,
    };
    let Some(function) = READ_FUNCTIONS.into_iter().find(|name| loaded.btf.has_function(name)) else {
        let why = format!("pages added are counted, pages asked for are not: {by_tracepoint}");
        return (State::Degraded { why }, false);
    };
    match loaded.on_return("page_cache_read", function) {
        Ok(()) => (State::on(format!("return of {function}, mm_filemap_add_to_page_cache")), true),
        Err(refusal) => {
            let why = format!("pages added are counted, pages asked for are not: {by_tracepoint}; {refusal}");
            (State::Degraded { why }, false)
        }
    }
}

/// Disks: service and queue.
pub(super) fn disk(loaded: &mut Loaded) -> (State, State) {
    // From the end to the beginning, or a request might be seen to begin and not to end.
    let service = loaded
        .typed("disk_complete", "disk_complete_raw", "block_rq_complete")
        .and_then(|()| loaded.typed("disk_issue", "disk_issue_raw", "block_rq_issue"));
    if let Err(refusal) = service {
        for program in ["disk_complete", "disk_complete_raw"] {
            loaded.unload(program);
        }
        return (State::off(&refusal), State::off(refusal));
    }
    let queue = if loaded.btf.offset("request", "start_time_ns").is_some() {
        State::on("start_time_ns of the request to block_rq_issue, of disks with queue/iostats 1")
    } else {
        State::off(Refusal::NoHook("request.start_time_ns"))
    };
    (State::on("block_rq_issue to block_rq_complete"), queue)
}

/// fsync and fdatasync.
pub(super) fn fsync(loaded: &mut Loaded) -> State {
    let attached = loaded
        .on_calls("fsync_exit", &["sys_exit_fsync", "sys_exit_fdatasync"])
        .and_then(|()| loaded.on_calls("fsync_enter", &["sys_enter_fsync"]))
        .and_then(|()| loaded.on_calls("fdatasync_enter", &["sys_enter_fdatasync"]));
    match attached {
        Ok(()) => State::on("tracepoints of the system calls fsync and fdatasync"),
        Err(refusal) => {
            for program in ["fsync_enter", "fdatasync_enter", "fsync_exit"] {
                loaded.unload(program);
            }
            State::off(refusal)
        }
    }
}

/// Connections that begin from now on.
pub(super) fn tcp(loaded: &mut Loaded) -> State {
    // Without the first, connections that have ended would fill the map.
    let followed = loaded.raw("tcp_destroyed", "tcp_destroy_sock").and_then(|()| loaded.on_sockets("tcp_events"));
    if let Err(refusal) = followed {
        loaded.unload("tcp_destroyed");
        return State::off(refusal);
    }
    let others: [(&str, Result<(), Refusal>); 3] = [
        ("resets received", loaded.raw("tcp_reset_received", "tcp_receive_reset")),
        ("resets sent", loaded.raw("tcp_reset_sent", "tcp_send_reset")),
        ("repeated answers to connects", loaded.raw("tcp_answer_again", "tcp_retransmit_synack")),
    ];
    let missing: Vec<_> = others.iter().filter_map(|(what, of)| of.as_ref().err().map(|why| (what, why))).collect();
    if missing.is_empty() {
        return State::on("sock_ops at the root cgroup");
    }
    let missing: Vec<_> = missing.iter().map(|(what, why)| format!("{what} are not seen: {why}")).collect();
    State::Degraded { why: missing.join("; ") }
}

/// Connections older than the programs. It needs none, but belongs to what is said of TCP.
pub(super) fn sock_diag() -> Sampler {
    let asked = SockDiag::open().and_then(|mut diag| diag.sockets(LISTENING, None));
    let state = match asked {
        Ok(_) => State::on("netlink, for connections that the programs do not follow"),
        Err(error) => State::off(error),
    };
    Sampler { name: "sock_diag", state }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samplers_that_lack_the_same_are_told_together_and_unwanted_ones_not_at_all() {
        let sampler = |name, state| Sampler { name, state };
        let samplers = [
            sampler("page_cache", State::Degraded { why: "half".to_owned() }),
            sampler("disk", State::off("no BTF")),
            sampler("disk_queue", State::off("no BTF")),
            sampler("fsync", State::off(Refusal::Unwanted)),
            sampler("tcp", State::on("sock_ops")),
        ];
        let expected = BTreeMap::from([("half", vec!["page_cache"]), ("no BTF", vec!["disk", "disk_queue"])]);
        assert_eq!(lacking(&samplers), expected);
    }
}
