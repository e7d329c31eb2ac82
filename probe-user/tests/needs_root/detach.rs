//! Nothing stays behind: neither when the programs are dropped nor when their process is killed.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context, Result, ensure};
use aya::programs::loaded_programs;
use kafkascope_probe::kernel::{Kernel, Limits, Wanted};

use crate::stage::{self, Plain};

/// Makes this program load the kernel programs, say so and wait to be killed.
const CHILD: &str = "KAFKASCOPE_TEST_LOAD";

pub(crate) fn trials() -> Vec<Plain> {
    vec![("detach::nothing_is_left_after_drop", after_drop), ("detach::nothing_is_left_after_sigkill", after_sigkill)]
}

pub(crate) fn run_as_child() -> Option<ExitCode> {
    env::var_os(CHILD)?;
    let kernel = Kernel::load(Limits::default(), Wanted::ALL);
    println!("{}", kernel.cost().programs.len());
    loop {
        thread::park();
    }
}

fn after_drop() -> Result<()> {
    let before = ids();
    let kernel = stage::kernel(&["page_cache", "disk", "disk_queue", "fsync", "tcp", "sock_diag"])?;
    let loaded = kernel.cost().programs.len();
    ensure!(ids().difference(&before).count() >= loaded && loaded >= 11, "{loaded} programs");
    drop(kernel);
    gone(&before)
}

fn after_sigkill() -> Result<()> {
    let before = ids();
    let mut child = Command::new(env::current_exe()?).env(CHILD, "1").stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
    let (loaded, appeared) = (line.trim().parse::<usize>()?, ids().difference(&before).count());
    child.kill()?;
    child.wait()?;
    ensure!(loaded >= 11 && appeared >= loaded, "{loaded} programs, of which {appeared} appeared");
    gone(&before)
}

type Ids = std::collections::BTreeSet<u32>;

/// The ids of all programs in the kernel.
fn ids() -> Ids {
    loaded_programs().filter_map(Result::ok).map(|program| program.id()).collect()
}

/// The kernel frees programs a moment after their last reference.
fn gone(before: &Ids) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let now = ids();
        let left: Vec<_> = now.difference(before).collect();
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "left: {left:?}");
        thread::sleep(Duration::from_millis(20));
    }
}
