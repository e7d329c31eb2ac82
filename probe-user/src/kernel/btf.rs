//! Where the fields of the running kernel's structures are, from the type information that it carries (BTF).
//!
//! Read once and dropped: only what the programs need is looked up. The format is the kernel's
//! Documentation/bpf/btf.rst.

use std::fs;
use std::io;

/// Where kernels built with CONFIG_DEBUG_INFO_BTF show it.
const PATH: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;
const TYPE_BYTES: usize = 12;

/// What kinds of types there are, as far as they matter here.
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const POINTER: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FORWARD: u32 = 7;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNCTION: u32 = 12;
    pub(super) const PROTOTYPE: u32 = 13;
    pub(super) const VARIABLE: u32 = 14;
    pub(super) const SECTION: u32 = 15;
    pub(super) const DECLARATION_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// Why the kernel's types are not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum BtfError {
    /// The file cannot be read.
    #[error("{PATH}: {0} (the kernel needs CONFIG_DEBUG_INFO_BTF)")]
    Unreadable(#[source] io::Error),
    /// It is not what it should be.
    #[error("{PATH} is not understood: {0}")]
    Malformed(&'static str),
}

/// The types of the running kernel.
pub(super) struct Btf {
    data: Vec<u8>,
    strings: usize,
    /// Where each type begins; number 0 is void. No table of names: a few dozen are asked for, of a hundred thousand.
    types: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Type {
    at: usize,
    name: u32,
    info: u32,
    /// Its size, or the type that it refers to.
    other: u32,
}

impl Type {
    fn kind(self) -> u32 {
        self.info >> 24 & 0x1f
    }

    /// How many members, values or parameters it has.
    fn count(self) -> usize {
        (self.info & 0xffff) as usize
    }

    /// Bytes that follow.
    fn trailer(self) -> usize {
        match self.kind() {
            kind::INT | kind::VARIABLE | kind::DECLARATION_TAG => 4,
            kind::ARRAY => 12,
            kind::STRUCT | kind::UNION | kind::SECTION | kind::ENUM64 => 12 * self.count(),
            kind::ENUM | kind::PROTOTYPE => 8 * self.count(),
            _ => 0,
        }
    }
}

impl Btf {
    /// Of the running kernel.
    pub(super) fn running() -> Result<Self, BtfError> {
        Self::parse(fs::read(PATH).map_err(BtfError::Unreadable)?)
    }

    fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let malformed = BtfError::Malformed;
        let mut btf = Self { data, strings: 0, types: vec![0] };
        if btf.data.len() < HEADER_BYTES || btf.data.get(..2) != Some(&MAGIC.to_le_bytes()) {
            return Err(malformed("no header"));
        }
        let header = |at| btf.word(at).map(|word| word as usize).ok_or(malformed("no header"));
        let start = header(4)?;
        let (types, types_bytes, strings) = (start + header(8)?, header(12)?, start + header(16)?);
        btf.strings = strings;
        let mut at = types;
        while at < types + types_bytes {
            let found = btf.read(at).ok_or(malformed("it ends within a type"))?;
            btf.types.push(at as u32);
            at += TYPE_BYTES + found.trailer();
        }
        Ok(btf)
    }

    /// The offset of a field in bytes; `path` goes through structures by dots. An empty path is the structure's size.
    pub(super) fn offset(&self, structure: &str, path: &str) -> Option<u32> {
        let mut of = self.find(kind::STRUCT, structure)?;
        if path.is_empty() {
            return Some(of.other);
        }
        let mut bits = 0;
        for name in path.split('.') {
            let (offset, member) = self.member(of, name)?;
            bits += offset;
            of = self.plain(member)?;
        }
        (bits % 8 == 0).then_some(bits / 8)
    }

    /// How many arguments the functions at a tracepoint get; nothing if there is no such tracepoint.
    pub(super) fn tracepoint(&self, name: &str) -> Option<usize> {
        let pointer = self.get(self.find(kind::TYPEDEF, &format!("btf_trace_{name}"))?.other)?;
        let prototype = (pointer.kind() == kind::POINTER).then(|| self.get(pointer.other)).flatten()?;
        // The first one is whatever the function was registered with.
        prototype.count().checked_sub(1)
    }

    /// What is enough of these types to load a program for a tracepoint.
    pub(super) fn excerpt_for_tracepoint(&self, name: &str) -> Option<aya::Btf> {
        self.excerpt(kind::TYPEDEF, &format!("btf_trace_{name}"))
    }

    /// What is enough of these types to load a program for a function.
    pub(super) fn excerpt_for_function(&self, name: &str) -> Option<aya::Btf> {
        self.excerpt(kind::FUNCTION, name)
    }

    /// All types have their numbers, and one its name: what aya looks up. The whole would take tens of megabytes.
    fn excerpt(&self, kind: u32, name: &str) -> Option<aya::Btf> {
        let wanted = self.number(kind, name)?;
        let mut types = Vec::with_capacity(TYPE_BYTES * wanted as usize);
        for number in 1..=wanted {
            let (name, kind) = if number == wanted { (1, kind) } else { (0, kind::FORWARD) };
            for word in [name, kind << 24, 0_u32] {
                types.extend(word.to_ne_bytes());
            }
        }
        let strings = [&[0], name.as_bytes(), &[0]].concat();
        let mut data = Vec::with_capacity(HEADER_BYTES + types.len() + strings.len());
        data.extend(MAGIC.to_ne_bytes());
        data.extend([1, 0]);
        let lengths = [types.len() as u32, strings.len() as u32];
        for word in [HEADER_BYTES as u32, 0, lengths[0], lengths[0], lengths[1]] {
            data.extend(word.to_ne_bytes());
        }
        data.extend(types);
        data.extend(strings);
        aya::Btf::parse(&data, aya::Endianness::default()).ok()
    }

    /// Whether the kernel has a function of this name.
    pub(super) fn has_function(&self, name: &str) -> bool {
        self.find(kind::FUNCTION, name).is_some()
    }

    /// The value of an enumerator.
    pub(super) fn enumerator(&self, of: &str, name: &str) -> Option<u32> {
        let of = self.find(kind::ENUM, of)?;
        let mut values = (0..of.count()).map(|index| of.at + TYPE_BYTES + 8 * index);
        values.find(|&at| self.word(at).is_some_and(|text| self.string(text) == name)).and_then(|at| self.word(at + 4))
    }

    /// Offset in bits and type of a member, those of unnamed structures and unions included.
    fn member(&self, of: Type, name: &str) -> Option<(u32, u32)> {
        // With this flag the upper byte is the width of a bit field.
        let mask = if of.info >> 31 == 1 { 0x00ff_ffff } else { u32::MAX };
        for index in 0..of.count() {
            let at = of.at + TYPE_BYTES + 12 * index;
            let (text, member, offset) = (self.word(at)?, self.word(at + 4)?, self.word(at + 8)? & mask);
            if text != 0 {
                if self.string(text) == name {
                    return Some((offset, member));
                }
            } else if let Some(inner) = self.plain(member)
                && [kind::STRUCT, kind::UNION].contains(&inner.kind())
                && let Some((within, member)) = self.member(inner, name)
            {
                return Some((offset + within, member));
            }
        }
        None
    }

    /// A type without typedefs and qualifiers.
    fn plain(&self, number: u32) -> Option<Type> {
        let mut found = self.get(number)?;
        while [kind::TYPEDEF, kind::VOLATILE, kind::CONST, kind::RESTRICT, kind::TYPE_TAG].contains(&found.kind()) {
            found = self.get(found.other)?;
        }
        Some(found)
    }

    fn find(&self, kind: u32, name: &str) -> Option<Type> {
        self.get(self.number(kind, name)?)
    }

    fn number(&self, kind: u32, name: &str) -> Option<u32> {
        let is_wanted = |&number: &u32| {
            self.get(number).is_some_and(|found| found.kind() == kind && self.is_string(found.name, name))
        };
        (1..self.types.len() as u32).find(is_wanted)
    }

    fn get(&self, number: u32) -> Option<Type> {
        if number == 0 { None } else { self.read(*self.types.get(number as usize)? as usize) }
    }

    fn is_string(&self, offset: u32, text: &str) -> bool {
        let start = self.strings + offset as usize;
        let end = start + text.len();
        self.data.get(start..end) == Some(text.as_bytes()) && self.data.get(end) == Some(&0)
    }

    fn read(&self, at: usize) -> Option<Type> {
        Some(Type { at, name: self.word(at)?, info: self.word(at + 4)?, other: self.word(at + 8)? })
    }

    fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.data.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    fn string(&self, offset: u32) -> &str {
        let rest = self.data.get(self.strings + offset as usize..).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
        rest.get(..length).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_fields_of_the_running_kernel() {
        let Ok(btf) = Btf::running() else { return };
        // What has been so for decades.
        assert_eq!(btf.offset("list_head", "prev"), Some(8));
        assert!(btf.offset("task_struct", "se.sum_exec_runtime").is_some());
        assert_eq!(btf.offset("task_struct", "no_such_field"), None);
        assert!(btf.tracepoint("sched_switch").is_some());
        assert!(btf.has_function("vfs_read"));
        assert!(btf.enumerator("pageflags", "PG_head").is_some());
    }

    #[test]
    fn refuses_garbage() {
        assert!(Btf::parse(Vec::new()).is_err());
        assert!(Btf::parse(vec![0xff; 100]).is_err());
        let mut truncated = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 60, 0, 0, 0, 60, 0, 0, 0, 1, 0, 0, 0];
        truncated.extend([0; 8]);
        assert!(Btf::parse(truncated).is_err());
    }
}
