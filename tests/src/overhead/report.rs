//! What was measured, beside the limits that we hold ourselves to.

use std::collections::BTreeMap;

/// Goals.
const THROUGHPUT: f64 = 0.99;
const IDLE_CPU: f64 = 0.005;
const MEMORY: u64 = 30 << 20;

/// Means of a kernel program's runs, in nanoseconds, the kernel's own time-keeping included.
const GOALS: [(&str, f64); 3] = [("page_cache_", 300.0), ("fsync_", 2000.0), ("fdatasync_", 2000.0)];
const OTHER_GOAL: f64 = 150.0;

/// A program that ran this seldom is not hot; its mean says more of cold caches than of it.
const HOT: f64 = 1000.0;

/// Everything.
#[derive(Debug, Default)]
pub struct Report {
    pub(super) without: Vec<Window>,
    pub(super) with: Vec<Window>,
    pub(super) programs: BTreeMap<String, Program>,
    /// The agent's own, in seconds of a core, while the broker was at full speed for so many seconds.
    pub(super) loaded_cpu: f64,
    pub(super) loaded_seconds: f64,
    /// Share of one core.
    pub(super) idle_cpu: f64,
    /// Bytes.
    pub(super) loaded_memory: u64,
    pub(super) idle_memory: u64,
    /// While it started.
    pub(super) peak_memory: u64,
    /// Events that did not fit.
    pub(super) lost: f64,
}

/// One window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Per second.
    pub(super) records: f64,
    /// Seconds per record.
    pub(super) broker_cpu: f64,
    /// Seconds.
    pub(super) p99: f64,
}

/// What a kernel program has done.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Program {
    pub(super) runs: f64,
    pub(super) seconds: f64,
}

impl Report {
    /// The table, as the README has it.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = "| the probe, everything on | measured | goal | |\n|---|---|---|---|\n".to_owned();
        for Row { what, measured, goal } in self.rows() {
            let (goal, verdict) = match goal {
                Some((goal, true)) => (goal, "PASS"),
                Some((goal, false)) => (goal, "MISS"),
                None => (String::new(), ""),
            };
            table += &format!("| {what} | {measured} | {goal} | {verdict} |\n");
        }
        table
    }

    fn rows(&self) -> Vec<Row> {
        let throughput = self.ratio(|window| window.records);
        let mut rows = vec![
            Row {
                what: "Broker at full speed: records/s".to_owned(),
                measured: throughput.show(3, "/s", 1.0),
                goal: Some((format!(">= {THROUGHPUT} x"), throughput.ratio >= THROUGHPUT)),
            },
            Row::told(
                "Broker at full speed: its CPU per record",
                self.ratio(|window| window.broker_cpu).show(3, " us", 1e6),
            ),
            Row::told("Produce, 500 records/s: p99", self.ratio(|window| window.p99).show(3, " ms", 1e3)),
        ];
        for (name, program) in &self.programs {
            if program.runs < 1.0 {
                continue;
            }
            let mean = program.seconds * 1e9 / program.runs;
            let goal = GOALS.iter().find(|(prefix, _)| name.starts_with(prefix)).map_or(OTHER_GOAL, |(_, goal)| *goal);
            rows.push(Row {
                what: format!("Kernel program {name}: mean of {:.0} runs", program.runs),
                measured: format!("{mean:.0} ns"),
                goal: (program.runs >= HOT || goal > 1000.0).then(|| (format!("<= {goal:.0} ns"), mean <= goal)),
            });
        }
        let loaded = self.loaded_cpu / self.loaded_seconds;
        rows.push(Row::told("Agent, broker at full speed: CPU", format!("{:.2} % of a core", loaded * 100.0)));
        rows.push(Row {
            what: "Agent, broker idle: CPU".to_owned(),
            measured: format!("{:.2} % of a core", self.idle_cpu * 100.0),
            goal: Some((format!("<= {} %", IDLE_CPU * 100.0), self.idle_cpu <= IDLE_CPU)),
        });
        for (what, bytes) in [("broker at full speed", self.loaded_memory), ("broker idle", self.idle_memory)] {
            rows.push(Row {
                what: format!("Agent, {what}: RSS"),
                measured: format!("{:.1} MiB", mebibytes(bytes)),
                goal: Some((format!("<= {:.0} MiB", mebibytes(MEMORY)), bytes <= MEMORY)),
            });
        }
        rows.push(Row::told("Agent, while it starts: RSS", format!("{:.1} MiB", mebibytes(self.peak_memory))));
        rows.push(Row {
            what: "Events lost".to_owned(),
            measured: format!("{:.0}", self.lost),
            goal: Some(("0".to_owned(), self.lost < 1.0)),
        });
        rows
    }

    /// A figure with the probe, as a multiple of what it is without.
    fn ratio(&self, figure: impl Fn(&Window) -> f64) -> Ratio {
        let of = |windows: &[Window]| windows.iter().map(&figure).collect::<Vec<_>>();
        let (without, with) = (of(&self.without), of(&self.with));
        let mut ratios: Vec<_> = with.iter().zip(&without).map(|(with, without)| with / without).collect();
        ratios.sort_by(f64::total_cmp);
        // Whatever they are distributed like, so many of the lowest and the highest are beyond the true median at most, 95
        // times in 100: half their number less what two standard deviations of fair coins make.
        let beyond = (ratios.len() as f64 / 2.0 - (ratios.len() as f64).sqrt()).max(0.0) as usize;
        let at = |index| ratios.get(index).copied().unwrap_or(f64::NAN);
        let (lowest, highest) = (at(beyond), at(ratios.len().wrapping_sub(beyond + 1)));
        Ratio { ratio: median(ratios), lowest, highest, without: median(without), with: median(with) }
    }
}

