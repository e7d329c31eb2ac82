//! Programs of known habits: this program, when its only argument says which.
//!
//! Each does a known amount of something, says how much by its own count, and waits to be told to go on.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufRead, Write, stdin, stdout};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::{fdatasync, fsync};
use rustix::time::{ClockId, clock_gettime};

/// What the argument begins with, before `=ROLE:watched:RUN` or `=ROLE:unseen:RUN`.
pub(super) const ACTOR: &str = "kafkascope-actor";

/// What actors can play; the probe calls them so.
pub(super) const ROLES: [&str; 4] = ["burn", "touch", "swap", "sync"];

/// What `touch` and `swap` touch.
pub(super) const TOUCHED: usize = 2 << 30;
/// What is touched where only half may stay in memory.
pub(super) const SWAPPED: usize = 64 << 20;
/// What `burn` burns, about.
const BURNED: Duration = Duration::from_secs(3);
/// Calls of `fsync` and `fdatasync` of the role `sync`.
pub(super) const FSYNCS: u32 = 137;
/// See [`FSYNCS`].
pub(super) const FDATASYNCS: u32 = 61;

/// Whether the arguments make this process an actor; then it has acted.
pub fn act_if_asked() -> Result<bool> {
    let Some(argument) = std::env::args().nth(1) else { return Ok(false) };
    let Some(role) = argument.strip_prefix(ACTOR).and_then(|rest| rest.strip_prefix('=')) else { return Ok(false) };
    let role = role.split(':').next().unwrap_or_default();
    wait()?;
    match role {
        "burn" => {
            let (start, mut number) = (Instant::now(), 0_u64);
            while start.elapsed() < BURNED {
                for step in 0..100_000_u64 {
                    number = black_box(number.wrapping_mul(31).wrapping_add(step));
                }
            }
            let time = clock_gettime(ClockId::ProcessCPUTime);
            tell(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)?;
        }
        "touch" => hold(TOUCHED)?,
        "swap" => hold(SWAPPED)?,
        "sync" => sync()?,
        other => bail!("no actor can play {other:?}"),
    }
    Ok(true)
}

fn hold(bytes: usize) -> Result<()> {
    let memory = black_box(vec![7_u8; bytes]);
    tell(memory.len() as f64)?;
    black_box(&memory);
    Ok(())
}

fn sync() -> Result<()> {
    let path = std::env::temp_dir().join(format!("kafkascope-actor-{}", std::process::id()));
    let mut file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    for call in 0..FSYNCS + FDATASYNCS {
        file.write_all(&[1; 4096])?;
        if call < FSYNCS { fsync(&file)? } else { fdatasync(&file)? }
    }
    fs::remove_file(&path)?;
    tell(f64::from(FSYNCS + FDATASYNCS))
}

/// Says a number and waits.
fn tell(number: f64) -> Result<()> {
    writeln!(stdout(), "{number}")?;
    stdout().flush()?;
    wait()
}

fn wait() -> Result<()> {
    stdin().lock().read_line(&mut String::new())?;
    Ok(())
}
