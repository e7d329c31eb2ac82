//! Export over HTTP to a collector that takes, refuses, is away, or never answers.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod scene;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kafkascope_protocol::{Acks, ApiKey, ErrorCode, Outcome, Timestamp};
use kafkascope_telemetry::metric::Metric;
use kafkascope_telemetry::otlp::{Exporter, Overrides, Protocol, Report, Settings as ExportSettings, Source};
use kafkascope_telemetry::{SampleRatio, Settings};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use prost::Message;
use scene::{Scene, produce};

/// What the collector does with a request.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Takes = 200,
    Refuses = 400,
    IsAway = 503,
    NeverAnswers = 0,
}

#[derive(Default)]
struct Seen {
    /// Last totals of `kafkascope.requests`, summed over its series.
    requests: i64,
    spans: Vec<String>,
    gzip: bool,
    headers: String,
}

struct Collector {
    address: String,
    mood: Arc<AtomicUsize>,
    seen: Arc<Mutex<Seen>>,
    posts: Arc<AtomicUsize>,
}

impl Collector {
    fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (mood, seen, posts) =
            (Arc::new(AtomicUsize::new(mood as usize)), Arc::<Mutex<Seen>>::default(), Arc::<AtomicUsize>::default());
        let shared = (mood.clone(), seen.clone(), posts.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mood, seen, posts) = shared.clone();
                std::thread::spawn(move || serve(stream.unwrap(), &mood, &seen, &posts));
            }
        });
        Self { address, mood, seen, posts }
    }

    fn becomes(&self, mood: Mood) {
        self.mood.store(mood as usize, Ordering::SeqCst);
    }

    fn settings(&self, variables: &'static [(&'static str, &'static str)]) -> ExportSettings {
        let overrides = Overrides {
            endpoint: Some(self.address.clone()),
            protocol: Some(Protocol::HttpProtobuf),
            interval: Some(Duration::from_millis(100)),
        };
        let variable =
            |key: &str| variables.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned());
        ExportSettings::new(&overrides, variable).unwrap().unwrap()
    }
}

fn serve(stream: TcpStream, mood: &AtomicUsize, seen: &Mutex<Seen>, posts: &AtomicUsize) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut line) = (String::new(), String::new());
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            head.push_str(&line.to_ascii_lowercase());
        }
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().trim().parse().unwrap();
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        posts.fetch_add(1, Ordering::SeqCst);
        let status = mood.load(Ordering::SeqCst);
        if status == Mood::NeverAnswers as usize {
            continue;
        }
        if status == 200 {
            note(&mut seen.lock().unwrap(), &head, &body);
        }
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn note(seen: &mut Seen, head: &str, body: &[u8]) {
    let mut plain = body.to_vec();
    if head.contains("content-encoding: gzip") {
        seen.gzip = true;
        plain.clear();
        flate2::read::GzDecoder::new(body).read_to_end(&mut plain).unwrap();
    }
    seen.headers = head.to_owned();
    if head.starts_with("post /v1/traces") {
        let request = ExportTraceServiceRequest::decode(plain.as_slice()).unwrap();
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        seen.spans.extend(scopes.flat_map(|scope| scope.spans).map(|span| span.name));
        return;
    }
    let request = ExportMetricsServiceRequest::decode(plain.as_slice()).unwrap();
    let scopes = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
    for metric in scopes.flat_map(|scope| scope.metrics).filter(|metric| metric.name == "kafkascope.requests") {
        let Some(metric::Data::Sum(sum)) = metric.data else { panic!("not a sum") };
        let totals = sum.data_points.iter().map(|point| match point.value {
            Some(number_data_point::Value::AsInt(total)) => total,
            _ => 0,
        });
        seen.requests = totals.sum();
    }
}

/// The scene as a source: its shard is drained by every collection.
#[derive(Clone)]
struct Stage(Arc<Mutex<Scene>>);

impl Source for Stage {
    async fn collect(&self) -> Timestamp {
        let scene = &mut *self.0.lock().unwrap();
        scene.collect();
        scene.now
    }
}

