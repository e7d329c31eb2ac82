//! The page cache of watched processes.
//!
//! Hooks: `mm_filemap_get_pages` (a read asks; on kernels without it the return of `filemap_read`) and
//! `mm_filemap_add_to_page_cache` (a folio comes up). The second one fires before the first, when it is not yet known
//! what the read asks for: so a thread remembers which runs of pages it has added, and the first sorts them.
//!
//! Within a system call, pages are counted as asked for once, although a read that goes in steps asks for the same
//! end each time, and sendfile in the middle of a page for that page twice. The first steps may not be seen at all: the
//! kernel is silent about one that ends at a page still on its way. So where a call begins is taken from its arguments.

use core::hint::black_box;

use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs};
use aya_ebpf::helpers::{bpf_get_current_cgroup_id, bpf_probe_read_user};
use aya_ebpf::macros::{btf_tracepoint, fexit, raw_tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, FExitContext, RawTracePointContext};
use kafkascope_probe_ebpf::{FileKey, PENDING, Pages, Process, Run, Thread, control, lost};

use crate::kernel::{Address, Place, Typed, device, file as open_file, is_known, set, task};
use crate::maps::{add, control, current, file, lose, now, thread, watched, word};

/// How many pages so many bytes are, or touch.
#[inline(always)]
fn pages_up_to(bytes: u64) -> u64 {
    let shift = set!(SETTINGS.page_shift);
    (bytes + (1 << shift) - 1) >> shift
}

#[btf_tracepoint(function = "mm_filemap_get_pages")]
fn page_cache_get(context: BtfTracePointContext) -> i32 {
    request(|| (Typed(word(&context, 0)), word(&context, 1), word(&context, 2) + 1));
    0
}

#[raw_tracepoint]
fn page_cache_get_raw(context: RawTracePointContext) -> i32 {
    request(|| (Address(word(&context, 0)), word(&context, 1), word(&context, 2) + 1));
    0
}

/// `filemap_read(iocb, iter, already_read)`, or its forerunner `generic_file_buffered_read`.
#[fexit(function = "filemap_read")]
fn page_cache_read(context: FExitContext) -> i32 {
    let (iocb, before, after) = (Address(word(&context, 0)), word(&context, 2) as i64, word(&context, 3) as i64);
    let bytes = after.saturating_sub(before);
    if bytes <= 0 {
        return 0;
    }
    request(|| {
        let end: u64 = iocb.read(set!(OFFSETS.iocb_position));
        let mapping = iocb.follow(set!(OFFSETS.iocb_file)).follow(set!(OFFSETS.file_mapping));
        (mapping, end.wrapping_sub(bytes as u64) >> set!(SETTINGS.page_shift), pages_up_to(end))
    });
    0
}

/// The current thread asks for pages `first..end`.
#[inline(always)]
fn request<P: Place>(what: impl FnOnce() -> (P, u64, u64)) -> Option<()> {
    let (tgid, tid) = current();
    let process = watched(tgid)?;
    let (mapping, first, end) = what();
    let inode = mapping.follow(set!(OFFSETS.mapping_host));
    // Reads may ask beyond the end of the file, where there is nothing.
    let size: u64 = inode.read(set!(OFFSETS.inode_size));
    let end = end.min(pages_up_to(size));
    let Some(thread) = thread(tid) else {
        lose(lost::PAGE_CACHE);
        return None;
    };
    let ino: u64 = inode.read(set!(OFFSETS.inode_number));
    let same_file = thread.inode == inode.address() && thread.ino == ino;
    let calls = read_calls();
    // Where the kernel does not count calls, only what follows upon itself is taken for one.
    let goes_on = same_file
        && thread.calls == calls
        && first >= thread.first
        && (first <= thread.end || is_known(set!(OFFSETS.task_read_calls)));
    let mut resumes = false;
    let from = if goes_on {
        thread.end
    } else if same_file && first == thread.end {
        thread.position = first << set!(SETTINGS.page_shift);
        first
    } else {
        let (operation, position) = registers(position_of_call, position_of_call);
        resumes = operation == Operation::Sendfile && same_file && is_rest(thread, position);
        thread.position = position;
        if resumes { thread.end } else { start_of_call(position, first) }
    };
    let asked = end.saturating_sub(from);
    if !same_file {
        thread.inode = inode.address();
        thread.ino = ino;
        thread.dev = device(inode);
    }
    thread.calls = calls;
    thread.first = first;
    thread.end = if goes_on || resumes { end.max(thread.end) } else { end };

    if thread.pending_count != 0 && thread.pending_inode != inode.address() {
        settle(tgid, thread, process, 0, 0);
    }
    if asked == 0 && thread.pending_count == 0 {
        return Some(());
    }
    let (mut read_in, mut added) = (0, 0);
    if thread.pending_count != 0 {
        (read_in, added) = sort(thread, from.min(first), end);
    }
    if process.cgroup == 0 {
        process.cgroup = cgroup();
    }
    let pages = Pages { asked, read_in, readahead_unasked: added - read_in, ..Pages::default() };
    count(&FileKey { tgid, dev: thread.dev, ino }, process, &pages);
    Some(())
}

