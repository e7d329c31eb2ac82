//! The two endpoints. Both listeners serve the same routes; they differ only for those who configure an exporter.

use std::{
    io::Read as _,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use opentelemetry_proto::tonic::collector::{
    metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
};
use prost::Message;
use tonic::codec::CompressionEncoding;

use super::store::Store;

/// An export of some 100,000 series is about 30 MB; the default of 4 MiB would refuse what a collector is told to take.
const MAX_MESSAGE: usize = 64 << 20;

/// The endpoints' thread; dropping it closes listeners and connections.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) grpc: SocketAddr,
    pub(super) http: SocketAddr,
    /// Waits for its threads when dropped: after that the ports are free and can be bound again.
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    pub(super) fn start(grpc: SocketAddr, http: SocketAddr, store: Arc<Mutex<Store>>) -> Result<Self> {
        let grpc = listen(grpc)?;
        let http = listen(http)?;
        let (grpc_addr, http_addr) = (grpc.local_addr()?, http.local_addr()?);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("otlp-receiver")
            .enable_all()
            .build()
            .context("cannot start the receiver's thread")?;
        let routes = routes(Ingest { store });
        for listener in [grpc, http] {
            let _context = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(listener)?;
            // axum's accept loop never returns; it ends with the runtime.
            runtime.spawn(axum::serve(listener, routes.clone()).into_future());
        }
        Ok(Self { grpc: grpc_addr, http: http_addr, _runtime: runtime })
    }
}

fn listen(addr: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(addr).with_context(|| format!("cannot listen on {addr}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn routes(ingest: Ingest) -> Router {
    let metrics = MetricsServiceServer::new(ingest.clone())
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(MAX_MESSAGE);
    let traces = TraceServiceServer::new(ingest.clone())
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(MAX_MESSAGE);
    Router::new()
        .route_service("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", metrics)
        .route_service("/opentelemetry.proto.collector.trace.v1.TraceService/Export", traces)
        .route("/v1/metrics", post(http_metrics))
        .route("/v1/traces", post(http_traces))
        .layer(DefaultBodyLimit::max(MAX_MESSAGE))
        .with_state(ingest)
}

/// Where decoded exports go.
#[derive(Debug, Clone)]
struct Ingest {
    store: Arc<Mutex<Store>>,
}

impl Ingest {
    fn metrics(&self, request: &ExportMetricsServiceRequest) {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).fold_metrics(&request.resource_metrics);
    }

    fn traces(&self, request: &ExportTraceServiceRequest) {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).fold_spans(&request.resource_spans);
    }
}

#[tonic::async_trait]
impl MetricsService for Ingest {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        self.metrics(request.get_ref());
        Ok(tonic::Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Ingest {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.traces(request.get_ref());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn http_metrics(State(ingest): State<Ingest>, headers: HeaderMap, body: Bytes) -> Response {
    http_export(&headers, &body, |request| ingest.metrics(request), &ExportMetricsServiceResponse::default())
}

async fn http_traces(State(ingest): State<Ingest>, headers: HeaderMap, body: Bytes) -> Response {
    http_export(&headers, &body, |request| ingest.traces(request), &ExportTraceServiceResponse::default())
}

fn http_export<Request: Message + Default>(
    headers: &HeaderMap,
    body: &[u8],
    ingest: impl FnOnce(&Request),
    answer: &impl Message,
) -> Response {
    match decode(headers, body) {
        Ok(request) => {
            ingest(&request);
            let protobuf = HeaderValue::from_static("application/x-protobuf");
            ([(header::CONTENT_TYPE, protobuf)], answer.encode_to_vec()).into_response()
        }
        Err((status, reason)) => (status, reason).into_response(),
    }
}

fn decode<Request: Message + Default>(headers: &HeaderMap, body: &[u8]) -> Result<Request, (StatusCode, String)> {
    let value = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if value(header::CONTENT_TYPE) != Some("application/x-protobuf") {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "only application/x-protobuf is read".into()));
    }
    let decoded = match value(header::CONTENT_ENCODING) {
        None | Some("identity") => Request::decode(body),
        Some("gzip") => {
            let mut plain = Vec::new();
            let read = flate2::read::GzDecoder::new(body).take(MAX_MESSAGE as u64).read_to_end(&mut plain);
            read.map_err(|error| (StatusCode::BAD_REQUEST, format!("not gzip: {error}")))?;
            Request::decode(plain.as_slice())
        }
        Some(other) => return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("encoding {other} is not read"))),
    };
    decoded.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}
