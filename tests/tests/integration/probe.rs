//! The probe as a program: what it is told, what it may, what it finds and exports, and that it leaves nothing behind.
//!
//! What loads kernel programs needs root and a probe that was built with them; else it is ignored, with the reason. Other
//! tests, and other people, may have brokers and probes on this host: each trial looks only at what is its own.

mod demo;
mod doctor;
mod export;
mod flags;
mod life;
mod network;
mod privileges;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use kafkascope_tests::eventually::eventually;
use kafkascope_tests::probe::Probe;
use kafkascope_tests::prometheus::Scrape;
use kafkascope_tests::testbed::Need;
use libtest_mimic::Trial;

use crate::trial::{Plain, as_root};

/// Processes are found within seconds, brokers are up within a minute or two on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What needs the kernel's programs.
const KERNEL_SAMPLERS: [&str; 5] = ["page_cache", "disk", "disk_queue", "fsync", "tcp"];

/// Nanoseconds of Unix time, as spans have them.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn trials() -> Vec<Trial> {
    let trials = [
        flags::trials(),
        doctor::trials(),
        privileges::trials(),
        life::trials(),
        export::trials(),
        network::trials(),
        demo::trials(),
    ];
    trials.into_iter().flatten().collect()
}

/// A trial that loads kernel programs.
fn privileged(plain: Plain, needs: &'static [Need], tools: &'static [&'static str]) -> Trial {
    let not_built = kafkascope_probe::kernel::PROGRAMS.err();
    let lack = not_built.map(|reason| format!("built without kernel programs: {reason}"));
    as_root(plain, lack, needs, tools)
}

/// Waits until the probe says something.
fn told(probe: &Probe, what: &str, limit: Duration, condition: impl Fn(&Scrape) -> bool) -> Result<Scrape> {
    let scrape = eventually(what, limit, || {
        let scrape = probe.metrics()?;
        Ok(condition(&scrape).then_some(scrape))
    });
    scrape.with_context(|| {
        let scrape = probe.metrics().unwrap_or_default();
        format!(
            "it says\n{}{}and has logged\n{}",
            scrape.show("kafkascope_process"),
            scrape.show("kafkascope_sampler"),
            probe.log()
        )
    })
}

/// The name that the probe has for whoever listens at a port.
fn name_at(scrape: &Scrape, port: u16) -> Option<String> {
    let port = port.to_string();
    let mut listening =
        scrape.select("kafkascope_process_listening", &[]).filter(|sample| sample.label("server_port") == port);
    Some(listening.find(|sample| sample.value == 1.0)?.label("kafkascope_process_name").to_owned())
}

/// What the samplers that need kernel programs say: name, whether it is up, reason.
fn samplers(scrape: &Scrape) -> Vec<(String, bool, String)> {
    let samples = scrape.select("kafkascope_sampler_up", &[]);
    let mut samplers: Vec<_> = samples
        .map(|sample| {
            (sample.label("kafkascope_sampler").to_owned(), sample.value == 1.0, sample.label("reason").to_owned())
        })
        .filter(|(name, ..)| KERNEL_SAMPLERS.contains(&name.as_str()))
        .collect();
    samplers.sort();
    samplers
}
