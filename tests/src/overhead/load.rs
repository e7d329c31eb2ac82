//! Work for a broker, the same in each window: whole requests made beforehand, sent as fast as they are answered, or at a
//! pace at which nothing queues.
//!
//! Client libraries put together requests of other sizes each time, which moves a broker's speed by more than what is
//! measured here.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::eventually::eventually;
use crate::wire::{self, Body, Connection, Fields, api};

/// Bytes of a record, and records of a batch: together what Java's producer sends by default.
const RECORD: usize = 1000;
const RECORDS: u16 = 16;

/// Batches that are sent one after the other before their answers are read, and then fetched at once: 1 MiB.
const BATCHES: u16 = 64;

/// So many requests a second are no work for a broker.
const PACE: u32 = 500;

/// How long a broker may take for a new topic.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the broker did in a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Throughput {
    /// Records produced and records consumed, per second.
    pub(super) records: f64,
    /// How many they were.
    pub(super) total: f64,
}

/// Clients, each of them with a connection and a partition of its own, that write and read what they have written.
pub(super) struct Load {
    lanes: Vec<Lane>,
}

struct Lane {
    connection: Connection,
    topic: String,
    partition: i32,
    /// A Produce request.
    produce: Vec<u8>,
    /// Of its batch.
    batch_bytes: usize,
}

impl Load {
    /// Connects a client for each of the topic's partitions.
    pub(super) fn start(broker: SocketAddr, topic: &str, partitions: u16) -> Result<Self> {
        let lanes = (0..partitions).map(|partition| Lane::open(broker, topic, partition.into()));
        Ok(Self { lanes: lanes.collect::<Result<_>>()? })
    }

    /// Sends as fast as the broker answers.
    pub(super) fn at_full_speed(&mut self, time: Duration) -> Result<Throughput> {
        let started = Instant::now();
        let rounds = thread::scope(|scope| {
            let rounds = |lane: &mut Lane| {
                let mut rounds = 0_u32;
                while started.elapsed() < time {
                    lane.round()?;
                    rounds += 1;
                }
                anyhow::Ok(rounds)
            };
            let lanes: Vec<_> = self.lanes.iter_mut().map(|lane| scope.spawn(move || rounds(lane))).collect();
            let rounds = lanes.into_iter().map(|lane| lane.join().ok().context("a client panicked")?);
            rounds.sum::<Result<u32>>()
        })?;
        let seconds = started.elapsed().as_secs_f64();
        let total = f64::from(rounds) * 2.0 * f64::from(BATCHES) * f64::from(RECORDS);
        Ok(Throughput { records: total / seconds, total })
    }

    /// Sends at times that are set beforehand, so that a slow answer does not delay the question. The times until requests
    /// were answered, in nanoseconds, sorted.
    pub(super) fn at_a_pace(&mut self, time: Duration) -> Result<Vec<u64>> {
        let lane = self.lanes.first_mut().context("no client")?;
        let step = Duration::from_secs(1) / PACE;
        let started = Instant::now();
        let mut due = started;
        let mut times = Vec::new();
        while due.duration_since(started) < time {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            lane.connection.send(&lane.produce)?;
            lane.produced()?;
            times.push(u64::try_from(due.elapsed().as_nanos())?);
            due += step;
        }
        times.sort_unstable();
        Ok(times)
    }
}

impl Lane {
    fn open(broker: SocketAddr, topic: &str, partition: i32) -> Result<Self> {
        let batch = wire::batch(0, RECORDS.into(), &records());
        let produce = wire::produce_to(partition, 1, Some("load"), 1, topic, &batch);
        let connection = Connection::open(broker)?;
        let mut lane = Self { connection, topic: topic.to_owned(), partition, produce, batch_bytes: batch.len() };
        // A broker tells of a topic before it leads its partitions.
        eventually("the broker to lead a partition", PATIENCE, || {
            lane.connection.send(&lane.produce)?;
            Ok(lane.produced().ok())
        })?;
        Ok(lane)
    }

    /// Writes, and reads what was written.
    fn round(&mut self) -> Result<()> {
        for _ in 0..BATCHES {
            self.connection.send(&self.produce)?;
        }
        let first = self.produced()?;
        for _ in 1..BATCHES {
            self.produced()?;
        }
        let mut fetched = 0;
        while fetched < usize::from(BATCHES) {
            let bytes = self.fetch(first + i64::try_from(fetched)? * i64::from(RECORDS))?;
            ensure!(bytes >= self.batch_bytes, "a fetch returned {bytes} bytes");
            fetched += bytes / self.batch_bytes;
        }
        Ok(())
    }

    /// Receives the answer to a Produce request: the offset of the first record.
    fn produced(&mut self) -> Result<i64> {
        let answer = self.connection.receive()?.context("the broker has closed a connection")?;
        let mut fields = Fields(&answer);
        fields.take(4 + 4)?;
        fields.string()?;
        fields.take(4 + 4)?;
        let error = fields.i16()?;
        ensure!(error == 0, "Produce was answered with error {error}");
        Ok(i64::from_be_bytes(fields.take(8)?.try_into()?))
    }

    /// Fetches all that there is from this offset on. How many bytes of records came.
    fn fetch(&mut self, offset: i64) -> Result<usize> {
        let request = Body::request(api::FETCH, 4, 1, Some("load")).i32(-1).i32(500).i32(1).i32(i32::MAX).i8(0);
        let request = request.i32(1).string(Some(&self.topic)).i32(1).i32(self.partition).i64(offset).i32(i32::MAX);
        let answer = self.connection.exchange(&request.frame())?;
        let mut fields = Fields(&answer);
        fields.take(4 + 4 + 4)?;
        fields.string()?;
        fields.take(4 + 4)?;
        let error = fields.i16()?;
        ensure!(error == 0, "Fetch was answered with error {error}");
        fields.take(8 + 8)?;
        for _ in 0..fields.i32()?.max(0) {
            fields.take(8 + 8)?;
        }
        Ok(usize::try_from(fields.i32()?)?)
    }
}

/// Records of a batch: length, attributes, timestamp and offset deltas, no key, value, no headers.
fn records() -> Vec<u8> {
    let mut records = Vec::new();
    for delta in 0..RECORDS {
        let mut record = vec![0, 0];
        varint(&mut record, i64::from(delta));
        varint(&mut record, -1);
        varint(&mut record, RECORD as i64);
        record.extend_from_slice(&[b'x'; RECORD]);
        record.push(0);
        varint(&mut records, record.len() as i64);
        records.append(&mut record);
    }
    records
}

fn varint(bytes: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}
