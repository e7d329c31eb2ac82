//! Frames made by the Java classes of kafka-clients 3.9.2 (`java/Vectors.java` prints them).

use std::sync::OnceLock;

const TEXT: &str = include_str!("../fixtures/kafka_clients.txt");

/// The committed frames: name and bytes.
pub(crate) fn all() -> Vec<(&'static str, Vec<u8>)> {
    TEXT.lines()
        .map(|line| {
            let (name, hex) = line.split_once(' ').expect("a name and hex digits");
            let digits: Vec<u8> = hex.chars().map(|digit| digit.to_digit(16).expect("a hex digit") as u8).collect();
            (name, digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
        })
        .collect()
}

/// The frame called `name`.
pub(crate) fn named(name: &str) -> Vec<u8> {
    all().into_iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no vector {name}")).1
}

/// Requests with their responses.
pub(crate) fn exchanges() -> &'static [(Vec<u8>, Vec<u8>)] {
    static PAIRS: OnceLock<Vec<(Vec<u8>, Vec<u8>)>> = OnceLock::new();
    PAIRS.get_or_init(pairs)
}

fn pairs() -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut pairs = Vec::new();
    for version in 0..=2 {
        for codec in ["none", "snappy", "lz4"] {
            pairs.push((
                named(&format!("produce-request-v{version}-{codec}")),
                named(&format!("produce-response-v{version}")),
            ));
        }
    }
    for version in 0..=3 {
        for codec in ["none", "snappy", "lz4"] {
            pairs.push((
                named(&format!("fetch-request-v{version}")),
                named(&format!("fetch-response-v{version}-{codec}")),
            ));
        }
    }
    pairs.push((named("fetch-request-v13"), named("fetch-response-v13-snappy")));
    pairs
}

/// `frame` with another correlation id, which stands at byte `at`.
pub(crate) fn renumbered(frame: &[u8], at: usize, correlation_id: i32) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at..at + 4].copy_from_slice(&correlation_id.to_be_bytes());
    frame
}
