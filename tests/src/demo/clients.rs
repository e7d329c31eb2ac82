//! The demo's clients: real librdkafka, each with a habit that shows on the wire, and each with its own count of what it
//! did, so that the proxy's figures can be held against it.

mod consumer;
mod producer;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Result, anyhow};
use rdkafka::{ClientConfig, ClientContext, Statistics, error::KafkaError};

pub(super) const ORDERS: &str = "orders";
const CLICKS: &str = "clicks";
const LOGS: &str = "logs";

/// Names of the topics that the clients use.
pub(super) const TOPICS: [&str; 3] = [ORDERS, CLICKS, LOGS];

/// What a client does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Habit {
    Produce {
        /// Records a second.
        rate: f64,
        /// Size of a record in bytes.
        size: usize,
        settings: &'static [(&'static str, &'static str)],
    },
    Consume {
        group: &'static str,
        /// Time that the application takes for each record.
        work: Duration,
        settings: &'static [(&'static str, &'static str)],
    },
}

/// A client as planned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) client_id: &'static str,
    pub(super) about: &'static str,
    topic: &'static str,
    habit: Habit,
}

/// All of them. The load is small on purpose: the demo shows, `cargo xtask bench` measures.
pub(super) const PLANS: [Plan; 5] = [
    Plan {
        client_id: "orders-good",
        about: "waits for all replicas, compresses, sends big batches",
        topic: ORDERS,
        habit: Habit::Produce {
            rate: 1000.0,
            size: 400,
            settings: &[
                ("acks", "all"),
                ("compression.type", "lz4"),
                ("linger.ms", "100"),
                ("batch.size", "1000000"),
                // Records without a key stay on one partition for this long; less than linger.ms would split the batches.
                ("sticky.partitioning.linger.ms", "200"),
            ],
        },
    },
    Plan {
        client_id: "clicks-chatty",
        about: "sends each record by itself, uncompressed",
        topic: CLICKS,
        habit: Habit::Produce {
            rate: 150.0,
            size: 100,
            settings: &[("acks", "1"), ("compression.type", "none"), ("linger.ms", "0"), ("batch.num.messages", "1")],
        },
    },
    Plan {
        client_id: "logs-careless",
        about: "does not wait for an answer: what is lost, nobody knows",
        topic: LOGS,
        habit: Habit::Produce {
            rate: 200.0,
            size: 250,
            settings: &[("acks", "0"), ("compression.type", "none"), ("linger.ms", "20")],
        },
    },
    Plan {
        client_id: "billing-steady",
        about: "reads orders as they come",
        topic: ORDERS,
        habit: Habit::Consume { group: "billing", work: Duration::ZERO, settings: &[("fetch.wait.max.ms", "500")] },
    },
    Plan {
        client_id: "audit-slow",
        about: "takes 20 ms for each order and falls behind",
        topic: ORDERS,
        habit: Habit::Consume {
            group: "audit",
            work: Duration::from_millis(20),
            settings: &[
                ("queued.min.messages", "100"),
                ("queued.max.messages.kbytes", "256"),
                // The default of 1 s between fetches would make it slow even when it is to read to the end.
                ("fetch.queue.backoff.ms", "50"),
            ],
        },
    },
];

impl Plan {
    pub(super) fn produces(&self) -> bool {
        matches!(self.habit, Habit::Produce { .. })
    }
}

/// The clients at work, a thread for each.
#[derive(Debug)]
pub(super) struct Fleet {
    members: Vec<Member>,
    phase: Arc<Phase>,
}

#[derive(Debug)]
struct Member {
    plan: Plan,
    log: Arc<Log>,
    thread: JoinHandle<Result<()>>,
}

/// What a client says of itself.
#[derive(Debug, Default)]
struct Log {
    /// Producers: records that were delivered (with acks=0: given to the socket). Consumers: records that the library
    /// received.
    records: AtomicU64,
    lost: AtomicU64,
    /// The last trouble that it met.
    trouble: Mutex<Option<String>>,
}

