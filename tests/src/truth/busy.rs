//! How busy the machine is while something is measured.

use std::fs;

use anyhow::{Context, Result};

/// Above this share, what waits for a processor spoils what is measured.
pub(super) const SATURATED: f64 = 0.7;

/// USER_HZ, on all that Linux runs on.
const TICKS_A_SECOND: f64 = 100.0;

/// Time of the machine's processors, and how much of it is used, in ticks from /proc/stat.
pub(super) struct Busy {
    busy: f64,
    all: f64,
}

impl Busy {
    /// From now on.
    pub(super) fn begin() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("cannot read the machine's CPU times")?;
        Self::parse(&stat).context("/proc/stat has no CPU times")
    }

    fn parse(stat: &str) -> Option<Self> {
        let times: Vec<f64> =
            stat.lines().next()?.split_whitespace().skip(1).filter_map(|time| time.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal; guests are in user already.
        let all: f64 = times.iter().take(8).sum();
        Some(Self { busy: all - times.get(3)? - times.get(4)?, all })
    }

    /// Seconds of all processors that the kernel has told of since then.
    pub(super) fn seconds(&self) -> Result<f64> {
        Ok((Self::begin()?.all - self.all) / TICKS_A_SECOND)
    }

    /// The share that was used since then.
    pub(super) fn share(&self) -> Result<f64> {
        let now = Self::begin()?;
        Ok((now.busy - self.busy) / (now.all - self.all).max(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_for_disks_is_not_busy() {
        let before = Busy::parse("cpu  100 0 100 800 0 0 0 0 0 0\n").unwrap();
        let after = Busy::parse("cpu  130 0 120 840 10 0 0 0 0 0\n").unwrap();
        assert_eq!((after.busy - before.busy, after.all - before.all), (50.0, 100.0));
    }
}
