//! Shows exchanges to the decoder with everything recorded, the way the forwarder does, and nothing else: what
//! `kafkascope-bench` runs under Valgrind to count instructions and allocations.
#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr};

use clap::Parser;
use kafkascope_bench::{
    decoder::Subject,
    frames::{Exchange, REQUEST_HEAD, RESPONSE_HEAD},
};
use kafkascope_protocol::{CaptureBudget, Connection, Depth, Direction, Limits, Timestamp};
use kafkascope_telemetry::{
    Broker, CloseReason, ConnectionInfo, Dictionary, Recorder, Registry, Resource, SampleRatio, Settings, Shard,
};

/// Shows exchanges to the decoder.
#[derive(Debug, Parser)]
struct Arguments {
    subject: Subject,
    exchanges: u64,
    /// Share of exchanges that become spans.
    #[arg(long, default_value_t = 0.0)]
    spans: f64,
}

/// Bytes of a read, and of one at the head of a large frame; from how many opaque bytes on they are spliced. As in the
/// proxy's forwarder.
const READ: usize = 256 << 10;
const HEAD_READ: usize = 64 << 10;
const SPLICE_FROM: u64 = 128 << 10;

/// Exchanges after which what is new of partitions is collected, as it is once a second.
const COLLECTED: u64 = 500;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let Exchange { request, response } = arguments.subject.exchange();
    let (mut request, mut response) = (request.to_vec(), response.to_vec());
    let spans = (arguments.spans > 0.0).then(|| SampleRatio::new(arguments.spans)).transpose()?;
    let dictionary = Dictionary::new(Settings { spans, ..Settings::default() });
    let resource = Resource::new("bench", "0", |_| None)?;
    let registry = Registry::new(dictionary.clone(), resource, Timestamp(0));
    let mut shard = Shard::new(dictionary, Timestamp(0));
    let info = ConnectionInfo {
        broker: Broker::new("127.0.0.1", 9092, None, None),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        depth: Some(Depth::Full),
        opened: Timestamp(0),
    };
    let recorder = Recorder::open(&mut shard, info);
    let connection = Connection::new(Limits::default(), Depth::Full, CaptureBudget::default());
    let mut observer = Observer { connection, recorder, shard, now: 1_750_000_000_000_000_000, long_runs: [false; 2] };
    for number in 0..arguments.exchanges {
        let correlation_id = (number as i32).to_be_bytes();
        request[REQUEST_HEAD - 4..REQUEST_HEAD].copy_from_slice(&correlation_id);
        response[RESPONSE_HEAD - 4..RESPONSE_HEAD].copy_from_slice(&correlation_id);
        if let Some(places) = arguments.subject.partition_at() {
            for (frame, from_end) in [&mut request, &mut response].into_iter().zip(places) {
                let at = frame.len() - from_end;
                frame[at..at + 4].copy_from_slice(&correlation_id);
            }
            if number % COLLECTED == 0 {
                registry.absorb(observer.shard.drain(Timestamp(observer.now)));
            }
        }
        observer.pass(Direction::Request, &request);
        observer.pass(Direction::Response, &response);
    }
    let Observer { mut connection, mut recorder, mut shard, now, .. } = observer;
    connection.on_close(Timestamp(now), &mut recorder.sink(&mut shard));
    recorder.close(&mut shard, CloseReason::Client);
    Ok(())
}

struct Observer {
    connection: Connection,
    recorder: Recorder,
    shard: Shard,
    now: u64,
    long_runs: [bool; 2],
}

impl Observer {
    /// One frame passes.
    fn pass(&mut self, direction: Direction, mut frame: &[u8]) {
        let mut opaque = 0;
        let long_runs = &mut self.long_runs[usize::from(direction == Direction::Response)];
        while !frame.is_empty() {
            self.now += 1000;
            let now = Timestamp(self.now);
            let passed;
            let mut sink = self.recorder.sink(&mut self.shard);
            if opaque > SPLICE_FROM {
                passed = frame.len().min(opaque as usize);
                opaque = self.connection.on_opaque(direction, now, passed as u64, &mut sink);
                *long_runs = true;
            } else {
                passed = frame.len().min(if *long_runs { HEAD_READ } else { READ });
                opaque = self.connection.on_bytes(direction, now, &frame[..passed], &mut sink);
            }
            self.connection.on_written(direction, now, passed as u64, &mut sink);
            self.recorder.bytes(&mut self.shard, direction, passed as u64);
            frame = &frame[passed..];
        }
    }
}
