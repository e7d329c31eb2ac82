use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient},
        trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    },
    common::v1::{AnyValue, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, DataPointFlags, ExponentialHistogram, ExponentialHistogramDataPoint, Metric,
        NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, exponential_histogram_data_point::Buckets, metric::Data,
        number_data_point,
    },
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message;
use tonic::codec::CompressionEncoding;

use super::Receiver;

const REQUESTS: &str = "kafkascope.requests";

#[test]
fn sums_take_the_latest_value_of_each_series_and_absent_is_not_zero() {
    let receiver = Receiver::start().unwrap();
    let first = [point("Produce", 1, 3), point("Metadata", 1, 10)];
    let second = [point("Produce", 1, 5), point("Metadata", 1, 11)];
    send(&receiver, counter(&first)).unwrap();
    send(&receiver, counter(&second)).unwrap();
    assert_eq!(receiver.sum(REQUESTS, &[("kafka.api", "Produce")]), Some(5.0));
    assert_eq!(receiver.sum(REQUESTS, &[]), Some(16.0));
    assert_eq!(receiver.sum(REQUESTS, &[("kafka.api", "Fetch")]), None);
    assert_eq!(receiver.sum("kafkascope.responses", &[]), None);
    assert_eq!(receiver.metric_points(), 4);
    assert_eq!(receiver.violations(), Vec::<String>::new());
}

#[test]
fn a_new_start_time_adds_to_what_was_and_a_fall_without_one_is_a_violation() {
    let receiver = Receiver::start().unwrap();
    send(&receiver, counter(&[point("Produce", 1, 7)])).unwrap();
    send(&receiver, counter(&[NumberDataPoint { flags: 1, ..point("Produce", 1, 0) }])).unwrap();
    assert_eq!(DataPointFlags::NoRecordedValueMask as u32, 1);
    assert!(receiver.series(REQUESTS, &[])[0].ended);
    send(&receiver, counter(&[point("Produce", 2, 4)])).unwrap();
    assert_eq!(receiver.sum(REQUESTS, &[]), Some(11.0));
    assert_eq!(receiver.violations(), Vec::<String>::new());
    send(&receiver, counter(&[point("Produce", 2, 3)])).unwrap();
    assert_eq!(receiver.violations().len(), 1, "{:?}", receiver.violations());
}

#[test]
fn the_same_series_twice_in_one_export_is_a_violation() {
    let receiver = Receiver::start().unwrap();
    send(&receiver, counter(&[point("Produce", 1, 7), point("Produce", 1, 7)])).unwrap();
    assert_eq!(receiver.violations().len(), 1, "{:?}", receiver.violations());
}

#[test]
fn exponential_histograms_merge_and_give_quantiles() {
    let receiver = Receiver::start().unwrap();
    // Scale 0: bucket i holds (2^i, 2^(i+1)]. Three values of 3, one of 1000, one of 0.
    let of_3 = exponential("Produce", 1, [(1, 3)], 9.0);
    let mut of_1000 = exponential("Metadata", 0, [(9, 1)], 1000.0);
    of_1000.zero_count = 1;
    of_1000.count += 1;
    send(&receiver, histogram(vec![of_3, of_1000])).unwrap();
    let produce = receiver.histogram("d", &[("kafka.api", "Produce")]).unwrap();
    assert_eq!((produce.count, produce.sum, produce.mean()), (3, 9.0, 3.0));
    // Scale 1: the bucket of index 1 ends at 2^(2/2).
    assert_eq!(produce.quantile(0.5), Some(2.0));
    let all = receiver.histogram("d", &[]).unwrap();
    assert_eq!((all.count, all.sum), (5, 1009.0));
    assert_eq!((all.quantile(0.0), all.quantile(0.99)), (Some(0.0), Some(1024.0)));
    assert_eq!(receiver.violations(), Vec::<String>::new());
}

#[test]
fn http_takes_gzip_and_refuses_what_is_not_protobuf() {
    let receiver = Receiver::start().unwrap();
    let body = counter(&[point("Produce", 1, 3)]).encode_to_vec();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&body).unwrap();
    let gzip = gzip.finish().unwrap();
    let protobuf = "content-type: application/x-protobuf\r\n";
    assert_eq!(post(&receiver, "/v1/metrics", &format!("{protobuf}content-encoding: gzip\r\n"), &gzip), 200);
    assert_eq!(receiver.sum(REQUESTS, &[]), Some(3.0));
    assert_eq!(post(&receiver, "/v1/metrics", "content-type: application/json\r\n", b"{}"), 415);
    assert_eq!(post(&receiver, "/v1/metrics", protobuf, b"not protobuf"), 400);
}

