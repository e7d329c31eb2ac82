//! What the probe says of a host, beside what the kernel, the JVM and programs of known habits say.
//!
//! All but the probe works in a network namespace of its own, where packets can be dropped and counted without touching
//! anybody else, and in a mount namespace of its own, where the kernel's tracing is mounted for the oracle and the probe. So
//! this program starts itself again in them; what it prints there are the rows.

mod actor;
mod disk;

mod jvm;
mod network;
mod page_cache;
mod resources;
mod stage;
mod tracing;
mod up;

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::geteuid;

pub use actor::act_if_asked;

use super::busy::{Busy, SATURATED};
use super::report::Report;
use super::row::Row;
use crate::kafka::Version;
use crate::process::tied;
use stage::{Stage, say};

/// In the namespaces: where the network namespace of the host is.
const HOST_NETWORK: &str = "KAFKASCOPE_TRUTH_HOST_NETWORK";

/// A change of reality that must make an item's rows false.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    /// What was cached is dropped from the cache after the oracle looked.
    DropCache,
    /// Half of the work is done where nobody looks.
    Unseen,
    /// More happens after we were asked.
    Afterwards,
    /// What the oracle expects to die lives.
    Immortal,
}

impl Break {
    /// The change for an item that is built.
    pub(super) const fn of(item: u8) -> Option<Self> {
        match item {
            11 => Some(Self::DropCache),
            12 | 13 | 14 | 35 | 36 | 37 | 38 => Some(Self::Unseen),
            15 | 16 => Some(Self::Afterwards),
            41 => Some(Self::Immortal),
            _ => None,
        }
    }

    /// What it does, for people.
    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::DropCache => "what was cached is dropped after the oracle has looked",
            Self::Unseen => "half of the work is done where nobody looks",
            Self::Afterwards => "more garbage is collected after we were asked",
            Self::Immortal => "the broker that should die is left alone",
        }
    }
}

/// Why hosts cannot be compared here, if they cannot.
pub(super) fn impossible() -> Option<&'static str> {
    if !geteuid().is_root() {
        return Some("needs root: the probe loads kernel programs, and the oracle needs namespaces of its own");
    }
    let tools = ["unshare", "nsenter", "ip", "nft", "fincore"];
    let missing = tools.iter().any(|tool| crate::testbed::which(tool).is_none());
    missing.then_some("needs util-linux, iproute2 and nftables: on Debian apt-get install util-linux iproute2 nftables")
}

/// Whether this process is the one in the namespaces.
pub(super) fn is_inside() -> bool {
    env::var_os(HOST_NETWORK).is_some()
}

/// The rows of `items`, by this program in namespaces of its own.
pub(super) fn rows_of_another(version: Version, items: &[u8], breaking: Option<u8>) -> Result<Vec<Row>> {
    let numbers: Vec<_> = items.iter().map(u8::to_string).collect();
    let mut inside = Command::new("unshare");
    inside.args(["--net", "--mount", "--propagation", "private", "sh", "-c"]);
    inside.arg(
        "ip link set lo up && { test -d /sys/kernel/tracing/events || mount -t tracefs tracefs /sys/kernel/tracing; } && \
         exec \"$0\" \"$@\"",
    );
    inside.arg(env::current_exe()?).args(["--json", "--kafka", version.line(), "--only", &numbers.join(",")]);
    inside.args(breaking.map(|item| format!("--break={item}")));
    inside.env(HOST_NETWORK, format!("/proc/{}/ns/net", std::process::id()));
    let mut inside = tied(&inside);
    let output = inside.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cannot run unshare")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(!text.trim().is_empty(), "the run in its own namespaces said nothing: {}", output.status);
    Ok(Report::parse(&text)?.into_compared())
}

/// The rows, in the namespaces.
pub(super) fn rows(version: Version, items: &[u8], breaking: Option<Break>) -> Result<Vec<Row>> {
    let host = PathBuf::from(env::var_os(HOST_NETWORK).context("not in namespaces of its own")?);
    let mut stage = Stage::set(version, host, breaking)?;
    let mut rows = Vec::new();
    let acts: [(&[u8], Act); 7] = [
        (&[11], page_cache::rows),
        (&[12, 13, 36], resources::rows),
        (&[37], resources::swap_rows),
        (&[14, 35], network::rows),
        (&[15, 16], jvm::rows),
        (&[38], disk::rows),
        // Last: a broker dies.
        (&[41], up::rows),
    ];
    for (about, act) in acts {
        if about.iter().any(|item| items.contains(item)) {
            match played(&mut stage, act) {
                Ok(more) => rows.extend(more),
                Err(error) => {
                    for item in about.iter().filter(|item| items.contains(item)) {
                        rows.push(Row::failed(*item, &format!("{error:#}")));
                    }
                }
            }
        }
    }
    Ok(rows)
}

/// Plays an act; once more if a row of it is false and others kept the machine busy, who also take memory and disks.
fn played(stage: &mut Stage, act: Act) -> Result<Vec<Row>> {
    for attempt in 1.. {
        stage.attempt = attempt;
        let busy = Busy::begin()?;
        let rows = act(stage)?;
        let spoilt = rows.iter().any(Row::is_false) && busy.share()? > SATURATED;
        if !spoilt || stage.breaking.is_some() || attempt == super::ATTEMPTS {
            return Ok(rows);
        }
        say("a row is false, and the machine was busy with something else: once more");
    }
    Ok(Vec::new())
}

type Act = fn(&mut Stage) -> Result<Vec<Row>>;
