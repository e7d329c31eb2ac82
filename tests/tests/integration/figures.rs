//! What the proxy says of one client, beside what the client says of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kafkascope_tests::eventually::eventually;
use kafkascope_tests::prometheus::Scrape;
use kafkascope_tests::proxy::Proxy;

use crate::stage::Stage;

/// A scrape is at most a second old; a busy machine needs longer.
const CATCH_UP: Duration = Duration::from_secs(30);

/// The proxy's figures for one client id.
#[derive(Debug)]
pub(crate) struct Figures {
    scrape: Scrape,
    client_id: String,
}

impl Figures {
    /// Reads them when `complete` says that all is in; after a while, as they are.
    pub(crate) fn read(proxy: &Proxy, client_id: &str, complete: impl Fn(&Self) -> bool) -> Result<Self> {
        let mut last = None;
        let read = eventually("the figures to be complete", CATCH_UP, || {
            let figures = Self { scrape: proxy.metrics()?, client_id: client_id.to_owned() };
            if complete(&figures) {
                return Ok(Some(figures));
            }
            last = Some(figures);
            Ok(None)
        });
        match (read, last) {
            (Ok(figures), _) | (Err(_), Some(figures)) => Ok(figures),
            (Err(error), None) => Err(error),
        }
    }

    fn with<'a>(&'a self, labels: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut all = vec![("messaging_client_id", self.client_id.as_str())];
        all.extend_from_slice(labels);
        all
    }

    /// A counter, summed over all other labels.
    pub(crate) fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.scrape.count(name, &self.with(labels))
    }

    /// Any sample, summed.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.scrape.sum(name, &self.with(labels)).unwrap_or(0.0)
    }

    /// Requests of one API.
    pub(crate) fn requests(&self, api: &str) -> u64 {
        self.count("kafkascope_requests_total", &[("kafka_api", api)])
    }

    /// Requests of all APIs.
    pub(crate) fn all_requests(&self) -> u64 {
        self.count("kafkascope_requests_total", &[])
    }

    /// Responses to all requests.
    pub(crate) fn all_responses(&self) -> u64 {
        self.count("kafkascope_responses_total", &[])
    }

    /// Produce requests by acks.
    pub(crate) fn acks(&self) -> BTreeMap<String, u64> {
        self.scrape.by("kafkascope_acks", "kafkascope_produce_requests_total", &self.with(&[]))
    }

    /// Produced batches by codec.
    pub(crate) fn codecs(&self) -> BTreeMap<String, u64> {
        self.scrape.by("kafkascope_codec", "kafkascope_produce_batch_size_bytes_count", &self.with(&[]))
    }

    /// Records in produced batches.
    pub(crate) fn records_sent(&self) -> u64 {
        self.sum("kafkascope_produce_batch_records_sum", &[]) as u64
    }

    /// Messages that brokers accepted.
    pub(crate) fn produced(&self) -> u64 {
        self.count("kafkascope_produced_messages_total", &[])
    }

    /// Messages that brokers returned.
    pub(crate) fn consumed(&self) -> u64 {
        self.count("kafkascope_consumed_messages_total", &[])
    }

    /// Bytes of record batches that it was given.
    pub(crate) fn record_bytes_out(&self) -> u64 {
        self.count("kafkascope_record_io_bytes_total", &[("direction", "out")])
    }

    /// Batches and their bytes, as sent.
    pub(crate) fn batches(&self) -> (u64, u64) {
        let bytes = self.sum("kafkascope_produce_batch_size_bytes_sum", &[]);
        (self.count("kafkascope_produce_batch_size_bytes_count", &[]), bytes as u64)
    }

    /// Mean compression ratio of its batches, and of how many it is known.
    pub(crate) fn compression(&self) -> (f64, u64) {
        let count = self.count("kafkascope_produce_compression_ratio_count", &[]);
        (self.sum("kafkascope_produce_compression_ratio_sum", &[]) / count as f64, count)
    }

    /// Whether the compression ratio of each of its batches is known.
    pub(crate) fn is_measured(&self) -> bool {
        self.compression().1 >= self.batches().0
    }

    /// Bytes from the client and to it.
    pub(crate) fn io(&self) -> (u64, u64) {
        let io = |direction| self.count("kafkascope_connection_io_bytes_total", &[("direction", direction)]);
        (io("in"), io("out"))
    }

    /// Mean duration of the answered requests of one API, or of all (""), in milliseconds.
    pub(crate) fn mean_ms(&self, api: &str) -> Result<f64> {
        let labels: &[(&str, &str)] = if api.is_empty() { &[] } else { &[("kafka_api", api)] };
        let count = self.sum("kafkascope_request_duration_seconds_count", labels);
        ensure!(count > 0.0, "no durations of {api} for {}", self.client_id);
        Ok(self.sum("kafkascope_request_duration_seconds_sum", labels) / count * 1000.0)
    }

    /// Everything about this client, for a message.
    pub(crate) fn show(&self) -> String {
        let id = format!("{:?}", self.client_id);
        let of_client = |line: &&str| line.contains(&id) && !line.contains("_bucket ") && !line.contains("duration_");
        let all = self.scrape.show("kafkascope_");
        all.lines().filter(of_client).collect::<Vec<_>>().join("\n")
    }
}

