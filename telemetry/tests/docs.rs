//! The page on what to do about each metric names all that are exported, and no others.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kafkascope_telemetry::metric::TABLE;

#[test]
fn each_metric_that_is_not_of_ourselves_has_one_row_that_says_what_to_do() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = fs::read_to_string(path).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let mut named = BTreeSet::new();
    for row in &rows {
        assert!(row.len() == 3 && row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        assert!(named.insert(row[0].trim_matches('`')), "{} twice", row[0]);
    }
    let exported = TABLE.iter().map(|row| row.name).filter(|name| !name.starts_with("kafkascope.self."));
    assert_eq!(named, exported.collect::<BTreeSet<_>>());
}
