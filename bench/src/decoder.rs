//! What decoding and recording cost in instructions and allocations, counted by Valgrind.
//!
//! The same exchanges are shown N and 2 N times; the difference is what N more cost, so that neither the start nor what
//! is looked up once is in it. Commits are each of another partition: there what is kept is counted, too.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use serde::Serialize;

use crate::frames::{self, Exchange};

/// Exchanges of the shorter run.
const EXCHANGES: u64 = 2000;
/// Batches of the exchanges with many.
pub const MANY: usize = 64;

/// The exchange that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// Produce of one batch of 16 KiB.
    Produce,
    /// Produce of one batch of 1 MiB, which passes in pieces, most of it unseen.
    ProduceLarge,
    /// Produce of 1 MiB in 64 batches, each of another partition.
    ProduceMany,
    /// Fetch of one batch of 16 KiB.
    Fetch,
    /// Fetch of one batch of 1 MiB.
    FetchLarge,
    /// Fetch of 1 MiB in 64 batches of one partition.
    FetchMany,
    /// OffsetCommit of one partition, each of another.
    Commit,
}

impl Subject {
    pub fn exchange(self) -> Exchange {
        match self {
            Self::Produce => frames::produce(16 << 10, 1),
            Self::ProduceLarge => frames::produce(1 << 20, 1),
            Self::ProduceMany => frames::produce(1 << 20, MANY),
            Self::Fetch => frames::fetch(16 << 10, 1),
            Self::FetchLarge => frames::fetch(1 << 20, 1),
            Self::FetchMany => frames::fetch(1 << 20, MANY),
            Self::Commit => frames::commit(),
        }
    }

    /// Where in request and response the number of the exchange is to be written as a partition, from their ends.
    pub fn partition_at(self) -> Option<[usize; 2]> {
        (self == Self::Commit).then_some(frames::COMMIT_PARTITION)
    }
}

/// What was counted.
#[derive(Debug, Clone, Serialize)]
pub struct Counts {
    /// Instructions for an exchange of one batch of 16 KiB, one in a hundred becoming a span.
    pub exchange: [(&'static str, f64); 2],
    /// The same with a batch of 1 MiB.
    pub large_exchange: [(&'static str, f64); 2],
    /// Instructions for each further batch.
    pub further_batch: [(&'static str, f64); 2],
    /// Allocations for each exchange, of all kinds together that bring nothing new.
    pub allocations: f64,
    /// Instructions for the first commit of a partition by a group, until the process as a whole knows of it.
    pub commit: f64,
    /// Bytes that are kept for it.
    pub commit_bytes: f64,
}

/// Counts with `program`, which is `kafkascope-bench-decoder`.
pub fn count(program: &Path) -> Result<Counts> {
    let instructions = |subject| per_exchange(|exchanges| callgrind(program, subject, exchanges));
    let [produce, produce_many] = [instructions(Subject::Produce)?, instructions(Subject::ProduceMany)?];
    let large = [instructions(Subject::ProduceLarge)?, instructions(Subject::FetchLarge)?];
    let [fetch, fetch_many] = [instructions(Subject::Fetch)?, instructions(Subject::FetchMany)?];
    let mut allocations = 0.0;
    for subject in Subject::value_variants().iter().filter(|subject| subject.partition_at().is_none()) {
        allocations += per_exchange(|exchanges| allocations_of(program, *subject, exchanges))?;
    }
    let further = (MANY - 1) as f64;
    Ok(Counts {
        exchange: [("Produce", produce), ("Fetch", fetch)],
        large_exchange: [("Produce", large[0]), ("Fetch", large[1])],
        further_batch: [("Produce", (produce_many - produce) / further), ("Fetch", (fetch_many - fetch) / further)],
        allocations,
        commit: instructions(Subject::Commit)?,
        commit_bytes: per_exchange(|exchanges| kept_of(program, Subject::Commit, exchanges))?,
    })
}

fn per_exchange(count: impl Fn(u64) -> Result<u64>) -> Result<f64> {
    let (once, twice) = (count(EXCHANGES)?, count(2 * EXCHANGES)?);
    Ok((twice as f64 - once as f64) / EXCHANGES as f64)
}

/// Instructions of a whole run.
fn callgrind(program: &Path, subject: Subject, exchanges: u64) -> Result<u64> {
    let flags = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let said = valgrind(&flags, program, subject, exchanges, "0.01")?;
    number_after(&said, "Collected : ")
}

/// Allocations of a whole run. Spans own their names, so none are made here.
fn allocations_of(program: &Path, subject: Subject, exchanges: u64) -> Result<u64> {
    number_after(&dhat(program, subject, exchanges)?, " bytes in ").context("Total: .. bytes in .. blocks")
}

/// Bytes on the heap when they were most.
fn kept_of(program: &Path, subject: Subject, exchanges: u64) -> Result<u64> {
    number_after(&dhat(program, subject, exchanges)?, "At t-gmax: ")
}

fn dhat(program: &Path, subject: Subject, exchanges: u64) -> Result<String> {
    valgrind(&["--tool=dhat", "--dhat-out-file=/dev/null"], program, subject, exchanges, "0")
}

fn valgrind(flags: &[&str], program: &Path, subject: Subject, exchanges: u64, spans: &str) -> Result<String> {
    let name = subject.to_possible_value().context("a subject without a name")?;
    let mut command = Command::new("valgrind");
    command.args(flags).arg(program).args([name.get_name(), &exchanges.to_string(), "--spans", spans]);
    let output = command.stdin(Stdio::null()).output().context("running valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?}: {}: {said}", output.status);
    Ok(said)
}

fn number_after(text: &str, mark: &str) -> Result<u64> {
    let (_, after) = text.split_once(mark).with_context(|| format!("valgrind does not say \"{mark}\": {text}"))?;
    let digits: String = after.chars().take_while(|c| c.is_ascii_digit() || *c == ',').filter(|c| *c != ',').collect();
    digits.parse().with_context(|| format!("no number after \"{mark}\": {text}"))
}
