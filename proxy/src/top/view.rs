//! How it looks: a line that says where one is, a table, and a line of keys.

use std::cmp::Reverse;
use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Paragraph, Row as TableRow, Table, TableState};

use super::api::Snapshot;
use super::keys::HELP;
use super::model::{Model, Pane};
use super::plain::nothing;
use super::rows::{Cell, Column, neutral};

/// Characters of a sparkline.
const SPARKS: usize = 10;
/// Where the terminal is narrow.
const FEW_SPARKS: usize = 5;
/// Narrower than this it is.
const NARROW: u16 = 60;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, now: Instant) {
    let [head, place, body, help] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(tabs(model), head);
    frame.render_widget(where_one_is(model, now), place);
    frame.render_widget(Paragraph::new(HELP).style(Style::new().add_modifier(Modifier::DIM)), help);

    let rows = model.rows();
    if rows.is_empty() {
        let text = match (model.known(), model.filter.is_empty()) {
            (None, _) => "",
            (Some(_), true) => nothing(&model.looked().pane),
            (Some(_), false) => "nothing matches the filter",
        };
        return frame.render_widget(Paragraph::new(text), body);
    }
    let sparks = if body.width < NARROW { FEW_SPARKS } else { SPARKS };
    let (columns, first) = fitting(model.columns(), body.width, sparks);
    let looked = model.looked();
    let arrow = |sort| match (looked.sort == sort, looked.reversed) {
        (false, _) => "",
        (true, false) => "\u{25bd}",
        (true, true) => "\u{25b3}",
    };
    let title = |&(at, column): &(usize, &Column)| aligned(column, format!("{}{}", column.title, arrow(Some(at))));
    let header = columns.iter().map(title).chain([Text::raw(format!("PAST{}", arrow(None)))]);
    let lines = rows.iter().map(|row| {
        let text = |at: usize| row.cells.get(at).map(Cell::show).unwrap_or_default();
        let cells = columns.iter().map(|&(at, column)| aligned(column, text(at)));
        TableRow::new(cells.chain([Text::raw(sparkline(&model.past(&row.key), sparks))]))
    });
    let width = |&(at, column): &(usize, &Column)| Constraint::Length(if at > 0 { column.width } else { first });
    let widths = columns.iter().map(width);
    let table = Table::new(lines, widths.chain([Constraint::Length(sparks as u16)]))
        .header(TableRow::new(header).style(Style::new().add_modifier(Modifier::BOLD)))
        .column_spacing(1)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::default().with_selected(model.selected(&rows));
    frame.render_stateful_widget(table, body, &mut state);
}

fn tabs(model: &Model) -> Line<'static> {
    let count = |of: fn(&Snapshot) -> usize| model.known().map_or_else(String::new, |known| of(known).to_string());
    let main = [
        (Pane::Clients, "1 clients", count(|known| known.clients.len())),
        (Pane::Topics, "2 topics", count(|known| known.topics.len())),
        (Pane::Groups, "3 groups", count(|known| known.groups.len())),
    ];
    let shown = model.path().first().map(|looked| &looked.pane);
    let mut spans = vec![Span::styled("kafkascope ", Style::new().add_modifier(Modifier::BOLD))];
    for (pane, name, count) in main {
        let style = if shown == Some(&pane) { Modifier::REVERSED } else { Modifier::empty() };
        spans.push(Span::styled(format!(" {name} {count} "), Style::new().add_modifier(style)));
    }
    spans.push(Span::raw(format!("  {}", neutral(&model.address))));
    Line::from(spans)
}

/// Trouble before all; else what is drilled into, and the filter.
fn where_one_is(model: &Model, now: Instant) -> Line<'static> {
    if let Some((why, since)) = &model.trouble {
        let seconds = now.saturating_duration_since(*since).as_secs();
        let text =
            format!("{} does not answer for {seconds} s: {}; trying again", neutral(&model.address), neutral(why));
        return Line::styled(text, Style::new().fg(Color::Red).add_modifier(Modifier::BOLD));
    }
    let mut steps = model.path().iter().filter_map(|looked| match &looked.pane {
        Pane::TopicsOfClient(key) => Some(format!("topics of {} {}  (Tab: its APIs)", key.0, key.1)),
        Pane::ApisOfClient(key) => Some(format!("APIs of {} {}  (Tab: its topics)", key.0, key.1)),
        Pane::ClientsOfTopic(key) => Some(format!("clients of {}", key.0)),
        Pane::Clients | Pane::Topics | Pane::Groups => None,
    });
    let mut text = neutral(&steps.next_back().unwrap_or_default());
    if model.typing || !model.filter.is_empty() {
        let cursor = if model.typing { "\u{2588}" } else { "" };
        text = format!("/{}{cursor}  {text}", neutral(&model.filter));
    } else if model.known().is_none() {
        text = format!("asking {} ...", neutral(&model.address));
    }
    Line::from(text)
}

/// The columns that have room, with their indexes, and the width of the first.
fn fitting(columns: &[Column], width: u16, sparks: usize) -> (Vec<(usize, &Column)>, u16) {
    let mut kept: Vec<(usize, &Column)> = columns.iter().enumerate().collect();
    let least = columns.first().map_or(0, |column| column.width);
    loop {
        let others: u16 = kept.iter().skip(1).map(|(_, column)| column.width + 1).sum();
        let left = width.saturating_sub(others + sparks as u16 + 1);
        // The lightest, and of those the last.
        let lightest = kept.iter().enumerate().skip(1);
        let lightest = lightest.min_by_key(|&(place, (_, column))| (column.weight, Reverse(place)));
        match lightest {
            Some((place, _)) if left < least => _ = kept.remove(place),
            _ => return (kept, left),
        }
    }
}

fn aligned(column: &Column, text: String) -> Text<'static> {
    let text = Text::raw(text);
    if column.is_number { text.right_aligned() } else { text }
}

/// The last points as bars, each as high as its share of the highest that is shown.
pub(super) fn sparkline(past: &[f64], width: usize) -> String {
    const BARS: [char; 8] =
        ['\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}'];
    let shown = past.get(past.len().saturating_sub(width)..).unwrap_or_default();
    let highest = shown.iter().copied().fold(0.0, f64::max);
    let bar = |point: &f64| {
        let share = if highest > 0.0 { point / highest } else { 0.0 };
        // Nothing at all is not the same as little.
        if *point <= 0.0 { ' ' } else { BARS.get((share * 7.0).round() as usize).copied().unwrap_or('?') }
    };
    shown.iter().map(bar).collect()
}