impl Log {
    fn trouble(&self, what: String) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
    }
}

/// How far the demo is. Phases only go forward.
#[derive(Debug, Default)]
struct Phase(AtomicU8);

impl Phase {
    const RESTING: u8 = 1;
    const ENDING: u8 = 2;

    fn at_least(&self, phase: u8) -> bool {
        self.0.load(Ordering::Acquire) >= phase
    }
}

impl Fleet {
    /// Starts all clients.
    pub(super) fn start(bootstrap: &str, prefix: &str) -> Result<Self> {
        let phase = Arc::new(Phase::default());
        let mut members = Vec::new();
        for plan in PLANS {
            let log = Arc::new(Log::default());
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", bootstrap).set("client.id", plan.client_id);
            config.set("statistics.interval.ms", "500");
            let topic = format!("{prefix}{}", plan.topic);
            let (context, phase) = (Context(Arc::clone(&log)), Arc::clone(&phase));
            let thread = std::thread::Builder::new().name(plan.client_id.into());
            let thread = match plan.habit {
                Habit::Produce { rate, size, settings } => {
                    config.extend(settings.iter().map(|(key, value)| ((*key).into(), (*value).into())));
                    thread.spawn(move || producer::run(&config, context, &topic, rate, size, &phase))?
                }
                Habit::Consume { group, work, settings } => {
                    config.set("group.id", format!("{prefix}{group}"));
                    config.extend(settings.iter().map(|(key, value)| ((*key).into(), (*value).into())));
                    thread.spawn(move || consumer::run(&config, context, &topic, work, &phase))?
                }
            };
            members.push(Member { plan, log, thread });
        }
        Ok(Self { members, phase })
    }

    /// An error if a client ended by itself.
    pub(super) fn must_run(&mut self) -> Result<()> {
        let Some(ended) = self.members.iter().position(|member| member.thread.is_finished()) else { return Ok(()) };
        self.members.swap_remove(ended).join()?;
        Err(anyhow!("a client ended by itself"))
    }

    /// What each client says: records, by client id.
    pub(super) fn records(&self) -> BTreeMap<&'static str, u64> {
        let records = |member: &Member| (member.plan.client_id, member.log.records.load(Ordering::Acquire));
        self.members.iter().map(records).collect()
    }

    /// Troubles that the clients met, for the user.
    pub(super) fn troubles(&self) -> Vec<String> {
        let troubles = self.members.iter().flat_map(|member| {
            let id = member.plan.client_id;
            let lost = member.log.lost.load(Ordering::Acquire);
            let lost = (lost > 0).then(|| format!("{id}: {lost} records could not be delivered"));
            let trouble = member.log.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
            lost.into_iter().chain(trouble.map(|trouble| format!("{id}: {trouble}")))
        });
        troubles.collect()
    }

    /// Producers finish what they have and stop; consumers read to the end.
    pub(super) fn rest(&self) {
        self.phase.0.fetch_max(Phase::RESTING, Ordering::Release);
    }

    /// Ends all clients.
    pub(super) fn end(self) -> Result<()> {
        self.phase.0.fetch_max(Phase::ENDING, Ordering::Release);
        self.members.into_iter().try_for_each(Member::join)
    }
}

impl Member {
    fn join(self) -> Result<()> {
        let id = self.plan.client_id;
        match self.thread.join() {
            Ok(result) => result.map_err(|error| error.context(format!("client {id}"))),
            Err(_panic) => Err(anyhow!("client {id} crashed")),
        }
    }
}

/// Where librdkafka reports to.
#[derive(Debug, Clone)]
struct Context(Arc<Log>);

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        // Producers count by delivery reports; of consumers only the library knows how much it has received.
        if statistics.client_type == "consumer" {
            self.0.records.store(statistics.rxmsgs.try_into().unwrap_or_default(), Ordering::Release);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.trouble(format!("{error}: {reason}"));
    }

    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {
        // The table must stay whole; what matters comes through `error` too.
    }
}
