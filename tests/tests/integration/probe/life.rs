//! The probe's end leaves nothing in the kernel; the lives and deaths of others are counted right.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aya::programs::loaded_programs;
use kafkascope_tests::eventually::{eventually, until};
use kafkascope_tests::http;
use kafkascope_tests::kafka::{Cluster, ClusterSpec, Version};
use kafkascope_tests::port::Port;
use kafkascope_tests::probe::{self, Probe};
use kafkascope_tests::process::{spawn, tied};
use kafkascope_tests::prometheus::Scrape;
use kafkascope_tests::testbed::{Need, which};
use libtest_mimic::Trial;

use super::{PATIENCE, name_at, privileged, told};
use crate::trial::as_root;
use crate::trial::trial;

/// A death is seen at once, a process that has come within seconds; a busy machine is forgiven.
const SOON: Duration = Duration::from_secs(2);

pub(super) fn trials() -> Vec<Trial> {
    vec![
        privileged(("probe::life::sigterm_ends_it_with_0_and_leaves_nothing_behind", sigterm), &[], &["unshare"]),
        privileged(("probe::life::sigkill_leaves_nothing_behind", sigkill), &[], &["unshare"]),
        trial("probe::life::a_broker_that_dies_is_down_at_once_and_its_restart_is_counted", &[Need::Kafka], restart),
        trial("probe::life::who_is_expected_and_never_seen_is_down", &[], expected),
        as_root(
            ("probe::life::another_process_with_the_same_id_is_another", same_id),
            None,
            &[],
            &["unshare", "sleep"],
        ),
    ]
}

fn sigterm() -> Result<()> {
    let left = Left::now()?;
    let mut probe = Probe::start_by(probe::with_tracing(), ["--slow=1s"])?;
    let loaded = programs_of(probe.process().id())?;
    let asked = Instant::now();
    probe.terminate()?;
    let status = probe.wait(Duration::from_secs(5))?;
    ensure!(status.code() == Some(0), "{status} after {:?}\n{}", asked.elapsed(), probe.log());
    left.nothing_of(&loaded)
}

fn sigkill() -> Result<()> {
    let left = Left::now()?;
    let mut probe = Probe::start_by(probe::with_tracing(), ["--slow=1s"])?;
    let loaded = programs_of(probe.process().id())?;
    probe.kill()?;
    left.nothing_of(&loaded)
}

/// What is pinned; others may load programs meanwhile, so those of the probe are known by their ids.
struct Left {
    pinned: BTreeSet<String>,
}

impl Left {
    fn now() -> Result<Self> {
        let Ok(folder) = fs::read_dir("/sys/fs/bpf") else { return Ok(Self { pinned: BTreeSet::new() }) };
        let names = folder.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        Ok(Self { pinned: names.collect::<Result<_>>()? })
    }

    fn nothing_of(&self, programs: &BTreeSet<u32>) -> Result<()> {
        // The kernel frees programs a moment after their last reference.
        until("the programs to be gone", Duration::from_secs(10), || in_kernel().is_disjoint(programs))?;
        let pinned = Self::now()?.pinned;
        ensure!(pinned.is_subset(&self.pinned), "pinned: {pinned:?}");
        Ok(())
    }
}

/// The ids of the programs that a process holds: the kernel tells of each descriptor what it is.
fn programs_of(id: u32) -> Result<BTreeSet<u32>> {
    let mut programs = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{id}/fdinfo"))? {
        // One that was there for a moment only.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        programs.extend(text.lines().filter_map(|line| line.strip_prefix("prog_id:")?.trim().parse::<u32>().ok()));
    }
    ensure!(programs.len() >= 11 && programs.is_subset(&in_kernel()), "{programs:?}");
    Ok(programs)
}

fn in_kernel() -> BTreeSet<u32> {
    loaded_programs().filter_map(Result::ok).map(|program| program.id()).collect()
}

fn restart() -> Result<()> {
    let mut cluster = Cluster::start(&ClusterSpec::new(Version::V4, 2))?;
    let port = cluster.brokers()[1].direct().port();
    let cluster_id = cluster.id().to_owned();
    let probe = Probe::start(["--samplers=none"])?;
    let found = told(&probe, "the broker to be found", PATIENCE, |scrape| name_at(scrape, port).is_some())?;
    let name = name_at(&found, port).context("no name")?;
    let of = [
        ("kafkascope_process_name", name.as_str()),
        ("kafkascope_broker_id", "2"),
        ("messaging_kafka_cluster_id", cluster_id.as_str()),
    ];
    let figure = |scrape: &Scrape, metric: &str| scrape.sum(metric, &of);
    ensure!(figure(&found, "kafkascope_process_up") == Some(1.0), "{name} is not up");
    ensure!(figure(&found, "kafkascope_process_restarts_total") == Some(0.0), "{name} was restarted");

    cluster.kill(2)?;
    let down =
        told(&probe, "the broker to be down", SOON, |scrape| figure(scrape, "kafkascope_process_up") == Some(0.0))?;
    let port_label = port.to_string();
    let listening = [of[0], of[2], ("server_port", port_label.as_str())];
    ensure!(down.sum("kafkascope_process_listening", &listening) == Some(0.0), "it listens still");
    ensure!(figure(&down, "kafkascope_process_restarts_total") == Some(0.0), "restarted before it was");

    cluster.restart(2)?;
    let again = told(&probe, "the broker to be there again", PATIENCE, |scrape| {
        figure(scrape, "kafkascope_process_up") == Some(1.0)
            && scrape.sum("kafkascope_process_listening", &listening) == Some(1.0)
    })?;
    ensure!(figure(&again, "kafkascope_process_restarts_total") == Some(1.0), "the restart is not counted once");
    // The heap of the new one, not of both.
    let heaps = again
        .select("jvm_memory_used_bytes", &of)
        .filter(|sample| sample.label("jvm_memory_pool_name") == "Tenured Gen");
    ensure!(heaps.count() <= 1, "two heaps of one broker");
    Ok(())
}

