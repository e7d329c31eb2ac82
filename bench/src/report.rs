//! Medians, ratios and verdicts.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{
    cases::{
        BATCH_INSTRUCTIONS, Bound, COMMIT_BYTES, COMMIT_INSTRUCTIONS, Case, EXCHANGE_INSTRUCTIONS, Figure, Goal, Work,
    },
    decoder::Counts,
    load::Window,
    run::Results,
    targets::Kind,
};

/// One line of the verdict.
#[derive(Debug)]
pub struct Verdict {
    pub what: String,
    pub measured: String,
    pub bound: String,
    pub met: bool,
}

/// Compares what was measured with `goals`; goals of cases and targets that did not run are left out.
pub fn verdicts(goals: &[Goal], cases: &[Case], kinds: &[Kind], results: &Results) -> Result<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    for goal in goals {
        let Some(case) = cases.iter().find(|case| case.name == goal.case) else { continue };
        let other = match goal.bound {
            Bound::AtMost(_, other) | Bound::AtLeast(_, other) => other,
            Bound::Absolute(_) => Kind::Kafkascope,
        };
        if ![Kind::Direct, Kind::Kafkascope, other].iter().all(|kind| kinds.contains(kind)) {
            continue;
        }
        verdicts.push(verdict(goal, case, results).with_context(|| format!("judging {}", case.title))?);
    }
    Ok(verdicts)
}

fn verdict(goal: &Goal, case: &Case, results: &Results) -> Result<Verdict> {
    let ours = figures(goal.figure, case.name, Kind::Kafkascope, results)?;
    let what = format!("{}: {}", case.title, name(goal.figure));
    let (factor, other, sign) = match goal.bound {
        Bound::Absolute(most) => {
            let ours = median(ours);
            return Ok(Verdict {
                what,
                measured: show(goal.figure, ours),
                bound: format!("<= {}", show(goal.figure, most)),
                met: ours <= most,
            });
        }
        Bound::AtMost(factor, other) => (factor, other, "<="),
        Bound::AtLeast(factor, other) => (factor, other, ">="),
    };
    let theirs = figures(goal.figure, case.name, other, results)?;
    let ratio = match goal.figure {
        // Differences may be next to nothing, or less, in single rounds.
        Figure::AddedLatency(_) => median(ours.clone()) / median(theirs.clone()).max(f64::MIN_POSITIVE),
        // Each round gives its own ratio: what disturbs a round disturbs both sides of it.
        _ => median(ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect()),
    };
    Ok(Verdict {
        what,
        measured: format!(
            "{ratio:.2} x ({} against {})",
            show(goal.figure, median(ours.clone())),
            show(goal.figure, median(theirs.clone()))
        ),
        bound: format!("{sign} {factor:.2} x {}", other.title()),
        met: match (sign, goal.figure) {
            // A difference below zero has no ratio.
            (_, Figure::AddedLatency(_)) => median(ours) <= factor * median(theirs),
            ("<=", _) => ratio <= factor,
            _ => ratio >= factor,
        },
    })
}

/// Judges the instruction counts.
pub fn decoder_verdicts(counts: &Counts) -> Vec<Verdict> {
    let at_most = |what: String, measured: f64, most: f64| Verdict {
        what: format!("Decoder with recording: {what}"),
        measured: format_number(measured),
        bound: format!("<= {most}"),
        met: measured <= most,
    };
    let exchanges = counts.exchange.iter().map(|(api, count)| {
        at_most(format!("instructions per {api} exchange of one batch of 16 KiB"), *count, EXCHANGE_INSTRUCTIONS)
    });
    let large = counts.large_exchange.iter().map(|(api, count)| {
        at_most(format!("instructions per {api} exchange of one batch of 1 MiB"), *count, EXCHANGE_INSTRUCTIONS)
    });
    let batches = counts.further_batch.iter().map(|(api, count)| {
        at_most(format!("instructions per further batch of a {api} exchange"), *count, BATCH_INSTRUCTIONS)
    });
    let allocations = at_most("allocations per exchange in the steady state".into(), counts.allocations, 0.0);
    let commits = [
        at_most("instructions per commit of a partition that is new".into(), counts.commit, COMMIT_INSTRUCTIONS),
        at_most("bytes kept of a partition that a group commits".into(), counts.commit_bytes, COMMIT_BYTES),
    ];
    exchanges.chain(large).chain(batches).chain([allocations]).chain(commits).collect()
}

/// The figure of each round.
fn figures(figure: Figure, case: &'static str, kind: Kind, results: &Results) -> Result<Vec<f64>> {
    let missing = || format!("{case} was not measured with {}", kind.title());
    if let Figure::Memory = figure {
        return Ok(vec![*results.memory.get(&(case, kind)).with_context(missing)? as f64]);
    }
    let windows = results.windows.get(&(case, kind)).with_context(missing)?;
    let direct = results.windows.get(&(case, Kind::Direct)).context("there is nothing to compare latency with")?;
    Ok(windows
        .iter()
        .zip(direct)
        .map(|(window, direct)| match figure {
            Figure::CpuPerByte => cpu_per_gb(window),
            Figure::CpuPerRequest => cpu_per_request(window),
            Figure::Rate => window.requests as f64 / window.seconds,
            Figure::AddedLatency(q) => latency(window, q) - latency(direct, q),
            Figure::Memory => f64::NAN,
        })
        .collect())
}

