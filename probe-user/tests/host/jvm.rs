//! Garbage collections and memory pools, against what the JVM's own beans tell.

use std::collections::HashMap;
use std::env;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kafkascope_probe::discovery::{Discovery, Process, Rule};
use kafkascope_probe::jvm::{Jvm, Now, Unavailable};
use kafkascope_probe::roots::{Pid, Roots};
use libtest_mimic::Trial;

use crate::child::{Talker, eventually};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    let collectors = ["Serial", "Parallel", "G1", "Z"];
    let mut trials: Vec<_> = collectors
        .into_iter()
        .map(|name| trial(format!("jvm::collections_of_{name}_are_counted_as_the_jvm_does"), no_java, || counted(name)))
        .collect();
    trials.push(trial("jvm::a_jvm_without_performance_data_is_said_to_be_one", no_java, switched_off));
    trials
}

pub(crate) fn no_java() -> Option<&'static str> {
    let path = env::var_os("PATH").unwrap_or_default();
    (!env::split_paths(&path).any(|folder| folder.join("java").is_file())).then_some("no java on this machine")
}

/// What the beans tell.
#[derive(Debug, Default)]
struct Beans {
    /// Count and milliseconds.
    collectors: HashMap<String, (u64, u64)>,
    /// Bytes used and committed.
    pools: HashMap<String, (u64, u64)>,
}

fn java(options: &[&str]) -> Command {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/host/java/Collect.java");
    let mut command = Command::new("java");
    command.args(["-Xmx128m", "-Xms32m", "-XX:TieredStopAtLevel=1"]).args(options).arg(source);
    command
}

fn ask(jvm: &mut Talker, rounds: u32) -> Result<Beans> {
    jvm.say(&rounds.to_string())?;
    let mut beans = Beans::default();
    loop {
        let line = jvm.line()?;
        let fields: Vec<_> = line.split('\t').collect();
        let [kind, name, first, second] = fields.as_slice() else { return Ok(beans) };
        let of_kind = if *kind == "gc" { &mut beans.collectors } else { &mut beans.pools };
        of_kind.insert((*name).to_owned(), (first.parse()?, second.parse()?));
    }
}

fn discover(pid: Pid) -> Result<Arc<Process>> {
    let command_line = Some(regex::bytes::Regex::new(r"Collect\.java$")?);
    let rule = Rule { name: "collect".to_owned(), command_line, cgroup: None, port: None };
    let mut discovery = Discovery::new(Roots::default(), vec![rule])?;
    discovery.scan(Instant::now())?;
    discovery.processes().find(|process| process.pid == pid).cloned().context("not found")
}

/// How long threads of the process have waited for a processor. The JVM reads the clock for its beans and for its counters
/// one after the other, and may wait between the two.
fn waited(pid: Pid) -> Result<Duration> {
    let mut nanos = 0;
    for task in procfs::process::Process::new(pid.0.try_into()?)?.tasks()?.flatten() {
        // A thread may end meanwhile.
        nanos += task.schedstat().map_or(0, |thread| thread.run_delay);
    }
    Ok(Duration::from_nanos(nanos))
}

fn counted(collector: &str) -> Result<()> {
    let option = format!("-XX:+Use{collector}GC");
    // Where Java programs put temporary files is no matter to the JVM.
    let mut child = Talker::start(&mut java(&[&option, "-Djava.io.tmpdir=/var/tmp"]))?;
    ensure!(child.line()? == "ready");
    let process = discover(child.pid())?;
    ensure!(process.jvm);
    let began = Now::read().unix;
    let mut jvm = Jvm::open(&Roots::default(), &process)?;
    let (mut count, mut sum, mut exact) = (0, 0, 0);
    let start: (u64, u64) = totals(&jvm);
    for rounds in [1, 400, 40] {
        let beans = ask(&mut child, rounds)?;
        let polled = jvm.poll(Now::read())?;
        for pause in &polled.pauses {
            count += pause.times;
            sum += pause.duration * pause.times;
            if let Some((begin, end)) = pause.span {
                exact += 1;
                ensure!(began <= begin && begin < end && end <= Now::read().unix, "{pause:?} after {began}");
                ensure!((end - begin).abs_diff(pause.duration) < 5_000_000, "{pause:?}");
            }
        }
        let waited = waited(process.pid)?;
        let mut compared = 0;
        for ours in jvm.collectors() {
            let bean = ours.bean.with_context(|| format!("{} is not known", ours.name))?;
            // Before JDK 20 the JVM has no bean for these.
            let Some((count, time)) = beans.collectors.get(bean) else { continue };
            ensure!(ours.count == *count, "{ours:?}: {beans:?}");
            let apart = Duration::from_nanos(ours.time).abs_diff(Duration::from_millis(*time));
            let allowed = Duration::from_millis(2) + Duration::from_nanos(ours.time / 100) + waited;
            ensure!(apart < allowed, "{apart:?} apart, {allowed:?} allowed: {ours:?}: {beans:?}");
            compared += 1;
        }
        ensure!(compared > 0, "{:?}: {beans:?}", jvm.collectors());
        let pools = jvm.memory();
        ensure!(pools.len() >= 3, "{pools:?}");
        for pool in pools {
            let (used, committed) =
                beans.pools.get(pool.name).with_context(|| format!("no {}: {beans:?}", pool.name))?;
            ensure!(pool.committed.abs_diff(*committed) <= committed / 10, "{pool:?}: {beans:?}");
            // Young pools fill up again right after the collection.
            if !pool.name.contains("Eden") && !pool.name.contains("Survivor") && pool.name != "ZHeap" {
                ensure!(pool.used.abs_diff(*used) <= used / 10 + 65_536, "{pool:?}: {beans:?}");
            }
        }
    }
    let end = totals(&jvm);
    ensure!((count, sum) == (end.0 - start.0, end.1 - start.1), "{count}, {sum}; {start:?} to {end:?}");
    ensure!(count > 3 && exact > 0 && jvm.rejected() == 0, "{count} {exact} {}", jvm.rejected());
    Ok(())
}

fn totals(jvm: &Jvm) -> (u64, u64) {
    let collectors = jvm.collectors().iter();
    collectors.fold((0, 0), |(count, time), collector| (count + collector.count, time + collector.time))
}

fn switched_off() -> Result<()> {
    let mut child = Talker::start(&mut java(&["-XX:-UsePerfData"]))?;
    ensure!(child.line()? == "ready");
    let process = discover(child.pid())?;
    match Jvm::open(&Roots::default(), &process) {
        Err(Unavailable::SwitchedOff("-XX:-UsePerfData")) => (),
        other => bail!("{other:?}"),
    }
    let mut child = Talker::start(java(&[]).env("JAVA_TOOL_OPTIONS", "-XX:+PerfDisableSharedMem"))?;
    ensure!(child.line()? == "ready");
    let process = discover(child.pid())?;
    eventually("the reason", || match Jvm::open(&Roots::default(), &process) {
        Err(reason @ Unavailable::Missing(_)) => Ok(reason.to_string().contains("PerfDisableSharedMem").then_some(())),
        other => bail!("{other:?}"),
    })?;
    child.kill()
}
