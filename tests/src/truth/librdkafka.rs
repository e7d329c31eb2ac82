//! Real librdkafka clients in this process, and what their statistics say.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rdkafka::{
    ClientConfig, ClientContext, Message, Offset, Statistics,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext},
};

use crate::eventually::until;

use super::{
    row::{Figure, Measured},
    scenario::NativeProducer,
};

/// Longest that flushing, joining a group, or reading to the end may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often librdkafka reports.
const STATISTICS_MS: &str = "250";
/// Reports in a row that must be equal before a client is taken to rest.
const REST_REPORTS: u32 = 3;

/// What a client's statistics came to. Instances of one client add up.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Totals {
    /// Produce requests sent. Its sums over all APIs are of no use as an oracle: the brokers that a client starts with leave
    /// its reports, with all their counts, as soon as it knows the cluster.
    pub produce_requests: i64,
    /// Records received.
    pub records: i64,
    /// Round trips: sum in microseconds, and number.
    round_trips: (i64, i64),
    /// Batches sent: sum of their bytes, and number.
    batches: (i64, i64),
    failures: Vec<String>,
}

impl Totals {
    /// Mean time from a request to its response, in milliseconds.
    pub(crate) fn round_trip_ms(&self) -> Measured {
        mean(self.round_trips, 1e-3)
    }

    /// Mean size of a batch, in bytes.
    pub(crate) fn batch_bytes(&self) -> Measured {
        mean(self.batches, 1.0)
    }

    fn add(mut self, other: Self) -> Self {
        self.produce_requests += other.produce_requests;
        self.records += other.records;
        self.round_trips = (self.round_trips.0 + other.round_trips.0, self.round_trips.1 + other.round_trips.1);
        self.batches = (self.batches.0 + other.batches.0, self.batches.1 + other.batches.1);
        self
    }

    /// Counters of a report are since the start, its windows since the report before.
    fn take(&mut self, report: &Statistics) {
        self.produce_requests = report.brokers.values().filter_map(|broker| broker.req.get("Produce")).sum();
        self.records = report.rxmsgs;
        for window in report.brokers.values().filter_map(|broker| broker.rtt.as_ref()) {
            self.round_trips = (self.round_trips.0 + window.sum, self.round_trips.1 + window.cnt);
        }
        for window in report.topics.values().map(|topic| &topic.batchsize) {
            self.batches = (self.batches.0 + window.sum, self.batches.1 + window.cnt);
        }
    }
}

fn mean((sum, count): (i64, i64), scale: f64) -> Measured {
    let count = count as f64;
    Ok(Figure::mean(if count > 0.0 { sum as f64 / count * scale } else { 0.0 }, count))
}

/// Collects what librdkafka reports.
#[derive(Debug, Clone, Default)]
struct Ledger(Arc<Mutex<Account>>);

#[derive(Debug, Default)]
struct Account {
    totals: Totals,
    unchanged: u32,
}

impl Ledger {
    fn with<T>(&self, look: impl FnOnce(&mut Account) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn rests(&self) -> bool {
        self.with(|account| account.unchanged >= REST_REPORTS)
    }

    fn totals(&self) -> Result<Totals> {
        let totals = self.with(|account| account.totals.clone());
        match totals.failures.first() {
            Some(failure) => bail!("a librdkafka client failed: {failure}"),
            None => Ok(totals),
        }
    }
}

impl ClientContext for Ledger {
    fn stats(&self, report: Statistics) {
        self.with(|account| {
            let before = account.totals.clone();
            account.totals.take(&report);
            account.unchanged = if account.totals == before { account.unchanged + 1 } else { 0 };
        });
    }
}

impl ConsumerContext for Ledger {}

impl ProducerContext for Ledger {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.with(|account| account.totals.failures.push(error.to_string()));
        }
    }
}

fn configuration(id: &str, servers: &str) -> ClientConfig {
    let mut configuration = ClientConfig::new();
    configuration.set("client.id", id).set("bootstrap.servers", servers).set("statistics.interval.ms", STATISTICS_MS);
    configuration
}

/// Lets a producer work at its pace for so long, one instance for each of the bootstrap servers, and gives its totals
/// when everything has been delivered.
pub(crate) fn produce(producer: NativeProducer, servers: &[&str], time: Duration) -> JoinHandle<Result<Totals>> {
    let servers: Vec<_> = servers.iter().map(|&servers| servers.to_owned()).collect();
    thread::spawn(move || {
        let pace = producer.records_per_second / servers.len() as f64;
        thread::scope(|scope| {
            let instances: Vec<_> =
                servers.iter().map(|servers| scope.spawn(move || produce_one(producer, servers, pace, time))).collect();
            summed(
                instances.into_iter().map(|instance| instance.join().unwrap_or_else(|_| bail!("an instance panicked"))),
            )
        })
    })
}