#[test]
fn a_stopped_receiver_refuses_and_a_resumed_one_knows_what_it_knew() {
    let mut receiver = Receiver::start().unwrap();
    let endpoint = receiver.grpc_endpoint();
    send(&receiver, counter(&[point("Produce", 1, 3)])).unwrap();
    receiver.stop();
    assert!(send(&receiver, counter(&[point("Produce", 1, 4)])).is_err());
    receiver.resume().unwrap();
    assert_eq!(receiver.grpc_endpoint(), endpoint);
    assert_eq!(receiver.sum(REQUESTS, &[]), Some(3.0));
    send(&receiver, counter(&[point("Produce", 1, 5)])).unwrap();
    assert_eq!(receiver.sum(REQUESTS, &[]), Some(5.0));
}

#[test]
fn spans_arrive_with_their_times_and_attributes() {
    let receiver = Receiver::start().unwrap();
    let span = Span {
        name: "send orders".into(),
        start_time_unix_nano: 5,
        end_time_unix_nano: 9,
        attributes: vec![attribute("kafka.api", "Produce")],
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let request =
        ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] };
    block_on(async {
        let mut client = TraceServiceClient::connect(receiver.grpc_endpoint()).await.unwrap();
        client.export(request).await.unwrap();
    });
    let span = &receiver.wait_for(Duration::from_secs(5), |receiver| receiver.spans().pop()).unwrap();
    assert_eq!((span.name.as_str(), span.start_unix_nano, span.end_unix_nano), ("send orders", 5, 9));
    assert_eq!(span.attributes["kafka.api"], "Produce");
    assert_eq!(receiver.span_count(), 1);
}

fn send(receiver: &Receiver, request: ExportMetricsServiceRequest) -> anyhow::Result<()> {
    let endpoint = receiver.grpc_endpoint();
    block_on(async {
        let client = MetricsServiceClient::connect(endpoint).await?;
        client.send_compressed(CompressionEncoding::Gzip).export(request).await?;
        Ok(())
    })
}

/// Status of a POST to the HTTP endpoint.
fn post(receiver: &Receiver, path: &str, headers: &str, body: &[u8]) -> u16 {
    let endpoint = receiver.http_endpoint();
    let mut stream = TcpStream::connect(endpoint.trim_start_matches("http://")).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: receiver\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
    )
    .unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().parse().unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn counter(points: &[NumberDataPoint]) -> ExportMetricsServiceRequest {
    let sum = Sum {
        data_points: points.to_vec(),
        aggregation_temporality: AggregationTemporality::Cumulative as i32,
        is_monotonic: true,
    };
    export(Metric { name: REQUESTS.into(), data: Some(Data::Sum(sum)), ..Metric::default() })
}

fn histogram(data_points: Vec<ExponentialHistogramDataPoint>) -> ExportMetricsServiceRequest {
    let data = ExponentialHistogram { data_points, aggregation_temporality: AggregationTemporality::Cumulative as i32 };
    export(Metric { name: "d".into(), data: Some(Data::ExponentialHistogram(data)), ..Metric::default() })
}

fn export(metric: Metric) -> ExportMetricsServiceRequest {
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }
}

fn point(api: &str, start: u64, value: i64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: vec![attribute("kafka.api", api)],
        start_time_unix_nano: start,
        time_unix_nano: start + 10,
        value: Some(number_data_point::Value::AsInt(value)),
        ..NumberDataPoint::default()
    }
}

/// One bucket at `index` of the given scale.
fn exponential(api: &str, scale: i32, [(index, count)]: [(i32, u64); 1], sum: f64) -> ExponentialHistogramDataPoint {
    ExponentialHistogramDataPoint {
        attributes: vec![attribute("kafka.api", api)],
        start_time_unix_nano: 1,
        time_unix_nano: 2,
        count,
        sum: Some(sum),
        scale,
        positive: Some(Buckets { offset: index, bucket_counts: vec![count] }),
        ..ExponentialHistogramDataPoint::default()
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}
