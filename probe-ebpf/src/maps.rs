//! The maps. Their sizes here are placeholders: user space sets them before it loads.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf};
use kafkascope_probe_ebpf::{
    DiskKey, DiskTimes, Event, FileKey, FilePages, FsyncCall, FsyncKey, Histogram, Peer, PeerKey, Port, Process,
    REQUEST_PLACES, Request, Socket, Thread, bucket, control, lost, made,
};

/// Processes that are watched, with what they did.
#[map]
pub(crate) static PROCESSES: PerCpuHashMap<u32, Process> = PerCpuHashMap::with_max_entries(1, 0);
/// Files, with what watched processes did with them.
#[map]
pub(crate) static FILES: LruHashMap<FileKey, FilePages> = LruHashMap::with_max_entries(1, 0);
/// Threads that read, by their id.
#[map]
pub(crate) static THREADS: LruHashMap<u32, Thread> = LruHashMap::with_max_entries(1, 0);

/// Requests in flight, each in the place that its address gives it.
#[map]
pub(crate) static REQUESTS: Array<Request> = Array::with_max_entries(REQUEST_PLACES, 0);
/// Those that found their place taken, by their address.
#[map]
pub(crate) static MORE_REQUESTS: HashMap<u64, Request> = HashMap::with_max_entries(1, 0);
/// How long they took.
#[map]
pub(crate) static DISKS: HashMap<DiskKey, DiskTimes> = HashMap::with_max_entries(1, 0);

/// The call that each thread is in, or was.
#[map]
pub(crate) static FSYNC_CALLS: LruHashMap<u32, FsyncCall> = LruHashMap::with_max_entries(1, 0);
/// By process.
#[map]
pub(crate) static FSYNC_PROCESSES: HashMap<FsyncKey, Histogram> = HashMap::with_max_entries(1, 0);
/// By file.
#[map]
pub(crate) static FSYNC_FILES: LruHashMap<FileKey, Histogram> = LruHashMap::with_max_entries(1, 0);

/// Ports that watched processes listen on.
#[map]
pub(crate) static PORTS: HashMap<Port, u32> = HashMap::with_max_entries(1, 0);
/// Connections that are seen from their beginning, by cookie. Not LRU: one that does not fit is left to sock_diag.
#[map]
pub(crate) static SOCKETS: HashMap<u64, Socket> = HashMap::with_max_entries(1, 0);
/// Peers.
#[map]
pub(crate) static PEERS: LruHashMap<PeerKey, Peer> = LruHashMap::with_max_entries(1, 0);

/// For user space, see [`Event`].
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);
/// What did not fit, see [`lost`].
#[map]
pub(crate) static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(lost::COUNT, 0);
/// See [`made`].
#[map]
pub(crate) static MADE: PerCpuArray<u64> = PerCpuArray::with_max_entries(made::COUNT, 0);
/// See [`control`].
#[map]
pub(crate) static CONTROLS: Array<u64> = Array::with_max_entries(control::COUNT, 0);

/// Fresh entries, too large for the stack.
#[map]
static NO_HISTOGRAM: Array<Histogram> = Array::with_max_entries(1, 0);
/// As above.
#[map]
static NO_DISK: Array<DiskTimes> = Array::with_max_entries(1, 0);
/// As above.
#[map]
static NO_PEER: Array<Peer> = Array::with_max_entries(1, 0);
/// As above.
#[map]
static NO_THREAD: Array<Thread> = Array::with_max_entries(1, 0);

/// Adds to a counter that other processors may be adding to.
#[inline(always)]
pub(crate) fn add(counter: &mut u64, amount: u64) {
    // SAFETY: the counter is in a map, aligned, and is never read here.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, amount) };
}

#[inline(always)]
pub(crate) fn lose(sampler: u32) {
    if let Some(counter) = LOST.get_ptr_mut(sampler) {
        // SAFETY: the pointer is to this processor's value, and was checked.
        add(unsafe { &mut *counter }, 1);
    }
}

#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper has no conditions.
    unsafe { bpf_ktime_get_ns() }
}

/// Process and thread that run.
#[inline(always)]
pub(crate) fn current() -> (u32, u32) {
    let both = bpf_get_current_pid_tgid();
    ((both >> 32) as u32, both as u32)
}

