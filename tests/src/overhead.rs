//! What the probe costs a broker and its host, measured with real Kafka under real load.
//!
//! Windows with the probe and without follow each other as A B B A A B B A, so that what drifts, the broker's warmth among
//! it, falls on both. Each two neighbours give one ratio; the median of these is told.

mod load;
mod report;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::geteuid;

use crate::eventually::eventually;
use crate::kafka::{Cluster, ClusterSpec, Version};
use crate::probe::Probe;
use crate::prometheus::Scrape;
use crate::testbed::Need;
use crate::wire;
use load::Load;
pub use report::Report;
use report::{Program, Window};

/// As many clients as that, one for each of two processors.
const PARTITIONS: u16 = 2;

/// The broker's code has been compiled when this is over.
const WARM_UP: Duration = Duration::from_secs(24);
/// Nothing goes on but the probe.
const IDLE: Duration = Duration::from_secs(20);
const FULL_SPEED: Duration = Duration::from_secs(2);
const PACED: Duration = Duration::from_secs(1);
/// Pairs of windows.
const PAIRS: usize = 24;

/// How long the probe may take to find the broker.
const PATIENCE: Duration = Duration::from_secs(30);

/// How to measure.
#[derive(Debug, Clone, Copy, Default)]
pub struct Effort {
    /// Pairs of windows, if not the usual number.
    pub pairs: Option<usize>,
}

/// Why nothing can be measured here, if so.
#[must_use]
pub fn impossible() -> Option<String> {
    if !geteuid().is_root() {
        return Some("needs root: without it the probe loads no kernel programs, and costs next to nothing".to_owned());
    }
    Need::Kafka.lack()
}

/// Measures. Progress goes to standard error.
pub fn run(effort: Effort) -> Result<Report> {
    say("one broker, and clients that write and read");
    let cluster = Cluster::start(&spec())?;
    for window in 0..6 {
        with_load(&cluster, &format!("warm-up-{window}"), |load| load.at_full_speed(WARM_UP / 6))?;
    }

    let mut report = Report::default();
    let pairs = effort.pairs.unwrap_or(PAIRS);
    let mut probe: Option<Probe> = None;
    for window in 0..2 * pairs {
        let with_probe = matches!(window % 4, 1 | 2);
        match (with_probe, &probe) {
            (true, None) => probe = Some(watching()?),
            (false, Some(_)) => probe = None,
            _ => {}
        }
        // With connections of its own: those that are older than the probe cost nothing.
        let topic = format!("window-{window}");
        let window = with_load(&cluster, &topic, |load| measure(&cluster, load, probe.as_mut(), &mut report))?;
        say(&format!(
            "{} the probe: {:.0} records/s, p99 {:.2} ms",
            if with_probe { "with" } else { "without" },
            window.records,
            window.p99 * 1e3
        ));
        if with_probe { report.with.push(window) } else { report.without.push(window) }
    }
    drop(probe.take());

    say("the probe and an idle broker");
    let mut probe = watching()?;
    let (started, before) = (Instant::now(), probe.process().cpu_time()?);
    std::thread::sleep(IDLE);
    report.idle_cpu = (probe.process().cpu_time()? - before).as_secs_f64() / started.elapsed().as_secs_f64();
    report.idle_memory = probe.memory()?.resident;
    report.peak_memory = probe.memory()?.peak;
    Ok(report)
}

/// A broker that never needs the disk while it is measured: a segment is flushed when it is full, and what is deleted
/// before the kernel has written it never is.
fn spec() -> ClusterSpec {
    ClusterSpec::new(Version::V4, 1)
        .property("log.segment.bytes", "2147483647")
        .property("log.retention.ms", "-1")
        .property("log.segment.delete.delay.ms", "0")
}

/// Gives clients a topic of their own, which does not outlive them.
fn with_load<T>(cluster: &Cluster, topic: &str, work: impl FnOnce(&mut Load) -> Result<T>) -> Result<T> {
    cluster.create_topic(topic, PARTITIONS, 1)?;
    let broker = cluster.brokers().first().context("no broker")?.direct();
    let result = work(&mut Load::start(broker, topic, PARTITIONS)?)?;
    wire::delete_topic(broker, topic)?;
    Ok(result)
}

/// A probe that has found the broker, everything switched on.
fn watching() -> Result<Probe> {
    let mut probe = Probe::start(["--partitions"])?;
    eventually("the probe to find the broker", PATIENCE, || {
        probe.process().must_run()?;
        let up = probe.metrics()?.sum("kafkascope_process_up", &[("kafkascope_process_name", "broker-1")]);
        // Others may run brokers of that name on this host.
        Ok(up.is_some_and(|up| up >= 1.0).then_some(()))
    })?;
    for sample in probe.metrics()?.select("kafkascope_sampler_up", &[("kafkascope_sampler", "fsync")]) {
        if sample.value < 1.0 {
            say(&format!("fsync costs nothing, because it is not seen: {}", sample.label("reason")));
        }
    }
    Ok(probe)
}

fn measure(cluster: &Cluster, load: &mut Load, mut probe: Option<&mut Probe>, report: &mut Report) -> Result<Window> {
    let process = cluster.brokers().first().and_then(|broker| broker.process()).context("the broker is not up")?;
    let before = probe.as_ref().map(|probe| probe.metrics()).transpose()?;
    let probe_cpu = |probe: &mut Option<&mut Probe>| match probe {
        Some(probe) => probe.process().cpu_time(),
        None => Ok(Duration::ZERO),
    };
    let times = load.at_a_pace(PACED)?;
    ensure!(!times.is_empty(), "nothing was acknowledged");
    let (started, own, brokers) = (Instant::now(), probe_cpu(&mut probe)?, process.cpu_time()?);
    let throughput = load.at_full_speed(FULL_SPEED)?;
    let (own, brokers) = (probe_cpu(&mut probe)? - own, process.cpu_time()? - brokers);
    let seconds = started.elapsed().as_secs_f64();
    if let (Some(before), Some(probe)) = (before, probe) {
        let after = probe.metrics()?;
        report.loaded_cpu += own.as_secs_f64();
        report.loaded_seconds += seconds;
        report.loaded_memory = report.loaded_memory.max(probe.memory()?.resident);
        add(&mut report.programs, &before, &after);
        report.lost += after.sum("kafkascope_self_events_lost_total", &[]).unwrap_or(0.0);
    }
    Ok(Window {
        records: throughput.records,
        broker_cpu: brokers.as_secs_f64() / throughput.total.max(1.0),
        p99: times.get(times.len() * 99 / 100).copied().unwrap_or(0) as f64 / 1e9,
    })
}

/// Adds what each program has done between two scrapes.
fn add(programs: &mut BTreeMap<String, Program>, before: &Scrape, after: &Scrape) {
    const RUNS: &str = "kafkascope_self_program_runs_total";
    const TIME: &str = "kafkascope_self_program_time_seconds_total";
    for sample in after.select(RUNS, &[]) {
        let name = sample.label("kafkascope_program");
        let grown = |metric| {
            let labels = [("kafkascope_program", name)];
            after.sum(metric, &labels).unwrap_or(0.0) - before.sum(metric, &labels).unwrap_or(0.0)
        };
        let program = programs.entry(name.to_owned()).or_default();
        program.runs += grown(RUNS);
        program.seconds += grown(TIME);
    }
}

fn say(what: &str) {
    eprintln!("overhead: {what}");
}
