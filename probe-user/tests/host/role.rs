//! Processes that do a known amount of something when they are told to, and say how much it was.

use std::fs::File;
use std::hint::black_box;
use std::io::{Write, stdin};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

use crate::child::Talker;

/// The environment has what to play.
pub(crate) const VARIABLE: &str = "KAFKASCOPE_TRIAL_ROLE";

/// Starts this program with a role.
pub(crate) fn start(role: &str) -> Result<Talker> {
    let mut talker = Talker::start(&mut command(role)?)?;
    anyhow::ensure!(talker.line()? == "ready");
    Ok(talker)
}

pub(crate) fn command(role: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(VARIABLE, role);
    Ok(command)
}

/// Plays it: one step for each line of input, and a line of output after each.
pub(crate) fn play(role: &str) -> Result<()> {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut open: Vec<File> = Vec::new();
    let mut listeners = Vec::new();
    say("ready");
    for line in stdin().lines() {
        let amount: u64 = line?.parse()?;
        match role {
            // Milliseconds of processor time, by the process's own clock.
            "burn" => {
                let until = processor_time() + Duration::from_millis(amount);
                let mut sum = 0_u64;
                while processor_time() < until {
                    sum = (0..1000).fold(sum, |sum, step| black_box(sum.wrapping_mul(31) ^ step));
                }
                say(&processor_time().as_nanos().to_string());
            }
            // MiB of memory, of which each page is written.
            "touch" => {
                kept.push(vec![1; usize::try_from(amount)? << 20]);
                say("done");
            }
            // MiB, as far as the disk.
            "write" => {
                let path = std::env::var("KAFKASCOPE_TRIAL_FILE")?;
                let mut file = File::create(path)?;
                for _ in 0..amount {
                    file.write_all(&vec![7; 1 << 20])?;
                }
                file.sync_all()?;
                open.push(file);
                say("done");
            }
            "open" => {
                for _ in 0..amount {
                    open.push(File::open("/dev/null")?);
                }
                say("done");
            }
            "listen" => {
                let listener = TcpListener::bind(("127.0.0.1", u16::try_from(amount)?))?;
                say(&listener.local_addr().context("no address")?.port().to_string());
                listeners.push(listener);
            }
            _ => say("what?"),
        }
    }
    Ok(())
}

fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// Not by `println!`, which tests capture.
fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    // Nobody listens: the test has ended.
    _ = writeln!(output, "{line}").and_then(|()| output.flush());
}
