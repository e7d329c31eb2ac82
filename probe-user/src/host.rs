//! What the kernel accounts for the host as a whole: processors, memory, paging, pressure, network, file systems.

pub mod filesystem;
pub mod network;
pub mod pressure;
pub mod trend;

use std::io;

use procfs::{CpuTime, FromRead, KernelStats, Meminfo, SystemInfoInterface};

use crate::roots::{self, FIGURES_LIMIT, Roots};

/// Processor time by mode since the boot, of all processors together, in nanoseconds; the modes do not overlap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cpu {
    /// User mode, without guests of virtual machines.
    pub user: u64,
    /// User mode at low priority.
    pub nice: u64,
    /// Kernel.
    pub system: u64,
    /// Nothing to do.
    pub idle: u64,
    /// Nothing to do but to wait for a disk.
    pub iowait: u64,
    /// Interrupts.
    pub irq: u64,
    /// What interrupts left to do: the network's share is here.
    pub softirq: u64,
    /// Taken by the hypervisor.
    pub steal: u64,
    /// Guests, also those at low priority.
    pub guest: u64,
    /// Processors that are on line.
    pub processors: u64,
}

/// Memory of the host, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// All that the kernel has.
    pub total: u64,
    /// Not used for anything.
    pub free: u64,
    /// What programs could get without swapping.
    pub available: Option<u64>,
    /// Page cache, with what of the kernel's own caches can be given back.
    pub cached: u64,
    /// Block devices' own cache.
    pub buffers: u64,
    /// The rest.
    pub used: u64,
    /// Page cache that is to be written to disks.
    pub dirty: u64,
    /// Of that on its way.
    pub writeback: u64,
    /// Swap.
    pub swap_total: u64,
    /// Of that in use.
    pub swap_used: u64,
}

/// Pages, since the boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Paging {
    /// Read from swap.
    pub swapped_in: u64,
    /// Written to swap.
    pub swapped_out: u64,
    /// Of the page cache, changed.
    pub dirtied: u64,
    /// Of the page cache, written to disks.
    pub written: u64,
    /// Faults that had to read.
    pub major_faults: u64,
}

/// The clock tick of this machine, for files that count in ticks.
struct Ticks;

impl SystemInfoInterface for Ticks {
    fn boot_time_secs(&self) -> procfs::ProcResult<u64> {
        // For start times of processes only.
        Ok(0)
    }

    fn ticks_per_second(&self) -> u64 {
        rustix::param::clock_ticks_per_second().max(1)
    }

    fn page_size(&self) -> u64 {
        rustix::param::page_size() as u64
    }

    fn is_little_endian(&self) -> bool {
        cfg!(target_endian = "little")
    }
}

impl Cpu {
    /// From /proc/stat.
    pub fn read(roots: &Roots) -> io::Result<Self> {
        let text = roots::read(&roots.proc.join("stat"), FIGURES_LIMIT)?;
        let stat = <KernelStats as procfs::FromReadSI>::from_read(text.as_slice(), &Ticks).map_err(io::Error::other)?;
        Ok(Self { processors: stat.cpu_time.len() as u64, ..Self::of(&stat.total) })
    }

    fn of(time: &CpuTime) -> Self {
        let tick = 1_000_000_000 / Ticks.ticks_per_second();
        let nanoseconds = |ticks: u64| ticks.saturating_mul(tick);
        let optional = |ticks: Option<u64>| nanoseconds(ticks.unwrap_or_default());
        Self {
            // The kernel counts guests as user time too.
            user: nanoseconds(time.user.saturating_sub(time.guest.unwrap_or_default())),
            nice: nanoseconds(time.nice.saturating_sub(time.guest_nice.unwrap_or_default())),
            system: nanoseconds(time.system),
            idle: nanoseconds(time.idle),
            iowait: optional(time.iowait),
            irq: optional(time.irq),
            softirq: optional(time.softirq),
            steal: optional(time.steal),
            guest: optional(time.guest).saturating_add(optional(time.guest_nice)),
            processors: 0,
        }
    }
}

impl Memory {
    /// From /proc/meminfo.
    pub fn read(roots: &Roots) -> io::Result<Self> {
        let text = roots::read(&roots.proc.join("meminfo"), FIGURES_LIMIT)?;
        let info = Meminfo::from_read(text.as_slice()).map_err(io::Error::other)?;
        let cached = info.cached.saturating_add(info.s_reclaimable.unwrap_or_default());
        let known = [info.mem_free, info.buffers, cached].into_iter().fold(0, u64::saturating_add);
        Ok(Self {
            total: info.mem_total,
            free: info.mem_free,
            available: info.mem_available,
            cached,
            buffers: info.buffers,
            used: info.mem_total.saturating_sub(known),
            dirty: info.dirty,
            writeback: info.writeback,
            swap_total: info.swap_total,
            swap_used: info.swap_total.saturating_sub(info.swap_free),
        })
    }
}

impl Paging {
    /// From /proc/vmstat; what this kernel does not count is zero.
    pub fn read(roots: &Roots) -> io::Result<Self> {
        let text = roots::read(&roots.proc.join("vmstat"), FIGURES_LIMIT)?;
        let mut paging = Self::default();
        for line in roots::lines(&text) {
            let mut fields = roots::fields(line);
            let (Some(name), Some(value)) = (fields.next(), fields.next().and_then(roots::decimal)) else { continue };
            match name {
                b"pswpin" => paging.swapped_in = value,
                b"pswpout" => paging.swapped_out = value,
                b"nr_dirtied" => paging.dirtied = value,
                b"nr_written" => paging.written = value,
                b"pgmajfault" => paging.major_faults = value,
                _ => (),
            }
        }
        Ok(paging)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn figures_of_this_machine_add_up() {
        let roots = Roots::default();
        let cpu = Cpu::read(&roots).unwrap();
        assert!(cpu.processors > 0 && cpu.idle > 0 && cpu.user > 0);
        let memory = Memory::read(&roots).unwrap();
        let sum = memory.used + memory.free + memory.cached + memory.buffers;
        assert!(memory.total > 0 && sum == memory.total, "{memory:?}");
        assert!(Paging::read(&roots).unwrap().dirtied > 0);
    }

    #[test]
    fn guests_are_not_counted_twice() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("stat"),
            "cpu  100 20 30 40 5 6 7 8 60 10\ncpu0 1 2 3 4 5 6 7 8 9 10\nctxt 1\nbtime 1\nprocesses 1\n",
        )
        .unwrap();
        let cpu = Cpu::read(&Roots { proc: folder.path().to_owned(), ..Roots::default() }).unwrap();
        let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second();
        assert_eq!((cpu.user, cpu.nice, cpu.guest, cpu.processors), (40 * tick, 10 * tick, 70 * tick, 1));
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_panic(content: Vec<u8>, name in "[a-z]{1,6}", text in "(cpu|MemTotal:|pswpin|some avg10=)[ 0-9a-z=.\n]{0,40}") {
            let folder = tempfile::tempdir().unwrap();
            let roots = Roots { proc: folder.path().to_owned(), ..Roots::default() };
            for content in [content, text.into_bytes(), [name.as_bytes(), b" 18446744073709551615"].concat()] {
                for file in ["stat", "meminfo", "vmstat"] {
                    fs::write(folder.path().join(file), &content).unwrap();
                }
                _ = (Cpu::read(&roots), Memory::read(&roots), Paging::read(&roots));
            }
        }
    }
}
