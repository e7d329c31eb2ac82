//! What processes take of their host, and whether they are up.

use kafkascope_telemetry::metric::Metric;
use kafkascope_telemetry::{Attribute, AttributeValue as Value, Readings};

use super::host::of_interface;
use super::known::Watched;
use super::labels;
use super::signed;
use crate::host::network;
use crate::process::Figures;
use crate::process::cgroup::CgroupFigures;
use crate::process::up::State;
use crate::roots::Roots;

/// The kernel's accounts of one process and its control group.
pub(crate) fn figures(roots: &Roots, watched: &Watched, host_network: Option<u64>, readings: &mut Readings) {
    let (process, since) = (&watched.process, watched.started);
    let mut attributes = watched.attributes.clone();
    // It may have ended a moment ago.
    let Ok(figures) = Figures::of(roots, process.pid) else { return };
    for (mode, time) in [("user", figures.cpu_user), ("system", figures.cpu_system)] {
        attributes.push((Attribute::CpuMode, Value::Static(mode)));
        readings.total(Metric::ProcessCpuTime, &attributes, time, since);
        attributes.pop();
    }
    for (direction, bytes) in [("read", figures.disk_read), ("write", figures.disk_written)] {
        attributes.push((Attribute::DiskDirection, Value::Static(direction)));
        if let Some(bytes) = bytes {
            readings.total(Metric::ProcessDiskIo, &attributes, bytes, since);
        }
        attributes.pop();
    }
    let states = [
        (Metric::ProcessMemory, Some(figures.resident)),
        (Metric::ProcessVirtualMemory, Some(figures.virtual_size)),
        (Metric::ProcessSwap, Some(figures.swap)),
        (Metric::ProcessThreads, Some(figures.threads)),
        (Metric::ProcessFileDescriptors, figures.open_files),
        (Metric::ProcessFileDescriptorLimit, figures.open_files_limit),
    ];
    for (metric, state) in states {
        if let Some(state) = state {
            readings.state(metric, &attributes, signed(state));
        }
    }
    container(watched, readings);
    if process.network_namespace.is_some()
        && process.network_namespace != host_network
        && let Ok(interfaces) = network::interfaces(roots, Some(process.pid))
    {
        for (name, interface) in &interfaces {
            for (direction, side) in [("receive", interface.received), ("transmit", interface.sent)] {
                let attributes = of_interface(attributes.clone(), name, direction);
                readings.total(Metric::ContainerNetworkIo, &attributes, side.bytes, since);
            }
        }
    }
}

/// The group's accounts, where it is more than what the whole host does.
fn container(watched: &Watched, readings: &mut Readings) {
    let (process, since, attributes) = (&watched.process, watched.started, &watched.attributes);
    if process.cgroup.path.trim_matches('/').is_empty() {
        return;
    }
    let figures = CgroupFigures::of(&process.cgroup);
    let total = [(Metric::ContainerCpuTime, figures.cpu), (Metric::ContainerCpuThrottled, figures.throttled)];
    for (metric, time) in total {
        if let Some(time) = time {
            readings.total(metric, attributes, time, since);
        }
    }
    let states = [
        (Metric::ContainerMemory, figures.memory),
        (Metric::ContainerMemoryLimit, figures.memory_limit),
        (Metric::ContainerSwap, figures.swap),
    ];
    for (metric, state) in states {
        if let Some(state) = state {
            readings.state(metric, attributes, signed(state));
        }
    }
}

/// Who is up.
pub(crate) fn up(states: &[State], readings: &mut Readings) {
    for state in states {
        let mut attributes = labels::of_name(state);
        readings.state(Metric::ProcessUp, &attributes, state.up.into());
        readings.total(Metric::ProcessRestarts, &attributes, state.restarts, readings.at());
        for &(port, listening) in &state.listening {
            attributes.push((Attribute::ServerPort, Value::Integer(port.into())));
            readings.state(Metric::ProcessListening, &attributes, listening.into());
            attributes.pop();
        }
    }
}
