//! Observations to series to OTLP and Prometheus.
//!
//! ```text
//! Observation --Recorder--> Shard (a worker's) --Delta--> Registry (the process's) --Snapshot--> otlp, prometheus, clients
//! ```
//!
//! A [`Recorder`] turns what the decoder sees on one connection into additions to plain integers of its worker's
//! [`Shard`]. What changed is handed over as a [`Delta`] to the [`Registry`], which keeps the totals. The [`Dictionary`]
//! makes sure that equal names are one thing in all of them, and that there are not too many. All metrics stand in one
//! [table](metric::TABLE).
//!
//! Nothing here knows of sockets, and nothing that records can wait or fail.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod attribute;
mod cap;
pub mod clients;
mod community_id;
mod compression;
mod dictionary;
mod exemplar;
mod health;
pub mod histogram;
mod inventory;
pub mod knowledge;
mod labels;
mod learned;
pub mod metric;
pub mod otlp;
pub mod prometheus;
mod rates;
mod readings;
mod recorder;
mod registry;
mod resource;
mod series;
mod settings;
mod shard;
mod snapshot;
mod span;
mod standing;
mod topic;
pub mod topics;

pub use attribute::{Attribute, Scalar, Value as AttributeValue};
pub use cap::{Cap, Dimension, InvalidCap};
pub use community_id::community_id;
pub use compression::Measurer;
pub use dictionary::{Broker, Client, Dictionary, Topic};
pub use exemplar::Exemplar;
pub use health::coverage::Route;
pub use learned::Learned;
pub use readings::Readings;
pub use recorder::{CloseReason, ConnectionInfo, Recorder, RecorderSink, Side, TcpFigures, TcpRecorder};
pub use registry::{RefusalReason, Registry, Signal};
pub use resource::{InvalidResource, Resource};
pub use series::Series;
pub use settings::{Caps, ClientKey, Expiry, InvalidExpiry, InvalidRatio, SampleRatio, Settings, TraceParent};
pub use shard::{Delta, Draining, Shard};
pub use snapshot::{Gone, Point, Snapshot, Value};
pub use span::{Event, Legs, Span};