/// Whether a sendfile that begins at `position` goes on with what the one before could not send: sixteen pages are put
/// into a pipe before the socket is asked how much of them it takes, and the rest is read again.
#[inline(always)]
fn is_rest(thread: &Thread, position: u64) -> bool {
    position > thread.position && position >> set!(SETTINGS.page_shift) < thread.end
}

/// The page at which the running call began to read, if it is plausible that it came from there to `first`.
#[inline(always)]
fn start_of_call(position: u64, first: u64) -> u64 {
    let start = position >> set!(SETTINGS.page_shift);
    if start <= first && first - start <= FARTHEST_UNSEEN { start } else { first }
}

/// What the running call does, and the byte at which it began to read; the largest number if that is not known.
#[inline(always)]
fn position_of_call(registers: impl Place) -> (Operation, u64) {
    let argument = |offset| registers.read::<u64>(offset);
    let operation = operation(registers);
    let position = match operation {
        Operation::PositionedRead => argument(set!(OFFSETS.argument_3)),
        Operation::Read => file_position(argument(set!(OFFSETS.argument_0))),
        Operation::Sendfile => {
            let offset = argument(set!(OFFSETS.argument_2));
            if offset == 0 {
                file_position(argument(set!(OFFSETS.argument_1)))
            } else {
                // SAFETY: the helper takes any address and fails if it leads nowhere.
                unsafe { bpf_probe_read_user(offset as *const u64) }.unwrap_or(u64::MAX)
            }
        }
        _ => u64::MAX,
    };
    (operation, position)
}

/// How many pages the kernel handles at a step, each of them at most this large; PAGEVEC_SIZE of include/linux/pagevec.h
/// times the largest folios there are in the page cache.
const FARTHEST_UNSEEN: u64 = 31 * 512;

/// Where a file is read from; the kernel moves it on when the call is done.
#[inline(always)]
fn file_position(descriptor: u64) -> u64 {
    let file = open_file(descriptor as u32);
    if file == Address(0) { u64::MAX } else { file.read(set!(OFFSETS.file_position)) }
}

/// Counts what a thread has added to a file, of which it asks for pages `first..end`.
#[inline(always)]
fn settle(tgid: u32, thread: &mut Thread, process: &mut Process, first: u64, end: u64) {
    let key = FileKey { tgid, dev: thread.pending_dev, ino: thread.pending_ino };
    let (read_in, added) = sort(thread, first, end);
    count(&key, process, &Pages { read_in, readahead_unasked: added - read_in, ..Pages::default() });
}

/// How many of the runs' pages are among `first..end`, and how many there are. The runs are then forgotten.
#[inline(always)]
fn sort(thread: &mut Thread, first: u64, end: u64) -> (u64, u64) {
    let (mut within, mut all) = (0, 0);
    for index in 0..PENDING {
        if index as u32 >= thread.pending_count {
            break;
        }
        let Some(&Run { start, end: run_end }) = thread.pending.get(index) else { break };
        all += u64::from(run_end) - u64::from(start);
        within += overlap(i64::from(start), i64::from(run_end), first as i64, end as i64);
    }
    thread.pending_count = 0;
    (within, all)
}

