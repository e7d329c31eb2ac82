//! What is known, and what of it was chosen to be seen.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::api::Snapshot;
use super::rows::{Cell, Column, Key, Measure, Row, columns, rows};

/// Points of a sparkline.
const POINTS: usize = 60;

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Pane {
    Clients,
    Topics,
    Groups,
    TopicsOfClient(Key),
    ApisOfClient(Key),
    ClientsOfTopic(Key),
}

impl Pane {
    /// Those that are not about one thing.
    pub(super) const MAIN: [Self; 3] = [Self::Clients, Self::Topics, Self::Groups];
}

/// A pane, and how it is looked at.
#[derive(Debug, Clone)]
pub(super) struct Looked {
    pub(super) pane: Pane,
    /// Index of the column that it is sorted by; `None`: by its sparkline's number.
    pub(super) sort: Option<usize>,
    /// From the smallest number, or the last name.
    pub(super) reversed: bool,
    /// The row that stands out. It stays with what it is about, wherever that goes.
    pub(super) selected: Option<Key>,
}

impl Looked {
    fn at(pane: Pane) -> Self {
        Self { pane, sort: None, reversed: false, selected: None }
    }
}

/// Everything.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) address: String,
    known: Option<Snapshot>,
    /// Why there is nothing newer, and since when.
    pub(super) trouble: Option<(String, Instant)>,
    /// The way to what is seen; never empty.
    path: Vec<Looked>,
    pub(super) filter: String,
    /// The filter is being typed.
    pub(super) typing: bool,
    /// What sparklines show, for the panes that were seen.
    past: HashMap<(Pane, Key), Past>,
    pub(super) quit: bool,
}

#[derive(Debug, Default)]
struct Past {
    points: VecDeque<f64>,
    last: Option<(Instant, f64)>,
}

impl Model {
    pub(super) fn new(address: String) -> Self {
        Self {
            address,
            known: None,
            trouble: None,
            path: vec![Looked::at(Pane::Clients)],
            filter: String::new(),
            typing: false,
            past: HashMap::new(),
            quit: false,
        }
    }

    /// There is news.
    pub(super) fn learn(&mut self, snapshot: Snapshot) {
        self.trouble = None;
        let panes: Vec<Pane> =
            Pane::MAIN.into_iter().chain(self.path.iter().skip(1).map(|looked| looked.pane.clone())).collect();
        let mut past = std::mem::take(&mut self.past);
        for pane in panes {
            for row in rows(&pane, &snapshot) {
                // What is gone by now is not taken over.
                let mut known = past.remove(&(pane.clone(), row.key.clone())).unwrap_or_default();
                known.push(snapshot.at, row.measure);
                self.past.insert((pane.clone(), row.key), known);
            }
        }
        self.known = Some(snapshot);
    }

    /// There was no answer.
    pub(super) fn wonder(&mut self, why: String, now: Instant) {
        let since = self.trouble.as_ref().map_or(now, |(_, since)| *since);
        self.trouble = Some((why, since));
    }

    pub(super) fn known(&self) -> Option<&Snapshot> {
        self.known.as_ref()
    }

    pub(super) fn looked(&self) -> &Looked {
        self.path.last().unwrap_or_else(|| unreachable!("the path is never empty"))
    }

    pub(super) fn path(&self) -> &[Looked] {
        &self.path
    }

    fn looked_mut(&mut self) -> &mut Looked {
        self.path.last_mut().unwrap_or_else(|| unreachable!("the path is never empty"))
    }

