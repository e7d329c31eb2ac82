//! Whether what is reported is true: every figure beside an oracle that was read in the same run.
//!
//! Real brokers, real clients, the real proxy in between. `scenario` says who works, `stage` lets them work and
//! leaves the `evidence`; `judged` makes rows of it. Our side comes from what the proxy exported and from nowhere
//! else.

mod evidence;
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

use crate::kafka::Version;

/// Runs at most, when the machine has no time left to judge latency by.
const ATTEMPTS: u32 = 2;

use row::Row;

pub use item::{number, selection};
pub use report::Report;
pub use scenario::Break;

/// What to compare.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// Brokers.
    pub version: Version,
    /// Numbers of the items.
    pub items: Vec<u8>,
    /// A change of reality.
    pub breaking: Option<Break>,
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
        if self.items.iter().all(|&item| item::is_unbuilt(item)) {
            return Report::new(&self.items, Vec::new(), "");
        }
        for attempt in 1.. {
            match stage::run(self.version, self.breaking) {
                Err(error) => {
                    eprintln!("truth: the run failed: {error:#}");
                    break;
                }
                Ok(evidence) => {
                    let rows = judged::rows(&evidence);
                    let judged = |row: &Row| self.items.contains(&row.item) && row.depends_on_load();
                    let spoilt = evidence.is_saturated() && rows.iter().any(|row| judged(row) && row.is_false());
                    if !spoilt || self.breaking.is_some() || attempt == ATTEMPTS {
                        return Report::new(&self.items, rows, "nobody compared it");
                    }
                    eprintln!("truth: {}, too much to judge latency: once more", evidence.load());
                }
            }
        }
        Report::new(&self.items, Vec::new(), "the run failed")
    }
}