/// How many numbers are in both `start..end` and `first..last`. Without a branch: each would double what the verifier
/// has to look at, in each turn of the loop.
#[inline(always)]
fn overlap(start: i64, end: i64, first: i64, last: i64) -> u64 {
    let (up, down) = (first - start, last - end);
    let begin = start + (up & !sign(up));
    let stop = end + (down & sign(down));
    let length = stop - begin;
    (length & !sign(length)) as u64
}

/// -1 for negative numbers, else 0; in a way that the compiler does not turn into a branch.
#[inline(always)]
fn sign(number: i64) -> i64 {
    black_box(number >> 63)
}

/// Adds to the counters of file and process.
#[inline(always)]
fn count(key: &FileKey, process: &mut Process, pages: &Pages) {
    total(&mut process.pages, pages);
    let Some(file) = file(key) else {
        lose(lost::PAGE_CACHE);
        return;
    };
    total(&mut file.pages, pages);
    let missed = pages.read_in + pages.readahead_unasked;
    if missed != 0 {
        let now = now();
        // Two processors may get here at once; then a burst may begin a little late.
        if file.burst_end_ns + set!(SETTINGS.burst_gap_ns) < now {
            file.burst_start_ns = now;
            file.burst_pages = 0;
        }
        file.burst_end_ns = now;
        add(&mut file.burst_pages, missed);
    }
}

#[inline(always)]
fn total(sum: &mut Pages, pages: &Pages) {
    let Pages { asked, read_in, readahead_unasked, fault, write } = *pages;
    for (sum, amount) in [
        (&mut sum.asked, asked),
        (&mut sum.read_in, read_in),
        (&mut sum.readahead_unasked, readahead_unasked),
        (&mut sum.fault, fault),
        (&mut sum.write, write),
    ] {
        if amount != 0 {
            add(sum, amount);
        }
    }
}

#[btf_tracepoint(function = "mm_filemap_add_to_page_cache")]
fn page_cache_add(context: BtfTracePointContext) -> i32 {
    added(Typed(word(&context, 0)));
    0
}

#[raw_tracepoint]
fn page_cache_add_raw(context: RawTracePointContext) -> i32 {
    added(Address(word(&context, 0)));
    0
}

#[inline(always)]
fn added(folio: impl Place) -> Option<()> {
    let (tgid, tid) = current();
    let process = watched(tgid)?;
    let mapping = folio.follow(set!(OFFSETS.folio_mapping));
    let inode = mapping.follow(set!(OFFSETS.mapping_host));
    let pages = 1_u64 << order(folio);
    let operation = registers(operation, operation);
    let is_read = !matches!(operation, Operation::Write | Operation::None);
    if !is_read || control(control::REQUESTS_UNSEEN) != 0 {
        let mut counts = Pages::default();
        match operation {
            Operation::Write => counts.write = pages,
            Operation::None => counts.fault = pages,
            _ => counts.read_in = pages,
        }
        count(&FileKey { tgid, dev: device(inode), ino: inode.read(set!(OFFSETS.inode_number)) }, process, &counts);
        return Some(());
    }
    let start: u64 = folio.read(set!(OFFSETS.folio_index));
    let run = Run { start: start as u32, end: (start + pages) as u32 };
    let Some(thread) = thread(tid) else {
        lose(lost::PAGE_CACHE);
        return None;
    };
    // Hidden from the compiler, which would replace the check of the index by one that the verifier cannot follow.
    let last = black_box(thread.pending_count.wrapping_sub(1) as usize);
    if thread.pending_count != 0
        && thread.pending_inode == inode.address()
        && let Some(last) = thread.pending.get_mut(last)
        && last.end == run.start
    {
        last.end = run.end;
        return Some(());
    }
    if thread.pending_count != 0
        && (thread.pending_inode != inode.address() || thread.pending_count as usize >= PENDING)
    {
        // With so many gaps it stays unknown which were asked for; their number is right all the same.
        settle(tgid, thread, process, 0, 0);
    }
    if thread.pending_count == 0 {
        thread.pending_inode = inode.address();
        thread.pending_ino = inode.read(set!(OFFSETS.inode_number));
        thread.pending_dev = device(inode);
    }
    if let Some(place) = thread.pending.get_mut(black_box(thread.pending_count as usize)) {
        *place = run;
        thread.pending_count += 1;
    }
    Some(())
}

