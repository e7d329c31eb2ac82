//! `cargo xtask setup`: fetches and builds what the tests, the demo with a real broker and the benchmark need.
//!
//! Everything but system packages goes into one folder (see [`workspace::testbed`]). Each item remembers the text it
//! was made from in a stamp beside it, so a second run does nothing, and a changed recipe makes the item again.

mod archives;
mod bpf;
pub(crate) mod kernels;
mod programs;
mod system;

use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;

pub(crate) use programs::{cargo_deny, kubernetes_validate};

use crate::{step, workspace};

/// The versions of Apache Kafka that everything is tested with. Their poms are in `tests/kafka`.
const KAFKA_VERSIONS: [&str; 2] = ["4.3.1", "3.9.2"];

/// What could not be made is tried once more after this time.
const AGAIN: Duration = Duration::from_secs(10);

/// Get what the tests need: Kafka's jars, an OpenTelemetry collector, foreign clients, tools for kernel programs.
///
/// May be run at any time; what is there already is left alone. Jars come by Maven, the collector and a Go client are
/// built from Go modules, clients in Python and JavaScript come by pip and npm, system packages come by apt-get if you
/// are root on Debian or Ubuntu. It needs about 1 GB in `target/testbed` (or in the folder that $KAFKASCOPE_CACHE names)
/// and, the first time, five minutes. A tool that is missing is named with the way to get it and with what is left out
/// without it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these groups, for example `--only kafka,collector`
    #[arg(long, value_delimiter = ',', value_name = "GROUP")]
    only: Vec<Group>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// Compilers, Java and Maven, by apt-get
    System,
    /// The jars of the Apache Kafka versions that are tested
    Kafka,
    /// Class archives that halve the start of a broker (left out in CI, where they do not pay)
    Archives,
    /// An OpenTelemetry collector
    Collector,
    /// Client programs in other languages: franz-go, kafka-python, KafkaJS, kcat
    Clients,
    /// Checkers of licences and sources of dependencies, of Kubernetes manifests, of systemd units
    Lint,
    /// What the benchmark compares with and measures by: HAProxy, iproute2, Valgrind
    Bench,
    /// What compiles the kernel programs of the probe: sources of core, bpf-linker
    Bpf,
    /// What the probe is tried on: kernels, and a virtual machine for them
    Vm,
}

impl Group {
    fn all() -> Vec<Self> {
        let every = [
            Self::System,
            Self::Kafka,
            Self::Archives,
            Self::Collector,
            Self::Clients,
            Self::Lint,
            Self::Bench,
            Self::Bpf,
            Self::Vm,
        ];
        every.into_iter().filter(|&group| !(group == Self::Archives && workspace::is_ci())).collect()
    }
}

/// Something that cannot be had on this machine.
#[derive(Debug)]
pub(crate) struct Absent {
    what: String,
    remedy: String,
    consequence: &'static str,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let groups = if args.only.is_empty() { Group::all() } else { args.only.clone() };
    let absent = provide(&groups)?;
    if absent.is_empty() {
        println!("setup: everything is in place ({})", workspace::testbed().display());
    }
    Ok(if absent.is_empty() || !workspace::is_ci() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sees to it that `groups` are there, and says what cannot be had.
pub(crate) fn provide(groups: &[Group]) -> Result<Vec<Absent>> {
    let testbed = workspace::testbed();
    fs::create_dir_all(&testbed).with_context(|| format!("cannot make {}", testbed.display()))?;
    let lock = File::create(testbed.join(".lock"))?;
    if lock.try_lock().is_err() {
        println!("setup: another one is at work, waiting for it ...");
        lock.lock()?;
    }
    let mut absent = Vec::new();
    for group in groups {
        match group {
            Group::System => system::build_tools(&mut absent)?,
            Group::Kafka => programs::kafka(&mut absent)?,
            Group::Archives => archives::make(&mut absent)?,
            Group::Collector => programs::collector(&mut absent)?,
            Group::Clients => programs::clients(&mut absent)?,
            Group::Lint => {
                system::lint_tools(&mut absent)?;
                programs::build_cargo_deny(&mut absent)?;
                programs::fetch_kubernetes_validate(&mut absent)?;
            }
            Group::Bench => system::bench_tools(&mut absent)?,
            Group::Bpf => bpf::tools(&mut absent)?,
            Group::Vm => kernels::provide(&mut absent)?,
        }
    }
    for Absent { what, remedy, consequence } in &absent {
        println!("setup: missing: {what}. {remedy}. Without it {consequence}.");
    }
    Ok(absent)
}

/// Makes an item unless its stamp holds `recipe` already; tries again in a moment, as a registry may fail for one.
fn once(item: &Path, recipe: &str, mut make: impl FnMut() -> Result<()>) -> Result<()> {
    let stamp = item.with_extension("stamp");
    if item.exists() && fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == recipe) {
        return Ok(());
    }
    if stamp.exists() {
        fs::remove_file(&stamp)?;
    }
    if let Err(error) = make() {
        println!("setup: {error:#}; trying again in {} s", AGAIN.as_secs());
        thread::sleep(AGAIN);
        make()?;
    }
    fs::write(&stamp, recipe).with_context(|| format!("cannot write {}", stamp.display()))
}
