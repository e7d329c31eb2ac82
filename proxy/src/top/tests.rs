//! What is drawn of a known state, on a terminal of a known size, after known keys.

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};

use super::api::Snapshot;
use super::keys::press;
use super::model::{Model, Pane};
use super::{plain, view};

fn snapshot(at: Instant, clients: Value, topics: Value, groups: Value) -> Snapshot {
    Snapshot {
        at,
        clients: serde_json::from_value(clients).unwrap(),
        topics: serde_json::from_value(topics).unwrap(),
        groups: serde_json::from_value(groups).unwrap(),
    }
}

fn clients() -> Value {
    json!([
        {
            "client_id": "payments", "address": "10.0.0.1", "software": "librdkafka/2.16.0", "connections": 3,
            "acks": {"all": 5}, "codecs": {"lz4": 5}, "batch_bytes_mean": 2048.0,
            "records_per_s": 1200.0, "bytes_per_s": 1536.0, "errors": {},
            "produce_ms": {"count": 5, "mean": 2.0, "p50": 1.5, "p99": 4.25}, "fetch_ms": null,
            "rtt_ms": {"client": {"count": 1, "mean": 0.2, "p50": 0.21, "p99": 0.2}},
            "apis": {"Produce": {"requests": 40, "min_version": 2, "max_version": 9}}, "removed_in_4_0": {"Produce": 7},
            "topics": [{"topic": "orders", "bytes_in": 4096, "bytes_out": 0, "records_in": 90, "records_out": 0}],
        },
        {
            "client_id": "audit", "address": "10.0.0.2", "software": null, "bytes_per_s": 9000000.0,
            "records_per_s": 3.0, "errors": {"NOT_LEADER_OR_FOLLOWER": 2}, "topics": [], "new_field": [1, 2],
        },
        {"client_id": "idle", "address": "10.0.0.3", "bytes_per_s": 0.0},
    ])
}

fn topics() -> Value {
    json!([{
        "topic": "orders", "cluster": null, "bytes_in_per_s": 10.0, "bytes_out_per_s": 20.0, "producers": 1,
        "consumers": 2, "codecs": {"lz4": 1},
        "clients": [
            {"client_id": "payments", "address": "10.0.0.1", "bytes_in": 4096, "bytes_out": 0, "records_in": 90},
            {"client_id": "reader", "address": "10.0.0.9", "bytes_in": 0, "bytes_out": 512, "records_out": 9},
        ],
    }])
}

fn known() -> Model {
    let mut model = Model::new("127.0.0.1:9600".to_owned());
    model.learn(snapshot(Instant::now(), clients(), topics(), json!([])));
    model
}

fn screen(model: &Model, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(frame, model, Instant::now())).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect()
}

fn keys(model: &mut Model, keys: &str) {
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\u{1b}' => KeyCode::Esc,
            c => KeyCode::Char(c),
        };
        press(model, KeyEvent::new(code, KeyModifiers::NONE));
    }
}

/// First words of the rows of the table.
fn names(model: &Model) -> Vec<String> {
    model.rows().iter().map(|row| row.key.0.clone()).collect()
}

#[test]
fn eighty_columns_show_what_matters_most_and_all_keys() {
    let lines = screen(&known(), 80, 24);
    assert!(lines[0].contains("1 clients 3") && lines[0].contains("2 topics 1"), "{}", lines[0]);
    assert!(lines[0].contains("127.0.0.1:9600"));
    for title in ["CLIENT", "BATCH", "REC/S", "B/S", "P99MS", "ERRORS", "PAST"] {
        assert!(lines[2].contains(title), "{title}: {}", lines[2]);
    }
    assert!(lines[3].starts_with("audit") && lines[3].contains("8.6M"), "the busiest comes first: {}", lines[3]);
    assert!(lines[4].starts_with("payments") && lines[4].contains("2.0K") && lines[4].contains("4.25"), "{}", lines[4]);
    assert!(lines[3].ends_with('\u{2588}'), "a sparkline: {}", lines[3]);
    for key in ["q quit", "Tab", "Enter", "Esc", "s sort", "r reverse", "/ filter"] {
        assert!(lines[23].contains(key), "{key}: {}", lines[23]);
    }
}

#[test]
fn forty_by_ten_still_shows_who_and_how_much() {
    let lines = screen(&known(), 40, 10);
    assert!(lines[2].contains("CLIENT") && lines[2].contains("B/S"), "{}", lines[2]);
    assert!(lines[3].starts_with("audit") && lines[3].contains("8.6M"), "{}", lines[3]);
    for (width, height) in [(1, 1), (2, 3), (10, 4), (300, 100), (20, 1)] {
        screen(&known(), width, height);
    }
}

