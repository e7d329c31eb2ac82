//! Requests to disks, of the whole host: a request does not know whose it is.
//!
//! Hooks: `block_rq_issue` (the driver gets it), `block_rq_complete`. When it was made stands in the request. What was in
//! flight when the probe attached is not counted, and neither are writes of nothing for whose flush the block layer sends a
//! request of its own.

use aya_ebpf::macros::{btf_tracepoint, raw_tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, RawTracePointContext};
use kafkascope_probe_ebpf::{DiskKey, Event, REQUEST_PLACES, Request, Socket, control, disk as operation, event, lost};

use crate::kernel::{Address, Place, Typed, is_known, set};
use crate::maps::{DISKS, MORE_REQUESTS, REQUESTS, disk, is_slow, lose, now, record, tell, word};

/// `REQ_OP_MASK` and operations, include/linux/blk_types.h.
const OPERATION_MASK: u32 = 0xff;
const REQ_OP_FLUSH: u32 = 2;
const REQ_OP_DISCARD: u32 = 3;
/// From here on requests are the driver's own, and no disk's.
const REQ_OP_DRV_IN: u32 = 34;

#[btf_tracepoint(function = "block_rq_issue")]
fn disk_issue(context: BtfTracePointContext) -> i32 {
    issue(if set!(SETTINGS.request_argument) == 0 { Typed(word(&context, 0)) } else { Typed(word(&context, 1)) });
    0
}

#[raw_tracepoint]
fn disk_issue_raw(context: RawTracePointContext) -> i32 {
    issue(Address(if set!(SETTINGS.request_argument) == 0 { word(&context, 0) } else { word(&context, 1) }));
    0
}

#[inline(always)]
fn issue(of: impl Place) -> Option<()> {
    let (now, address) = (now(), of.number());
    // The kernel notes when a request was made, unless the disk's statistics are switched off.
    let offset = set!(OFFSETS.request_start);
    let made_ns: u64 = if is_known(offset) { of.read(offset) } else { 0 };
    let queued_ns = if made_ns == 0 { 0 } else { now.saturating_sub(made_ns) };
    let request = Request { address, made_ns, issued_ns: now, queued_ns };
    let place = place(address)?;
    if place.address == 0 || place.address == address {
        put(place, request);
    } else if let Some(there) = elsewhere(address) {
        put(there, request);
    } else if MORE_REQUESTS.insert(address, request, 0).is_err() {
        lose(lost::DISK);
    }
    Some(())
}

/// Where a request is kept while it is in flight: requests stand in memory for good, no two in one line of the processor's
/// cache. When two processors issue requests of the same place within the same nanoseconds, the end of one is not seen:
/// a few in flight, and thousands of places, make that next to impossible.
#[inline(always)]
fn place<'a>(address: u64) -> Option<&'a mut Request> {
    let hash = (address >> 6).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    // SAFETY: what the map returns is its value, which is always there.
    REQUESTS.get_ptr_mut(hash as u32 & (REQUEST_PLACES - 1)).map(|place| unsafe { &mut *place })
}

#[inline(always)]
fn elsewhere<'a>(address: u64) -> Option<&'a mut Request> {
    // SAFETY: what the map returns is its value, which lives until the program ends.
    MORE_REQUESTS.get_ptr_mut(address).map(|request| unsafe { &mut *request })
}

/// One that the driver has put back is issued again, but has waited only once.
#[inline(always)]
fn put(place: &mut Request, request: Request) {
    if place.address == request.address && place.made_ns == request.made_ns && request.made_ns != 0 {
        place.issued_ns = request.issued_ns;
    } else {
        *place = request;
    }
}

#[btf_tracepoint(function = "block_rq_complete")]
fn disk_complete(context: BtfTracePointContext) -> i32 {
    complete(Typed(word(&context, 0)), word(&context, 2) as u32);
    0
}

#[raw_tracepoint]
fn disk_complete_raw(context: RawTracePointContext) -> i32 {
    complete(Address(word(&context, 0)), word(&context, 2) as u32);
    0
}

#[inline(always)]
fn complete(of: impl Place, bytes: u32) -> Option<()> {
    let address = of.number();
    let place = place(address)?;
    let is_here = place.address == address;
    let Request { made_ns, queued_ns, issued_ns, .. } = if is_here { *place } else { *elsewhere(address)? };
    let size: u32 = of.read(set!(OFFSETS.request_bytes));
    if bytes < size {
        // A part of it is done; the rest completes later.
        return None;
    }
    let duration_ns = now().saturating_sub(issued_ns);
    if is_here {
        place.address = 0;
    } else {
        let _was_there = MORE_REQUESTS.remove(address).is_ok();
    }
    let key = key(of)?;
    match disk(&DISKS, &key) {
        Some(disk) => {
            record(&mut disk.service, duration_ns);
            if made_ns != 0 {
                record(&mut disk.queue, queued_ns);
            }
        }
        None => lose(lost::DISK),
    }
    if is_slow(control::SLOW_DISK, duration_ns) {
        tell(&Event {
            kind: event::DISK,
            tgid: 0,
            start_ns: issued_ns,
            duration_ns,
            queued_ns,
            dev: key.dev,
            operation: key.operation,
            ino: 0,
            amount: u64::from(size),
            socket: Socket::default(),
        });
    }
    Some(())
}

/// Disk and operation of a request; nothing if it is not one that a disk counts.
#[inline(always)]
fn key(request: impl Place) -> Option<DiskKey> {
    let flags = request.read::<u32>(set!(OFFSETS.request_flags)) & OPERATION_MASK;
    let operation = match flags {
        REQ_OP_FLUSH => operation::FLUSH,
        REQ_OP_DISCARD => operation::DISCARD,
        REQ_OP_DRV_IN.. => return None,
        // As the kernel's own op_is_write has it.
        odd if odd & 1 == 1 => operation::WRITE,
        _ => operation::READ,
    };
    let known = set!(OFFSETS.request_disk);
    let disk = if is_known(known) {
        request.follow(known)
    } else {
        request.follow(set!(OFFSETS.request_queue)).follow(set!(OFFSETS.queue_disk))
    };
    if disk.address() == 0 {
        return None;
    }
    let (major, minor): (u32, u32) = (disk.read(set!(OFFSETS.disk_major)), disk.read(set!(OFFSETS.disk_first_minor)));
    Some(DiskKey { dev: major << 20 | minor, operation })
}
