//! Whether what is reported is true: every figure beside an oracle that was read in the same run.
//!
//! Of the wire: real brokers, real clients, the real proxy in between. `scenario` says who works, `stage` lets them work and
//! leaves the `evidence`; `judged` makes rows of it. Our side comes from what the proxy exported and from nowhere
//! else.

mod busy;
mod evidence;
mod faults;
mod groups;
mod host;
mod item;
mod java;
mod judged;
mod librdkafka;
mod ours;
mod relay;
mod report;
mod row;
mod scenario;
mod stage;

use row::Row;

use crate::kafka::Version;

/// Runs at most, when the machine has no time left to judge latency by.
const ATTEMPTS: u32 = 2;

pub use host::act_if_asked;
pub use item::{number, selection};
pub use report::Report;

/// What to compare.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// Brokers.
    pub version: Version,
    /// Numbers of the items.
    pub items: Vec<u8>,
    /// The item of which reality is changed.
    pub breaking: Option<u8>,
}

impl Comparison {
    /// All items with the newest brokers.
    pub fn new(version: Version) -> Self {
        Self { version, items: item::ITEMS.iter().map(|item| item.number).collect(), breaking: None }
    }

    /// Only some items.
    #[must_use]
    pub fn only(self, items: Vec<u8>) -> Self {
        Self { items, ..self }
    }

    /// Runs it all. Without any built item among the chosen there is nothing to run. A run that does not come to its end
    /// has shown nothing, so its rows are false.
    pub fn run(&self) -> Report {
        let built = self.items.iter().copied().filter(|&item| !item::is_unbuilt(item));
        let (host, wire): (Vec<u8>, Vec<u8>) = built.partition(|&item| item::is_of_host(item));
        let mut rows = Vec::new();
        if host::is_inside() {
            let breaking = self.breaking.and_then(host::Break::of);
            rows.extend(finished(host::rows(self.version, &host, breaking)));
        } else {
            if !wire.is_empty() {
                rows.extend(self.on_the_wire());
            }
            if !host.is_empty() {
                rows.extend(self.on_the_host(&host));
            }
        }
        Report::new(&self.items, rows, "the run failed")
    }

    fn on_the_wire(&self) -> Vec<Row> {
        let breaking = self.breaking.and_then(scenario::Break::of);
        for attempt in 1.. {
            let Ok(evidence) = stage::run(self.version, breaking).inspect_err(failed) else { break };
            let rows = judged::rows(&evidence);
            let judged = |row: &Row| self.items.contains(&row.item) && row.depends_on_load();
            let spoilt = evidence.is_saturated() && rows.iter().any(|row| judged(row) && row.is_false());
            if !spoilt || breaking.is_some() || attempt == ATTEMPTS {
                return rows;
            }
            eprintln!("truth: {}, too much to judge latency: once more", evidence.load());
        }
        Vec::new()
    }

    fn on_the_host(&self, items: &[u8]) -> Vec<Row> {
        match host::impossible() {
            Some(reason) => items.iter().map(|&item| Row::absent(item, item::name(item), reason)).collect(),
            None => finished(host::rows_of_another(self.version, items, self.breaking)),
        }
    }
}

/// How reality is changed so that the rows of an item must become false; for items that are built.
pub fn breaking(item: u8) -> Option<&'static str> {
    let wire = scenario::Break::of(item).map(scenario::Break::description);
    wire.or_else(|| host::Break::of(item).map(host::Break::description))
}

fn finished(rows: anyhow::Result<Vec<Row>>) -> Vec<Row> {
    rows.inspect_err(failed).unwrap_or_default()
}

fn failed(error: &anyhow::Error) {
    eprintln!("truth: the run failed: {error:#}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_built_item_can_be_broken_and_no_other() {
        for item in item::ITEMS {
            assert_eq!(breaking(item.number).is_some(), !item::is_unbuilt(item.number), "{}", item.number);
        }
    }
}
