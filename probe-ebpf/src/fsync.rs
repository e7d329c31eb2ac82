//! fsync and fdatasync of watched processes.
//!
//! Hooks: the tracepoints of these system calls, entry and exit, which nobody else's calls pass through.

use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use kafkascope_probe_ebpf::{Event, FileKey, FsyncCall, FsyncKey, Socket, control, event, fsync, lost};

use crate::kernel::{Address, Place, device, file, set};
use crate::maps::{
    FSYNC_CALLS, FSYNC_FILES, FSYNC_PROCESSES, current, histogram, histogram_lru, is_slow, lose, now, record, tell,
    watched, word,
};

#[tracepoint]
fn fsync_enter(context: TracePointContext) -> u32 {
    enter(&context, fsync::FSYNC);
    0
}

#[tracepoint]
fn fdatasync_enter(context: TracePointContext) -> u32 {
    enter(&context, fsync::FDATASYNC);
    0
}

#[inline(always)]
fn enter(context: &TracePointContext, operation: u32) -> Option<()> {
    let (tgid, tid) = current();
    watched(tgid)?;
    // The record is eight bytes in common, the call's number, and then its arguments.
    let descriptor = word(context, 2) as u32;
    let file = file(descriptor);
    let inode = if file == Address(0) { file } else { file.follow(set!(OFFSETS.file_inode)) };
    let (ino, dev) = if inode == Address(0) { (0, 0) } else { (inode.read(set!(OFFSETS.inode_number)), device(inode)) };
    let call = FsyncCall { start_ns: now(), ino, dev, operation };
    match FSYNC_CALLS.get_ptr_mut(tid) {
        // SAFETY: what the map returns is its value, which lives until the program ends, and is this thread's.
        Some(place) => unsafe { *place = call },
        None if FSYNC_CALLS.insert(tid, call, 0).is_err() => lose(lost::FSYNC),
        None => {}
    }
    Some(())
}

#[tracepoint]
fn fsync_exit(_context: TracePointContext) -> u32 {
    exit();
    0
}

#[inline(always)]
fn exit() -> Option<()> {
    let (tgid, tid) = current();
    // SAFETY: as above.
    let call = FSYNC_CALLS.get_ptr_mut(tid).map(|call| unsafe { core::mem::take(&mut *call) });
    let Some(FsyncCall { start_ns, ino, dev, operation }) = call.filter(|call| call.start_ns != 0) else {
        // The kernel does not run a program of this kind while another one runs, so a beginning may be missed.
        watched(tgid)?;
        lose(lost::FSYNC);
        return None;
    };
    let duration_ns = now().saturating_sub(start_ns);
    match histogram(&FSYNC_PROCESSES, &FsyncKey { tgid, operation }) {
        Some(histogram) => record(histogram, duration_ns),
        None => lose(lost::FSYNC),
    }
    if ino != 0 {
        match histogram_lru(&FSYNC_FILES, &FileKey { tgid, dev, ino }) {
            Some(histogram) => record(histogram, duration_ns),
            None => lose(lost::FSYNC),
        }
    }
    if is_slow(control::SLOW_FSYNC, duration_ns) {
        tell(&Event {
            kind: event::FSYNC,
            tgid,
            start_ns,
            duration_ns,
            queued_ns: 0,
            dev,
            operation,
            ino,
            amount: 0,
            socket: Socket::default(),
        });
    }
    Some(())
}