/// This processor's counters of a process, if it is watched.
#[inline(always)]
pub(crate) fn watched<'a>(tgid: u32) -> Option<&'a mut Process> {
    // SAFETY: what the map returns is its value, which lives until the program ends.
    PROCESSES.get_ptr_mut(tgid).map(|process| unsafe { &mut *process })
}

/// Records a duration in a histogram that was found or made.
#[inline(always)]
pub(crate) fn record(histogram: &mut Histogram, duration_ns: u64) {
    add(&mut histogram.sum_ns, duration_ns);
    // The compiler knows that it is within, and would leave out the check that tells the verifier so.
    let index = core::hint::black_box(bucket(duration_ns));
    if let Some(bucket) = histogram.buckets.get_mut(index) {
        add(bucket, 1);
    }
}

macro_rules! entry {
    ($name:ident, $map:ident, $value:ty, $fresh:ident $(, $made:expr)?) => {
        /// The entry for `key`, made if it is not there; nothing if it does not fit.
        #[inline(always)]
        pub(crate) fn $name<'a, K>(map: &$map<K, $value>, key: &K) -> Option<&'a mut $value> {
            if let Some(there) = map.get_ptr_mut(key) {
                // SAFETY: what the map returns is its value, which lives until the program ends.
                return Some(unsafe { &mut *there });
            }
            let fresh = $fresh.get(0)?;
            // Another processor may have been faster, which is as good.
            let _is_made = map.insert(key, fresh, u64::from(aya_ebpf::bindings::BPF_NOEXIST)).is_ok();
            $(
                if _is_made && let Some(counter) = MADE.get_ptr_mut($made) {
                    // SAFETY: the pointer is to this processor's value, and was checked.
                    add(unsafe { &mut *counter }, 1);
                }
            )?
            // SAFETY: as above.
            let made = unsafe { &mut *map.get_ptr_mut(key)? };
            if made.since_ns == 0 {
                made.since_ns = now();
            }
            Some(made)
        }
    };
}
entry!(histogram, HashMap, Histogram, NO_HISTOGRAM);
entry!(histogram_lru, LruHashMap, Histogram, NO_HISTOGRAM, made::FSYNC_FILES);
entry!(disk, HashMap, DiskTimes, NO_DISK);
entry!(peer, LruHashMap, Peer, NO_PEER, made::PEERS);

/// What a thread is reading; nothing only if memory is short.
#[inline(always)]
pub(crate) fn thread<'a>(tid: u32) -> Option<&'a mut Thread> {
    if let Some(there) = THREADS.get_ptr_mut(tid) {
        // SAFETY: what the map returns is its value, which lives until the program ends.
        return Some(unsafe { &mut *there });
    }
    let _made = THREADS.insert(tid, NO_THREAD.get(0)?, 0).is_ok();
    // SAFETY: as above.
    THREADS.get_ptr_mut(tid).map(|made| unsafe { &mut *made })
}

/// The counters of a file; nothing only if memory is short.
#[inline(always)]
pub(crate) fn file<'a>(key: &FileKey) -> Option<&'a mut FilePages> {
    if let Some(there) = FILES.get_ptr_mut(key) {
        // SAFETY: what the map returns is its value, which lives until the program ends.
        return Some(unsafe { &mut *there });
    }
    let fresh = FilePages { since_ns: now(), ..FilePages::default() };
    let _made = FILES.insert(key, fresh, u64::from(aya_ebpf::bindings::BPF_NOEXIST)).is_ok();
    // SAFETY: as above.
    FILES.get_ptr_mut(key).map(|made| unsafe { &mut *made })
}

#[inline(always)]
pub(crate) fn control(which: u32) -> u64 {
    CONTROLS.get(which).copied().unwrap_or(0)
}

/// Whether something that took so long is an event.
#[inline(always)]
pub(crate) fn is_slow(threshold: u32, duration_ns: u64) -> bool {
    let threshold = control(threshold);
    threshold != 0 && duration_ns >= threshold
}

/// Tells user space.
#[inline(always)]
pub(crate) fn tell(event: &Event) {
    match EVENTS.reserve::<Event>(0) {
        Some(mut place) => {
            place.write(*event);
            place.submit(0);
        }
        None => lose(lost::EVENTS),
    }
}

/// The `index`th field of eight bytes of a program's context.
#[inline(always)]
pub(crate) fn word(context: &impl EbpfContext, index: usize) -> u64 {
    // SAFETY: the verifier checks that the context is that long.
    unsafe { context.as_ptr().cast::<u64>().add(index).read_volatile() }
}
