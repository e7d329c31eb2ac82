//! Frames made by the Java classes of kafka-clients 3.9.2 (`java/Vectors.java` prints them) and 4.3.1
//! (`java/NewVectors.java`).

use std::sync::OnceLock;

pub(crate) const OLD: &str = include_str!("../fixtures/kafka_clients.txt");
pub(crate) const NEW: &str = include_str!("../fixtures/kafka_clients_new.txt");

/// The committed frames in one of the files: name and bytes.
pub(crate) fn all(text: &'static str) -> Vec<(&'static str, Vec<u8>)> {
    text.lines()
        .map(|line| {
            let (name, hex) = line.split_once(' ').expect("a name and hex digits");
            let digits: Vec<u8> = hex.chars().map(|digit| digit.to_digit(16).expect("a hex digit") as u8).collect();
            (name, digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
        })
        .collect()
}

/// The frame called `name`.
pub(crate) fn named(name: &str) -> Vec<u8> {
    all(OLD)
        .into_iter()
        .chain(all(NEW))
        .find(|(known, _)| *known == name)
        .unwrap_or_else(|| panic!("no vector {name}"))
        .1
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
    for (name, _) in all(OLD).into_iter().chain(all(NEW)).filter(|(name, _)| !name.starts_with("produce")) {
        if let Some((api, version)) = name.split_once("-request").filter(|(api, _)| *api != "fetch") {
            pairs.push((named(name), named(&format!("{api}-response{version}"))));
        }
    }
    pairs
}

/// `frame` with another correlation id, which stands at byte `at`.
pub(crate) fn renumbered(frame: &[u8], at: usize, correlation_id: i32) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at..at + 4].copy_from_slice(&correlation_id.to_be_bytes());
    frame
}
