//! The order of the measurements: rounds, in each of them every case, in each of these every target.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::{Context as _, Result, bail};

use crate::{
    cases::{Case, Work},
    cpu::{self, Accounts},
    load::{self, Timing, Window},
    sink::Sink,
    targets::{Kind, Surroundings, Target},
};

/// How much to measure.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub rounds: usize,
    pub timing: Timing,
}

/// All that was measured.
#[derive(Debug, Default)]
pub struct Results {
    /// Windows by case and target, one a round.
    pub windows: BTreeMap<(&'static str, Kind), Vec<Window>>,
    /// Bytes of memory by case and target.
    pub memory: BTreeMap<(&'static str, Kind), u64>,
    /// Requests that everything-on kafkascope had to see in the windows' connections, and how many it says it saw.
    pub seen: Option<Seen>,
}

/// Time for the loads whose peak of memory is measured.
const LONG: Duration = Duration::from_secs(4);

/// Whether kafkascope observed what it forwarded.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub sent: u64,
    pub counted: u64,
}

/// Runs `cases` on `kinds`; `say` is told what is being done.
pub fn all(
    cases: &[Case],
    kinds: &[Kind],
    plan: Plan,
    around: &Surroundings,
    sink: &Sink,
    say: impl Fn(&str),
) -> Result<Results> {
    let mut results = Results::default();
    let windowed: Vec<&Case> = cases.iter().filter(|case| case.work.is_windowed()).collect();
    if !windowed.is_empty() {
        let targets = kinds.iter().map(|kind| Target::start(*kind, around)).collect::<Result<Vec<_>>>()?;
        let mut sent = 0;
        for round in 0..plan.rounds {
            for case in &windowed {
                say(&format!("round {} of {}: {}", round + 1, plan.rounds, case.title));
                for turn in 0..targets.len() {
                    // Another order in each round, so that none always follows the same one.
                    let target = &targets[(turn + round) % targets.len()];
                    let answered = sink.answered();
                    let window = window(&case.work, target, plan.timing, sink)
                        .with_context(|| format!("{} through {}", case.title, target.kind.title()))?;
                    if target.kind == Kind::Kafkascope {
                        sent += sink.answered() - answered;
                    }
                    results.windows.entry((case.name, target.kind)).or_default().push(window);
                }
            }
        }
        if let Some(target) = targets.iter().find(|target| target.kind == Kind::Kafkascope) {
            results.seen = Some(Seen { sent, counted: counted_requests(target)? });
        }
    }
    for case in cases.iter().filter(|case| !case.work.is_windowed()) {
        say(case.title);
        for kind in kinds.iter().filter(|kind| **kind != Kind::Direct) {
            let bytes = memory(&case.work, *kind, plan.timing, around, sink)
                .with_context(|| format!("{} through {}", case.title, kind.title()))?;
            results.memory.insert((case.name, *kind), bytes);
        }
    }
    Ok(results)
}

fn window(work: &Work, target: &Target, timing: Timing, sink: &Sink) -> Result<Window> {
    let accounts = Accounts { proxy: target.pid(), sink: sink.thread };
    match work {
        Work::Load(load) => load::run(load, target.address, &accounts, timing),
        Work::Connections(exchange) => load::run_connections(exchange, target.address, &accounts, timing),
        Work::Idle { .. } | Work::Peak(_) => bail!("memory is not measured in windows"),
    }
}

fn memory(work: &Work, kind: Kind, timing: Timing, around: &Surroundings, sink: &Sink) -> Result<u64> {
    let target = Target::start(kind, around)?;
    let pid = target.pid().context("memory is measured of processes only")?;
    thread::sleep(Duration::from_millis(500));
    match work {
        Work::Idle { exchange, connections } => {
            let open = load::open_idle(exchange, target.address, *connections)?;
            thread::sleep(Duration::from_millis(1500));
            let resident = cpu::resident(pid)?;
            drop(open);
            Ok(resident)
        }
        Work::Peak(load) => {
            cpu::forget_peak(pid)?;
            let idle = cpu::resident(pid)?;
            sink.stall(true);
            let window = thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(timing.warm_up.max(Duration::from_secs(1)));
                    sink.stall(false);
                });
                // Half a gigabyte in flight has to come through a slow proxy, too.
                let timing = Timing { warm_up: Duration::from_secs(2), window: timing.window.max(LONG) };
                load::run(load, target.address, &Accounts { proxy: Some(pid), sink: sink.thread }, timing)
            });
            window?;
            Ok(cpu::peak(pid)?.saturating_sub(idle))
        }
        Work::Load(_) | Work::Connections(_) => bail!("windows have no memory figure"),
    }
}

/// The sum of the request counter in /metrics.
fn counted_requests(target: &Target) -> Result<u64> {
    let admin = target.admin.context("kafkascope runs without its admin server")?;
    // What workers counted reaches the page by the next export.
    thread::sleep(Duration::from_millis(1500));
    let page = crate::http::get(admin, "/metrics")?;
    let values = page.lines().filter(|line| line.starts_with("kafkascope_requests_total"));
    Ok(values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64)
}
