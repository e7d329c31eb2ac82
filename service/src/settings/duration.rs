//! Durations such as `500ms`, `10s`, `1m 30s`.

use std::time::Duration;

/// More than a day is a mistake, and would overflow the timers' arithmetic at some point.
const LONGEST: Duration = Duration::from_secs(86_400);

/// From text.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("is not a duration such as 500ms, 10s or 1m ({error})"))?;
    match duration {
        Duration::ZERO => Err("is not longer than 0".to_owned()),
        longer if longer > LONGEST => Err("is longer than a day".to_owned()),
        good => Ok(good),
    }
}
