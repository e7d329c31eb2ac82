//! The kernel programs of `kafkascope-probe`: they count, and look at nothing that came over a network.
//!
//! Each hook does a fixed amount of work. Where a program needs the time it asks once; where it needs memory, that was
//! allotted when it was loaded; what does not fit is counted as lost.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(internal_features, reason = "core has no atomic addition for targets without compare-and-swap")]

mod disk;
mod fsync;
mod kernel;
mod maps;
mod page_cache;
mod tcp;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Most helpers are for programs under the kernel's own licence only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