fn name(figure: Figure) -> String {
    match figure {
        Figure::CpuPerByte => "CPU per GB".into(),
        Figure::CpuPerRequest => "CPU per request".into(),
        Figure::Rate => "requests/s".into(),
        Figure::AddedLatency(q) => format!("added p{}", q * 100.0),
        Figure::Memory => "memory".into(),
    }
}

fn show(figure: Figure, value: f64) -> String {
    match figure {
        Figure::CpuPerByte => format!("{value:.3} s"),
        Figure::CpuPerRequest | Figure::AddedLatency(_) => format!("{value:.2} us"),
        Figure::Rate => format!("{value:.0}/s"),
        Figure::Memory => format!("{:.1} MB", value / 1e6),
    }
}

/// CPU seconds of the proxy per GB of frames.
fn cpu_per_gb(window: &Window) -> f64 {
    window.usage.proxy as f64 / window.bytes as f64
}

/// CPU microseconds of the proxy per request.
fn cpu_per_request(window: &Window) -> f64 {
    window.usage.proxy as f64 / window.requests as f64 / 1e3
}

/// Latency at quantile `q`, in microseconds.
fn latency(window: &Window, q: f64) -> f64 {
    let rank = (q * window.latencies.len() as f64).ceil() as usize;
    window.latencies.get(rank.saturating_sub(1)).map_or(f64::NAN, |latency| *latency as f64 / 1e3)
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// A figure of a window, given it and the direct way's of the same round.
type Column = (&'static str, fn(&Window, &Window) -> f64);

/// Columns of a windowed case.
const COLUMNS: [Column; 9] = [
    ("MB/s", |window, _| window.bytes as f64 / window.seconds / 1e6),
    ("requests/s", |window, _| window.requests as f64 / window.seconds),
    ("proxy CPU s/GB", |window, _| cpu_per_gb(window)),
    ("proxy CPU us/request", |window, _| cpu_per_request(window)),
    ("all CPU less direct's, us/request", |window, direct| {
        let all = |window: &Window| window.usage.sum() as f64 / window.requests as f64 / 1e3;
        all(window) - all(direct)
    }),
    ("p50 us", |window, _| latency(window, 0.5)),
    ("p99 us", |window, _| latency(window, 0.99)),
    ("p99.9 us", |window, _| latency(window, 0.999)),
    ("foreign CPU %", |window, _| {
        let cpus = std::thread::available_parallelism().map_or(1.0, |cpus| cpus.get() as f64);
        window.usage.foreign as f64 / 1e7 / window.seconds / cpus
    }),
];

/// The figures as Markdown tables.
pub fn markdown_figures(cases: &[Case], kinds: &[Kind], results: &Results) -> String {
    let mut text = String::new();
    for case in cases {
        let mut rows = Vec::new();
        for kind in kinds {
            if let Some(windows) = results.windows.get(&(case.name, *kind)) {
                let direct = results.windows.get(&(case.name, Kind::Direct)).unwrap_or(windows);
                let cells = COLUMNS.map(|(_, figure)| {
                    format_number(median(windows.iter().zip(direct).map(|(w, d)| figure(w, d)).collect()))
                });
                rows.push(format!("| {} | {} |", kind.title(), cells.join(" | ")));
            }
            if let Some(bytes) = results.memory.get(&(case.name, *kind)) {
                rows.push(format!("| {} | {:.1} |", kind.title(), *bytes as f64 / 1e6));
            }
        }
        if rows.is_empty() {
            continue;
        }
        let heads = match case.work {
            Work::Load(_) | Work::Connections(_) => COLUMNS.map(|(head, _)| head).join(" | "),
            Work::Idle { .. } => "RSS MB".into(),
            Work::Peak(_) => "peak RSS above idle, MB".into(),
        };
        let rules = "|---:".repeat(heads.split('|').count());
        text += &format!("**{}**\n\n| | {heads} |\n|---{rules}|\n{}\n\n", case.title, rows.join("\n"));
    }
    text
}

fn format_number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// The verdicts as a Markdown table.
pub fn markdown_verdicts(verdicts: &[Verdict]) -> String {
    let rows = verdicts.iter().map(|verdict| {
        let Verdict { what, measured, bound, met } = verdict;
        format!("| {what} | {measured} | {bound} | {} |\n", if *met { "PASS" } else { "MISS" })
    });
    format!("| kafkascope, everything on | measured | goal | |\n|---|---|---|---|\n{}", rows.collect::<String>())
}

/// Everything, each round by itself.
pub fn machine_readable(results: &Results, decoder: Option<&Counts>, verdicts: &[Verdict]) -> Value {
    let windows = results.windows.iter().flat_map(|((case, kind), windows)| {
        windows.iter().enumerate().map(move |(round, window)| {
            json!({
                "case": case, "target": kind, "round": round, "window": window,
                "p50_us": latency(window, 0.5), "p99_us": latency(window, 0.99), "p999_us": latency(window, 0.999),
            })
        })
    });
    let memory =
        results.memory.iter().map(|((case, kind), bytes)| json!({"case": case, "target": kind, "bytes": bytes}));
    let verdicts = verdicts.iter().map(|verdict| {
        json!({"what": verdict.what, "measured": verdict.measured, "bound": verdict.bound, "met": verdict.met})
    });
    json!({
        "windows": windows.collect::<Vec<_>>(),
        "memory": memory.collect::<Vec<_>>(),
        "decoder": decoder,
        "verdicts": verdicts.collect::<Vec<_>>(),
    })
}
