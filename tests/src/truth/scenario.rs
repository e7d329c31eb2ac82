//! Who works in a run: the topics, the Java clients and the librdkafka clients, and how `--break` changes them.
//!
//! Every configuration that a row depends on is written out here. Rates are low on purpose: latency on a machine that has
//! no time left says nothing.

use serde_json::{Value, json};

use crate::kafka::Version;

/// A change of reality that must make an item's rows false.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// Every client gets a twin with the same client id that talks to the brokers directly, and does half of its work.
    Bypass,
    /// Another application uses the producers' client ids, through the proxy, and batches and compresses differently.
    Stranger,
    /// A slow network between the clients and the proxy.
    SlowClients,
    /// A slow network between the proxy and the brokers.
    SlowBrokers,
    /// Nobody asks for metadata through the proxy when leaders move.
    Unasked,
    /// What makes a group fall behind is produced past the proxy.
    UnseenRecords,
    /// The consumer of the group talks to the brokers directly.
    UnseenConsumer,
    /// What goes wrong goes wrong past the proxy, and the collector stays.
    FaultsElsewhere,
}

impl Break {
    /// The change for an item that is built.
    pub(crate) const fn of(item: u8) -> Option<Self> {
        match item {
            5 => Some(Self::Unasked),
            7 => Some(Self::SlowBrokers),
            20 => Some(Self::SlowClients),
            17 | 23 => Some(Self::Stranger),
            24 | 25 | 39 => Some(Self::UnseenRecords),
            40 | 44 => Some(Self::UnseenConsumer),
            42 => Some(Self::FaultsElsewhere),
            8 | 9 | 10 | 18 | 19 | 21 | 26 | 27 | 28 => Some(Self::Bypass),
            _ => None,
        }
    }

    /// What it does, for people.
    pub(crate) const fn description(self) -> &'static str {
        match self {
            Self::Bypass => "half of every client's work goes past the proxy",
            Self::Stranger => "another application uses the producers' client ids, batches and compresses differently",
            Self::SlowClients => "what the proxy sends to its clients takes 50 ms to arrive",
            Self::Unasked => "nobody asks for metadata through the proxy when leaders move",
            Self::UnseenRecords => "what makes a group fall behind is produced past the proxy",
            Self::UnseenConsumer => "a group's consumer goes past the proxy",
            Self::FaultsElsewhere => "what goes wrong goes wrong past the proxy, and the collector stays",
            Self::SlowBrokers => "what the brokers send to the proxy takes 150 ms to arrive",
        }
    }
}

/// Written by Java with codec none and read by Java, so that uncompressed bytes can be compared.
pub(crate) const ORDERS: &str = "orders";
/// Written by Java and librdkafka with other codecs.
pub(crate) const EVENTS: &str = "events";
/// Written in transactions.
pub(crate) const AUDIT: &str = "audit";
/// Written without acknowledgements, and by librdkafka.
pub(crate) const READINGS: &str = "readings";

/// Read by the group whose lag is compared; written in all ways. It has one partition.
pub(crate) const GROUP_TOPIC: &str = "ledger";

/// All topics whose bytes are compared.
pub(crate) const TOPICS: [&str; 4] = [ORDERS, EVENTS, AUDIT, READINGS];
/// Partitions of each topic.
pub(crate) const PARTITIONS: u16 = 6;

/// Java producers, in the order of their rows; acks=0 is a phase of its own and not among them.
pub(crate) const JAVA_PRODUCERS: [&str; 3] = ["orders-java", "events-java", "audit-java"];
/// The Java producer with acks=0.
pub(crate) const CARELESS: &str = "readings-java";
/// Codecs of `events-java` and of [`CARELESS`], whose topics librdkafka writes to with others.
const EVENTS_CODEC: &str = "lz4";
const CARELESS_CODEC: &str = "snappy";
/// Java consumers, in the order of their rows.
pub(crate) const JAVA_CONSUMERS: [&str; 3] = ["orders-reader", "events-reader", "audit-reader"];

/// Phase of the producer with acks=0: brokers count it in TotalTimeMs, the wire has no response to measure.
pub(crate) const CARELESS_PHASE: &str = "careless";
/// Phase of all other producers.
pub(crate) const PACED_PHASE: &str = "paced";
/// Phase of an application that borrows others' client ids.
pub(crate) const STRANGER_PHASE: &str = "stranger";

/// A librdkafka producer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NativeProducer {
    /// Its client id.
    pub id: &'static str,
    /// Where it writes.
    pub topic: &'static str,
    /// Codec of the Java producer that writes there too: all other batches are its own.
    pub codec_beside: &'static str,
    /// Its configuration besides id and bootstrap servers.
    pub configuration: &'static [(&'static str, &'static str)],
    /// Its pace.
    pub records_per_second: f64,
    /// Size of a record's value.
    pub record_bytes: usize,
}

/// librdkafka producers, in the order of their rows.
pub(crate) const NATIVE_PRODUCERS: [NativeProducer; 2] = [
    NativeProducer {
        id: "events-native",
        topic: EVENTS,
        codec_beside: EVENTS_CODEC,
        configuration: &[("acks", "all"), ("compression.type", "gzip"), ("linger.ms", "100")],
        records_per_second: 200.0,
        record_bytes: 300,
    },
    NativeProducer {
        id: "readings-native",
        topic: READINGS,
        codec_beside: CARELESS_CODEC,
        configuration: &[("acks", "1"), ("compression.type", "zstd"), ("linger.ms", "50")],
        records_per_second: 150.0,
        record_bytes: 100,
    },
];

