//! How a payload gets to a collector: gRPC or HTTP, plain or TLS, within a time limit.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tonic::codec::CompressionEncoding;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::settings::{Compression, Destination, Protocol};

/// Why a payload was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// A file with a certificate or key cannot be used.
    #[error("{path}: {problem}")]
    File {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The endpoint cannot be used.
    #[error("{url}: {problem}")]
    Endpoint {
        /// Which one.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// No answer within the time limit.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The collector could not be reached, or cannot take it now.
    #[error("{0}")]
    Away(String),
    /// The collector refuses it, and would again.
    #[error("refused: {0}")]
    Refused(String),
}

/// What a collector said to a payload that it took.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Accepted {
    /// Points or spans that it left out.
    pub(super) rejected: u64,
    /// Why.
    pub(super) message: String,
}

/// A payload.
#[derive(Debug, Clone)]
pub(super) enum Payload {
    Metrics(ExportMetricsServiceRequest),
    Traces(ExportTraceServiceRequest),
}

/// The way to one destination.
#[derive(Debug)]
pub(super) struct Transport {
    destination: Destination,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// The channel is made when there is a runtime.
    Grpc {
        endpoint: Box<Endpoint>,
        channel: Option<Channel>,
        metadata: MetadataMap,
    },
    Http(reqwest::Client),
}

impl Transport {
    pub(super) fn new(destination: Destination) -> Result<Self, TransportError> {
        let way = match destination.protocol {
            Protocol::Grpc => {
                let invalid = |problem: String| TransportError::Endpoint { url: destination.url.clone(), problem };
                let mut endpoint =
                    Endpoint::from_shared(destination.url.clone()).map_err(|error| invalid(chain(&error)))?;
                endpoint = endpoint
                    .connect_timeout(destination.timeout)
                    .user_agent(AGENT)
                    .map_err(|error| invalid(chain(&error)))?;
                if destination.url.starts_with("https:") {
                    endpoint = endpoint.tls_config(grpc_tls(&destination)?).map_err(|error| invalid(chain(&error)))?;
                }
                Way::Grpc { endpoint: Box::new(endpoint), channel: None, metadata: metadata(&destination) }
            }
            Protocol::HttpProtobuf => Way::Http(http_client(&destination)?),
        };
        Ok(Self { destination, way })
    }

    pub(super) fn url(&self) -> &str {
        &self.destination.url
    }

    /// Sends `payload`, and waits for the answer at most as long as the destination's time limit and `limit` allow.
    pub(super) async fn send(&mut self, payload: Payload, limit: Duration) -> Result<Accepted, TransportError> {
        let limit = limit.min(self.destination.timeout);
        let sent = async {
            match &mut self.way {
                Way::Grpc { endpoint, channel, metadata } => {
                    let channel = channel.get_or_insert_with(|| endpoint.connect_lazy()).clone();
                    grpc(channel, self.destination.compression, metadata.clone(), payload).await
                }
                Way::Http(client) => http(client, &self.destination, payload).await,
            }
        };
        tokio::time::timeout(limit, sent).await.unwrap_or(Err(TransportError::TimedOut(limit)))
    }
}

const AGENT: &str = concat!("kafkascope/", env!("CARGO_PKG_VERSION"));

/// An error with its causes: the outermost of tonic and hyper says only `transport error`.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn metadata(destination: &Destination) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    for (name, value) in &destination.headers {
        // Names and values were checked with the settings; `-bin` keys are no headers that one can write down.
        if let (Ok(name), Ok(value)) = (name.parse::<AsciiMetadataKey>(), value.parse::<AsciiMetadataValue>()) {
            metadata.append(name, value);
        }
    }
    metadata
}

async fn grpc(
    channel: Channel,
    compression: Compression,
    metadata: MetadataMap,
    payload: Payload,
) -> Result<Accepted, TransportError> {
    let encoding = match compression {
        Compression::None => None,
        Compression::Gzip => Some(CompressionEncoding::Gzip),
        Compression::Zstd => Some(CompressionEncoding::Zstd),
    };
    let answer = match payload {
        Payload::Metrics(request) => {
            let client = MetricsServiceClient::new(channel);
            let mut client = encoding.into_iter().fold(client, MetricsServiceClient::send_compressed);
            let request = tonic::Request::from_parts(metadata, tonic::Extensions::default(), request);
            client.export(request).await.map(|answer| metrics_accepted(answer.into_inner()))
        }
        Payload::Traces(request) => {
            let client = TraceServiceClient::new(channel);
            let mut client = encoding.into_iter().fold(client, TraceServiceClient::send_compressed);
            let request = tonic::Request::from_parts(metadata, tonic::Extensions::default(), request);
            client.export(request).await.map(|answer| traces_accepted(answer.into_inner()))
        }
    };
    answer.map_err(|status| {
        let problem = match status.message() {
            "" => format!("{:?}", status.code()),
            message => format!("{:?}: {message}", status.code()),
        };
        // The list of the OTLP specification; Unknown is what a broken connection gives.
        match status.code() {
            tonic::Code::Cancelled
            | tonic::Code::DeadlineExceeded
            | tonic::Code::Aborted
            | tonic::Code::OutOfRange
            | tonic::Code::Unavailable
            | tonic::Code::DataLoss
            | tonic::Code::ResourceExhausted
            | tonic::Code::Unknown => TransportError::Away(problem),
            _ => TransportError::Refused(problem),
        }
    })
}