#[test]
fn wide_columns_show_software_and_what_an_upgrade_would_break() {
    let lines = screen(&known(), 160, 24);
    assert!(lines[4].contains("librdkafka/2.16.0") && lines[4].contains("BREAK"), "{}", lines[4]);
    assert!(lines[4].contains("10.0.0.1") && lines[4].contains("0.21"), "{}", lines[4]);
    assert!(lines[3].contains("ok"), "{}", lines[3]);
}

#[test]
fn rows_are_sorted_by_the_column_that_is_chosen() {
    let mut model = known();
    assert_eq!(names(&model), ["audit", "payments", "idle"]);
    keys(&mut model, "s");
    assert_eq!(names(&model), ["audit", "idle", "payments"], "by name");
    assert!(screen(&model, 80, 24)[2].starts_with("CLIENT\u{25bd}"));
    keys(&mut model, "r");
    assert_eq!(names(&model), ["payments", "idle", "audit"]);
    let records = model.columns().iter().position(|column| column.title == "REC/S").unwrap();
    keys(&mut model, &"s".repeat(records));
    assert_eq!(names(&model), ["payments", "audit", "idle"], "numbers from the largest on");
    let rest = model.columns().len() - records;
    keys(&mut model, &"s".repeat(rest));
    assert_eq!(names(&model), ["audit", "payments", "idle"], "round to where it began");
}

#[test]
fn a_filter_keeps_what_contains_it_and_typing_it_is_no_command() {
    let mut model = known();
    keys(&mut model, "/q\u{1b}");
    assert!(!model.quit && model.filter.is_empty());
    keys(&mut model, "/PAYM");
    assert_eq!(names(&model), ["payments"]);
    assert!(screen(&model, 80, 24)[1].starts_with("/PAYM\u{2588}"));
    keys(&mut model, "\n");
    assert!(!model.typing && names(&model) == ["payments"]);
    keys(&mut model, "/zzz\n");
    assert_eq!(screen(&model, 80, 24)[2], "nothing matches the filter");
    keys(&mut model, "\u{1b}");
    assert_eq!(names(&model).len(), 3);
    keys(&mut model, "q");
    assert!(model.quit);
}

#[test]
fn a_client_leads_to_its_topics_and_apis_and_a_topic_to_its_clients() {
    let mut model = known();
    keys(&mut model, "j\n");
    let lines = screen(&model, 80, 24);
    assert!(lines[1].starts_with("topics of payments 10.0.0.1"), "{}", lines[1]);
    assert!(lines[3].starts_with("orders") && lines[3].contains("4.0K"), "{}", lines[3]);
    keys(&mut model, "\t");
    let lines = screen(&model, 80, 24);
    assert!(lines[1].starts_with("APIs of payments"), "{}", lines[1]);
    let words: Vec<&str> = lines[3].split_whitespace().collect();
    assert_eq!(words, ["Produce", "40", "2", "9", "7", "req."]);
    keys(&mut model, "\t\n");
    let lines = screen(&model, 80, 24);
    assert!(lines[1].starts_with("clients of orders"), "{}", lines[1]);
    assert_eq!(names(&model), ["payments", "reader"]);
    // Round and round does not lead ever deeper.
    for _ in 0..10 {
        keys(&mut model, "\n");
    }
    assert_eq!(model.path().len(), 3);
    keys(&mut model, "\u{1b}\u{1b}\u{1b}\u{1b}");
    assert_eq!(model.looked().pane, Pane::Clients);
    assert_eq!(model.selected(&model.rows()), Some(1), "where one was");
    keys(&mut model, "2\n");
    assert_eq!(names(&model), ["payments", "reader"]);
}

#[test]
fn the_row_that_stands_out_stays_with_its_client() {
    let mut model = known();
    keys(&mut model, "j");
    assert_eq!(model.selected(&model.rows()), Some(1));
    let mut changed = clients();
    changed[0]["bytes_per_s"] = json!(1e9);
    model.learn(snapshot(Instant::now(), changed, topics(), json!([])));
    assert_eq!(names(&model)[0], "payments");
    assert_eq!(model.selected(&model.rows()), Some(0));
    model.learn(snapshot(Instant::now(), json!([]), json!([]), json!([])));
    assert_eq!(screen(&model, 80, 24)[2], "no clients seen yet");
    keys(&mut model, "jk\n");
}

