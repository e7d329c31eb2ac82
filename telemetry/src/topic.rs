//! A topic as the value of an attribute: known by its name, or by an id whose name may still be learned.
//!
//! Newer clients put only the topic's id on the wire (KIP-516). Its name comes from a Metadata response, on whatever
//! connection. Until then the topic's series are held back; after [`HOLD`] they take the id as their label, and keep it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kafkascope_protocol::{Timestamp, TopicId};

use crate::standing::Place;

/// How long series wait for the name of a topic id.
pub(crate) const HOLD: Duration = Duration::from_secs(30);

/// A topic of one cluster.
#[derive(Debug)]
pub struct Topic {
    /// Unique in the process, never used again.
    number: u32,
    cluster: Option<Arc<str>>,
    id: Option<TopicId>,
    seen: Timestamp,
    label: OnceLock<Arc<str>>,
    place: Arc<Place>,
    /// The topic of that name, once a topic that was known by its id has a label.
    successor: OnceLock<Arc<Self>>,
}

impl Topic {
    pub(crate) fn named(number: u32, cluster: Option<Arc<str>>, name: Arc<str>, place: Arc<Place>) -> Self {
        Self {
            number,
            cluster,
            id: None,
            seen: Timestamp(0),
            label: OnceLock::from(name),
            place,
            successor: OnceLock::new(),
        }
    }

    pub(crate) fn unnamed(
        number: u32,
        cluster: Option<Arc<str>>,
        id: TopicId,
        seen: Timestamp,
        place: Arc<Place>,
    ) -> Self {
        Self { number, cluster, id: Some(id), seen, label: OnceLock::new(), place, successor: OnceLock::new() }
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Whether it has series of its own, or where that is decided.
    pub(crate) fn place(&self) -> &Arc<Place> {
        self.successor.get().map_or(&self.place, |successor| &successor.place)
    }

    /// Whether it stands for all above the cap.
    pub(crate) fn is_other(&self) -> bool {
        self.place().is_other()
    }

    /// The topic whose name it has by now.
    pub(crate) fn successor(&self) -> Option<&Arc<Self>> {
        self.successor.get()
    }

    /// It goes on as `topic`.
    pub(crate) fn becomes(&self, topic: &Arc<Self>) {
        let _once = self.successor.set(topic.clone());
    }

    /// The cluster, if there is a name for it.
    #[must_use]
    pub fn cluster(&self) -> Option<&Arc<str>> {
        self.cluster.as_ref()
    }

    /// The name, or, once nobody waits for it any more, the base64 of the id. Empty while it is waited for.
    #[must_use]
    pub fn label(&self) -> &str {
        self.label.get().map_or("", |label| label)
    }

    /// Whether the label stands.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.label.get().is_some()
    }

    /// Its name has been learned. No effect when the label stands already.
    pub(crate) fn name(&self, name: &Arc<str>) {
        // An error says that another name came first, or that the series are exported under the id by now.
        let _stands = self.label.set(name.clone());
    }

    /// The label, if it stands or its time is up.
    pub(crate) fn settle(&self, now: Timestamp) -> Option<&Arc<str>> {
        if let Some(label) = self.label.get() {
            return Some(label);
        }
        if u128::from(now.since(self.seen)) < HOLD.as_nanos() {
            return None;
        }
        Some(self.label.get_or_init(|| self.id_label()))
    }

    /// The label a span takes: it cannot wait.
    pub(crate) fn label_now(&self) -> Arc<str> {
        self.label.get().cloned().unwrap_or_else(|| self.id_label())
    }

    fn id_label(&self) -> Arc<str> {
        base64(&self.id.map_or([0; 16], |id| id.0)).into()
    }
}

/// URL-safe base64 without padding: the way `org.apache.kafka.common.Uuid.toString` writes an id.
fn base64(bytes: &[u8; 16]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = u128::from_be_bytes(*bytes);
    // 22 characters hold 132 bits: the last has four zero bits at its end.
    (0..22)
        .map(|at| {
            let shift = 122 - 6 * at;
            let six = if shift >= 0 { bits >> shift } else { bits << -shift };
            char::from(ALPHABET[(six & 63) as usize])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn unnamed() -> Topic {
        Topic::unnamed(1, None, TopicId([0; 16]), Timestamp(SECOND), Arc::new(Place::other()))
    }

    #[test]
    fn an_id_is_written_as_kafka_writes_it() {
        // Uuid.METADATA_TOPIC_ID is new Uuid(0L, 1L); its text stands in Kafka's own tests.
        assert_eq!(base64(&1_u128.to_be_bytes()), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(base64(&[0xff; 16]), "_____________________w");
    }

    #[test]
    fn an_id_waits_for_its_name_and_then_keeps_its_label() {
        let topic = unnamed();
        assert_eq!(topic.settle(Timestamp(30 * SECOND)), None);
        assert_eq!(topic.label(), "");
        assert_eq!(topic.settle(Timestamp(31 * SECOND)).unwrap().as_ref(), "AAAAAAAAAAAAAAAAAAAAAA");
        topic.name(&"late".into());
        assert_eq!(topic.label(), "AAAAAAAAAAAAAAAAAAAAAA");
    }

    #[test]
    fn a_name_learned_in_time_is_the_label() {
        let topic = unnamed();
        topic.name(&"orders".into());
        assert_eq!(topic.settle(Timestamp(99 * SECOND)).unwrap().as_ref(), "orders");
    }
}
