//! Tables of what is known: one for each pane, all of the same shape, so that sorting, filtering and drawing are written once.

use std::collections::BTreeMap;

use super::api::{ApiUse, Client, ClientUse, Group, Latency, Moved, Snapshot, Topic, TopicUse};
use super::model::Pane;

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Characters; the first column takes what is left.
    pub(super) width: u16,
    /// Numbers are written to the right and sorted from the largest on.
    pub(super) is_number: bool,
    /// Where there is not enough room, the columns with the lowest go.
    pub(super) weight: u8,
}

const fn text(title: &'static str, width: u16, weight: u8) -> Column {
    Column { title, width, is_number: false, weight }
}

const fn number(title: &'static str, width: u16, weight: u8) -> Column {
    Column { title, width, is_number: true, weight }
}

const CLIENTS: &[Column] = &[
    text("CLIENT", 16, 9),
    text("ADDRESS", 15, 2),
    text("SOFTWARE", 24, 3),
    number("CONN", 5, 4),
    text("ACKS", 5, 5),
    text("CODEC", 7, 5),
    number("BATCH", 7, 6),
    number("REC/S", 7, 7),
    number("B/S", 7, 8),
    number("P50MS", 7, 4),
    number("P99MS", 7, 7),
    number("RTTMS", 6, 4),
    number("ERRORS", 6, 6),
    text("4.0", 5, 3),
];

const TOPICS: &[Column] = &[
    text("TOPIC", 16, 9),
    text("CLUSTER", 12, 2),
    number("IN B/S", 7, 8),
    number("OUT B/S", 7, 8),
    number("IN R/S", 7, 6),
    number("OUT R/S", 7, 6),
    number("BATCH", 7, 5),
    text("CODEC", 7, 5),
    number("PROD", 4, 7),
    number("CONS", 4, 7),
];

const GROUPS: &[Column] = &[
    text("GROUP", 16, 9),
    text("STATE", 12, 7),
    number("MEMBERS", 7, 6),
    number("TOPICS", 6, 4),
    number("LAG", 8, 8),
    number("LAG S", 7, 7),
    number("COMMIT/S", 8, 5),
    number("REBAL", 6, 6),
    text("ATTRIBUTION", 11, 3),
];

const MOVED: [Column; 4] =
    [number("IN BYTES", 8, 8), number("OUT BYTES", 9, 8), number("IN REC", 7, 6), number("OUT REC", 7, 6)];

const TOPICS_OF_CLIENT: &[Column] = &[text("TOPIC", 16, 9), MOVED[0], MOVED[1], MOVED[2], MOVED[3]];
const CLIENTS_OF_TOPIC: &[Column] =
    &[text("CLIENT", 16, 9), text("ADDRESS", 15, 5), MOVED[0], MOVED[1], MOVED[2], MOVED[3]];
const APIS_OF_CLIENT: &[Column] = &[
    text("API", 24, 9),
    number("REQUESTS", 9, 8),
    number("MIN", 4, 7),
    number("MAX", 4, 7),
    text("REMOVED IN 4.0", 14, 6),
];

/// A row of a table.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// What it is, for as long as it is shown.
    pub(super) key: Key,
    /// One for each column.
    pub(super) cells: Vec<Cell>,
    /// What its sparkline shows.
    pub(super) measure: Measure,
}

/// What a row is about: its name, and what tells it from others of that name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(super) struct Key(pub(super) String, pub(super) String);

/// A number that changes with time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Measure {
    /// To be shown as it is.
    Level(f64),
    /// To be shown by how fast it grows.
    Total(f64),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Text(String),
    /// `None`: not known.
    Number(Option<f64>),
    Bytes(Option<f64>),
    Millis(Option<f64>),
}

impl Cell {
    /// As it is shown.
    pub(super) fn show(&self) -> String {
        match self {
            Self::Text(text) => neutral(text),
            Self::Number(None) | Self::Bytes(None) | Self::Millis(None) => "-".to_owned(),
            Self::Number(Some(number)) => scaled(*number, 1e3, &["", "k", "M", "G", "T", "P"]),
            Self::Bytes(Some(bytes)) => scaled(*bytes, 1024.0, &["", "K", "M", "G", "T", "P"]),
            Self::Millis(Some(millis)) if *millis < 10.0 => format!("{millis:.2}"),
            Self::Millis(Some(millis)) if *millis < 100.0 => format!("{millis:.1}"),
            Self::Millis(Some(millis)) => format!("{millis:.0}"),
        }
    }