/// The librdkafka consumer of [`READINGS`].
pub(crate) const NATIVE_CONSUMER: &str = "readings-reader";

/// Where clients start: through the proxy, or past it.
#[derive(Debug, Clone)]
pub(crate) struct Bootstrap {
    /// The proxy's routes.
    pub proxied: String,
    /// The brokers' own listeners.
    pub direct: String,
}

impl Bootstrap {
    /// One entry for each instance of a client.
    pub(crate) fn instances(&self, breaking: Option<Break>) -> Vec<&str> {
        match breaking {
            Some(Break::Bypass) => vec![&self.proxied, &self.direct],
            _ => vec![&self.proxied],
        }
    }
}

/// The specification for the Java clients.
pub(crate) fn java(version: Version, bootstrap: &Bootstrap, breaking: Option<Break>) -> Value {
    let producer = |id, topic, phase, configuration: Value| {
        let fast = json!({"records_per_second": 200, "record_bytes": 400});
        let instances = instances(bootstrap, breaking, &configuration);
        merged(&fast, &json!({"id": id, "role": "produce", "phase": phase, "topic": topic, "instances": instances}))
    };
    let consumer = |id, topic, configuration: Value| {
        let basics = json!({"group.id": id, "auto.offset.reset": "earliest"});
        let instances = instances(bootstrap, breaking, &merged(&basics, &configuration));
        json!({"id": id, "role": "consume", "topic": topic, "instances": instances})
    };
    // A preview in 3.9: its consumer was seen to drop records that it had fetched and to fetch them again, which brokers
    // (and we) count twice and it does not.
    let group_protocol = match version {
        Version::V4 => "consumer",
        Version::V39 => "classic",
    };
    let audit = json!({"acks": "all", "compression.type": "zstd", "linger.ms": 20, "transactional.id": "audit"});
    let mut clients = vec![
        producer("orders-java", ORDERS, PACED_PHASE, json!({"acks": "all", "linger.ms": 10})),
        producer(
            "events-java",
            EVENTS,
            PACED_PHASE,
            json!({"acks": "1", "compression.type": EVENTS_CODEC, "linger.ms": 20, "enable.idempotence": false}),
        ),
        merged(
            &producer("audit-java", AUDIT, PACED_PHASE, audit),
            &json!({"records_per_second": 50, "transaction_ms": 500}),
        ),
        producer(
            CARELESS,
            READINGS,
            CARELESS_PHASE,
            json!({"acks": "0", "compression.type": CARELESS_CODEC, "linger.ms": 20, "enable.idempotence": false}),
        ),
        consumer("orders-reader", ORDERS, json!({"group.protocol": "classic"})),
        consumer("events-reader", EVENTS, json!({"group.protocol": group_protocol})),
        consumer("audit-reader", AUDIT, json!({"isolation.level": "read_committed"})),
    ];
    if breaking == Some(Break::Stranger) {
        let ids = JAVA_PRODUCERS.into_iter().chain([CARELESS]).chain(NATIVE_PRODUCERS.map(|producer| producer.id));
        // The brokers accept the borrowed id, the ledger of the run does not know it.
        clients.extend(ids.map(|id| {
            let apart = json!({"acks": "1", "compression.type": "gzip", "linger.ms": 0, "batch.size": 1});
            // Not where a log is an oracle.
            let stranger = producer(id, AUDIT, STRANGER_PHASE, apart);
            merged(&stranger, &json!({"ledger": false, "record_bytes": 2_000}))
        }));
    }
    json!({ "clients": clients })
}

/// One configuration for each instance. Averages of the Java clients must cover the whole run, not its last minute.
fn instances(bootstrap: &Bootstrap, breaking: Option<Break>, configuration: &Value) -> Vec<Value> {
    let servers = bootstrap.instances(breaking);
    let instance = |(index, servers): (usize, &str)| {
        let mut instance =
            merged(configuration, &json!({"bootstrap.servers": servers, "metrics.sample.window.ms": 600_000}));
        if let Some(id) = instance.get_mut("transactional.id") {
            *id = json!(format!("{}-{index}", id.as_str().unwrap_or_default()));
        }
        instance
    };
    servers.into_iter().enumerate().map(instance).collect()
}

/// The keys of both; those of `over` win.
fn merged(under: &Value, over: &Value) -> Value {
    let mut merged = under.as_object().cloned().unwrap_or_default();
    merged.extend(over.as_object().cloned().unwrap_or_default());
    Value::Object(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bootstrap() -> Bootstrap {
        Bootstrap { proxied: "proxy:1".to_owned(), direct: "broker:1".to_owned() }
    }

    #[test]
    fn unbroken_clients_all_start_at_the_proxy() {
        let text = java(Version::V4, &bootstrap(), None).to_string();
        assert!(text.contains("proxy:1") && !text.contains("broker:1"));
    }

    #[test]
    fn a_bypass_gives_each_client_a_twin_and_transactional_twins_differ() {
        let clients = java(Version::V4, &bootstrap(), Some(Break::Bypass));
        for client in clients["clients"].as_array().unwrap() {
            let instances = client["instances"].as_array().unwrap();
            assert_eq!(instances.len(), 2);
            assert_eq!(instances[1]["bootstrap.servers"], "broker:1");
            assert!(instances[0].get("transactional.id").is_none_or(|id| *id != instances[1]["transactional.id"]));
        }
    }
}
