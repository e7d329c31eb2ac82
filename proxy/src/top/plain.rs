//! The tables as lines of text.

use ratatui::text::Span;

use super::api::Snapshot;
use super::model::Pane;
use super::rows::{Cell, columns, rows};

/// All main tables, each under its name.
pub(super) fn tables(known: &Snapshot) -> String {
    let table = |pane: Pane| {
        let columns = columns(&pane);
        let mut rows = rows(&pane, known);
        rows.sort_by(|one, other| one.key.cmp(&other.key));
        let mut lines: Vec<Vec<String>> = vec![columns.iter().map(|column| column.title.to_owned()).collect()];
        lines.extend(rows.iter().map(|row| row.cells.iter().map(Cell::show).collect()));
        let width = |at: usize| lines.iter().filter_map(|line| line.get(at)).map(|cell| width(cell)).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns.len()).map(width).collect();
        let line = |cells: &Vec<String>| {
            let padded = cells.iter().zip(columns).zip(&widths).map(|((cell, column), &wide)| {
                let space = " ".repeat(wide.saturating_sub(self::width(cell)));
                if column.is_number { format!("{space}{cell}") } else { format!("{cell}{space}") }
            });
            format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
        };
        if rows.is_empty() { format!("{}\n", nothing(&pane)) } else { lines.iter().map(line).collect() }
    };
    Pane::MAIN.map(table).join("\n")
}

/// What is said in place of a table without rows.
pub(super) const fn nothing(pane: &Pane) -> &'static str {
    match pane {
        Pane::Clients => "no clients seen yet",
        Pane::Topics => "no topics seen yet",
        Pane::Groups => "no consumer groups seen yet",
        Pane::TopicsOfClient(_) => "no topics of this client seen yet",
        Pane::ApisOfClient(_) => "no requests of this client seen yet",
        Pane::ClientsOfTopic(_) => "no clients of this topic seen yet",
    }
}

/// In columns of a terminal.
fn width(text: &str) -> usize {
    Span::raw(text).width()
}