/// All bytes that passed the taps are those of `clients` in the proxy's figures. They must have closed their connections.
pub(crate) fn account_for_all_bytes(stage: &Stage, clients: &[String]) -> Result<()> {
    stage.taps.wait_until_quiet(CATCH_UP)?;
    let passed = stage.taps.bytes();
    let mut counted = Vec::new();
    let all = eventually("all bytes to be counted", CATCH_UP, || {
        let scrape = stage.proxy.metrics()?;
        let of = |id: &String| scrape.count("kafkascope_connection_io_bytes_total", &[("messaging_client_id", id)]);
        counted = clients.iter().map(of).collect();
        Ok((counted.iter().sum::<u64>() == passed).then_some(()))
    });
    all.with_context(|| format!("{passed} bytes passed the taps, the proxy's figures have {counted:?} for {clients:?}"))
}

/// Compares a figure of ours with the client's own.
pub(crate) fn same(what: &str, ours: u64, theirs: u64, figures: &Figures) -> Result<()> {
    ensure!(ours == theirs, "{what}: we say {ours}, the client {theirs}\n{}", figures.show());
    Ok(())
}

/// Compares a figure of ours with the client's own, within `share` of it and `slack`.
pub(crate) fn near(what: &str, ours: f64, theirs: f64, share: f64, slack: f64) -> Result<()> {
    let difference = (ours - theirs).abs();
    ensure!(difference <= theirs.abs() * share + slack, "{what}: we say {ours}, the client {theirs}");
    Ok(())
}

/// Compares a mean duration of ours with the client's own. We stand between the client and the broker, so ours cannot be
/// the longer one. How much shorter it is depends on how busy the machine is, and these tests keep it busy: that is
/// judged by `cargo xtask truth`, on clients that are paced.
pub(crate) fn not_longer(what: &str, ours_ms: f64, theirs_ms: f64) -> Result<()> {
    ensure!(ours_ms > 0.0, "{what}: we say {ours_ms} ms");
    ensure!(ours_ms <= theirs_ms * 1.05 + 1.0, "{what}: we say {ours_ms} ms, the client only {theirs_ms} ms");
    Ok(())
}

/// `/api/clients` agrees with `/metrics` and the configuration on acks and codec, and knows the client's software if it tells.
pub(crate) fn row_says(proxy: &Proxy, client_id: &str, software: Option<&str>, acks: &str, codec: &str) -> Result<()> {
    let row = proxy.client(client_id)?;
    let only = |map: &BTreeMap<String, u64>| map.keys().cloned().collect::<Vec<_>>();
    ensure!(only(&row.acks) == [acks], "/api/clients: acks {:?} instead of {acks}", row.acks);
    ensure!(only(&row.codecs) == [codec], "/api/clients: codecs {:?} instead of {codec}", row.codecs);
    let said = row.software.as_deref();
    let is_so = said.zip(software).map_or(said == software, |(said, software)| said.starts_with(software));
    ensure!(is_so, "/api/clients: software {said:?} instead of {software:?}");
    ensure!(row.removed_in_4_0.is_empty(), "/api/clients: it would break with 4.0: {:?}", row.removed_in_4_0);
    Ok(())
}
