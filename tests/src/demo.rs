//! The demo: a cluster, the proxy before it, a collector, clients with habits, and what the proxy makes of them; beside
//! them the probe, where it may, and what it makes of the host.
//!
//! Nothing in it is staged: the figures come from the real proxy program, and at the end they are held against what
//! the clients counted themselves.

mod backend;
mod check;
mod clients;
mod host;
pub mod relay;
mod signal;
mod table;
mod view;

use std::{
    fmt,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

pub use backend::Kafka;

use crate::{
    http,
    prometheus::Scrape,
    proxy::{self, Proxy, ProxySpec},
    receiver::Receiver,
};
use backend::Backend;
use check::Line;
use clients::Fleet;
use host::Host;
use signal::Interrupt;
use view::View;

/// How to run the demo.
#[derive(Debug, Clone)]
pub struct Options {
    /// What stands behind the proxy.
    pub kafka: Kafka,
    /// When to end; without it the demo runs until interrupted.
    pub duration: Option<Duration>,
    /// Print the final state as JSON, and nothing else, to standard output.
    pub json: bool,
    /// Export to this collector instead of the built-in receiver.
    pub otlp_endpoint: Option<String>,
    /// This program, which is also the embedded cluster's.
    pub program: PathBuf,
}

/// How it ended, if not by an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Its time was over.
    InTime,
    /// By a signal.
    Interrupted,
}

/// How long the first record of each client may take.
const START_LIMIT: Duration = Duration::from_secs(120);

/// How long the two counts may stand still, once the clients rest, without being equal.
const SETTLE_LIMIT: Duration = Duration::from_secs(15);

/// A slow consumer may have hours of records before it: then it is compared while it still reads.
const COMPARE_LIMIT: Duration = Duration::from_secs(60);

/// Clients tell their counts every half second and the proxy's are at most a second old: longer than that.
const AT_REST: Duration = Duration::from_millis(1500);

/// Runs the demo.
pub fn run(options: &Options) -> Result<Ended> {
    let interrupt = Interrupt::listen()?;
    // A signal from the terminal reaches the children too: their end is then no news.
    let came = |failed: bool| interrupt.came(Duration::from_millis(if failed { 500 } else { 0 }));
    let mut stage = match Stage::build(options) {
        Ok(stage) => stage,
        Err(_) if came(true) => return Ok(Ended::Interrupted),
        Err(error) => return Err(error),
    };
    let watched = stage.watch(options, &interrupt);
    let interrupted = came(watched.is_err());
    let ended = if interrupted {
        stage.abandon(options)?;
        Ended::Interrupted
    } else {
        watched?;
        stage.finish(options)?;
        Ended::InTime
    };
    Ok(ended)
}

/// Everything that runs. Whatever happens, its processes end with it.
#[derive(Debug)]
struct Stage {
    host: Host,
    fleet: Fleet,
    proxy: Proxy,
    receiver: Option<Receiver>,
    backend: Backend,
    view: View,
}

impl Stage {
    fn build(options: &Options) -> Result<Self> {
        let view = View::new(options.json);
        let backend = view.step(&options.kafka.to_string(), || Backend::start(&options.kafka, &options.program))?;
        view.say(&format!("behind the proxy: {}", backend.describe()));
        let receiver = match options.otlp_endpoint {
            Some(_) => None,
            None => Some(Receiver::start()?),
        };
        let endpoint = match (&options.otlp_endpoint, &receiver) {
            (Some(endpoint), _) => endpoint.clone(),
            (None, receiver) => receiver.as_ref().map(Receiver::grpc_endpoint).unwrap_or_default(),
        };
        let spec = ProxySpec::new(backend.routes().iter().copied()).flags([
            "--otlp-endpoint",
            &endpoint,
            "--export-interval",
            "1s",
            "--trace-sample-ratio",
            "0.1",
        ]);
        let proxy = view.step("proxy", || Proxy::start(&spec))?;
        let host = Host::watch(&view, &options.program);
        let fleet = view.step("clients", || Fleet::start(&backend.bootstrap(), backend.prefix()))?;
        Ok(Self { host, fleet, proxy, receiver, backend, view })
    }

    /// Shows what happens until the time is over or a signal comes. An error when something ended by itself.
    fn watch(&mut self, options: &Options, interrupt: &Interrupt) -> Result<()> {
        let started = Instant::now();
        // The time counts from when every client has done something: a cold cluster takes its time.
        let mut at_work = None;
        let over = |since: Option<Instant>| {
            since.is_some_and(|since| options.duration.is_some_and(|limit| since.elapsed() >= limit))
        };
        let mut shown = started;
        while !over(at_work) && !interrupt.came(Duration::from_millis(100)) {
            self.backend.must_run()?;
            self.proxy.process().must_run()?;
            self.host.must_run()?;
            self.fleet.must_run()?;
            if at_work.is_none() {
                let idle: Vec<_> = self.fleet.records().into_iter().filter(|(_, records)| *records == 0).collect();
                match idle.first() {
                    None => at_work = Some(Instant::now()),
                    Some((client, _)) if started.elapsed() >= START_LIMIT => {
                        bail!("{client} gets nothing done: {}", self.fleet.troubles().join("; "));
                    }
                    Some(_) => {}
                }
            }
            if shown.elapsed() >= self.view.interval() {
                shown = Instant::now();
                let clients = self.proxy.clients()?;
                let received = Received::read(self.receiver.as_ref(), &self.proxy.metrics()?);
                self.host.look()?;
                self.view.show(started.elapsed(), &clients, &self.host, received, &self.hints());
            }
        }
        Ok(())
    }