impl Stage {
    fn new() -> Self {
        let spans = Some(SampleRatio::new(1.0).unwrap());
        Self(Arc::new(Mutex::new(Scene::new(Settings { spans, ..Settings::default() }))))
    }

    /// `count` Metadata requests, and one Produce request which becomes a span.
    fn act(&self, count: usize) {
        let scene = &mut *self.0.lock().unwrap();
        let mut connection = scene.connect("c1");
        for _ in 0..count {
            connection.exchange(scene, ApiKey(3), 12);
        }
        let seq = connection.begin_produce(scene, &produce(Acks::All));
        connection.result(scene, seq, "t", 0, ErrorCode::NONE);
        connection.answer(scene, seq, Outcome::Answered, ErrorCode::NONE);
    }

    fn counted(&self, metric: Metric, labels: &[(&str, &str)]) -> i64 {
        scene::sum(&self.0.lock().unwrap().collect(), metric, labels)
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs an exporter while `body` goes on, then shuts it down within `limit`.
async fn exporting(stage: &Stage, settings: ExportSettings, limit: Duration, body: impl AsyncFnOnce()) -> Report {
    let registry = stage.0.lock().unwrap().registry.clone();
    let exporter = Exporter::new(settings, registry).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(exporter.run(stage.clone(), async { stopped.await.unwrap() }));
    body().await;
    stop.send(limit).unwrap();
    task.await.unwrap()
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn totals_and_spans_arrive_and_the_last_ones_with_the_flush() {
    let (stage, collector) = (Stage::new(), Collector::start(Mood::Takes));
    let variables = &[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"), ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret")];
    let report = exporting(&stage, collector.settings(variables), LONG, async || {
        stage.act(3);
        until("the first totals", || collector.seen.lock().unwrap().requests == 4).await;
        stage.act(5);
    })
    .await;
    assert!(report.is_complete());
    let seen = collector.seen.lock().unwrap();
    assert_eq!(seen.requests, 10);
    assert_eq!(seen.spans, ["send t", "send t"]);
    assert!(seen.gzip && seen.headers.contains("x-key: secret"), "{}", seen.headers);
}

#[tokio::test]
async fn totals_and_spans_survive_a_collector_that_is_away() {
    let (stage, collector) = (Stage::new(), Collector::start(Mood::IsAway));
    let report = exporting(&stage, collector.settings(&[]), LONG, async || {
        stage.act(3);
        until("failures of both signals", || {
            let failed = |signal| stage.counted(Metric::SelfExportFailures, &[("signal", signal)]) > 0;
            failed("metrics") && failed("traces")
        })
        .await;
        collector.becomes(Mood::Takes);
        until("the totals", || collector.seen.lock().unwrap().requests == 4).await;
        until("the span", || collector.seen.lock().unwrap().spans.len() == 1).await;
    })
    .await;
    assert!(report.is_complete());
    assert_eq!(stage.counted(Metric::SelfSpansDropped, &[]), 0);
}

#[tokio::test]
async fn spans_that_are_refused_are_dropped_and_counted() {
    let (stage, collector) = (Stage::new(), Collector::start(Mood::Refuses));
    exporting(&stage, collector.settings(&[]), LONG, async || {
        stage.act(1);
        until("the drop", || stage.counted(Metric::SelfSpansDropped, &[("reason", "export_failed")]) == 1).await;
    })
    .await;
}

#[tokio::test]
async fn a_collector_that_never_answers_cannot_delay_shutdown() {
    let (stage, collector) = (Stage::new(), Collector::start(Mood::NeverAnswers));
    stage.act(1);
    let mut stopped = None;
    let report = exporting(&stage, collector.settings(&[]), Duration::from_millis(300), async || {
        until("both signals are stuck", || collector.posts.load(Ordering::SeqCst) >= 2).await;
        stopped = Some(Instant::now());
    })
    .await;
    let took = stopped.unwrap().elapsed();
    // The time limit of a request is 10 s.
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(report.points > 0, "{report:?}");
    assert_eq!(report.spans, 1);
}
