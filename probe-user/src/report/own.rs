//! The probe itself: what of it works, what it costs, what it lost.

use kafkascope_protocol::Timestamp;
use kafkascope_telemetry::metric::Metric;
use kafkascope_telemetry::{Attribute, AttributeValue as Value, Readings};

use crate::clock;
use crate::kernel::{Cost, Sampler, State};
use crate::process::Figures;
use crate::roots::{Pid, Roots};

/// Which samplers work.
pub(crate) fn samplers<'a>(samplers: impl IntoIterator<Item = &'a Sampler>, readings: &mut Readings) {
    for Sampler { name, state } in samplers {
        let mut attributes = vec![(Attribute::Sampler, Value::Static(name))];
        let (up, key, text) = match state {
            State::On { method } => (1, Attribute::Method, method),
            State::Degraded { why } | State::Off { why } => (0, Attribute::Reason, why),
        };
        attributes.push((key, Value::name(text.as_bytes())));
        readings.state(Metric::SamplerUp, &attributes, up);
    }
}

/// What the kernel programs cost. By sampler, entries of maps were `forgotten` before they were read.
pub(crate) fn cost(cost: &Cost, forgotten: &[(&str, u64)], since: Timestamp, readings: &mut Readings) {
    // Without the kernel's statistics they stand at 0, which would be a lie.
    if cost.untimed.is_none() {
        for program in &cost.programs {
            let attributes = [(Attribute::Program, Value::name(program.name.as_bytes()))];
            readings.total(Metric::SelfProgramRuns, &attributes, program.runs, since);
            readings.total(Metric::SelfProgramTime, &attributes, clock::nanos(program.time), since);
        }
    }
    for map in &cost.maps {
        let attributes = [(Attribute::Map, Value::Static(map.name))];
        readings.state(Metric::SelfMapEntries, &attributes, map.entries.into());
        readings.state(Metric::SelfMapCapacity, &attributes, map.capacity.into());
    }
    for &(sampler, lost) in &cost.lost {
        let lost = lost + forgotten.iter().find(|(of, _)| *of == sampler).map_or(0, |(_, entries)| *entries);
        readings.total(Metric::SelfEventsLost, &[(Attribute::Sampler, Value::Static(sampler))], lost, since);
    }
}

/// CPU time and memory of this process.
pub(crate) fn process(roots: &Roots, since: Timestamp, readings: &mut Readings) {
    let Ok(figures) = Figures::of(roots, Pid(std::process::id())) else { return };
    for (mode, time) in [("user", figures.cpu_user), ("system", figures.cpu_system)] {
        readings.total(Metric::SelfCpuTime, &[(Attribute::CpuMode, Value::Static(mode))], time, since);
    }
    readings.state(Metric::SelfMemory, &[], super::signed(figures.resident));
}