fn produce_one(what: NativeProducer, servers: &str, pace: f64, time: Duration) -> Result<Totals> {
    let ledger = Ledger::default();
    let mut configuration = configuration(what.id, servers);
    for (key, value) in what.configuration {
        configuration.set(*key, *value);
    }
    let producer: BaseProducer<Ledger> = configuration.create_with_context(ledger.clone())?;
    let payload: Vec<u8> = (0..what.record_bytes).map(|index| b'a' + (index % 23) as u8).collect();
    let begun = Instant::now();
    let mut sent = 0_u64;
    while begun.elapsed() < time {
        while (sent as f64) < begun.elapsed().as_secs_f64() * pace {
            let record: BaseRecord<'_, (), _> = BaseRecord::to(what.topic).payload(&payload);
            producer.send(record).map_err(|(error, _)| error).context("librdkafka takes no record")?;
            sent += 1;
        }
        producer.poll(Duration::from_millis(5));
    }
    producer.flush(PATIENCE).context("librdkafka did not deliver in time")?;
    // It may have rested while it waited for the last answers.
    ledger.with(|account| account.unchanged = 0);
    until("librdkafka's statistics rest", PATIENCE, || {
        producer.poll(Duration::from_millis(20));
        ledger.rests()
    })?;
    ledger.totals()
}

/// A consumer that reads one topic until it is told to come to an end.
#[derive(Debug)]
pub(crate) struct Reader {
    instances: Vec<JoinHandle<Result<Totals>>>,
    draining: Arc<AtomicBool>,
}

impl Reader {
    /// Starts one instance for each of the bootstrap servers.
    pub(crate) fn start(id: &'static str, topic: &'static str, partitions: u16, servers: &[&str]) -> Result<Self> {
        let draining = Arc::new(AtomicBool::new(false));
        let owned: Arc<Mutex<Vec<usize>>> = Arc::new(Mutex::new(vec![0; servers.len()]));
        let instance = |(index, servers): (usize, &&str)| {
            let (servers, draining, owned) = ((*servers).to_owned(), Arc::clone(&draining), Arc::clone(&owned));
            thread::spawn(move || {
                consume_one(id, topic, &servers, &draining, |count| {
                    if let Some(slot) = owned.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
                        *slot = count;
                    }
                })
            })
        };
        let instances = servers.iter().enumerate().map(instance).collect();
        until("librdkafka's consumers have all partitions", PATIENCE, || {
            let owned = owned.lock().unwrap_or_else(PoisonError::into_inner);
            owned.iter().all(|&count| count > 0) && owned.iter().sum::<usize>() == usize::from(partitions)
        })?;
        Ok(Self { instances, draining })
    }

    /// Reads to the end, closes, and gives the totals.
    pub(crate) fn drain(self) -> Result<Totals> {
        self.draining.store(true, Ordering::Relaxed);
        let join = |instance: JoinHandle<_>| instance.join().unwrap_or_else(|_| bail!("an instance panicked"));
        summed(self.instances.into_iter().map(join))
    }
}

fn consume_one(id: &str, topic: &str, servers: &str, draining: &AtomicBool, own: impl Fn(usize)) -> Result<Totals> {
    let ledger = Ledger::default();
    let mut configuration = configuration(id, servers);
    configuration.set("group.id", id).set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer<Ledger> = configuration.create_with_context(ledger.clone())?;
    consumer.subscribe(&[topic])?;
    let mut at_end = false;
    let mut polled = 0;
    while !at_end {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => polled += i64::from(message.payload().is_some()),
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition))) => {}
            Some(Err(error)) => return Err(error.into()),
            None => at_end = draining.load(Ordering::Relaxed) && reached_end(&consumer)?,
        }
        own(consumer.assignment()?.count());
    }
    // Heartbeats and long polls never rest, but records do.
    until("librdkafka counts as many records as it delivered", PATIENCE, || {
        let _nothing_more = consumer.poll(Duration::from_millis(50));
        ledger.with(|account| account.totals.records) == polled
    })?;
    ledger.totals()
}

fn reached_end(consumer: &BaseConsumer<Ledger>) -> Result<bool> {
    for position in consumer.position()?.elements() {
        let (_, end) = consumer.fetch_watermarks(position.topic(), position.partition(), Duration::from_secs(10))?;
        let at_end = match position.offset() {
            Offset::Offset(next) => next >= end,
            // Nothing was delivered from it.
            _ => end == 0,
        };
        if !at_end {
            return Ok(false);
        }
    }
    Ok(true)
}

fn summed(parts: impl Iterator<Item = Result<Totals>>) -> Result<Totals> {
    parts.reduce(|sum, part| Ok(sum?.add(part?))).context("no instance")?
}