#[test]
fn groups_are_shown_when_there_are_any() {
    let mut model = known();
    keys(&mut model, "3");
    assert_eq!(screen(&model, 80, 24)[2], "no consumer groups seen yet");
    let groups = json!([
        {"group": "billing", "state": "Stable", "members": 3, "topics": ["a", "b"], "lag": 1234567, "time_lag_s": 12.5,
         "commit_rate": 0.2, "rebalances": 4, "attribution": "exact"},
        {"group": "new"},
    ]);
    model.learn(snapshot(Instant::now(), clients(), topics(), groups));
    let lines = screen(&model, 120, 24);
    let words: Vec<&str> = lines[3].split_whitespace().collect();
    assert_eq!(words[..7], ["billing", "Stable", "3", "2", "1.2M", "12", "0.2"], "{}", lines[3]);
    let words: Vec<&str> = lines[4].split_whitespace().collect();
    assert_eq!(words[..3], ["new", "-", "-"], "what is not known is said: {}", lines[4]);
}

#[test]
fn hostile_names_cannot_leave_their_cell() {
    let names = ["\u{1b}[2J\u{1b}]0;x\u{7}evil", "a\nb\tc\r", "\u{202e}reversed", "zero\u{200b}width", "\u{9b}31m"];
    let wide = "\u{5ba2}\u{6237}\u{7aef}\u{1f980}".repeat(20);
    let rows = names.into_iter().chain([wide.as_str()]);
    let rows = Value::from(rows.map(|name| json!({"client_id": name, "software": name})).collect::<Vec<_>>());
    let mut model = Model::new("\u{1b}[31m".to_owned());
    let known = snapshot(Instant::now(), rows, json!([{"topic": "\u{1b}c"}]), json!([{"group": "\u{7}"}]));
    let printed = plain::tables(&known);
    model.learn(known);
    let hostile = |c: char| c.is_control() || ('\u{200b}'..='\u{202e}').contains(&c);
    for (width, height) in [(40, 10), (80, 24), (200, 50)] {
        for pane in ["1", "2", "3", "1\n"] {
            keys(&mut model, pane);
            let lines = screen(&model, width, height);
            assert!(lines.iter().all(|line| !line.contains(hostile)), "{lines:?}");
        }
        keys(&mut model, "1");
        let lines = screen(&model, width, height);
        assert!(lines.iter().any(|line| line.starts_with("\u{5ba2}")), "wide characters are shown: {lines:?}");
        assert!(lines.iter().any(|line| line.contains("[2J")), "what is left of it is shown: {lines:?}");
    }
    assert!(!printed.contains(|c| hostile(c) && c != '\n'), "{printed:?}");
    assert_eq!(printed.lines().count(), 1 + 6 + 1 + 2 + 1 + 2, "{printed}");
}

#[test]
fn an_address_that_does_not_answer_is_said_with_how_long_and_what_was_known_stays() {
    let mut model = Model::new("127.0.0.1:9600".to_owned());
    assert!(screen(&model, 80, 24)[1].starts_with("asking 127.0.0.1:9600"));
    let long_ago = Instant::now() - Duration::from_secs(7);
    model.wonder("connection refused".to_owned(), long_ago);
    model.wonder("connection refused".to_owned(), Instant::now());
    let line = screen(&model, 100, 24)[1].clone();
    assert!(line.contains("does not answer for 7 s: connection refused; trying again"), "{line}");
    model.learn(snapshot(Instant::now(), clients(), topics(), json!([])));
    model.wonder("timed out".to_owned(), Instant::now());
    let lines = screen(&model, 80, 24);
    assert!(lines[1].contains("timed out") && lines[3].starts_with("audit"), "{lines:?}");
    model.learn(snapshot(Instant::now(), clients(), topics(), json!([])));
    assert_eq!(screen(&model, 80, 24)[1], "");
}

#[test]
fn a_sparkline_shows_levels_as_they_are_and_totals_by_how_fast_they_grow() {
    let mut model = known();
    keys(&mut model, "j\n");
    let start = Instant::now();
    for (second, total) in [(1_u64, 4096), (2, 5096), (3, 5096), (4, 7096), (5, 100)] {
        let mut changed = clients();
        changed[0]["topics"][0]["bytes_in"] = json!(total);
        model.learn(snapshot(start + Duration::from_secs(second), changed, topics(), json!([])));
    }
    let key = model.rows()[0].key.clone();
    assert_eq!(model.past(&key), [1000.0, 0.0, 2000.0, 0.0]);
    assert_eq!(view::sparkline(&model.past(&key), 10), "\u{2585} \u{2588} ");
    assert_eq!(view::sparkline(&[1.0, 2.0, 4.0], 2), "\u{2585}\u{2588}", "the last ones");
    assert_eq!(view::sparkline(&[], 10), "");
}

#[test]
fn the_plain_tables_are_whole() {
    let text = plain::tables(&snapshot(Instant::now(), clients(), topics(), json!([])));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("CLIENT    ADDRESS   SOFTWARE"), "{text}");
    assert!(lines[1].starts_with("audit ") && lines[3].starts_with("payments  10.0.0.1  librdkafka/2.16.0"), "{text}");
    assert_eq!(lines.last(), Some(&"no consumer groups seen yet"));
}