/// A folio has 1 << this many pages.
#[inline(always)]
fn order(folio: impl Place) -> u32 {
    if !is_known(set!(OFFSETS.folio_flags)) {
        // Before 5.16 there were only pages.
        return 0;
    }
    let flags: u64 = folio.read(set!(OFFSETS.folio_flags));
    if flags & (1 << set!(SETTINGS.large_folio_bit)) == 0 {
        return 0;
    }
    let (order, flags_1) = (set!(OFFSETS.folio_order), set!(OFFSETS.folio_flags_1));
    let order: u8 = if is_known(order) {
        folio.read(order)
    } else if is_known(flags_1) {
        folio.read(flags_1)
    } else {
        0
    };
    u32::from(order) & 31
}

/// How many read calls the thread has finished.
#[inline(always)]
fn read_calls() -> u64 {
    let offset = set!(OFFSETS.task_read_calls);
    if !is_known(offset) {
        0
    } else if set!(SETTINGS.has_task_registers) != 0 {
        // SAFETY: the helper is there, it is older than the one that the setting is about.
        Typed(unsafe { bpf_get_current_task_btf() } as u64).read(offset)
    } else {
        task().read(offset)
    }
}

/// What the running system call does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    /// read and readv.
    Read,
    /// pread64, preadv.
    PositionedRead,
    Sendfile,
    /// Other ways to read.
    OtherRead,
    Write,
    /// Page faults are none, and have -1 for a number.
    None,
}

/// Gives the registers with which the thread has entered the kernel to one of two functions that do the same.
#[inline(always)]
fn registers<T>(typed: impl FnOnce(Typed) -> T, by_address: impl FnOnce(Address) -> T) -> T {
    if set!(SETTINGS.has_task_registers) != 0 {
        // SAFETY: the helpers are there, user space has made sure of it, and the task is the current one.
        typed(Typed(unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64))
    } else {
        let top = task().follow(set!(OFFSETS.task_stack)).0 + STACK_BYTES;
        by_address(Address(top - u64::from(set!(OFFSETS.registers_size))))
    }
}

/// `THREAD_SIZE`, for kernels before 5.15; without KASAN, as distributions have it.
const STACK_BYTES: u64 = 16384;

/// arch/x86/entry/syscalls/syscall_64.tbl
#[cfg(not(bpf_target_arch = "aarch64"))]
#[inline(always)]
fn operation(registers: impl Place) -> Operation {
    match registers.read::<u64>(set!(OFFSETS.registers_orig_ax)) {
        0 | 19 => Operation::Read,
        17 | 295 => Operation::PositionedRead,
        40 => Operation::Sendfile,
        // splice, copy_file_range, preadv2, io_uring_enter
        275 | 326 | 327 | 426 => Operation::OtherRead,
        // write, pwrite64, writev, pwritev, pwritev2
        1 | 18 | 20 | 296 | 328 => Operation::Write,
        _ => Operation::None,
    }
}

/// include/uapi/asm-generic/unistd.h
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn operation(registers: impl Place) -> Operation {
    match registers.read::<u32>(set!(OFFSETS.registers_syscall)) {
        63 | 65 => Operation::Read,
        67 | 69 => Operation::PositionedRead,
        71 => Operation::Sendfile,
        // splice, copy_file_range, preadv2, io_uring_enter
        76 | 285 | 286 | 426 => Operation::OtherRead,
        // write, writev, pwrite64, pwritev, pwritev2
        64 | 66 | 68 | 70 | 287 => Operation::Write,
        _ => Operation::None,
    }
}

#[inline(always)]
fn cgroup() -> u64 {
    // SAFETY: the helper has no conditions.
    unsafe { bpf_get_current_cgroup_id() }
}
