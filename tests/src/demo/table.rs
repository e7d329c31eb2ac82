//! What people see: rows of clients, what the collector has, what the clients say themselves.

use std::collections::BTreeMap;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

use super::{check::Line, host::Process};
use crate::{
    proxy::{Client, Latency},
    receiver::Receiver,
};

/// The clients as the proxy sees them. `width` in columns; without one lines are as long as they need to be.
pub(super) fn clients(clients: &[Client], width: Option<u16>) -> String {
    let mut table = table(width);
    table.set_header([
        "client",
        "software",
        "acks",
        "codec",
        "batch",
        "records/s",
        "MB/s",
        "p50 ms",
        "p99 ms",
        "fetch wait",
        "errors",
    ]);
    for client in clients {
        // A client that does both has a line for each in `latency`.
        let latency = |of: fn(&Latency) -> f64| {
            let known = [client.produce_ms, client.fetch_ms];
            let known = known.iter().flatten().filter(|latency| latency.count > 0);
            or_dash(known.map(|latency| format!("{:.1}", of(latency))).collect::<Vec<_>>().join("\n"))
        };
        table.add_row([
            Cell::new(&client.client_id),
            Cell::new(client.software.as_deref().unwrap_or("-")),
            Cell::new(names(&client.acks)),
            Cell::new(names(&client.codecs)),
            right(batch(client)),
            right(format!("{:.0}", client.records_per_s)),
            right(format!("{:.3}", client.bytes_per_s / 1e6)),
            right(latency(|latency| latency.p50)),
            right(latency(|latency| latency.p99)),
            Cell::new(shares(&client.fetch_wait)),
            Cell::new(counts(&client.errors)),
        ]);
    }
    table.to_string()
}

/// The processes that the probe found.
pub(super) fn processes(processes: &[Process], width: Option<u16>) -> String {
    let mut table = table(width);
    table.set_header([
        "process",
        "up",
        "CPU %",
        "memory MB",
        "open files",
        "GC pauses",
        "p99 ms",
        "page-cache hits %",
        "fsync p99 ms",
    ]);
    let number = |value: Option<f64>, digits: usize| {
        right(value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}")))
    };
    for process in processes {
        table.add_row([
            Cell::new(&process.name),
            Cell::new(if process.up { "up" } else { "DOWN" }),
            number(process.cpu_percent, 1),
            number(process.memory_bytes.map(|bytes| bytes / 1e6), 0),
            number(process.open_files, 0),
            number(process.gc_pauses.map(|count| count as f64), 0),
            number(process.gc_p99_ms, 1),
            number(process.page_cache_hit_ratio.map(|ratio| 100.0 * ratio), 1),
            number(process.fsync_p99_ms, 2),
        ]);
    }
    table.to_string()
}

/// What arrived at the receiver.
pub(super) fn collector(receiver: &Receiver, width: Option<u16>) -> String {
    let mut table = table(width);
    table.set_header(["metric", "unit", "series", "total"]);
    for (name, (unit, series)) in receiver.metrics() {
        let total = match (receiver.histogram(&name, &[]), receiver.sum(&name, &[])) {
            (Some(histogram), _) => format!("{} values, mean {:.4}", histogram.count, histogram.mean()),
            (None, Some(sum)) => format!("{sum}"),
            (None, None) => "-".into(),
        };
        table.add_row([Cell::new(name), Cell::new(unit), right(series), right(total)]);
    }
    table.to_string()
}

/// The clients' own counts beside the proxy's.
pub(super) fn check(lines: &[Line], width: Option<u16>) -> String {
    let mut table = table(width);
    table.set_header(["client", "records by its own count", "records the proxy saw", ""]);
    for line in lines {
        let verdict = match (line.agrees(), line.bypasses()) {
            (true, _) => "equal",
            (false, true) => "PART WENT PAST THE PROXY",
            (false, false) => "the proxy saw more",
        };
        table.add_row([Cell::new(line.client_id), right(line.said), right(line.seen), Cell::new(verdict)]);
    }
    table.to_string()
}

fn table(width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table
}

fn right(text: impl ToString) -> Cell {
    Cell::new(text.to_string()).set_alignment(CellAlignment::Right)
}

fn batch(client: &Client) -> String {
    match (client.batch_bytes_mean, client.batch_records_mean) {
        (Some(bytes), Some(records)) => format!("{bytes:.0} B, {records:.1} rec."),
        (Some(bytes), None) => format!("{bytes:.0} B"),
        (None, _) => "-".into(),
    }
}

fn names(counts: &BTreeMap<String, u64>) -> String {
    or_dash(counts.keys().cloned().collect::<Vec<_>>().join(" "))
}

fn counts(counts: &BTreeMap<String, u64>) -> String {
    or_dash(counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join("\n"))
}

/// `served 40% waited 60%`.
fn shares(counts: &BTreeMap<String, u64>) -> String {
    let total = counts.values().sum::<u64>() as f64;
    let share = |(name, count): (&String, &u64)| format!("{name} {:.0}%", *count as f64 * 100.0 / total);
    or_dash(counts.iter().map(share).collect::<Vec<_>>().join(" "))
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".into() } else { text }
}