    pub(super) fn columns(&self) -> &'static [Column] {
        columns(&self.looked().pane)
    }

    /// The rows of the pane that is seen, filtered and sorted.
    pub(super) fn rows(&self) -> Vec<Row> {
        let Some(known) = &self.known else { return Vec::new() };
        let looked = self.looked();
        let mut rows = rows(&looked.pane, known);
        let filter = self.filter.to_lowercase();
        if !filter.is_empty() {
            let has = |cell: &Cell| matches!(cell, Cell::Text(text) if text.to_lowercase().contains(&filter));
            rows.retain(|row| row.cells.iter().any(has));
        }
        rows.sort_by(|one, other| {
            let order = match looked.sort.and_then(|at| Some((one.cells.get(at)?, other.cells.get(at)?))) {
                Some((Cell::Text(one), Cell::Text(other))) => one.cmp(other),
                Some((one, other)) => other.number().total_cmp(&one.number()),
                None => other.measure.number().total_cmp(&one.measure.number()),
            };
            let order = if looked.reversed { order.reverse() } else { order };
            // So that rows that are equal do not dance.
            order.then_with(|| one.key.cmp(&other.key))
        });
        rows
    }

    /// What the sparkline of a row of this pane shows, the oldest first.
    pub(super) fn past(&self, key: &Key) -> Vec<f64> {
        let past = self.past.get(&(self.looked().pane.clone(), key.clone()));
        past.map(|past| past.points.iter().copied().collect()).unwrap_or_default()
    }

    /// Index of the row that stands out.
    pub(super) fn selected(&self, rows: &[Row]) -> Option<usize> {
        let selected = self.looked().selected.as_ref();
        let index = selected.and_then(|key| rows.iter().position(|row| row.key == *key));
        index.or((!rows.is_empty()).then_some(0))
    }

    pub(super) fn show(&mut self, pane: Pane) {
        self.path = vec![Looked::at(pane)];
    }

    /// The next of the main panes, or, of a client, its topics or its APIs.
    pub(super) fn next_pane(&mut self) {
        let other = match &self.looked().pane {
            Pane::TopicsOfClient(key) => Some(Pane::ApisOfClient(key.clone())),
            Pane::ApisOfClient(key) => Some(Pane::TopicsOfClient(key.clone())),
            _ => None,
        };
        if let Some(pane) = other {
            *self.looked_mut() = Looked::at(pane);
            return;
        }
        let at = Pane::MAIN.iter().position(|pane| *pane == self.looked().pane);
        let next = at.map_or(0, |at| (at + 1) % Pane::MAIN.len());
        self.show(Pane::MAIN.into_iter().nth(next).unwrap_or(Pane::Clients));
    }

    /// What the selected row is made of.
    pub(super) fn enter(&mut self) {
        let rows = self.rows();
        let Some(row) = self.selected(&rows).and_then(|index| rows.get(index)) else { return };
        let key = row.key.clone();
        let pane = match self.looked().pane {
            Pane::Clients | Pane::ClientsOfTopic(_) => Pane::TopicsOfClient(key.clone()),
            Pane::Topics | Pane::TopicsOfClient(_) => Pane::ClientsOfTopic(key.clone()),
            Pane::Groups | Pane::ApisOfClient(_) => return,
        };
        self.looked_mut().selected = Some(key);
        self.filter.clear();
        // Going round between a client and a topic leads back, not ever deeper.
        match self.path.iter().position(|looked| looked.pane == pane) {
            Some(at) => self.path.truncate(at + 1),
            None => self.path.push(Looked::at(pane)),
        }
    }

    pub(super) fn back(&mut self) {
        if !self.filter.is_empty() {
            self.filter.clear();
        } else if self.path.len() > 1 {
            self.path.pop();
        }
    }

    /// Moves the selection by so many rows.
    pub(super) fn move_by(&mut self, by: isize) {
        let rows = self.rows();
        let Some(at) = self.selected(&rows) else { return };
        let to = at.saturating_add_signed(by).min(rows.len().saturating_sub(1));
        self.looked_mut().selected = rows.get(to).map(|row| row.key.clone());
    }

    /// Sorts by the next column that is shown, or by what the sparkline shows.
    pub(super) fn sort_by_next(&mut self) {
        let columns = self.columns().len();
        let looked = self.looked_mut();
        looked.sort = match looked.sort {
            None => Some(0),
            Some(at) if at + 1 < columns => Some(at + 1),
            Some(_) => None,
        };
        looked.reversed = false;
    }

    pub(super) fn reverse(&mut self) {
        let looked = self.looked_mut();
        looked.reversed = !looked.reversed;
    }
}

impl Past {
    fn push(&mut self, at: Instant, measure: Measure) {
        let point = match (measure, self.last) {
            (Measure::Level(level), _) => Some(level),
            // It began again, when its series had expired.
            (Measure::Total(total), Some((then, before))) => {
                let seconds = at.saturating_duration_since(then).as_secs_f64();
                (seconds > 0.0).then(|| (total - before).max(0.0) / seconds)
            }
            (Measure::Total(_), None) => None,
        };
        self.last = Some((at, measure.number()));
        self.points.extend(point);
        while self.points.len() > POINTS {
            self.points.pop_front();
        }
    }
}

impl Measure {
    fn number(self) -> f64 {
        match self {
            Self::Level(number) | Self::Total(number) => number,
        }
    }
}