    /// What it is sorted by, if it is a number.
    pub(super) fn number(&self) -> f64 {
        match self {
            Self::Text(_) => 0.0,
            Self::Number(number) | Self::Bytes(number) | Self::Millis(number) => number.unwrap_or(-1.0),
        }
    }
}

/// Three digits and a letter.
fn scaled(number: f64, step: f64, letters: &[&str]) -> String {
    let mut number = number;
    let mut letters = letters.iter();
    let mut letter = letters.next().copied().unwrap_or_default();
    while number >= step {
        let Some(next) = letters.next() else { break };
        (number, letter) = (number / step, *next);
    }
    let is_small = number < 9.95 && (!letter.is_empty() || number.fract() != 0.0);
    if is_small { format!("{number:.1}{letter}") } else { format!("{number:.0}{letter}") }
}

/// Text of clients without what would move the cursor, change colours or turn the line around: client ids are whatever
/// somebody sent.
pub(super) fn neutral(text: &str) -> String {
    let is_hostile = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}')
    };
    text.chars().map(|c| if is_hostile(c) { '\u{fffd}' } else { c }).collect()
}

/// The columns of a pane.
pub(super) fn columns(pane: &Pane) -> &'static [Column] {
    match pane {
        Pane::Clients => CLIENTS,
        Pane::Topics => TOPICS,
        Pane::Groups => GROUPS,
        Pane::TopicsOfClient(_) => TOPICS_OF_CLIENT,
        Pane::ApisOfClient(_) => APIS_OF_CLIENT,
        Pane::ClientsOfTopic(_) => CLIENTS_OF_TOPIC,
    }
}

/// The rows of a pane, unsorted.
pub(super) fn rows(pane: &Pane, known: &Snapshot) -> Vec<Row> {
    match pane {
        Pane::Clients => clients(known),
        Pane::Topics => topics(known),
        Pane::Groups => groups(known),
        Pane::TopicsOfClient(key) => {
            let cluster = |name: &str| {
                let topic = known.topics.iter().find(|topic| topic.topic == name);
                topic.and_then(|topic| topic.cluster.clone()).unwrap_or_default()
            };
            let topics = client(known, key).map_or(&[][..], |client| &client.topics);
            let row = |used: &TopicUse| {
                let key = Key(used.topic.clone(), cluster(&used.topic));
                moved(key, vec![Cell::Text(used.topic.clone())], used.moved)
            };
            topics.iter().map(row).collect()
        }
        Pane::ApisOfClient(key) => client(known, key).map(apis).unwrap_or_default(),
        Pane::ClientsOfTopic(key) => {
            let topic = known.topics.iter().find(|topic| is(key, &topic.topic, topic.cluster.as_deref().unwrap_or("")));
            let row = |used: &ClientUse| {
                let key = Key(used.client_id.clone(), used.address.clone());
                let names = vec![Cell::Text(used.client_id.clone()), Cell::Text(used.address.clone())];
                moved(key, names, used.moved)
            };
            topic.map_or(&[][..], |topic| &topic.clients).iter().map(row).collect()
        }
    }
}

fn client<'a>(known: &'a Snapshot, key: &Key) -> Option<&'a Client> {
    known.clients.iter().find(|client| is(key, &client.client_id, &client.address))
}

fn is(key: &Key, name: &str, place: &str) -> bool {
    key.0 == name && key.1 == place
}

