//! The topics that a connection has named: each gets a dense number, so that whoever counts need not hash names.
//!
//! Left out: what a topic id stands for. That is known per cluster, not per connection.

use alloc::{boxed::Box, vec::Vec};
use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::{Direction, TopicId, TopicIndex, TopicLabel, TopicRef};

/// Longest legal topic name (`org.apache.kafka.common.internals.Topic.MAX_NAME_LENGTH`). Longer ones are not remembered.
const NAME_LENGTH: usize = 249;

/// A topic that a body is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// It is remembered.
    Known(u32),
    /// It was named, and was not remembered: its name is that direction's last such name.
    Name(Direction),
    /// It has this id, and was not remembered.
    Id(TopicId),
}

impl Topic {
    /// Its number.
    #[inline]
    pub(crate) const fn index(self) -> TopicIndex {
        match self {
            Self::Known(index) => TopicIndex(index),
            Self::Name(_) | Self::Id(_) => TopicIndex::OVERFLOW,
        }
    }
}

/// See the module's first paragraph.
#[derive(Debug)]
pub(crate) struct Topics {
    labels: Vec<Label>,
    by_label: HashTable<u32>,
    hasher: DefaultHashBuilder,
    limit: usize,
    /// The index found last: a client mostly names the same topics in the same order.
    last: u32,
    /// Last names that were not remembered, of requests and of responses.
    unknown: [Vec<u8>; 2],
}

#[derive(Debug)]
enum Label {
    Name(Box<[u8]>),
    Id(TopicId),
}

impl Label {
    #[inline]
    fn get(&self) -> TopicLabel<'_> {
        match self {
            Self::Name(name) => TopicLabel::Name(name),
            Self::Id(id) => TopicLabel::Id(*id),
        }
    }
}

impl Topics {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            labels: Vec::new(),
            by_label: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            limit,
            last: 0,
            unknown: [Vec::new(), Vec::new()],
        }
    }

    /// The topic that a message of `direction` calls `name`.
    #[inline(always)]
    pub(crate) fn named(&mut self, direction: Direction, name: &[u8]) -> Topic {
        match self.labels.get(self.last as usize) {
            Some(Label::Name(last)) if equal(last, name) => Topic::Known(self.last),
            _ => self.other_name(direction, name),
        }
    }

    #[inline(never)]
    fn other_name(&mut self, direction: Direction, name: &[u8]) -> Topic {
        self.find(TopicLabel::Name(name)).unwrap_or_else(|| {
            if let Some(unknown) = self.unknown.get_mut(direction as usize) {
                unknown.clear();
                unknown.extend_from_slice(name);
            }
            Topic::Name(direction)
        })
    }

    /// The topic that has `id`.
    #[inline]
    pub(crate) fn with_id(&mut self, id: TopicId) -> Topic {
        if let Some(Label::Id(last)) = self.labels.get(self.last as usize)
            && *last == id
        {
            return Topic::Known(self.last);
        }
        self.find(TopicLabel::Id(id)).unwrap_or(Topic::Id(id))
    }

    /// What an observation says of `topic`.
    #[inline(always)]
    pub(crate) const fn describe(&self, topic: Topic) -> TopicRef<'_> {
        TopicRef::known(self, topic)
    }

    /// What is on the wire in place of `topic`.
    pub(crate) fn label(&self, topic: Topic) -> TopicLabel<'_> {
        let label = match topic {
            Topic::Known(index) => self.labels.get(index as usize).map(Label::get),
            Topic::Name(direction) => self.unknown.get(direction as usize).map(|name| TopicLabel::Name(name)),
            Topic::Id(id) => Some(TopicLabel::Id(id)),
        };
        label.unwrap_or(TopicLabel::Name(&[]))
    }

    fn find(&mut self, label: TopicLabel<'_>) -> Option<Topic> {
        let hash = hash(&self.hasher, label);
        let equal = |&index: &u32| self.labels.get(index as usize).is_some_and(|known| known.get() == label);
        if let Some(&index) = self.by_label.find(hash, equal) {
            self.last = index;
            return Some(Topic::Known(index));
        }
        if self.labels.len() >= self.limit {
            return None;
        }
        let index = u32::try_from(self.labels.len()).ok().filter(|&index| index != TopicIndex::OVERFLOW.0)?;
        self.labels.push(match label {
            TopicLabel::Name(name) if name.len() > NAME_LENGTH => return None,
            TopicLabel::Name(name) => Label::Name(name.into()),
            TopicLabel::Id(id) => Label::Id(id),
        });
        let Self { labels, by_label, hasher, .. } = self;
        by_label.insert_unique(hash, index, |&other| {
            labels.get(other as usize).map_or(0, |known| crate::topics::hash(hasher, known.get()))
        });
        self.last = index;
        Some(Topic::Known(index))
    }
}

