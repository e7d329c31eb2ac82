//! Waiting for a condition, with a deadline. No test sleeps for a time instead.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Asks `condition` until it gives something. After `limit` it fails with `what` was waited for and the last reason.
pub fn eventually<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let reason = match condition() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if Instant::now() >= deadline {
            match reason {
                Some(error) => return Err(error.context(format!("waited {} s: {what}", limit.as_secs()))),
                None => bail!("waited {} s: {what}", limit.as_secs()),
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The same for a plain condition.
pub fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    eventually(what, limit, || Ok(condition().then_some(())))
}
