//! The walk over all bodies but those that are hot: a tree of elements, which each API describes part by part.
//!
//! The message is an element, and so is each entry of an array in it. An element is fields, an array, more fields, another
//! array, and so on; in flexible versions tagged fields (KIP-482) end it, none of which is wanted. What stands before,
//! between and behind the arrays are its *parts*: each is read whole or not at all, so a large message needs no more memory
//! than its largest part.

use crate::{
    Direction, ErrorCode, TopicId,
    body::{Context, walk::Naming},
    reader::{Halt, Read, Reader, Tags},
    topics::Topic,
};

/// Most levels of a message: the message itself, groups, members, topics of an assignment.
const LEVELS: usize = 5;

/// What follows a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// An array of so many elements (at least a byte each), then the next part.
    Array(u32),
    /// The tagged fields of a struct that ends here, then the next part.
    StructEnd,
    /// The element's end, with tagged fields.
    End,
    /// The end of an element that is a bare value, without tagged fields in any version.
    ValueEnd,
}

impl Then {
    /// The next part.
    pub(super) const PART: Self = Self::Array(0);
}

/// Where a walk is, and what it keeps for the parts to come.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    /// Version of the message.
    pub(super) version: i16,
    /// Whether that has compact lengths and tagged fields.
    pub(super) flexible: bool,
    /// 0: the message. 1: an element of an array in it.
    pub(super) level: usize,
    /// Which part of the element comes next.
    pub(super) part: u8,
    /// Behind which part of the element above the array stands that the element belongs to.
    pub(super) array: u8,
    /// The topic whose partitions follow.
    pub(super) topic: Topic,
    /// The partition whose parts follow.
    pub(super) partition: i32,
    /// Its errors.
    pub(super) errors: [ErrorCode; 2],
    /// What is added up over an array.
    pub(super) sums: [u64; 2],
    /// Kind of what the message is about.
    pub(super) kind: i8,
    /// Id of the topic whose partitions follow.
    pub(super) id: TopicId,
    /// Whether what may be null is there.
    pub(super) present: bool,
}

impl At {
    /// Reads a field that versions from `first` on have.
    pub(super) fn since<T>(&self, first: i16, read: impl FnOnce() -> T) -> Option<T> {
        (self.version >= first).then(read)
    }

    /// Reads a topic that has a name or (from version `ids` on) an id; its partitions follow.
    pub(super) fn topic<S>(
        &mut self,
        direction: Direction,
        ids: i16,
        reader: &mut Reader<'_, '_>,
        context: &mut Context<'_, S>,
    ) -> Read<Then> {
        let naming = Naming { direction, flexible: self.flexible, by_id: self.version >= ids };
        let (topic, partitions) = naming.topic(reader, &mut context.memory.topics)?;
        self.topic = topic;
        Ok(Then::Array(partitions))
    }

    /// Reads the start of a response without an error of its own: the throttle time (from version `throttle` on), and how
    /// many elements follow.
    pub(super) fn head<S>(
        &self,
        throttle: i16,
        reader: &mut Reader<'_, '_>,
        context: &mut Context<'_, S>,
    ) -> Read<Then> {
        let throttle_ms = self.since(throttle, || reader.i32());
        let elements = reader.count(self.flexible);
        reader.commit()?;
        context.answered(throttle_ms, ErrorCode::NONE);
        Ok(Then::Array(elements))
    }
}

/// For [`At::topic`]: no version has ids.
pub(super) const NEVER: i16 = i16::MAX;
/// For [`At::head`]: all versions have a throttle time.
pub(super) const ALWAYS: i16 = 0;

/// See the module's first paragraph.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tree {
    at: At,
    /// From the message down to where the walk is.
    levels: [Level; LEVELS],
    /// Tagged fields come next.
    tagged: Option<Tagged>,
    tags: Tags,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    part: u8,
    /// Elements that are left, with the one that is being read.
    left: u32,
}

/// Whose tagged fields they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tagged {
    Struct,
    Element,
}

impl Tree {
    pub(super) fn new(version: i16, flexible: bool) -> Self {
        Self {
            at: At {
                version,
                flexible,
                level: 0,
                part: 0,
                array: 0,
                topic: Topic::Known(0),
                partition: 0,
                errors: [ErrorCode::NONE; 2],
                sums: [0; 2],
                kind: 0,
                id: TopicId([0; 16]),
                present: false,
            },
            levels: [Level { part: 0, left: 1 }; LEVELS],
            tagged: None,
            tags: Tags::new(),
        }
    }

    /// Reads as many parts as are at hand, from where the last call stopped. `read` reads the part that comes next.
    pub(super) fn walk<S>(
        &mut self,
        read: impl Fn(&mut At, &mut Reader<'_, '_>, &mut Context<'_, S>) -> Read<Then>,
        reader: &mut Reader<'_, '_>,
        context: &mut Context<'_, S>,
    ) -> Read<()> {
        loop {
            if let Some(tagged) = self.tagged {
                if self.at.flexible {
                    self.tags.skip(reader)?;
                }
                self.tagged = None;
                if tagged == Tagged::Element && self.leave()? {
                    return Ok(());
                }
            }
            match read(&mut self.at, reader, context)? {
                Then::Array(count) => {
                    self.next_part()?;
                    if count > 0 {
                        self.enter(count)?;
                    }
                }
                Then::StructEnd => {
                    self.next_part()?;
                    self.tagged = Some(Tagged::Struct);
                }
                Then::End => self.tagged = Some(Tagged::Element),
                Then::ValueEnd => {
                    if self.leave()? {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn next_part(&mut self) -> Read<()> {
        let level = self.level()?;
        level.part = level.part.saturating_add(1);
        self.at.part = level.part;
        Ok(())
    }

    fn enter(&mut self, count: u32) -> Read<()> {
        self.at.level = self.at.level.saturating_add(1);
        self.at.part = 0;
        self.at.array = self.array();
        *self.level()? = Level { part: 0, left: count };
        Ok(())
    }

    /// An element has ended. Whether it was the message.
    fn leave(&mut self) -> Read<bool> {
        let level = self.level()?;
        level.part = 0;
        level.left = level.left.saturating_sub(1);
        let is_last = level.left == 0;
        self.at.part = 0;
        if is_last {
            let Some(above) = self.at.level.checked_sub(1) else { return Ok(true) };
            self.at.level = above;
            self.at.part = self.level()?.part;
            self.at.array = self.array();
        }
        Ok(false)
    }

    /// Behind which part the array stands that the walk is in: the next one has been counted already.
    fn array(&self) -> u8 {
        let above = self.at.level.checked_sub(1).and_then(|above| self.levels.get(above));
        above.map_or(0, |level| level.part.saturating_sub(1))
    }

    /// No schema has as many levels that this could fail.
    fn level(&mut self) -> Read<&mut Level> {
        self.levels.get_mut(self.at.level).ok_or(Halt::Malformed)
    }
}