/// Whether two names are equal. Most are so short that a call to compare memory costs more than comparing.
#[inline(always)]
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    // From N to 2 N bytes the first and the last N are all.
    match a.len() {
        4..8 => ends::<4>(a) == ends::<4>(b),
        8..=16 => ends::<8>(a) == ends::<8>(b),
        _ => a == b,
    }
}

#[inline(always)]
fn ends<const N: usize>(bytes: &[u8]) -> (Option<&[u8; N]>, Option<&[u8; N]>) {
    (bytes.first_chunk(), bytes.last_chunk())
}

fn hash(hasher: &DefaultHashBuilder, label: TopicLabel<'_>) -> u64 {
    match label {
        TopicLabel::Name(name) => hasher.hash_one(name),
        TopicLabel::Id(id) => hasher.hash_one(id.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_keep_their_numbers() {
        let mut topics = Topics::new(100);
        let id = TopicId([7; 16]);
        assert_eq!(topics.named(Direction::Request, b"a"), Topic::Known(0));
        assert_eq!(topics.with_id(id), Topic::Known(1));
        assert_eq!(topics.named(Direction::Response, b"b"), Topic::Known(2));
        assert_eq!(topics.named(Direction::Request, b"a"), Topic::Known(0));
        assert_eq!(topics.with_id(id), Topic::Known(1));
        assert_eq!(topics.named(Direction::Request, &[7; 16]), Topic::Known(3), "a name is no id");
        assert_eq!(topics.describe(Topic::Known(2)).label(), TopicLabel::Name(b"b"));
        assert_eq!(topics.describe(Topic::Known(1)), TopicRef::new(TopicIndex(1), TopicLabel::Id(id)));
    }

    #[test]
    fn names_are_equal_byte_by_byte() {
        for length in 0..40 {
            let name = std::vec![b'x'; length];
            assert!(equal(&name, &name));
            assert!(!equal(&name, &std::vec![b'x'; length + 1]));
            for at in 0..length {
                let mut other = name.clone();
                other[at] = b'y';
                assert!(!equal(&name, &other), "{length} {at}");
            }
        }
    }

    #[test]
    fn beyond_the_limit_labels_are_told_but_not_kept() {
        let mut topics = Topics::new(1);
        assert_eq!(topics.named(Direction::Request, b"a"), Topic::Known(0));
        let asked = topics.named(Direction::Request, b"b");
        let answered = topics.named(Direction::Response, b"c");
        assert_eq!(topics.describe(asked), TopicRef::new(TopicIndex::OVERFLOW, TopicLabel::Name(b"b")));
        assert_eq!(topics.describe(answered), TopicRef::new(TopicIndex::OVERFLOW, TopicLabel::Name(b"c")));
        let id = topics.with_id(TopicId([1; 16]));
        assert_eq!(topics.describe(id), TopicRef::new(TopicIndex::OVERFLOW, TopicLabel::Id(TopicId([1; 16]))));
        assert_eq!(topics.named(Direction::Request, b"a"), Topic::Known(0));
    }

    #[test]
    fn a_name_longer_than_kafka_allows_is_not_kept() {
        let mut topics = Topics::new(10);
        assert_eq!(topics.named(Direction::Request, &[b'x'; 250]), Topic::Name(Direction::Request));
        assert_eq!(topics.named(Direction::Request, &[b'x'; 249]), Topic::Known(0));
    }
}
