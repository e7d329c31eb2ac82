//! Reading the kernel's structures, and what user space has set before loading.

use core::ptr::{addr_of, read_volatile};

use aya_ebpf::helpers::{bpf_get_current_task, bpf_probe_read_kernel};
use kafkascope_probe_ebpf::{ABSENT, Offsets, Settings};

/// Set by user space. The verifier knows the values, so branches on them cost nothing.
#[unsafe(no_mangle)]
pub(crate) static OFFSETS: Offsets = Offsets::NONE;

/// Set by user space.
#[unsafe(no_mangle)]
pub(crate) static SETTINGS: Settings =
    Settings { burst_gap_ns: 0, request_argument: 0, has_task_registers: 0, page_shift: 12, large_folio_bit: 0 };

/// A value that user space has set; volatile, or the compiler would take the one in the source for good.
macro_rules! set {
    ($global:ident.$field:ident) => {{
        // SAFETY: it is a static without interior mutability, aligned for its type.
        unsafe { core::ptr::read_volatile(&raw const crate::kernel::$global.$field) }
    }};
}
pub(crate) use set;

/// Somewhere in the kernel.
pub(crate) trait Place: Copy {
    /// What is `offset` bytes on from here; zeroes if it cannot be read.
    fn read<T: Copy + Default>(self, offset: u32) -> T;
    /// The place whose address is `offset` bytes on from here.
    fn follow(self, offset: u32) -> Self;
    /// As a number to compare.
    fn address(self) -> u64;
    /// As a number to count with.
    fn number(self) -> u64;
}

/// An address of which the verifier knows nothing: each read is a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) u64);

impl Place for Address {
    #[inline(always)]
    fn read<T: Copy + Default>(self, offset: u32) -> T {
        // SAFETY: the helper takes any address and fails if it leads nowhere.
        unsafe { bpf_probe_read_kernel((self.0 + u64::from(offset)) as *const T) }.unwrap_or_default()
    }

    #[inline(always)]
    fn follow(self, offset: u32) -> Self {
        Self(self.read(offset))
    }

    #[inline(always)]
    fn address(self) -> u64 {
        self.0
    }

    #[inline(always)]
    fn number(self) -> u64 {
        self.0
    }
}

/// A pointer whose type the verifier knows: a read is an instruction, and yields zero where there is nothing. The types
/// must be the fields' own.
#[derive(Clone, Copy)]
pub(crate) struct Typed(pub(crate) u64);

impl Place for Typed {
    #[inline(always)]
    fn read<T: Copy + Default>(self, offset: u32) -> T {
        // SAFETY: the verifier has checked that there is such a field, and the kernel catches bad addresses.
        unsafe { ((self.0 + u64::from(offset)) as *const T).read_volatile() }
    }

    #[inline(always)]
    fn follow(self, offset: u32) -> Self {
        Self(self.read(offset))
    }

    #[inline(always)]
    fn address(self) -> u64 {
        self.0
    }

    /// The verifier lets nobody count with an address, but with a number that was read from somewhere.
    #[inline(always)]
    fn number(self) -> u64 {
        let slot = core::hint::black_box(self.0);
        Address((&raw const slot) as u64).read(0)
    }
}

/// The task that runs.
#[inline(always)]
pub(crate) fn task() -> Address {
    // SAFETY: the helper has no conditions.
    Address(unsafe { bpf_get_current_task() })
}

#[inline(always)]
pub(crate) fn is_known(offset: u32) -> bool {
    offset != ABSENT
}

/// Number of the device that a file system is on.
#[inline(always)]
pub(crate) fn device(inode: impl Place) -> u32 {
    inode.follow(set!(OFFSETS.inode_super)).read(set!(OFFSETS.super_device))
}

/// The file behind a descriptor of the running process; 0 if there is none.
#[inline(always)]
pub(crate) fn file(descriptor: u32) -> Address {
    let table = task().follow(set!(OFFSETS.task_files)).follow(set!(OFFSETS.files_table));
    if descriptor >= table.read::<u32>(set!(OFFSETS.table_size)) {
        return Address(0);
    }
    Address(table.follow(set!(OFFSETS.table_files)).0 + u64::from(descriptor) * 8).follow(0)
}

/// Keeps the globals in the object, and at their names.
#[expect(dead_code, reason = "only for its references")]
fn globals() -> (Offsets, Settings) {
    // SAFETY: both are statics without interior mutability.
    unsafe { (read_volatile(addr_of!(OFFSETS)), read_volatile(addr_of!(SETTINGS))) }
}