    /// The regular end: the last picture, then both counts, then what the collector has after the proxy's last export.
    fn finish(mut self, options: &Options) -> Result<()> {
        let rows = self.rows()?;
        let clients = self.proxy.clients()?;
        self.host.look_back()?;
        self.view.close();
        let lines = self.settle()?;
        let notes = [self.fleet.troubles(), self.backend.notes()].concat();
        let last = self.proxy.metrics()?;
        let hints = self.hints();
        let Self { host, fleet, mut proxy, receiver, backend, view } = self;
        let (seen, shown) = (host.json()?, view.host(&host));
        view.step("shutting down", || {
            host.leave()?;
            fleet.end()?;
            proxy.terminate()?;
            proxy.wait(Duration::from_secs(35)).context("the proxy does not end")?;
            backend.leave()
        })?;
        let received = Received::read(receiver.as_ref(), &last);
        let failures = last.count("kafkascope_self_export_failures_total", &[]);
        if failures > 0 {
            view.say(&format!("note: {failures} exports failed"));
        }
        if options.json {
            let collector = json!({ "metric_points": received.points, "spans": received.spans });
            view.json(&json!({ "clients": rows, "host": seen, "collector": collector, "check": lines }))?;
        } else {
            view.end(&clients, &shown, receiver.as_ref(), received, &lines, &hints)?;
        }
        for note in notes {
            view.say(&format!("note: {note}"));
        }
        if let Some(line) = lines.iter().find(|line| line.bypasses()) {
            let Line { client_id, said, seen } = line;
            view.say(&format!(
                "NOT ALL TRAFFIC PASSED THROUGH THE PROXY: {client_id} counts {said} records, the proxy saw {seen}"
            ));
        }
        Ok(())
    }

    /// The end by a signal: quick, because somebody waits.
    fn abandon(self, options: &Options) -> Result<()> {
        let Self { host, fleet, proxy, receiver: _, backend, view } = self;
        view.close();
        view.say("stopped");
        if matches!(options.kafka, Kafka::Own(_)) {
            fleet.end()?;
        }
        drop((host, proxy));
        backend.leave()
    }

    /// Lets the clients rest and compares until both counts are equal, or do not become so in time.
    fn settle(&self) -> Result<Vec<Line>> {
        self.view.step("comparing with the clients' own counts", || {
            self.fleet.rest();
            let started = Instant::now();
            let (mut moved, mut before) = (started, Vec::new());
            loop {
                let said = self.fleet.records();
                let lines = check::compare(&said, &self.proxy.metrics()?);
                if lines != before {
                    moved = Instant::now();
                }
                // Equal while both still move may be chance.
                let limit = if lines.iter().all(Line::agrees) { AT_REST } else { SETTLE_LIMIT };
                if moved.elapsed() >= limit || started.elapsed() >= COMPARE_LIMIT {
                    return Ok(lines);
                }
                before = lines;
                std::thread::sleep(Duration::from_millis(250));
            }
        })
    }

    /// The rows of `/api/clients` as they are, for machines.
    fn rows(&self) -> Result<Value> {
        let body = http::get(self.proxy.admin(), "/api/clients")?;
        let mut answer: Value = serde_json::from_str(&body).context("/api/clients is not JSON")?;
        Ok(match answer.get_mut("clients") {
            Some(clients) => clients.take(),
            None => answer,
        })
    }

    fn hints(&self) -> Vec<String> {
        let admin = self.proxy.admin();
        let front = self.backend.routes().first().map(|(front, _)| front.to_string()).unwrap_or_default();
        let program =
            proxy::program().map_or_else(|_| "kafkascope-proxy".to_owned(), |path| path.display().to_string());
        let hints = [
            format!("{program} top --admin {admin}"),
            format!("curl http://{admin}/metrics"),
            format!("curl http://{admin}/api/clients"),
            format!("kcat -b {front} -L -X client.id=me      (any Kafka client will do: it appears in the table)"),
        ];
        hints.into_iter().chain(self.host.hint()).collect()
    }
}

/// What a collector has received.
#[derive(Debug, Clone, Copy)]
struct Received {
    /// Unknown when the collector is not ours.
    points: Option<u64>,
    spans: u64,
}

impl Received {
    /// By our own receiver, or else by what the proxy says.
    fn read(receiver: Option<&Receiver>, last: &Scrape) -> Self {
        match receiver {
            Some(receiver) => Self { points: Some(receiver.metric_points()), spans: receiver.span_count() },
            None => {
                let sampled = last.count("kafkascope_self_spans_sampled_total", &[]);
                let dropped = last.count("kafkascope_self_spans_dropped_total", &[]);
                Self { points: None, spans: sampled.saturating_sub(dropped) }
            }
        }
    }
}

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(points) = self.points {
            write!(f, "{points} metric points, ")?;
        }
        write!(f, "{} spans", self.spans)
    }
}