fn metrics_accepted(answer: ExportMetricsServiceResponse) -> Accepted {
    let partial = answer.partial_success.unwrap_or_default();
    Accepted { rejected: partial.rejected_data_points.try_into().unwrap_or(0), message: partial.error_message }
}

fn traces_accepted(answer: ExportTraceServiceResponse) -> Accepted {
    let partial = answer.partial_success.unwrap_or_default();
    Accepted { rejected: partial.rejected_spans.try_into().unwrap_or(0), message: partial.error_message }
}

async fn http(
    client: &reqwest::Client,
    destination: &Destination,
    payload: Payload,
) -> Result<Accepted, TransportError> {
    let (body, is_metrics) = match payload {
        Payload::Metrics(request) => (request.encode_to_vec(), true),
        Payload::Traces(request) => (request.encode_to_vec(), false),
    };
    let away = |problem: String| TransportError::Away(problem);
    let mut request = client.post(&destination.url).header("content-type", "application/x-protobuf");
    for (name, value) in &destination.headers {
        request = request.header(name, value);
    }
    let body = match destination.compression {
        Compression::None => body,
        Compression::Gzip => {
            request = request.header("content-encoding", "gzip");
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&body).and_then(|()| encoder.finish()).map_err(|error| away(error.to_string()))?
        }
        Compression::Zstd => {
            request = request.header("content-encoding", "zstd");
            zstd::bulk::compress(&body, 1).map_err(|error| away(error.to_string()))?
        }
    };
    let response = request.body(body).send().await.map_err(|error| away(chain(&error.without_url())))?;
    let status = response.status();
    if !status.is_success() {
        let problem = format!("HTTP status {status}");
        // The list of the OTLP specification.
        return Err(match status.as_u16() {
            429 | 502 | 503 | 504 => TransportError::Away(problem),
            _ => TransportError::Refused(problem),
        });
    }
    // Whoever answers 2xx has taken it, whatever else it says.
    let Ok(body) = response.bytes().await else { return Ok(Accepted::default()) };
    Ok(if is_metrics {
        ExportMetricsServiceResponse::decode(body).map(metrics_accepted).unwrap_or_default()
    } else {
        ExportTraceServiceResponse::decode(body).map(traces_accepted).unwrap_or_default()
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TransportError> {
    std::fs::read(path).map_err(|error| TransportError::File { path: path.to_owned(), problem: error.to_string() })
}

fn grpc_tls(destination: &Destination) -> Result<ClientTlsConfig, TransportError> {
    let mut tls = ClientTlsConfig::new();
    tls = match &destination.certificate {
        Some(path) => tls.ca_certificate(Certificate::from_pem(read(path)?)),
        None => tls.with_native_roots(),
    };
    if let (Some(certificate), Some(key)) = (&destination.client_certificate, &destination.client_key) {
        tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    Ok(tls)
}

fn http_client(destination: &Destination) -> Result<reqwest::Client, TransportError> {
    let mut builder = reqwest::Client::builder()
        .user_agent(AGENT)
        .connect_timeout(destination.timeout)
        .timeout(destination.timeout)
        // A payload must not go to another host than the one that was named.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    if destination.url.starts_with("https:") {
        builder = builder.tls_backend_preconfigured(http_tls(destination)?);
    } else {
        builder = builder.tls_backend_preconfigured(no_tls(destination)?);
    }
    builder.build().map_err(|error| TransportError::Endpoint { url: destination.url.clone(), problem: chain(&error) })
}

fn tls_builder(
    destination: &Destination,
) -> Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>, TransportError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TransportError::Endpoint { url: destination.url.clone(), problem: error.to_string() })
}

/// The client wants a configuration even for plain HTTP; this one trusts nobody.
fn no_tls(destination: &Destination) -> Result<rustls::ClientConfig, TransportError> {
    Ok(tls_builder(destination)?.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

fn http_tls(destination: &Destination) -> Result<rustls::ClientConfig, TransportError> {
    let mut roots = rustls::RootCertStore::empty();
    match &destination.certificate {
        Some(path) => {
            for certificate in certificates(path)? {
                let problem =
                    |error: rustls::Error| TransportError::File { path: path.clone(), problem: error.to_string() };
                roots.add(certificate).map_err(problem)?;
            }
        }
        None => {
            // What the system holds beside usable certificates is no reason to stop.
            let (_added, _ignored) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let builder = tls_builder(destination)?.with_root_certificates(roots);
    match (&destination.client_certificate, &destination.client_key) {
        (Some(certificate), Some(path)) => {
            let problem = |problem: String| TransportError::File { path: path.clone(), problem };
            let key = PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| problem(error.to_string()))?;
            builder.with_client_auth_cert(certificates(certificate)?, key).map_err(|error| problem(error.to_string()))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let problem = |problem: String| TransportError::File { path: path.to_owned(), problem };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let certificates = certificates.map_err(|error| problem(error.to_string()))?;
    if certificates.is_empty() { Err(problem("holds no certificate".to_owned())) } else { Ok(certificates) }
}
