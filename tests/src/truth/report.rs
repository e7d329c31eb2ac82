//! The rows as a table for people and as JSON for machines.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{
    item::{ITEMS, UNBUILT, is_unbuilt},
    row::{Row, Tolerance, Verdict},
};

/// All rows of a run, in the order of the items.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Completes what was compared: unbuilt items are `absent`, and a selected item without a row is `FALSE`, for the
    /// reason given.
    pub fn new(selected: &[u8], compared: Vec<Row>, reason: &str) -> Self {
        let mut rows: Vec<_> = compared.into_iter().filter(|row| selected.contains(&row.item)).collect();
        for item in ITEMS.iter().filter(|item| selected.contains(&item.number)) {
            if !is_unbuilt(item.number) && !rows.iter().any(|row| row.item == item.number) {
                let none = || Err(reason.to_owned());
                rows.push(Row::compared(item.number, item.name, none(), none(), "", Tolerance::EXACT));
            }
            for unbuilt in UNBUILT.iter().filter(|unbuilt| unbuilt.item == item.number) {
                rows.push(Row::absent(item.number, unbuilt.part.unwrap_or(item.name), unbuilt.reason));
            }
        }
        rows.sort_by_key(|row| row.item);
        Self { rows }
    }

    /// Whether any row is false.
    pub fn has_false(&self) -> bool {
        self.count(Verdict::False) > 0
    }

    /// From the JSON object that another process printed.
    pub(super) fn parse(json: &str) -> Result<Self> {
        serde_json::from_str(json).with_context(|| format!("not a report: {json}"))
    }

    /// The rows of what is built.
    pub(super) fn into_compared(self) -> Vec<Row> {
        self.rows.into_iter().filter(|row| row.verdict != Verdict::Absent).collect()
    }

    /// The rows as one JSON object.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("rows are numbers and texts under text keys")
    }

    /// The rows as an aligned table, and how many there are of each verdict.
    pub fn table(&self) -> String {
        let head = ["item", "name", "ours", "truth", "source", "difference", "tolerance", "verdict"].map(str::to_owned);
        let lines: Vec<_> = [head].into_iter().chain(self.rows.iter().map(cells)).collect();
        let widths: [usize; 8] = std::array::from_fn(|column| {
            lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default()
        });
        let notes = [""].into_iter().chain(self.rows.iter().map(|row| row.note.as_str()));
        let mut table = String::new();
        for (line, note) in lines.iter().zip(notes) {
            let mut text = String::new();
            for (column, cell) in line.iter().enumerate() {
                let width = widths[column];
                let padded =
                    if NUMBERS.contains(&column) { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
                text.push_str(&padded);
            }
            text.push_str(note);
            table.push_str(text.trim_end());
            table.push('\n');
        }
        let [agreeing, differing, absent] =
            [Verdict::True, Verdict::False, Verdict::Absent].map(|verdict| self.count(verdict));
        // Writing to a string cannot fail.
        _ = writeln!(table, "{agreeing} true, {differing} false, {absent} absent");
        table
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.verdict == verdict).count()
    }
}

/// Columns that are aligned to the right.
const NUMBERS: [usize; 4] = [0, 2, 3, 5];

fn cells(row: &Row) -> [String; 8] {
    [
        row.item.to_string(),
        row.name.clone(),
        number(row.ours),
        number(row.truth),
        row.source.clone(),
        number(row.difference),
        row.tolerance.clone(),
        row.verdict.text().to_owned(),
    ]
}

/// Counters whole, everything else with three decimals.
fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.fract() == 0.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::row::Figure, *};

    fn row(item: u8, ours: f64) -> Row {
        let (ours, truth) = (Ok(Figure::count(ours)), Ok(Figure::count(100.0)));
        Row::compared(item, "requests", ours, truth, "the client", Tolerance::EXACT)
    }

    #[test]
    fn the_last_line_counts_the_verdicts() {
        let report = Report::new(&[19, 1], vec![row(19, 100.0), row(19, 99.0)], "broken off");
        assert_eq!(report.table().lines().last(), Some("1 true, 1 false, 1 absent"));
        assert!(report.has_false());
        assert!(!Report::new(&[19], vec![row(19, 100.0)], "broken off").has_false());
    }

    #[test]
    fn a_built_item_that_nobody_compared_is_false() {
        let report = Report::new(&[19, 20], vec![row(19, 100.0)], "broken off");
        assert_eq!(report.rows.last().map(|row| (row.item, row.verdict)), Some((20, Verdict::False)));
    }

    #[test]
    fn an_unbuilt_item_is_absent_and_an_unbuilt_part_stands_beside_the_built_ones() {
        let report = Report::new(&[7, 30], vec![row(7, 100.0)], "broken off");
        let verdicts: Vec<_> = report.rows.iter().map(|row| (row.item, row.verdict)).collect();
        assert_eq!(verdicts, [(7, Verdict::True), (7, Verdict::Absent), (30, Verdict::Absent)]);
    }

    #[test]
    fn all_items_have_a_row_when_all_are_selected() {
        let all: Vec<_> = (1..=45).collect();
        let report = Report::new(&all, Vec::new(), "broken off");
        assert!(all.iter().all(|item| report.rows.iter().any(|row| row.item == *item)));
    }

    #[test]
    fn only_selected_items_have_rows() {
        let report = Report::new(&[19], vec![row(19, 100.0), row(21, 100.0)], "broken off");
        assert_eq!(report.rows.len(), 1);
    }

    #[test]
    fn json_has_a_row_with_the_eight_keys_and_null_for_what_is_missing() {
        let report = Report::new(&[1, 19], vec![row(19, 99.0)], "broken off");
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        let rows = json["rows"].as_array().unwrap();
        assert_eq!(rows[0]["verdict"], "absent");
        assert!(rows[0]["ours"].is_null());
        assert_eq!((&rows[1]["ours"], &rows[1]["difference"]), (&99.0.into(), &(-1.0).into()));
        for key in ["item", "name", "ours", "truth", "source", "difference", "tolerance", "verdict"] {
            assert!(rows[1].get(key).is_some(), "{key}");
        }
    }
}
