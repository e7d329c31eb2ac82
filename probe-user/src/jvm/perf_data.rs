//! The format of a JVM's performance data, version 2 (HotSpot's `perfMemory.hpp`, `PerfDataPrologue` and
//! `PerfDataEntry`).
//!
//! The JVM writes while we read, and the file may belong to anyone: nothing in it is trusted, every place is checked.

use std::collections::HashMap;

use thiserror::Error;

/// At its start, most significant byte first on every machine.
const MAGIC: [u8; 4] = [0xca, 0xfe, 0xc0, 0xc0];

/// Entries that the JVM itself makes are some 250.
const ENTRIES_LIMIT: u32 = 4096;

/// Kafka's class path is a string in there too.
const NAME_LIMIT: usize = 256;

/// Why a file is no performance data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Broken {
    /// Other first bytes.
    #[error("not a JVM's performance data")]
    Magic,
    /// Another format than that of JDK 5 and later.
    #[error("performance data of version {0}.{1}")]
    Version(u8, u8),
    /// The JVM is still starting.
    #[error("the JVM is not yet ready to be read")]
    NotReady,
    /// The end is missing, or a length leads beyond it.
    #[error("the performance data is cut off or damaged")]
    Damaged,
}

/// Where a value is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    offset: usize,
    /// Zero for a single value.
    length: usize,
    kind: u8,
}

/// The beginning of the file. While it is the same, all places are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prologue {
    big_endian: bool,
    used: u32,
    first: u32,
    entries: u32,
    modified: u64,
}

/// All names with their places.
#[derive(Debug, Default)]
pub(crate) struct Index(HashMap<String, Place>);

impl Prologue {
    pub(crate) fn read(file: &[u8]) -> Result<Self, Broken> {
        if bytes::<4>(file, 0) != Some(MAGIC) {
            return Err(Broken::Magic);
        }
        let [order, major, minor, accessible] = bytes::<4>(file, 4).ok_or(Broken::Damaged)?;
        if major != 2 {
            return Err(Broken::Version(major, minor));
        }
        if accessible == 0 {
            return Err(Broken::NotReady);
        }
        let big_endian = match order {
            0 => true,
            1 => false,
            _ => return Err(Broken::Damaged),
        };
        let prologue = Self {
            big_endian,
            used: integer(file, 8, big_endian).ok_or(Broken::Damaged)?,
            modified: long(file, 16, big_endian).ok_or(Broken::Damaged)?,
            first: integer(file, 24, big_endian).ok_or(Broken::Damaged)?,
            entries: integer(file, 28, big_endian).ok_or(Broken::Damaged)?,
        };
        if prologue.used as usize > file.len() || prologue.entries > ENTRIES_LIMIT {
            return Err(Broken::Damaged);
        }
        Ok(prologue)
    }

    /// Walks over all entries.
    pub(crate) fn index(&self, file: &[u8]) -> Result<Index, Broken> {
        let mut index = Index::default();
        let mut start = self.first as usize;
        for _ in 0..self.entries {
            start += self.entry(file, start, &mut index).ok_or(Broken::Damaged)?;
        }
        Ok(index)
    }

    /// Length of the entry that begins at `start`.
    fn entry(&self, file: &[u8], start: usize, index: &mut Index) -> Option<usize> {
        let length = integer(file, start, self.big_endian)? as usize;
        let entry = file.get(start..start.checked_add(length)?)?;
        // An empty one would never end.
        let header = entry.get(..20)?;
        let name = entry.get(integer(header, 4, self.big_endian)? as usize..)?;
        let name = name.get(..name.iter().take(NAME_LIMIT).position(|byte| *byte == 0)?)?;
        let vector = integer(header, 8, self.big_endian)? as usize;
        let kind = *header.get(12)?;
        let offset = integer(header, 16, self.big_endian)? as usize;
        let size = if kind == b'J' { 8 } else { 1 };
        entry.get(offset..offset.checked_add(vector.max(1).checked_mul(size)?)?)?;
        if let Ok(name) = std::str::from_utf8(name) {
            index.0.insert(name.to_owned(), Place { offset: start + offset, length: vector, kind });
        }
        Some(length)
    }

    /// A number; negative ones are not of use here.
    pub(crate) fn long(&self, file: &[u8], place: Place) -> Option<u64> {
        let value = (place.kind == b'J' && place.length == 0).then(|| long(file, place.offset, self.big_endian))??;
        (value <= i64::MAX as u64).then_some(value)
    }

    /// A string.
    pub(crate) fn text(&self, file: &[u8], place: Place) -> Option<String> {
        let text = file.get(place.offset..place.offset.checked_add(place.length)?)?;
        let text = text.split(|byte| *byte == 0).next()?;
        (place.kind == b'B').then(|| String::from_utf8_lossy(text).into_owned())
    }
}

impl Index {
    pub(crate) fn place(&self, name: &str) -> Option<Place> {
        self.0.get(name).copied()
    }
}

