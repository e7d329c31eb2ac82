//! The host: CPU, memory, swap, network, pressure, and the file systems that hold log directories.

use std::collections::HashMap;
use std::io;
use std::time::Instant;

use kafkascope_protocol::Timestamp;
use kafkascope_telemetry::metric::Metric;
use kafkascope_telemetry::{Attribute, AttributeValue as Value, Readings};

use super::known::Watched;
use super::labels::Attributes;
use super::signed;
use crate::clock;
use crate::host::filesystem::{FileSystem, FileSystems};
use crate::host::network::Interface;
use crate::host::pressure::{self, Resource};
use crate::host::{Cpu, Memory, Paging, network};
use crate::roots::Roots;

/// What is remembered of the host.
#[derive(Debug)]
pub(crate) struct HostReport {
    file_systems: FileSystems,
    /// When the kernel's counters began.
    boot: Timestamp,
}

impl HostReport {
    pub(crate) fn new(roots: &Roots) -> Self {
        Self { file_systems: FileSystems::new(roots.clone()), boot: clock::of_boot(0) }
    }

    /// Everything. What this host does not have, an old kernel's pressure for one, is left out.
    pub(crate) fn report(&mut self, roots: &Roots, processes: &HashMap<u32, Watched>, readings: &mut Readings) {
        self.cpu(roots, readings).unwrap_or_default();
        self.memory(roots, readings).unwrap_or_default();
        if let Ok(interfaces) = network::interfaces(roots, None) {
            for (name, interface) in &interfaces {
                self.interface(name, interface, readings);
            }
        }
        for resource in Resource::ALL {
            self.pressure(roots, resource, readings).unwrap_or_default();
        }
        let processes = processes.values().map(|watched| &*watched.process);
        for file_system in self.file_systems.read(processes, Instant::now()) {
            self::file_system(&file_system, readings);
        }
    }

    fn cpu(&self, roots: &Roots, readings: &mut Readings) -> io::Result<()> {
        let cpu = Cpu::read(roots)?;
        // Names of the conventions, of which none is for guests: their time is user time of the host.
        let modes = [
            ("user", cpu.user + cpu.guest),
            ("nice", cpu.nice),
            ("system", cpu.system),
            ("idle", cpu.idle),
            ("iowait", cpu.iowait),
            ("interrupt", cpu.irq + cpu.softirq),
            ("steal", cpu.steal),
        ];
        for (mode, time) in modes {
            readings.total(Metric::CpuTime, &[(Attribute::CpuMode, Value::Static(mode))], time, self.boot);
        }
        Ok(())
    }

    fn memory(&self, roots: &Roots, readings: &mut Readings) -> io::Result<()> {
        let memory = Memory::read(roots)?;
        let state = |key, state| [(key, Value::Static(state))];
        for (name, bytes) in
            [("used", memory.used), ("free", memory.free), ("cached", memory.cached), ("buffers", memory.buffers)]
        {
            readings.state(Metric::MemoryUsage, &state(Attribute::MemoryState, name), signed(bytes));
        }
        if let Some(available) = memory.available {
            readings.state(Metric::MemoryAvailable, &[], signed(available));
        }
        readings.state(Metric::PageCacheDirty, &[], signed(memory.dirty));
        readings.state(Metric::PageCacheWriteback, &[], signed(memory.writeback));
        let free = memory.swap_total.saturating_sub(memory.swap_used);
        for (name, bytes) in [("used", memory.swap_used), ("free", free)] {
            readings.state(Metric::PagingUsage, &state(Attribute::PagingState, name), signed(bytes));
        }
        let paging = Paging::read(roots)?;
        for (name, pages) in [("in", paging.swapped_in), ("out", paging.swapped_out)] {
            readings.total(Metric::PagingOperations, &state(Attribute::PagingDirection, name), pages, self.boot);
        }
        readings.total(Metric::PageCacheWritten, &[], paging.written, self.boot);
        Ok(())
    }

    fn interface(&self, name: &str, interface: &Interface, readings: &mut Readings) {
        for (direction, side) in [("receive", interface.received), ("transmit", interface.sent)] {
            let attributes = of_interface(Vec::new(), name, direction);
            readings.total(Metric::NetworkIo, &attributes, side.bytes, self.boot);
            readings.total(Metric::NetworkDropped, &attributes, side.dropped, self.boot);
            readings.total(Metric::NetworkErrors, &attributes, side.errors, self.boot);
        }
    }

    fn pressure(&self, roots: &Roots, resource: Resource, readings: &mut Readings) -> io::Result<()> {
        let stalled = pressure::of_host(roots, resource)?;
        for (who, time) in [("some", Some(stalled.some)), ("full", stalled.full)] {
            let attributes = [
                (Attribute::PressureResource, Value::Static(resource.name())),
                (Attribute::Pressure, Value::Static(who)),
            ];
            if let Some(time) = time {
                readings.total(Metric::PressureTime, &attributes, time, self.boot);
            }
        }
        Ok(())
    }
}

/// An interface's name and a direction, beside what else tells series apart.
pub(crate) fn of_interface(mut attributes: Attributes, name: &str, direction: &'static str) -> Attributes {
    attributes.push((Attribute::Interface, Value::name(name.as_bytes())));
    attributes.push((Attribute::NetworkDirection, Value::Static(direction)));
    attributes
}

fn file_system(file_system: &FileSystem, readings: &mut Readings) {
    let mount_point = file_system.mount_point.as_os_str().as_encoded_bytes();
    let mut attributes = vec![
        (Attribute::Device, Value::name(file_system.source.as_bytes())),
        (Attribute::MountPoint, Value::name(mount_point)),
    ];
    let usage = &file_system.usage;
    // What is reserved for root is of no use to a broker.
    let usable = usage.used.saturating_add(usage.free).max(1);
    let utilization = u128::from(usage.used) * 1_000_000 / u128::from(usable);
    readings.state(Metric::FilesystemUtilization, &attributes, i64::try_from(utilization).unwrap_or(i64::MAX));
    if let Some(time) = file_system.time_to_full {
        readings.state(Metric::FilesystemTimeToFull, &attributes, i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
    }
    for (state, bytes) in [("used", usage.used), ("free", usage.free), ("reserved", usage.reserved)] {
        attributes.push((Attribute::FilesystemState, Value::Static(state)));
        readings.state(Metric::FilesystemUsage, &attributes, signed(bytes));
        attributes.pop();
    }
    if usage.inodes_used + usage.inodes_free > 0 {
        for (state, inodes) in [("used", usage.inodes_used), ("free", usage.inodes_free)] {
            attributes.push((Attribute::FilesystemState, Value::Static(state)));
            readings.state(Metric::FilesystemInodes, &attributes, signed(inodes));
            attributes.pop();
        }
    }
}
