//! A series: a metric and the values of its attributes.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, OnceLock};

use crate::attribute::{Attribute, Scalar, Value};
use crate::cap::Live;
use crate::dictionary::Dictionary;
use crate::metric::Metric;
use crate::topic::Topic;

/// One series. The [`Dictionary`] makes sure that no two with equal metric and attributes live at a time.
#[derive(Debug)]
pub struct Series {
    number: u64,
    metric: Metric,
    attributes: Attributes,
    /// A topic that had no label when the series began, and the series that takes over once it has one.
    awaiting: Option<(Arc<Topic>, OnceLock<Arc<Series>>)>,
    live: Option<Live>,
}

/// Attributes in the order of the metric table, those without a value left out.
pub(crate) type Attributes = Box<[(Attribute, Value)]>;

impl Series {
    pub(crate) fn new(number: u64, metric: Metric, attributes: Attributes, live: Option<Live>) -> Self {
        let awaiting =
            attributes.iter().find_map(|(_, value)| value.awaited()).map(|topic| (topic.clone(), OnceLock::new()));
        Self { number, metric, attributes, awaiting, live }
    }

    /// Unique in the process, never used again.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its metric.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Its attributes, in the order of the metric table.
    #[must_use]
    pub fn attributes(&self) -> &[(Attribute, Value)] {
        &self.attributes
    }

    /// The value of one attribute.
    #[must_use]
    pub fn value(&self, key: Attribute) -> Option<&Value> {
        self.attributes.iter().find(|(attribute, _)| *attribute == key).map(|(_, value)| value)
    }

    /// Those of some attributes, to tell series apart by them.
    pub(crate) fn scalars(&self, keys: &[Attribute]) -> Vec<(Attribute, Scalar<'_>)> {
        let wanted = self.attributes.iter().filter(|(key, _)| keys.contains(key));
        wanted.map(|(key, value)| (*key, value.scalar())).collect()
    }

    /// Whether it has a place under the cap on series. One that has none may be that of `other` for want of one.
    pub(crate) fn has_place(&self) -> bool {
        self.live.is_some()
    }

    /// Whether a value of its attributes has lost its place: what comes is counted elsewhere.
    pub(crate) fn is_over(&self) -> bool {
        self.attributes.iter().any(|(_, value)| value.place().is_some_and(|place| !place.is_kept()))
    }

    /// Whether it waits for a topic's label, and must not be exported.
    pub(crate) fn is_held(&self) -> bool {
        self.awaiting.is_some()
    }

    /// The topic that it waits for.
    pub(crate) fn awaited_topic(&self) -> Option<&Arc<Topic>> {
        self.awaiting.as_ref().map(|(topic, _)| topic)
    }

    /// The series under which the numbers of this one belong: itself unless it waited for a topic's label.
    /// `None` while that is not known.
    pub(crate) fn settled<'a>(self: &'a Arc<Self>, dictionary: &Dictionary) -> Option<&'a Arc<Self>> {
        let Some((topic, successor)) = &self.awaiting else { return Some(self) };
        if !topic.is_settled() {
            return None;
        }
        Some(successor.get_or_init(|| {
            let attributes = self.attributes.iter().map(|(key, value)| match value {
                Value::AwaitedTopic(topic) => (*key, Value::Topic(dictionary.topic_of_label(topic))),
                other => (*key, other.clone()),
            });
            dictionary.series(self.metric, attributes.collect())
        }))
    }

    pub(crate) fn is(&self, metric: Metric, attributes: &Attributes) -> bool {
        self.metric == metric
            && self.attributes.len() == attributes.len()
            && self
                .attributes
                .iter()
                .zip(attributes)
                .all(|(ours, theirs)| ours.0 == theirs.0 && same(&ours.1, &theirs.1))
    }
}

/// A topic without a label is equal only to itself.
fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours.awaited(), theirs.awaited()) {
        (None, None) => ours.scalar() == theirs.scalar(),
        (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
        _ => false,
    }
}

pub(crate) fn hash(state: &RandomState, metric: Metric, attributes: &Attributes) -> u64 {
    let mut hasher = state.build_hasher();
    metric.hash(&mut hasher);
    for (key, value) in attributes {
        key.hash(&mut hasher);
        match value.awaited() {
            Some(topic) => topic.number().hash(&mut hasher),
            None => value.scalar().hash(&mut hasher),
        }
    }
    hasher.finish()
}
