//! Capabilities: which are needed for what, and giving up those that are not needed any more.

use rustix::io;
use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// A capability that the probe can use.
#[derive(Debug, Clone, Copy)]
pub struct Capability {
    /// Its name, as in unit files and manifests with `CAP_` before it.
    pub name: &'static str,
    /// What it is needed for.
    pub purpose: &'static str,
    /// Whether it is needed after everything is attached.
    pub kept: bool,
    bit: CapabilitySet,
}

/// All that the probe can use, and no others.
pub const CAPABILITIES: [Capability; 5] = [
    Capability { name: "BPF", purpose: "loading kernel programs", kept: false, bit: CapabilitySet::BPF },
    Capability { name: "PERFMON", purpose: "attaching them to tracepoints", kept: false, bit: CapabilitySet::PERFMON },
    Capability {
        name: "NET_ADMIN",
        purpose: "attaching the program that sees TCP retransmits (sock_ops) to the root cgroup",
        kept: false,
        bit: CapabilitySet::NET_ADMIN,
    },
    Capability {
        name: "SYS_PTRACE",
        purpose: "reading what other users' processes are: open files, environment, mounts, namespaces",
        kept: true,
        bit: CapabilitySet::SYS_PTRACE,
    },
    Capability {
        name: "DAC_READ_SEARCH",
        purpose: "reading their files: the broker's configuration, log directories, the JVM's performance data",
        kept: true,
        bit: CapabilitySet::DAC_READ_SEARCH,
    },
];

impl Capability {
    /// Whether this process may use it.
    #[must_use]
    pub fn is_there(&self) -> bool {
        capabilities(None).is_ok_and(|sets| sets.effective.contains(self.bit))
    }
}

/// Whether this is the user root.
#[must_use]
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// What is left after [`drop_after_attaching`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// What reading processes needs.
    Reading,
    /// `CAP_BPF`, too: this kernel asks for it even to read the maps of programs that are loaded (before 5.19, with
    /// `kernel.unprivileged_bpf_disabled` set).
    ReadingAndBpf,
}

/// Gives up, for good, what is not needed once everything is attached. `maps_are_readable` tries whether the kernel's maps
/// still are. Before any other thread is started: capabilities belong to threads.
///
/// # Errors
/// The system refuses.
pub fn drop_after_attaching(maps_are_readable: impl FnOnce() -> bool) -> io::Result<Kept> {
    let had = capabilities(None)?;
    let reading = CAPABILITIES.iter().filter(|capability| capability.kept);
    let reading = reading.fold(CapabilitySet::empty(), |set, capability| set | capability.bit);
    // Effective first: what is permitted could still be taken back.
    set_capabilities(None, CapabilitySets { effective: had.effective & reading, ..had })?;
    let (keep, kept) = if maps_are_readable() {
        (reading, Kept::Reading)
    } else {
        (reading | CapabilitySet::BPF, Kept::ReadingAndBpf)
    };
    set_capabilities(
        None,
        CapabilitySets {
            effective: had.permitted & keep,
            permitted: had.permitted & keep,
            inheritable: CapabilitySet::empty(),
        },
    )?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_gone_and_the_rest_stays() {
        // A thread of its own: the other tests keep theirs.
        std::thread::spawn(|| {
            let had = capabilities(None).expect("capabilities").permitted;
            assert_eq!(drop_after_attaching(|| true), Ok(Kept::Reading));
            let sets = capabilities(None).expect("capabilities");
            let reading = CapabilitySet::SYS_PTRACE | CapabilitySet::DAC_READ_SEARCH;
            assert_eq!((sets.effective, sets.permitted), (had & reading, had & reading));
            assert!(set_capabilities(None, CapabilitySets { effective: had | CapabilitySet::BPF, ..sets }).is_err());
        })
        .join()
        .expect("no panic");
    }

    #[test]
    fn an_old_kernel_keeps_what_reading_its_maps_needs() {
        std::thread::spawn(|| {
            let had = capabilities(None).expect("capabilities").permitted;
            assert_eq!(drop_after_attaching(|| false), Ok(Kept::ReadingAndBpf));
            let sets = capabilities(None).expect("capabilities");
            assert_eq!(sets.effective.contains(CapabilitySet::BPF), had.contains(CapabilitySet::BPF));
            assert!(!sets.permitted.contains(CapabilitySet::NET_ADMIN | CapabilitySet::PERFMON));
        })
        .join()
        .expect("no panic");
    }
}
