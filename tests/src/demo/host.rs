//! The host under the demo: the real probe beside the proxy, where this is root, and what it says.

mod figures;

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::geteuid;
use serde_json::Value;

use self::figures::Pane;
pub(super) use self::figures::Process;
use super::table;
use super::view::View;
use crate::probe::{self, Probe};
use crate::prometheus::Scrape;

/// The embedded cluster is no JVM: the probe is told of it. Written so that it does not find the probe itself, on whose
/// command line this stands.
const EMBEDDED: &str = r"--watch=embedded-kafka=mock-cluster\s--brokers";

/// The host, or why there is nothing to say of it.
#[derive(Debug)]
pub(super) enum Host {
    Watched(Box<Watched>),
    Unseen(String),
}

/// The probe, and what it said at first and of late.
#[derive(Debug)]
pub(super) struct Watched {
    probe: Probe,
    first: Look,
    last: Look,
    pane: Pane,
}

#[derive(Debug, Clone)]
struct Look {
    at: Instant,
    scrape: Scrape,
}

impl Host {
    /// Starts the probe. That it cannot be is no reason to end the demo.
    pub(super) fn watch(view: &View, program: &Path) -> Self {
        if !geteuid().is_root() {
            let reason = format!("no host pane: the probe needs root; with it, this demo is\n  {}", as_root(program));
            view.say(&reason);
            return Self::Unseen(reason);
        }
        let started = view.step("probe", || {
            let probe = Probe::start_by(probe::with_tracing(), [EMBEDDED])?;
            let first = Look { at: Instant::now(), scrape: probe.metrics()? };
            Ok(Watched { probe, last: first.clone(), pane: Pane::default(), first })
        });
        match started {
            Ok(watched) => Self::Watched(Box::new(watched)),
            Err(error) => {
                let reason = format!("no host pane: {error:#}");
                view.say(&reason);
                Self::Unseen(reason)
            }
        }
    }

    /// An error if the probe has ended.
    pub(super) fn must_run(&mut self) -> Result<()> {
        match self {
            Self::Watched(watched) => watched.probe.process().must_run(),
            Self::Unseen(_) => Ok(()),
        }
    }

    /// Asks the probe; rates are since it was asked last.
    pub(super) fn look(&mut self) -> Result<()> {
        if let Self::Watched(watched) = self {
            let look = Look { at: Instant::now(), scrape: watched.probe.metrics()? };
            watched.pane = Pane::between(&watched.last.scrape, &look.scrape, look.at - watched.last.at);
            watched.last = look;
        }
        Ok(())
    }

    /// The same, but rates are since the beginning.
    pub(super) fn look_back(&mut self) -> Result<()> {
        self.look()?;
        if let Self::Watched(watched) = self {
            let Watched { first, last, pane, .. } = watched.as_mut();
            *pane = Pane::between(&first.scrape, &last.scrape, last.at - first.at);
        }
        Ok(())
    }

    /// For machines; null where nothing is seen.
    pub(super) fn json(&self) -> Result<Value> {
        match self {
            Self::Watched(watched) => Ok(serde_json::to_value(&watched.pane)?),
            Self::Unseen(_) => Ok(Value::Null),
        }
    }

    /// For people. `width` in columns; without one lines are as long as they need to be.
    pub(super) fn text(&self, width: Option<u16>) -> String {
        match self {
            Self::Watched(watched) => shown(&watched.pane, width),
            Self::Unseen(reason) => reason.clone(),
        }
    }

    /// Where the probe can be asked by hand.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Watched(watched) => Some(format!("curl http://{}/metrics      (the probe)", watched.probe.admin())),
            Self::Unseen(_) => None,
        }
    }

    /// The regular end.
    pub(super) fn leave(self) -> Result<()> {
        let Self::Watched(mut watched) = self else { return Ok(()) };
        watched.probe.terminate()?;
        watched.probe.wait(Duration::from_secs(15)).context("the probe does not end")?;
        Ok(())
    }
}

fn shown(pane: &Pane, width: Option<u16>) -> String {
    let mut text = format!("host, as kafkascope-probe sees it\n{}\n", table::processes(&pane.processes, width));
    // Writing to a string cannot fail.
    for disk in &pane.disks {
        let latency = disk.p99_ms.map_or_else(|| "-".to_owned(), |p99| format!("{p99:.2}"));
        _ = writeln!(text, "disk {:<8} {:.1} requests/s, p99 {latency} ms", disk.device, disk.requests_per_s);
    }
    let mut parts = Vec::new();
    parts.extend(pane.tcp_retransmits_per_s.map(|rate| format!("TCP retransmits {rate:.1}/s")));
    parts.extend(pane.memory_available_bytes.map(|bytes| format!("memory available {:.1} GB", bytes / 1e9)));
    if !pane.pressure_percent.is_empty() {
        let pressure = pane.pressure_percent.iter().map(|(resource, share)| format!("{resource} {share:.1} %"));
        parts.push(format!("some task waits for {} of the time", pressure.collect::<Vec<_>>().join(", ")));
    }
    _ = writeln!(text, "{}", parts.join(", "));
    let mut lacking: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for off in &pane.samplers_off {
        lacking.entry(&off.reason).or_default().push(&off.sampler);
    }
    for (reason, samplers) in lacking {
        _ = writeln!(text, "not seen, or not wholly: {}: {reason}", samplers.join(", "));
    }
    text
}

/// The demo that runs, but as root: built as this user, so that nothing in the build's folder becomes root's.
fn as_root(program: &Path) -> String {
    let mut words = vec![OsString::from("sudo env \"PATH=$PATH\"")];
    for name in ["KAFKASCOPE_CACHE", "KAFKASCOPE_PROXY", "KAFKASCOPE_PROBE"] {
        words.extend(env::var_os(name).map(|value| {
            let mut word = OsString::from(format!("{name}="));
            word.push(value);
            word
        }));
    }
    words.push(program.into());
    words.extend(env::args_os().skip(1));
    words.join(" ".as_ref()).to_string_lossy().into_owned()
}
