//! What a run found out, as a table of samplers by kernels and as JSON.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

/// A line of a result.
#[derive(Debug)]
pub(super) enum Line {
    Kernel { release: String, btf: bool },
    Row(Row),
    End { code: i64 },
}

impl Line {
    /// Nothing if it is something else: a kernel or a library may speak up anywhere.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        if let Some(release) = text("kernel") {
            return Some(Self::Kernel { release, btf: value.get("btf") == Some(&Value::Bool(true)) });
        }
        if let Some(code) = value.get("end").and_then(Value::as_i64) {
            return Some(Self::End { code });
        }
        let number = |name: &str| value.get(name).and_then(Value::as_f64);
        Some(Self::Row(Row {
            sampler: text("sampler")?,
            ours: number("ours"),
            truth: number("truth"),
            verdict: text("verdict")?,
            why: text("why").unwrap_or_default(),
        }))
    }
}

/// A sampler's figure beside what is known to be so.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) sampler: String,
    pub(super) ours: Option<f64>,
    pub(super) truth: Option<f64>,
    pub(super) verdict: String,
    pub(super) why: String,
}

impl Row {
    fn is_false(&self) -> bool {
        // A word that is not known is no praise.
        !["true", "degraded", "absent"].contains(&self.verdict.as_str())
    }

    fn to_json(&self) -> Value {
        json!({"sampler": self.sampler, "ours": self.ours, "truth": self.truth, "verdict": self.verdict, "why": self.why})
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.sampler, self.verdict)?;
        if let (Some(ours), Some(truth)) = (self.ours, self.truth) {
            write!(f, ", ours {ours}, truth {truth}")?;
        }
        if self.why.is_empty() { Ok(()) } else { write!(f, " ({})", self.why) }
    }
}

/// What one run of the trial said.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) release: String,
    pub(super) btf: bool,
    pub(super) rows: Vec<Row>,
    /// The exit code of the trial.
    pub(super) ended: Option<i64>,
    /// From the start of the machine to its first word; a machine that runs already has none.
    pub(super) booted: Option<Duration>,
    pub(super) took: Duration,
}

/// What became of a kernel.
#[derive(Debug)]
pub(super) enum Fate {
    Ran(Outcome),
    Failed(String),
    Absent(String),
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) kernels: Vec<(String, Fate)>,
}

impl Report {
    /// Whether nothing was wrong. What could not be had is not wrong.
    pub(super) fn is_good(&self) -> bool {
        self.kernels.iter().all(|(_, fate)| match fate {
            Fate::Ran(outcome) => outcome.ended == Some(0) && !outcome.rows.iter().any(Row::is_false),
            Fate::Failed(_) => false,
            Fate::Absent(_) => true,
        })
    }

    pub(super) fn to_json(&self) -> Value {
        let kernels = self.kernels.iter().map(|(name, fate)| match fate {
            Fate::Ran(outcome) => json!({
                "name": name,
                "release": outcome.release,
                "btf": outcome.btf,
                "boot_s": outcome.booted.map(|time| time.as_secs_f64()),
                "total_s": outcome.took.as_secs_f64(),
                "exit": outcome.ended,
                "rows": outcome.rows.iter().map(Row::to_json).collect::<Vec<_>>(),
            }),
            Fate::Failed(why) => json!({"name": name, "failed": why}),
            Fate::Absent(why) => json!({"name": name, "absent": why}),
        });
        json!({"good": self.is_good(), "kernels": kernels.collect::<Vec<_>>()})
    }