fn bytes<const N: usize>(file: &[u8], offset: usize) -> Option<[u8; N]> {
    file.get(offset..offset.checked_add(N)?)?.try_into().ok()
}

fn integer(file: &[u8], offset: usize, big_endian: bool) -> Option<u32> {
    let bytes = bytes(file, offset)?;
    let value = if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
    // Of the JVM's type `jint`.
    (value <= i32::MAX as u32).then_some(value)
}

fn long(file: &[u8], offset: usize, big_endian: bool) -> Option<u64> {
    let bytes = bytes(file, offset)?;
    Some(if big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
}

/// Performance data as a JVM writes it, for tests.
#[cfg(test)]
pub(crate) mod sample {
    /// A value of an entry.
    pub(crate) enum Value {
        Long(i64),
        Text(&'static str),
    }

    /// The file that holds these.
    pub(crate) fn file(values: &[(String, Value)], big_endian: bool) -> Vec<u8> {
        let int = |value: usize| {
            let value = u32::try_from(value).unwrap();
            if big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
        };
        let mut entries = Vec::new();
        for (name, value) in values {
            let data = (20 + name.len() + 1).next_multiple_of(8);
            let (kind, vector, bytes) = match value {
                Value::Long(value) if big_endian => (b'J', 0, value.to_be_bytes().to_vec()),
                Value::Long(value) => (b'J', 0, value.to_le_bytes().to_vec()),
                Value::Text(text) => (b'B', text.len() + 1, [text.as_bytes(), b"\0"].concat()),
            };
            let length = (data + bytes.len()).next_multiple_of(8);
            let mut entry = [int(length), int(20), int(vector), [kind, 0, 1, 1], int(data)].concat();
            entry.extend_from_slice(name.as_bytes());
            entry.resize(data, 0);
            entry.extend(bytes);
            entry.resize(length, 0);
            entries.extend(entry);
        }
        let mut file = super::MAGIC.to_vec();
        file.extend([u8::from(!big_endian), 2, 0, 1]);
        file.extend([int(32 + entries.len()), int(0), [0; 4], [0; 4], int(32), int(values.len())].concat());
        file.extend(entries);
        file
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::sample::{Value, file};
    use super::*;

    fn values() -> Vec<(String, Value)> {
        vec![
            ("sun.gc.collector.0.invocations".to_owned(), Value::Long(7)),
            ("sun.gc.collector.0.name".to_owned(), Value::Text("G1 young collection pauses")),
            ("below.zero".to_owned(), Value::Long(-1)),
        ]
    }

    #[test]
    fn both_byte_orders_are_read() {
        for big_endian in [false, true] {
            let file = file(&values(), big_endian);
            let prologue = Prologue::read(&file).unwrap();
            let index = prologue.index(&file).unwrap();
            let long = |name| prologue.long(&file, index.place(name).unwrap());
            assert_eq!(long("sun.gc.collector.0.invocations"), Some(7));
            assert_eq!(long("below.zero"), None);
            assert_eq!(long("sun.gc.collector.0.name"), None);
            let name = index.place("sun.gc.collector.0.name").unwrap();
            assert_eq!(prologue.text(&file, name).as_deref(), Some("G1 young collection pauses"));
        }
    }

    #[test]
    fn each_file_that_is_cut_off_is_damaged() {
        let file = file(&values(), false);
        for length in 0..file.len() {
            let cut = &file[..length];
            assert!(Prologue::read(cut).and_then(|prologue| prologue.index(cut)).is_err(), "{length}");
        }
    }

    #[test]
    fn other_files_are_told_apart() {
        let good = file(&values(), false);
        let with = |offset: usize, byte: u8| {
            let mut file = good.clone();
            file[offset] = byte;
            Prologue::read(&file).unwrap_err()
        };
        assert_eq!(with(0, 0), Broken::Magic);
        assert_eq!(with(4, 9), Broken::Damaged);
        assert_eq!(with(5, 1), Broken::Version(1, 0));
        assert_eq!(with(7, 0), Broken::NotReady);
    }

    proptest! {
        #[test]
        fn damaged_data_is_no_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
            let mut file = file(&values(), false);
            for (place, byte) in changes {
                let place = place.index(file.len());
                file[place] = byte;
            }
            let Ok(prologue) = Prologue::read(&file) else { return Ok(()) };
            let Ok(index) = prologue.index(&file) else { return Ok(()) };
            for place in index.0.values() {
                _ = (prologue.long(&file, *place), prologue.text(&file, *place));
                // The places may be used on a later reading, which may be shorter.
                _ = (prologue.long(&file[..40], *place), prologue.text(&file[..40], *place));
            }
        }

        #[test]
        fn any_bytes_are_no_panic(bytes: Vec<u8>) {
            let file = [&MAGIC[..], &[1, 2, 0, 1], &bytes].concat();
            if let Ok(prologue) = Prologue::read(&file) {
                _ = prologue.index(&file);
            }
        }
    }
}
