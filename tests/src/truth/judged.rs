//! The rows of the items that are built.

mod broker;
mod consumer;
mod producer;

use super::{evidence::Evidence, row::Row};

/// All rows that the evidence gives.
pub(crate) fn rows(evidence: &Evidence) -> Vec<Row> {
    let (groups, faults) = (evidence.groups.clone(), evidence.faults.clone());
    [broker::rows(evidence), producer::rows(evidence), consumer::rows(evidence), groups, faults]
        .into_iter()
        .flatten()
        .collect()
}