    /// Every sampler that some run has a row of, in the order of their first appearance.
    fn samplers(&self) -> Vec<&str> {
        let mut samplers: Vec<&str> = Vec::new();
        for (_, fate) in &self.kernels {
            let Fate::Ran(outcome) = fate else { continue };
            for row in &outcome.rows {
                if !samplers.contains(&row.sampler.as_str()) {
                    samplers.push(&row.sampler);
                }
            }
        }
        samplers
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = vec![vec!["sampler".to_owned()]];
        table[0].extend(self.kernels.iter().map(|(name, _)| name.clone()));
        let fact = |title: &str, of: &dyn Fn(&Outcome) -> String| {
            let cells = self.kernels.iter().map(|(_, fate)| match fate {
                Fate::Ran(outcome) => of(outcome),
                Fate::Failed(_) => "FAILED".to_owned(),
                Fate::Absent(_) => "absent".to_owned(),
            });
            [title.to_owned()].into_iter().chain(cells).collect::<Vec<_>>()
        };
        table.push(fact("(release)", &|outcome| outcome.release.split('-').next().unwrap_or_default().to_owned()));
        table.push(fact("(type information)", &|outcome| if outcome.btf { "yes" } else { "no" }.to_owned()));
        table.push(fact("(seconds to boot, in all)", &|outcome| {
            let booted = outcome.booted.map_or_else(|| "-".to_owned(), |time| format!("{:.0}", time.as_secs_f64()));
            format!("{booted}, {:.0}", outcome.took.as_secs_f64())
        }));
        for sampler in self.samplers() {
            table.push(fact(sampler, &|outcome| {
                let mut rows = outcome.rows.iter().filter(|row| row.sampler == sampler);
                rows.next().map_or_else(|| "-".to_owned(), |row| row.verdict.clone())
            }));
        }
        write_table(f, &table)?;
        for (name, fate) in &self.kernels {
            match fate {
                Fate::Ran(outcome) => {
                    for row in outcome.rows.iter().filter(|row| row.verdict != "true") {
                        writeln!(f, "{name}: {row}")?;
                    }
                }
                Fate::Failed(why) => writeln!(f, "{name}: FAILED ({why})")?,
                Fate::Absent(why) => writeln!(f, "{name}: absent ({why})")?,
            }
        }
        Ok(())
    }
}

fn write_table(f: &mut fmt::Formatter<'_>, table: &[Vec<String>]) -> fmt::Result {
    let columns = table.first().map_or(0, Vec::len);
    let width = |column: usize| table.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    for row in table {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(f, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdict: &str) -> Report {
        let line = format!(r#"{{"sampler":"fsync","ours":3,"truth":4,"verdict":"{verdict}","why":"one was missed"}}"#);
        let Some(Line::Row(row)) = Line::parse(&line) else { panic!("not a row: {line}") };
        let outcome = Outcome { release: "6.1.0".to_owned(), rows: vec![row], ended: Some(0), ..Outcome::default() };
        Report {
            kernels: vec![("6.1".to_owned(), Fate::Ran(outcome)), ("5.10".to_owned(), Fate::Absent("gone".to_owned()))],
        }
    }

    #[test]
    fn a_false_row_or_an_unknown_word_spoils_it_and_is_explained() {
        assert!(report("true").is_good() && report("degraded").is_good() && report("absent").is_good());
        assert!(!report("FALSE").is_good() && !report("fine").is_good());
        let shown = report("FALSE").to_string();
        assert!(shown.contains("6.1: fsync: FALSE, ours 3, truth 4 (one was missed)"), "{shown}");
        assert!(shown.contains("5.10: absent (gone)"), "{shown}");
    }

    #[test]
    fn a_failed_boot_or_trial_spoils_it() {
        let failed = Report { kernels: vec![("6.1".to_owned(), Fate::Failed("no console".to_owned()))] };
        assert!(!failed.is_good());
        let mut died = report("true");
        if let Fate::Ran(outcome) = &mut died.kernels[0].1 {
            outcome.ended = Some(101);
        }
        assert!(!died.is_good());
    }

    #[test]
    fn lines_of_others_are_passed_over() {
        assert!(Line::parse("[    1.0] random: crng init done").is_none());
        assert!(Line::parse("{\"torn\":").is_none());
        assert!(matches!(Line::parse("{\"end\":1}"), Some(Line::End { code: 1 })));
    }
}
