//! The loads, and what has to be reached with them.

use crate::{
    frames::{self, Exchange},
    load::{Load, Pace},
    targets::Kind,
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// A load that is applied to every target.
#[derive(Debug, Clone)]
pub struct Case {
    /// As given to `--only`.
    pub name: &'static str,
    pub title: &'static str,
    pub work: Work,
}

#[derive(Debug, Clone)]
pub enum Work {
    /// Requests over connections that stay.
    Load(Load),
    /// Connections that are made, used once, and closed.
    Connections(Exchange),
    /// Resident memory with so many idle connections.
    Idle { exchange: Exchange, connections: usize },
    /// Peak of resident memory above that of the idle process. For the first part of the time the sink reads nothing.
    Peak(Load),
}

impl Work {
    pub fn exchange(&self) -> &Exchange {
        match self {
            Self::Load(load) | Self::Peak(load) => &load.exchange,
            Self::Connections(exchange) | Self::Idle { exchange, .. } => exchange,
        }
    }

    /// Measured in windows that alternate between the targets, not once on a fresh process.
    pub fn is_windowed(&self) -> bool {
        matches!(self, Self::Load(_) | Self::Connections(_))
    }
}

pub fn all() -> Vec<Case> {
    let case = |name, title, work| Case { name, title, work };
    let closed = |exchange, connections, in_flight| Load { exchange, connections, pace: Pace::Closed { in_flight } };
    let open = Load { exchange: frames::produce(200, 1), connections: 4, pace: Pace::Open { per_second: 500 } };
    vec![
        case("produce-1m", "Produce 1 MiB, one batch", Work::Load(closed(frames::produce(MIB, 1), 4, 1))),
        case(
            "produce-64x16k",
            "Produce 1 MiB, 64 batches of 16 KiB",
            Work::Load(closed(frames::produce(MIB, 64), 4, 1)),
        ),
        case("produce-64k", "Produce 64 KiB", Work::Load(closed(frames::produce(64 * KIB, 1), 4, 1))),
        case("produce-1k", "Produce 1 KiB, pipelined", Work::Load(closed(frames::produce(KIB, 1), 4, 8))),
        case("fetch-1m", "Fetch 1 MiB", Work::Load(closed(frames::fetch(MIB, 1), 4, 1))),
        case("open-loop", "Produce 200 bytes, open loop, 500/s", Work::Load(open)),
        case("connections", "Connections made and closed", Work::Connections(frames::api_versions())),
        case("idle", "5,000 idle connections", Work::Idle { exchange: frames::api_versions(), connections: 5000 }),
        case("peak-1m", "64 connections x 1 MiB", Work::Peak(closed(frames::produce(MIB, 1), 64, 1))),
        case("peak-8m", "64 connections x 8 MiB", Work::Peak(closed(frames::produce(8 * MIB, 1), 64, 1))),
    ]
}

/// What `--only` calls the counting of the decoder's instructions, which has no load.
pub const DECODER: &str = "decoder";
/// Most instructions for decoding and recording an exchange of one batch.
pub const EXCHANGE_INSTRUCTIONS: f64 = 1000.0;
/// Most instructions for each further batch.
pub const BATCH_INSTRUCTIONS: f64 = 250.0;
/// Most instructions for the first commit of a partition: consumers commit every five seconds, and few partitions are new.
pub const COMMIT_INSTRUCTIONS: f64 = 50_000.0;
/// Most bytes for a partition that a group commits: a hundred thousand of them in 150 MB.
pub const COMMIT_BYTES: f64 = 1500.0;

/// A figure that is compared.
#[derive(Debug, Clone, Copy)]
pub enum Figure {
    /// CPU seconds of the proxy per GB.
    CpuPerByte,
    /// CPU time of the proxy per request.
    CpuPerRequest,
    /// Requests per second.
    Rate,
    /// Latency at a quantile less that of the direct way.
    AddedLatency(f64),
    /// Bytes of memory.
    Memory,
}

/// kafkascope's figure against a bound.
#[derive(Debug)]
pub struct Goal {
    pub case: &'static str,
    pub figure: Figure,
    pub bound: Bound,
}

#[derive(Debug)]
pub enum Bound {
    /// At most so many times the other's figure.
    AtMost(f64, Kind),
    /// At least so many times the other's figure.
    AtLeast(f64, Kind),
    /// At most so much.
    Absolute(f64),
}

pub fn goals() -> Vec<Goal> {
    use Bound::{Absolute, AtLeast, AtMost};
    let goal = |case, figure, bound| Goal { case, figure, bound };
    vec![
        goal("produce-1m", Figure::CpuPerByte, AtMost(0.75, Kind::HaproxySplice)),
        goal("produce-1m", Figure::CpuPerByte, AtMost(0.5, Kind::Haproxy64k)),
        goal("fetch-1m", Figure::CpuPerByte, AtMost(0.75, Kind::HaproxySplice)),
        goal("fetch-1m", Figure::CpuPerByte, AtMost(0.5, Kind::Haproxy64k)),
        goal("produce-64x16k", Figure::CpuPerByte, AtMost(0.95, Kind::Haproxy64k)),
        goal("produce-64k", Figure::CpuPerByte, AtMost(0.95, Kind::Haproxy64k)),
        goal("produce-1k", Figure::CpuPerRequest, AtMost(1.1, Kind::Haproxy)),
        goal("produce-1k", Figure::Rate, AtLeast(0.9, Kind::Haproxy)),
        goal("connections", Figure::CpuPerRequest, AtMost(1.2, Kind::Haproxy)),
        goal("open-loop", Figure::AddedLatency(0.5), AtMost(1.0, Kind::Haproxy)),
        goal("open-loop", Figure::AddedLatency(0.99), AtMost(1.0, Kind::Haproxy)),
        goal("idle", Figure::Memory, AtMost(1.0, Kind::Haproxy)),
        goal("peak-1m", Figure::Memory, Absolute(24e6)),
        goal("peak-8m", Figure::Memory, Absolute(24e6)),
    ]
}
