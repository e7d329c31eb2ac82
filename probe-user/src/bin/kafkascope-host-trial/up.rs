//! Processes up: how soon the probe says that one is gone.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::actor::Actor;
use crate::judge::{Figure, Report};
use crate::probe::{MORTAL, Probe};

/// The goal.
const SOON: Duration = Duration::from_secs(2);

/// When not even a late answer comes.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn try_it(probe: &Probe, report: &mut Report) -> Result<()> {
    let mortal = Actor::start("wait")?;
    probe.await_process(MORTAL)?;
    mortal.kill()?;
    let killed = Instant::now();
    while probe.is_up(MORTAL)? == Some(true) {
        if killed.elapsed() > PATIENCE {
            bail!("still up {} s after it was killed", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(20));
    }
    let took = killed.elapsed().as_secs_f64();
    if probe.is_up(MORTAL)?.is_none() {
        bail!("it forgot a process instead of saying that it is gone");
    }
    let figure =
        Figure { name: "seconds until down".to_owned(), ours: took, truth: 0.0, tolerance: SOON.as_secs_f64() };
    report.figure("process", &probe.scrape()?, &figure)
}
