//! A real OpenTelemetry collector as a child process, and what it has received.

mod content;

use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

pub use self::content::{Content, Series};
use crate::http;
use crate::port::Port;
use crate::process::Process;
use crate::prometheus::Scrape;
use crate::testbed;

const START_LIMIT: Duration = Duration::from_secs(60);

/// A collector that may be stopped and started again at the same addresses.
#[derive(Debug)]
pub struct Collector {
    process: Option<Process>,
    grpc: Port,
    http: Port,
    prometheus: Port,
    folder: TempDir,
}

impl Collector {
    /// Starts one and waits until it listens.
    pub fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kafkascope-collector-").tempdir()?;
        let (grpc, http, prometheus) = (Port::claim()?, Port::claim()?, Port::claim()?);
        let mut collector = Self { process: None, grpc, http, prometheus, folder };
        collector.restart()?;
        Ok(collector)
    }

    /// Starts it again, with nothing remembered.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        for file in ["metrics.jsonl", "traces.jsonl"].map(|name| self.folder.path().join(name)) {
            if file.exists() {
                fs::remove_file(file)?;
            }
        }
        let mut command = Command::new(testbed::collector());
        command.arg("--config").arg(testbed::workspace().join("tests/collector/config.yaml"));
        for (name, port) in [("GRPC", &self.grpc), ("HTTP", &self.http), ("PROMETHEUS", &self.prometheus)] {
            command.env(name, port.address().to_string());
        }
        command.env("FOLDER", self.folder.path());
        let mut process = Process::start("the collector", &command, &self.folder.path().join("log"))?;
        let ports = [&self.grpc, &self.http, &self.prometheus].map(Port::address);
        process.until("the collector to listen", START_LIMIT, || {
            Ok(ports.iter().all(|address| TcpStream::connect(address).is_ok()))
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it at once.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// For `--otlp-endpoint` with gRPC.
    #[must_use]
    pub fn grpc(&self) -> String {
        format!("http://{}", self.grpc.address())
    }

    /// For `--otlp-endpoint` with HTTP.
    #[must_use]
    pub fn http(&self) -> String {
        format!("http://{}", self.http.address())
    }

    /// The newest point of each series in what its file exporter has written.
    pub fn file(&self) -> Result<Content> {
        Content::of_file(&fs::read_to_string(self.folder.path().join("metrics.jsonl"))?)
    }

    /// What its Prometheus exporter serves.
    pub fn prometheus(&self) -> Result<Content> {
        Ok(Content::of_scrape(&Scrape::parse(&http::get(self.prometheus.address(), "/metrics")?)?))
    }

    /// Names of all spans that its file exporter has written.
    pub fn spans(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(self.folder.path().join("traces.jsonl")).context("no traces")?;
        content::span_names(&text)
    }
}
