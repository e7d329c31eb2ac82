//! `cargo xtask kernels`: tries the probe on several kernels, each in a virtual machine, and on this machine's.

mod cpio;
mod guest;
mod machine;
mod modules;
mod report;

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::setup::kernels::{LINES, kernel};
use crate::workspace;
use guest::Programs;
use report::{Fate, Outcome, Report};

/// Try the probe on kernels 5.10, 6.1, 6.12, 6.18, the newest, and this machine's.
///
/// Boots Debian's kernels in QEMU (by emulation: no /dev/kvm needed), runs the probe beside a workload of known truth,
/// and prints a table of samplers by kernels: true, degraded (with the reason: the kernel lacks something), FALSE, or
/// absent (it could not be tried). Exit code 1 upon any FALSE or a kernel that does not boot. About a minute for each
/// kernel. The part on this machine needs root.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these, for example `--only 5.10,newest,native`
    #[arg(long, value_delimiter = ',', value_name = "KERNEL")]
    only: Vec<String>,
    /// Seconds that a try may take; upon more, or a failed boot, there is a second try
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
    /// Another program in the place of the probe: one that deceives must be seen through
    #[arg(long, value_name = "PROGRAM")]
    probe: Option<PathBuf>,
    /// Print only the result, as JSON; progress goes to standard error
    #[arg(long)]
    json: bool,
}

/// This machine, as it runs.
const NATIVE: &str = "native";

/// A machine that others use at the same time may be too slow once.
const TRIES: usize = 2;

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let names = || LINES.iter().map(|line| line.name).chain([NATIVE]);
    if let Some(unknown) = args.only.iter().find(|only| !names().any(|name| name == *only)) {
        bail!("{unknown}: no such kernel, there are {}", names().collect::<Vec<_>>().join(", "));
    }
    let is_wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    if LINES.iter().any(|line| is_wanted(line.name)) {
        set_up()?;
    }
    let mut programs = guest::build()?;
    if let Some(probe) = &args.probe {
        programs.probe = fs::canonicalize(probe).with_context(|| format!("no {}", probe.display()))?;
    }
    let folder = workspace::root().join("target/kernels");
    fs::create_dir_all(&folder)?;
    // Two at once would write to one disk, and spoil each other's times.
    let lock = File::create(folder.join(".lock"))?;
    if lock.try_lock().is_err() {
        bail!("another one is at work");
    }
    let packed = guest::pack_programs(&programs, &folder)?;
    let patience = Duration::from_secs(args.timeout);

    let mut report = Report::default();
    for line in LINES.iter().filter(|line| is_wanted(line.name)) {
        let fate = match kernel(line) {
            Err(why) => Fate::Absent(format!("{why:#}")),
            Ok(kernel) => repeatedly(line.name, &folder, |folder| {
                guest::prepare(&kernel, &packed, folder)?;
                let outcome = machine::boot(line.name, &kernel.image, folder, patience)?;
                if outcome.release == kernel.release {
                    Ok(outcome)
                } else {
                    bail!("{} came up instead", outcome.release)
                }
            }),
        };
        report.kernels.push((line.name.to_owned(), fate));
    }
    if is_wanted(NATIVE) {
        report.kernels.push((NATIVE.to_owned(), on_this_machine(&programs, &folder, patience)));
    }
    if args.json {
        println!("{:#}", report.to_json())
    } else {
        print!("{report}")
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn on_this_machine(programs: &Programs, folder: &Path, patience: Duration) -> Fate {
    repeatedly(NATIVE, folder, |folder| machine::native(programs, folder, patience))
}

/// Gives a failed run, not a FALSE row, another try.
fn repeatedly(name: &str, folder: &Path, attempt: impl Fn(&Path) -> Result<Outcome>) -> Fate {
    let folder = folder.join(name);
    let mut failure = String::new();
    for number in 1..=TRIES {
        eprintln!("{name}: try {number} of {TRIES}");
        let outcome = fs::create_dir_all(&folder).map_err(Into::into).and_then(|()| attempt(&folder));
        match outcome {
            Ok(outcome) => return Fate::Ran(outcome),
            Err(error) => failure = format!("{error:#}"),
        }
        eprintln!("{name}: {failure}");
    }
    Fate::Failed(failure)
}

/// As a process of its own: what it tells must not come between the user and `--json`.
fn set_up() -> Result<()> {
    let mut setup = Command::new(env::current_exe()?);
    setup.args(["setup", "--only", "vm"]).stdin(Stdio::null()).stdout(io::stderr());
    // What it could not get is said in the table. In CI everything must be there.
    if setup.status()?.success() { Ok(()) } else { bail!("the kernels could not be set up") }
}