fn expected() -> Result<()> {
    let probe = Probe::start(["--samplers=none", "--expect=broker-90009", "--expect=connect"])?;
    let scrape = probe.metrics()?;
    for name in ["broker-90009", "connect"] {
        let up = scrape.sum("kafkascope_process_up", &[("kafkascope_process_name", name)]);
        ensure!(up == Some(0.0), "{name}: {up:?}");
    }
    Ok(())
}

/// A shell in a namespace of process ids, where the next id can be chosen, and the probe there.
struct World {
    shell: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    admin: Port,
}

impl World {
    fn start() -> Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-s"]);
        let mut command = tied(&command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut shell = spawn(command)?;
        let orders = shell.stdin.take().context("no standard input")?;
        let answers = BufReader::new(shell.stdout.take().context("no standard output")?);
        let mut world = Self { shell, orders, answers, admin: Port::claim()? };
        let (program, admin) = (probe::program()?.display(), world.admin.address());
        world.order(&format!("RUST_LOG=warn {program} --admin {admin} --samplers none >&2 & echo $!"))?;
        eventually("the probe to be ready", PATIENCE, || Ok((http::ask(admin, "/readyz")?.0 == 200).then_some(())))?;
        Ok(world)
    }

    /// Runs a line of shell; the number that it prints.
    fn order(&mut self, line: &str) -> Result<u32> {
        writeln!(self.orders, "{line}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        answer.trim().parse().with_context(|| format!("{line}: {answer:?}"))
    }

    /// Ends the process with this id and starts `program` with the same one.
    fn replace(&mut self, id: u32, program: &Path) -> Result<()> {
        eventually("the same id", PATIENCE, || {
            let (last, program) = (id - 1, program.display());
            let start = format!("echo {last} >/proc/sys/kernel/ns_last_pid; {program} 1000 >&2 & echo $!");
            let got = self.order(&format!("kill -9 {id} 2>/dev/null; wait {id} 2>/dev/null; {start}"))?;
            if got != id {
                // Somebody was quicker.
                self.order(&format!("kill -9 {got}; wait {got} 2>/dev/null; echo 0"))?;
            }
            Ok((got == id).then_some(()))
        })
    }

    fn told(&self, what: &str, limit: Duration, condition: impl Fn(&Scrape) -> bool) -> Result<Scrape> {
        eventually(what, limit, || {
            let scrape = Scrape::parse(&http::get(self.admin.address(), "/metrics")?)?;
            Ok(condition(&scrape).then_some(scrape))
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Its first process takes all others with it.
        _ = self.shell.kill();
        _ = self.shell.wait();
    }
}

fn same_id() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let sleep = which("sleep").context("no sleep")?;
    // The probe knows a proxy by its program's name.
    let proxy = folder.path().join("kafkascope-proxy");
    symlink(&sleep, &proxy)?;
    let of = [("kafkascope_process_name", "proxy")];
    let figures = |scrape: &Scrape| {
        let figure = |metric: &str| scrape.sum(metric, &of);
        (figure("kafkascope_process_up"), figure("kafkascope_process_restarts_total"))
    };

    let mut world = World::start()?;
    let id = world.order(&format!("{} 1000 >&2 & echo $!", proxy.display()))?;
    world.told("the proxy to be found", PATIENCE, |scrape| figures(scrape) == (Some(1.0), Some(0.0)))?;
    world.replace(id, &proxy)?;
    world.told("the next proxy to be another", PATIENCE, |scrape| figures(scrape) == (Some(1.0), Some(1.0)))?;
    world.replace(id, &sleep)?;
    let down = world.told("the proxy to be down", PATIENCE, |scrape| figures(scrape) == (Some(0.0), Some(1.0)))?;
    let processes = down.select("kafkascope_process_up", &[]).count();
    ensure!(processes == 1, "{}", down.show("kafkascope_process_up"));
    Ok(())
}
