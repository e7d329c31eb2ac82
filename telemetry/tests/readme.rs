//! The README's table of metrics is the code's.

use std::fs;
use std::path::Path;

use kafkascope_telemetry::Attribute;
use kafkascope_telemetry::metric::{Descriptor, Kind, TABLE};

const BEGIN: &str = "<!-- metrics: written by `UPDATE_README=1 cargo test -p kafkascope-telemetry --test readme` -->\n";
const END: &str = "<!-- end of metrics -->";

#[test]
fn the_readme_lists_the_metrics_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(&path).expect("a README");
    let (before, rest) = readme.split_once(BEGIN).expect("the place where the table begins");
    let (table, after) = rest.split_once(END).expect("the place where the table ends");
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", rows())).expect("a README that can be written");
        return;
    }
    assert_eq!(table, rows(), "the README's table is not the code's: {BEGIN}");
}

fn rows() -> String {
    let rows = TABLE.iter().map(|row| {
        let kind = match row.kind {
            Kind::Counter => "counter",
            Kind::UpDown => "up-down counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        format!("| `{}` | {kind} | `{}` | {} | {} |\n", row.name, row.unit.ucum(), told_apart_by(row), row.help)
    });
    let head = "| metric | kind | unit | told apart by | what it says |\n|---|---|---|---|---|\n";
    std::iter::once(head.to_owned()).chain(rows).collect()
}

/// Client, broker and process stand for their attributes.
fn told_apart_by(row: &Descriptor) -> String {
    let is_of_a_process = row.attributes.contains(&Attribute::ProcessRole);
    let words = row.attributes.iter().filter_map(|attribute| match attribute {
        Attribute::ClientId => Some("client".to_owned()),
        Attribute::ServerAddress => Some("broker".to_owned()),
        Attribute::ProcessRole => Some("process".to_owned()),
        Attribute::Cluster | Attribute::BrokerId => None,
        Attribute::PeerAddress | Attribute::ServerPort if !is_of_a_process => None,
        Attribute::ProcessName | Attribute::ContainerId | Attribute::PodUid | Attribute::PodName => None,
        other => Some(format!("`{}`", other.name())),
    });
    words.collect::<Vec<_>>().join(", ")
}
