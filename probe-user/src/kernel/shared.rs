//! Types of the kernel programs, wrapped so that maps may hold them.

use aya::Pod;
use kafkascope_probe_ebpf::{
    DiskKey, DiskTimes, Event, FileKey, FilePages, FsyncKey, Histogram, Offsets, Peer, PeerKey, Port, Process,
    Settings, Socket,
};

/// A value as the kernel programs have it.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(super) struct Shared<T>(pub(super) T);

macro_rules! plain {
    ($($name:ty),*) => {
        $(
            // SAFETY: integers and arrays of them in C layout, without padding, so any bytes are a valid value.
            unsafe impl Pod for Shared<$name> {}
            // Padding would make the sizes differ; all fields are multiples of what they are aligned to.
            const _: () = assert!(size_of::<$name>() % align_of::<$name>() == 0);
        )*
    };
}
plain!(
    DiskKey, DiskTimes, Event, FileKey, FilePages, FsyncKey, Histogram, Offsets, Peer, PeerKey, Port, Process,
    Settings, Socket
);
