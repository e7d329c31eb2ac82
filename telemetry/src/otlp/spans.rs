//! Spans as OTLP.

use std::hash::{BuildHasher, RandomState};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::span::{Link as ProtoLink, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as ProtoSpan, SpanFlags, Status};

use super::{integer, resource, scalar, scope, text};
use crate::attribute::Attribute;
use crate::community_id::community_id;
use crate::labels;
use crate::resource::Resource;
use crate::span::contexts::{Context, Link};
use crate::span::{Batch, Event, ExchangeSpan, Span, ids};

/// A request with all of `spans`.
pub fn request(spans: &[Span], who: &Resource) -> ExportTraceServiceRequest {
    let spans = spans.iter().map(encoded).collect();
    let scope_spans = ScopeSpans { scope: Some(scope()), spans, ..Default::default() };
    let resource_spans =
        ResourceSpans { resource: Some(resource(who)), scope_spans: vec![scope_spans], ..Default::default() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

fn encoded(span: &Span) -> ProtoSpan {
    match span {
        Span::Exchange(span) => exchange(span),
        Span::Event(event) => self::event(event),
    }
}

/// Of kind INTERNAL: nobody asked for it.
fn event(event: &Event) -> ProtoSpan {
    // The standard library's only source of randomness: its keys are new for each state.
    let (trace, id) = ids(|| RandomState::new().hash_one(0));
    let attributes = event.attributes.iter().map(|(key, value)| scalar(key.name(), value.scalar()));
    ProtoSpan {
        trace_id: trace.to_vec(),
        span_id: id.to_vec(),
        name: event.name.clone(),
        kind: SpanKind::Internal as i32,
        start_time_unix_nano: event.start.0,
        end_time_unix_nano: event.end.0,
        attributes: attributes.chain([text("kafkascope.vantage", "host")]).collect(),
        ..Default::default()
    }
}

/// The flag of a sampled context.
const SAMPLED: u32 = 1;

/// It is known whether a context came from elsewhere, and it did.
const REMOTE: u32 = SpanFlags::ContextHasIsRemoteMask as u32 | SpanFlags::ContextIsRemoteMask as u32;

/// To what produced a record.
fn link(link: &Link) -> ProtoLink {
    let Context { trace, span, flags } = link.context;
    let mut attributes = vec![text("messaging.destination.partition.id", &link.partition.to_string())];
    attributes.extend(link.offset.map(|offset| integer("messaging.kafka.offset", offset)));
    ProtoLink {
        trace_id: trace.to_vec(),
        span_id: span.to_vec(),
        flags: u32::from(flags) | REMOTE,
        attributes,
        ..Default::default()
    }
}

/// Always of kind CLIENT: the spans of the client itself, if it makes any, are those of producer and consumer.
fn exchange(span: &ExchangeSpan) -> ProtoSpan {
    let topic = span.topic.label_now();
    let mut attributes = vec![
        text("messaging.system", "kafka"),
        text("messaging.operation.name", span.operation.name()),
        text("messaging.operation.type", span.operation.kind()),
        text(Attribute::Topic.name(), &topic),
        text(Attribute::ServerAddress.name(), span.broker.address()),
        integer(Attribute::ServerPort.name(), span.broker.port().into()),
        text(Attribute::Api.name(), span.operation.api()),
        integer(Attribute::ApiVersion.name(), span.version.0.into()),
        text("kafkascope.vantage", "proxy"),
    ];
    if let Some(Batch { messages, bytes }) = span.batch {
        attributes.push(integer("messaging.batch.message_count", i64::try_from(messages).unwrap_or(i64::MAX)));
        attributes.push(integer("messaging.message.body.size", i64::try_from(bytes).unwrap_or(i64::MAX)));
    }
    if let Some(group) = &span.group {
        attributes.push(text("messaging.consumer.group.name", group));
    }
    if let Some(client) = &span.client {
        attributes.push(text(Attribute::ClientId.name(), client.id()));
        if !client.address().is_empty() {
            attributes.push(text(Attribute::PeerAddress.name(), client.address()));
        }
        if let Some(principal) = client.principal() {
            attributes.push(text(Attribute::UserName.name(), principal));
        }
        if let Some(software) = client.software() {
            attributes.push(text(Attribute::ClientSoftware.name(), &software));
        }
    }
    if let Some(legs) = &span.legs {
        let [client, _] = legs.client;
        attributes.push(integer(Attribute::PeerPort.name(), client.port().into()));
        for (leg, [one, other]) in [("client", legs.client), ("broker", legs.broker)] {
            attributes.push(text(&format!("kafkascope.{leg}.community_id"), &community_id(one, other)));
        }
    }
    if let Some(id) = span.broker.known_id() {
        attributes.push(integer(Attribute::BrokerId.name(), id.into()));
    }
    if let Some(cluster) = span.broker.known_cluster() {
        attributes.push(text(Attribute::Cluster.name(), cluster));
    }
    if let Some(partition) = span.partition {
        attributes.push(text("messaging.destination.partition.id", &partition.to_string()));
    }
    if let Some(acks) = span.acks {
        attributes.push(text(Attribute::Acks.name(), labels::acks(acks)));
    }
    let status = (!span.error.is_none()).then(|| {
        let error = span.error.name().map_or_else(|| format!("unknown({})", span.error.0), str::to_owned);
        attributes.push(text(Attribute::Error.name(), &error));
        Status { message: error, code: StatusCode::Error as i32 }
    });
    ProtoSpan {
        trace_id: span.trace.to_vec(),
        span_id: span.id.to_vec(),
        name: format!("{} {topic}", span.operation.name()),
        kind: SpanKind::Client as i32,
        start_time_unix_nano: span.start.0,
        end_time_unix_nano: span.end.0,
        attributes,
        status,
        parent_span_id: span.parent.map(Into::into).unwrap_or_default(),
        flags: if span.parent.is_some() { SAMPLED | REMOTE } else { 0 },
        links: span.links.iter().map(link).collect(),
        dropped_links_count: u32::try_from(span.more_links).unwrap_or(u32::MAX),
        ..Default::default()
    }
}