fn clients(known: &Snapshot) -> Vec<Row> {
    let row = |client: &Client| {
        // Of one that does both, the slower.
        let latency = |of: fn(&Latency) -> f64| {
            let both = [client.produce_ms, client.fetch_ms];
            both.iter().flatten().map(of).reduce(f64::max)
        };
        Row {
            key: Key(client.client_id.clone(), client.address.clone()),
            cells: vec![
                Cell::Text(client.client_id.clone()),
                Cell::Text(client.address.clone()),
                or_dash(&client.software),
                Cell::Number(Some(client.connections as f64)),
                names(&client.acks),
                names(&client.codecs),
                Cell::Bytes(client.batch_bytes_mean),
                Cell::Number(Some(client.records_per_s)),
                Cell::Bytes(Some(client.bytes_per_s)),
                Cell::Millis(latency(|latency| latency.p50)),
                Cell::Millis(latency(|latency| latency.p99)),
                Cell::Millis(client.rtt_ms.get("client").map(|rtt| rtt.p50)),
                Cell::Number(Some(client.errors.values().sum::<u64>() as f64)),
                Cell::Text(if client.removed_in_4_0.is_empty() { "ok" } else { "BREAK" }.to_owned()),
            ],
            measure: Measure::Level(client.bytes_per_s),
        }
    };
    known.clients.iter().map(row).collect()
}

fn topics(known: &Snapshot) -> Vec<Row> {
    let row = |topic: &Topic| Row {
        key: Key(topic.topic.clone(), topic.cluster.clone().unwrap_or_default()),
        cells: vec![
            Cell::Text(topic.topic.clone()),
            or_dash(&topic.cluster),
            Cell::Bytes(Some(topic.bytes_in_per_s)),
            Cell::Bytes(Some(topic.bytes_out_per_s)),
            Cell::Number(Some(topic.records_in_per_s)),
            Cell::Number(Some(topic.records_out_per_s)),
            Cell::Bytes(topic.batch_bytes_mean),
            names(&topic.codecs),
            Cell::Number(Some(topic.producers as f64)),
            Cell::Number(Some(topic.consumers as f64)),
        ],
        measure: Measure::Level(topic.bytes_in_per_s + topic.bytes_out_per_s),
    };
    known.topics.iter().map(row).collect()
}

fn groups(known: &Snapshot) -> Vec<Row> {
    let row = |group: &Group| Row {
        key: Key(group.group.clone(), String::new()),
        cells: vec![
            Cell::Text(group.group.clone()),
            or_dash(&group.state),
            Cell::Number(group.members.as_ref().map(|members| members.count() as f64)),
            Cell::Number(group.topics.as_ref().map(|topics| topics.count() as f64)),
            Cell::Number(group.lag),
            Cell::Number(group.time_lag_s),
            Cell::Number(group.commit_rate),
            Cell::Number(group.rebalances),
            or_dash(&group.attribution),
        ],
        measure: Measure::Level(group.lag.unwrap_or(0.0)),
    };
    known.groups.iter().map(row).collect()
}

fn apis(client: &Client) -> Vec<Row> {
    let row = |(api, used): (&String, &ApiUse)| Row {
        key: Key(api.clone(), String::new()),
        cells: vec![
            Cell::Text(api.clone()),
            Cell::Number(Some(used.requests as f64)),
            Cell::Number(used.min_version.map(|version| version as f64)),
            Cell::Number(used.max_version.map(|version| version as f64)),
            Cell::Text(client.removed_in_4_0.get(api).map_or_else(String::new, |requests| format!("{requests} req."))),
        ],
        measure: Measure::Total(used.requests as f64),
    };
    client.apis.iter().map(row).collect()
}

fn moved(key: Key, mut cells: Vec<Cell>, moved: Moved) -> Row {
    let Moved { bytes_in, bytes_out, records_in, records_out } = moved;
    cells.extend([bytes_in, bytes_out].map(|bytes| Cell::Bytes(Some(bytes as f64))));
    cells.extend([records_in, records_out].map(|records| Cell::Number(Some(records as f64))));
    Row { key, cells, measure: Measure::Total((bytes_in + bytes_out) as f64) }
}

/// Text that may not be known.
fn or_dash(text: &Option<String>) -> Cell {
    Cell::Text(text.clone().unwrap_or_else(|| "-".to_owned()))
}

fn names(counts: &BTreeMap<String, u64>) -> Cell {
    let names: Vec<&str> = counts.keys().map(String::as_str).collect();
    Cell::Text(if names.is_empty() { "-".to_owned() } else { names.join(" ") })
}