/// A line of the table.
struct Row {
    what: String,
    measured: String,
    /// In words, and whether it is met.
    goal: Option<(String, bool)>,
}

impl Row {
    fn told(what: &str, measured: String) -> Self {
        Self { what: what.to_owned(), measured, goal: None }
    }
}

/// With and without the probe.
struct Ratio {
    /// The median of the pairs'.
    ratio: f64,
    /// Between which the true one is, 95 times in 100.
    lowest: f64,
    highest: f64,
    without: f64,
    with: f64,
}

impl Ratio {
    fn show(&self, digits: usize, unit: &str, factor: f64) -> String {
        let Self { ratio, lowest, highest, .. } = self;
        let (with, without) = (number(self.with * factor), number(self.without * factor));
        format!("{ratio:.digits$} x ({with}{unit} against {without}{unit}; {lowest:.2} to {highest:.2})")
    }
}

fn number(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let (lower, upper) = (values.get(middle.saturating_sub(1)), values.get(middle));
    match (lower, upper) {
        (Some(lower), Some(upper)) if values.len().is_multiple_of(2) => (lower + upper) / 2.0,
        (_, Some(middle)) => *middle,
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_of_neighbours_and_a_goal_is_judged() {
        let window = |records| Window { records, broker_cpu: 1.0, p99: 0.001 };
        let programs = [
            ("page_cache_get", Program { runs: 10_000.0, seconds: 0.002 }),
            ("tcp_events", Program { runs: 10_000.0, seconds: 0.002 }),
            ("tcp_destroyed", Program { runs: 10.0, seconds: 0.001 }),
        ];
        let report = Report {
            without: vec![window(100.0), window(200.0), window(300.0)],
            with: vec![window(99.0), window(200.0), window(150.0)],
            programs: programs.map(|(name, program)| (name.to_owned(), program)).into(),
            ..Report::default()
        };
        let table = report.table();
        assert!(table.contains("| 0.990 x (150.00/s against 200.00/s; 0.50 to 1.00) | >= 0.99 x | PASS |"), "{table}");
        assert!(table.contains("page_cache_get: mean of 10000 runs | 200 ns | <= 300 ns | PASS |"), "{table}");
        assert!(table.contains("tcp_events: mean of 10000 runs | 200 ns | <= 150 ns | MISS |"), "{table}");
        assert!(table.contains("tcp_destroyed: mean of 10 runs | 100000 ns |  |  |"), "{table}");
    }
}
