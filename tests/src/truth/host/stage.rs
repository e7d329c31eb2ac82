//! A broker in the namespaces, the probe on the host, and what all acts need of them.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::Break;
use super::actor::{ACTOR, ROLES};
use crate::eventually::eventually;
use crate::kafka::{Cluster, ClusterSpec, Version};
use crate::probe::Probe;
use crate::process::{spawn, tied};
use crate::prometheus::Scrape;
use crate::truth::row::{Figure, Measured};

/// Longest that the probe may take to see something: processes are found within seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Everybody in place.
pub(super) struct Stage {
    pub(super) version: Version,
    pub(super) cluster: Cluster,
    pub(super) probe: Probe,
    pub(super) breaking: Option<Break>,
    /// How often the act is played, this time included.
    pub(super) attempt: u32,
    host: PathBuf,
}

impl Stage {
    /// Starts a broker and the probe, and waits until the one sees the other.
    pub(super) fn set(version: Version, host: PathBuf, breaking: Option<Break>) -> Result<Self> {
        say("one broker, the probe on its host");
        let cluster = Cluster::start(&ClusterSpec::new(version, 1))?;
        let on_host = ["nsenter".to_owned(), format!("--net={}", host.display())];
        // Another run on the same host has its own.
        let watch = ROLES.map(|role| format!("--watch={role}={}", argument(role, true)));
        let flags = watch.iter().map(String::as_str).chain(["--partitions", "--slow=20ms"]);
        let probe = in_network(&host, || Probe::start_by(&on_host, flags))?;
        let stage = Self { version, cluster, probe, breaking, attempt: 1, host };
        stage.eventually("the probe to find the broker", |scrape| {
            scrape.sum("kafkascope_process_up", &[("kafkascope_process_name", "broker-1")]) == Some(1.0)
        })?;
        for sample in stage.scrape()?.select("kafkascope_sampler_up", &[]) {
            let (sampler, reason) = (sample.label("kafkascope_sampler"), sample.label("reason"));
            if sample.value == 0.0 {
                say(&format!("sampler {sampler} is not whole: {reason}"));
            }
        }
        Ok(stage)
    }

    /// What the probe says now, but for brokers of other clusters on this host.
    pub(super) fn scrape(&self) -> Result<Scrape> {
        let scrape = self.on_host(|| self.probe.metrics())?;
        Ok(scrape.of("messaging_kafka_cluster_id", self.cluster.id()))
    }

    /// Waits until the probe says something.
    pub(super) fn eventually(&self, what: &str, condition: impl Fn(&Scrape) -> bool) -> Result<Scrape> {
        eventually(what, PATIENCE, || {
            let scrape = self.scrape()?;
            Ok(condition(&scrape).then_some(scrape))
        })
    }

    /// What `look` and the probe say at one moment: while both are read, `look` says the same.
    pub(super) fn at_rest<T: PartialEq>(&self, what: &str, mut look: impl FnMut() -> Result<T>) -> Result<(T, Scrape)> {
        eventually(what, PATIENCE, || {
            let (before, scrape, after) = (look()?, self.scrape()?, look()?);
            Ok((before == after).then_some((after, scrape)))
        })
    }

    /// Does something in the network namespace of the host.
    pub(super) fn on_host<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        in_network(&self.host, act)
    }

    /// The process id of the broker.
    pub(super) fn broker(&self) -> Result<u32> {
        let process = self.cluster.brokers().first().and_then(|broker| broker.process());
        Ok(process.context("the broker is not up")?.id())
    }

    /// Where the broker keeps a partition.
    pub(super) fn folder_of(&self, topic: &str, partition: u32) -> PathBuf {
        self.cluster.folder().join("1/data").join(format!("{topic}-{partition}"))
    }

    /// The client's address of the broker.
    pub(super) fn bootstrap(&self) -> SocketAddr {
        self.cluster.brokers()[0].direct()
    }

    /// The name of a topic that nobody has used yet.
    pub(super) fn fresh(&self, topic: &str) -> String {
        if self.attempt == 1 { topic.to_owned() } else { format!("{topic}-{}", self.attempt) }
    }

    /// Starts an actor.
    pub(super) fn actor(&self, role: &str, watched: bool) -> Result<Actor> {
        Actor::start(role, watched, &[])
    }

    /// Whether half of the work is to be done by somebody else.
    pub(super) fn is_broken(&self, by: Break) -> bool {
        self.breaking == Some(by)
    }
}

fn in_network<T: Send>(network: &Path, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    // A namespace belongs to a thread.
    std::thread::scope(|scope| {
        let there = scope.spawn(|| {
            let namespace = File::open(network).context("the host's network namespace is gone")?;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            act()
        });
        there.join().map_err(|_panic| anyhow::anyhow!("a thread ended by a panic"))?
    })
}

/// A program of known habits: this one, started again.
pub(super) struct Actor {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Actor {
    /// Starts one in `role`, by way of `before`; the probe watches it if its command line says so.
    pub(super) fn start(role: &str, watched: bool, before: &[String]) -> Result<Self> {
        let program = std::env::current_exe()?;
        let program = program.as_os_str();
        let mut command = match before.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.arg(argument(role, watched));
        let mut command = tied(&command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = spawn(command)?;
        let said = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { child, said })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to go on.
    pub(super) fn go(&mut self) -> Result<()> {
        use std::io::Write;
        Ok(self.child.stdin.as_mut().context("no standard input")?.write_all(b"\n")?)
    }

    /// Waits for its next word: a number.
    pub(super) fn number(&mut self) -> Result<f64> {
        let mut line = String::new();
        ensure!(self.said.read_line(&mut line)? > 0, "an actor ended before its time");
        Ok(line.trim().parse()?)
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // It may have ended.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// What makes this program an actor of this run.
fn argument(role: &str, watched: bool) -> String {
    format!("{ACTOR}={role}:{}:{}", if watched { "watched" } else { "unseen" }, std::process::id())
}

/// The sum of something in nanoseconds over the threads of a process.
pub(super) fn sum_of_threads(process: u32, of: impl Fn(&procfs::process::Task) -> u64) -> Result<Duration> {
    let threads = procfs::process::Process::new(process.try_into()?)?.tasks()?;
    Ok(Duration::from_nanos(threads.flatten().map(|thread| of(&thread)).sum()))
}

/// How much a metric grew between two scrapes; nothing if the later one does not have it.
pub(super) fn growth(before: &Scrape, after: &Scrape, name: &str, labels: &[(&str, &str)]) -> Result<f64, String> {
    let after = after.sum(name, labels).ok_or_else(|| format!("no series {name}{labels:?}"))?;
    Ok(after - before.sum(name, labels).unwrap_or(0.0))
}

/// The same as a figure.
pub(super) fn counted(before: &Scrape, after: &Scrape, name: &str, labels: &[(&str, &str)]) -> Measured {
    growth(before, after, name, labels).map(Figure::count)
}

/// Runs a program to its end; what it prints.
pub(super) fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}: {error}", arguments.join(" "), output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Progress; stdout is for the rows.
pub(super) fn say(what: &str) {
    eprintln!("truth: {what}");
}
