//! A producer and a consumer that keep a broker busy: as fast as it goes, or at a pace at which nothing queues.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

/// Bytes of a record, and of a batch: what Java's producer makes by default.
const RECORD: usize = 1024;
const BATCH: &str = "16384";

/// So many records a second are no work for a broker.
const PACE: u32 = 500;

/// The first records wait for connections and metadata.
const CONNECTING: Duration = Duration::from_millis(500);

/// How long the last records may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the broker did in a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Throughput {
    /// Records produced and records consumed, per second.
    pub(super) records: f64,
    /// How many they were.
    pub(super) total: f64,
}

/// Both clients. The consumer reads all the time.
pub(super) struct Load {
    producer: BaseProducer<Deliveries>,
    topic: String,
    consumed: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    consumer: Option<JoinHandle<()>>,
}

/// Counts what is acknowledged, and how long that took.
#[derive(Default)]
struct Deliveries {
    delivered: AtomicU64,
    failed: AtomicU64,
    /// Nanoseconds, of records whose time was asked for.
    times: Mutex<Vec<u64>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    /// When it was sent, if its time is asked for.
    type DeliveryOpaque = Box<Option<Instant>>;

    fn delivery(&self, delivery: &DeliveryResult<'_>, sent: Self::DeliveryOpaque) {
        match delivery {
            Ok(_) => _ = self.delivered.fetch_add(1, Ordering::Relaxed),
            Err(_) => _ = self.failed.fetch_add(1, Ordering::Relaxed),
        }
        if let Some(sent) = *sent {
            let nanos = u64::try_from(sent.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.times.lock().unwrap_or_else(PoisonError::into_inner).push(nanos);
        }
    }
}

impl Load {
    /// Connects both to a topic that is there.
    pub(super) fn start(broker: SocketAddr, topic: &str, partitions: u16) -> Result<Self> {
        let mut producer = ClientConfig::new();
        producer.set("bootstrap.servers", broker.to_string()).set("batch.size", BATCH).set("linger.ms", "0");
        producer.set("queue.buffering.max.messages", "10000");
        let mut consumer = ClientConfig::new();
        consumer.set("bootstrap.servers", broker.to_string()).set("group.id", "overhead");
        consumer.set("enable.auto.commit", "false").set("fetch.wait.max.ms", "100");
        let consumer: BaseConsumer = consumer.create().context("no consumer")?;
        let mut from = TopicPartitionList::new();
        for partition in 0..i32::from(partitions) {
            from.add_partition_offset(topic, partition, Offset::End)?;
        }
        consumer.assign(&from)?;
        let (consumed, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, ended) = (Arc::clone(&consumed), Arc::clone(&stop));
        let consumer = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100))
                    && message.payload_len() == RECORD
                {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let producer = producer.create_with_context(Deliveries::default()).context("no producer")?;
        Ok(Self { producer, topic: topic.to_owned(), consumed, stop, consumer: Some(consumer) })
    }

    /// Sends as fast as the broker takes it.
    pub(super) fn at_full_speed(&self, time: Duration) -> Result<Throughput> {
        let value = [b'x'; RECORD];
        let started = Instant::now();
        let before = self.count();
        let mut unsent = 0_u32;
        while started.elapsed() < time {
            self.send(&value, None)?;
            unsent += 1;
            if unsent.is_multiple_of(256) {
                self.producer.poll(Duration::ZERO);
            }
        }
        let (seconds, total) = (started.elapsed().as_secs_f64(), self.count() - before);
        self.settle()?;
        Ok(Throughput { records: total as f64 / seconds, total: total as f64 })
    }

    /// Sends at times that are set beforehand, so that a slow answer does not delay the question. The times until records
    /// were acknowledged, sorted.
    pub(super) fn at_a_pace(&self, time: Duration) -> Result<Vec<u64>> {
        let value = [b'x'; RECORD];
        let step = Duration::from_secs(1) / PACE;
        let started = Instant::now();
        self.producer.context().times.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let mut due = started;
        while due.duration_since(started) < time {
            while let Some(rest) = due.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
                self.producer.poll(rest.min(Duration::from_millis(1)));
            }
            let is_settled = due.duration_since(started) >= CONNECTING;
            self.send(&value, is_settled.then_some(due))?;
            due += step;
        }
        self.settle()?;
        let mut times =
            std::mem::take(&mut *self.producer.context().times.lock().unwrap_or_else(PoisonError::into_inner));
        times.sort_unstable();
        Ok(times)
    }

    fn send(&self, value: &[u8], due: Option<Instant>) -> Result<()> {
        let mut record = BaseRecord::<(), _, _>::with_opaque_to(&self.topic, Box::new(due)).payload(value);
        while let Err((error, again)) = self.producer.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            ensure!(error == full, "a record cannot be sent: {error}");
            self.producer.poll(Duration::from_millis(10));
            record = again;
        }
        Ok(())
    }

    /// Waits until all that was sent is acknowledged.
    fn settle(&self) -> Result<()> {
        self.producer.flush(PATIENCE).context("the broker does not answer")?;
        let failed = self.producer.context().failed.load(Ordering::Relaxed);
        ensure!(failed == 0, "{failed} records were refused");
        Ok(())
    }

    fn count(&self) -> u64 {
        self.producer.context().delivered.load(Ordering::Relaxed) + self.consumed.load(Ordering::Relaxed)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(consumer) = self.consumer.take() {
            // It has nothing to tell.
            _ = consumer.join();
        }
    }
}
