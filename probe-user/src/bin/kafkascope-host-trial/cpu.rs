//! CPU time: a process burns some, and says itself how much it was charged for.

use anyhow::{Context, Result};

use crate::actor::Actor;
use crate::exposition::Exposition;
use crate::judge::{Figure, Report};
use crate::probe::{BURNER, PROCESS, Probe};

const SHARE: f64 = 0.01;

pub(crate) fn try_it(probe: &Probe, report: &mut Report) -> Result<()> {
    let mut burner = Actor::start("burn")?;
    probe.await_process(BURNER)?;
    let before = probe.settled(seconds)?;
    let answer = burner.ask("burn")?;
    let truth = answer.parse().with_context(|| format!("not a number: {answer}"))?;
    let after = probe.settled(seconds)?;
    report.figure("process", &after, &Figure::within(SHARE, "cpu time", seconds(&after) - seconds(&before), truth))
}

fn seconds(scrape: &Exposition) -> f64 {
    scrape.sum("process_cpu_time_seconds_total", &[(PROCESS, BURNER)])
}
