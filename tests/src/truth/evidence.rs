//! What a run left behind: everything the rows are made of.

use super::{busy::SATURATED, java, librdkafka::Totals, row::Row};
use crate::{
    jmx::{Reading, Window},
    kafka::LoggedBatch,
    receiver::Receiver,
};

/// Both sides of a run.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// Ours.
    pub receiver: Receiver,
    /// The brokers' JMX before the first client.
    pub before: Reading,
    /// After the producer with acks=0 was done, before all others began.
    pub between: Reading,
    /// After all clients had closed.
    pub after: Reading,
    /// What the Java clients say.
    pub java: Vec<java::Client>,
    /// What the librdkafka producers say, by client id.
    pub native_producers: Vec<(&'static str, Totals)>,
    /// The batches in the log of each topic that a librdkafka producer wrote to.
    pub logged: Vec<(&'static str, Vec<LoggedBatch>)>,
    /// What the librdkafka consumer says.
    pub native_reader: Totals,
    /// Fetches that wait while consumers have nothing to read: ours, and those of the brokers less what followers have
    /// waiting there.
    pub waiting: Vec<(f64, f64)>,
    /// Changes of leaders of all topics in the metadata log, after a broker was stopped and started.
    pub leader_changes: u64,
    /// What was compared while the group worked.
    pub groups: Vec<Row>,
    /// What was compared after things went wrong.
    pub faults: Vec<Row>,
    /// Share of the machine's CPU time that was used while clients worked, 0 to 1.
    pub load: f64,
}

impl Evidence {
    /// The whole run.
    pub(crate) const fn whole(&self) -> Window<'_> {
        Window { start: &self.before, end: &self.after }
    }

    /// The run without the producer with acks=0.
    pub(crate) const fn acknowledged(&self) -> Window<'_> {
        Window { start: &self.between, end: &self.after }
    }

    /// A Java client by its id.
    pub(crate) fn java(&self, id: &str) -> Result<&java::Client, String> {
        self.java.iter().find(|client| client.id == id).ok_or_else(|| format!("no Java client {id}"))
    }

    /// Whether the machine had too little time left to judge latency: what waits for a processor waits between the
    /// clocks of the two sides.
    pub(crate) fn is_saturated(&self) -> bool {
        self.load > SATURATED
    }

    /// Circumstances that latency depends on.
    pub(crate) fn load(&self) -> String {
        format!("machine {:.0} % busy", self.load * 100.0)
    }
}
