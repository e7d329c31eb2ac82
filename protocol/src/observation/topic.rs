//! Topics, as messages name them.

use core::fmt;

use crate::topics::{Topic, Topics};

/// A topic id (KIP-516), as the 16 bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub [u8; 16]);

/// A dense number for a topic name or topic id within its connection, from 0, stable for the connection's life. A name
/// and the id of the same topic have different indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicIndex(pub u32);

impl TopicIndex {
    /// Stands for all topics after [`Limits::topics`](crate::Limits::topics) distinct ones.
    pub const OVERFLOW: Self = Self(u32::MAX);
}

/// A topic as the message names it.
#[derive(Clone, Copy)]
pub struct TopicRef<'a> {
    /// Key for the observer's cache.
    pub index: TopicIndex,
    source: TopicSource<'a>,
}

/// Where the label of a topic is. An observer that has the topic in its cache does not need it.
#[derive(Clone, Copy)]
enum TopicSource<'a> {
    Label(TopicLabel<'a>),
    Known(&'a Topics, Topic),
}

impl<'a> TopicRef<'a> {
    /// The topic with this number and this label.
    #[must_use]
    pub const fn new(index: TopicIndex, label: TopicLabel<'a>) -> Self {
        Self { index, source: TopicSource::Label(label) }
    }

    #[inline(always)]
    pub(crate) const fn known(topics: &'a Topics, topic: Topic) -> Self {
        Self { index: topic.index(), source: TopicSource::Known(topics, topic) }
    }

    /// What is on the wire.
    #[must_use]
    pub fn label(&self) -> TopicLabel<'a> {
        match self.source {
            TopicSource::Label(label) => label,
            TopicSource::Known(topics, topic) => topics.label(topic),
        }
    }
}

impl PartialEq for TopicRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && self.label() == other.label()
    }
}

impl Eq for TopicRef<'_> {}

impl fmt::Debug for TopicRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicRef").field("index", &self.index).field("label", &self.label()).finish()
    }
}

/// What is on the wire in place of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicLabel<'a> {
    /// Its name, in bytes that should be, but need not be, UTF-8.
    Name(&'a [u8]),
    /// Its id (Produce v13+, Fetch v13+).
    Id(TopicId),
}
