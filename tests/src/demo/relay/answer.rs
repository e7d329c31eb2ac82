//! The answers that hold broker addresses, and how others are put in.
//!
//! Only the fields up to the addresses are read; what follows is copied as it is. Two more places can hold addresses:
//! NodeEndpoints (KIP-951) in Produce and Fetch answers, and DescribeCluster. They are kept out by offering clients the
//! versions before them in the ApiVersions answer. That is the one other change: a demo's client then speaks
//! Produce v9 and Fetch v15 at most.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
};

use super::Advertised;

/// Which address stands in for which.
#[derive(Debug, Default)]
pub(super) struct Shown {
    instead: HashMap<Advertised, SocketAddr>,
    unknown: BTreeSet<Advertised>,
}

impl Shown {
    pub(super) fn new(instead: HashMap<Advertised, SocketAddr>) -> Self {
        Self { instead, unknown: BTreeSet::new() }
    }

    /// Brokers that nothing stands in for.
    pub(super) fn unknown(&self) -> impl Iterator<Item = &Advertised> {
        self.unknown.iter()
    }

    fn of(&mut self, host: &[u8], port: i32) -> (String, i32) {
        let real = Advertised { host: String::from_utf8_lossy(host).into_owned(), port };
        match self.instead.get(&real) {
            Some(shown) => (shown.ip().to_string(), i32::from(shown.port())),
            // "No coordinator", as Kafka puts it: an empty host with port -1.
            None if port < 0 => (real.host, port),
            None => {
                self.unknown.insert(real.clone());
                (real.host, port)
            }
        }
    }
}

/// An answer that is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rewritten {
    Metadata,
    FindCoordinator,
    ApiVersions,
}

const METADATA: i16 = 3;
const FIND_COORDINATOR: i16 = 10;
const API_VERSIONS: i16 = 18;

/// The highest version offered of an API; -1 for not at all.
fn highest(key: i16, offered: i16) -> i16 {
    match key {
        // v10 of Produce and v16 of Fetch bring NodeEndpoints.
        0 => offered.min(9),
        1 => offered.min(15),
        METADATA => offered.min(13),
        FIND_COORDINATOR => offered.min(6),
        // DescribeCluster, ShareFetch, ShareAcknowledge.
        60 | 78 | 79 => -1,
        _ => offered,
    }
}

impl Rewritten {
    pub(super) fn of(key: i16) -> Option<Self> {
        match key {
            METADATA => Some(Self::Metadata),
            FIND_COORDINATOR => Some(Self::FindCoordinator),
            API_VERSIONS => Some(Self::ApiVersions),
            _ => None,
        }
    }

    /// The answer after its correlation id, with other addresses. Nothing if it cannot be read.
    pub(super) fn rewrite(self, version: i16, body: &[u8], shown: &mut Shown) -> Option<Vec<u8>> {
        let mut copy = Copy { rest: body, out: Vec::with_capacity(body.len() + 64) };
        match self {
            Self::Metadata => metadata(version, &mut copy, shown)?,
            Self::FindCoordinator => coordinators(version, &mut copy, shown)?,
            Self::ApiVersions => api_versions(version, &mut copy)?,
        }
        copy.out.extend_from_slice(copy.rest);
        Some(copy.out)
    }
}

fn metadata(version: i16, copy: &mut Copy<'_>, shown: &mut Shown) -> Option<()> {
    if !(0..=13).contains(&version) {
        return None;
    }
    let flexible = version >= 9;
    if flexible {
        copy.tags()?;
    }
    if version >= 3 {
        copy.bytes(4)?;
    }
    for _ in 0..copy.count(flexible)? {
        copy.bytes(4)?;
        copy.address(flexible, shown)?;
        if version >= 1 {
            copy.string(flexible)?;
        }
        if flexible {
            copy.tags()?;
        }
    }
    Some(())
}

fn coordinators(version: i16, copy: &mut Copy<'_>, shown: &mut Shown) -> Option<()> {
    if !(0..=6).contains(&version) {
        return None;
    }
    let flexible = version >= 3;
    if flexible {
        copy.tags()?;
    }
    if version >= 1 {
        copy.bytes(4)?;
    }
    if version < 4 {
        copy.bytes(2)?;
        if version >= 1 {
            copy.string(flexible)?;
        }
        copy.bytes(4)?;
        return copy.address(flexible, shown);
    }
    for _ in 0..copy.count(flexible)? {
        copy.string(flexible)?;
        copy.bytes(4)?;
        copy.address(flexible, shown)?;
        copy.bytes(2)?;
        copy.string(flexible)?;
        copy.tags()?;
    }
    Some(())
}

fn api_versions(version: i16, copy: &mut Copy<'_>) -> Option<()> {
    // The answer to a version that the broker does not know names only the versions of ApiVersions itself, in the
    // layout of version 0 (librdkafka's mock: in a layout of its own). The client asks again.
    const UNSUPPORTED_VERSION: [u8; 2] = 35i16.to_be_bytes();
    if copy.bytes(2)? == UNSUPPORTED_VERSION {
        return Some(());
    }
    let flexible = version >= 3;
    let start = copy.out.len();
    let count = copy.count(flexible)?;
    copy.out.truncate(start);
    let mut entries = Copy { rest: copy.rest, out: Vec::new() };
    let mut kept = 0;
    for _ in 0..count {
        let before = entries.out.len();
        let &[k0, k1, l0, l1, h0, h1] = entries.bytes(6)? else { return None };
        if flexible {
            entries.tags()?;
        }
        let key = i16::from_be_bytes([k0, k1]);
        let high = highest(key, i16::from_be_bytes([h0, h1]));
        if high < i16::from_be_bytes([l0, l1]) {
            entries.out.truncate(before);
        } else {
            entries.out.get_mut(before + 4..before + 6)?.copy_from_slice(&high.to_be_bytes());
            kept += 1;
        }
    }
    copy.rest = entries.rest;
    copy.put_count(flexible, kept);
    copy.out.append(&mut entries.out);
    Some(())
}

/// Reads one side and writes the other; every step copies, but for the addresses.
struct Copy<'a> {
    rest: &'a [u8],
    out: Vec<u8>,
}

impl<'a> Copy<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.take(length)?;
        self.out.extend_from_slice(taken);
        Some(taken)
    }

    fn address(&mut self, flexible: bool, shown: &mut Shown) -> Option<()> {
        let before = self.rest;
        let Some(host) = self.take_string(flexible)? else {
            // "No coordinator", as librdkafka's mock puts it.
            self.rest = before;
            self.string(flexible)?;
            return self.bytes(4).map(|_port| ());
        };
        let port = i32::from_be_bytes(self.take(4)?.try_into().ok()?);
        let (host, port) = shown.of(host, port);
        self.put_string(flexible, &host)?;
        self.out.extend_from_slice(&port.to_be_bytes());
        Some(())
    }

    fn string(&mut self, flexible: bool) -> Option<()> {
        let before = self.rest;
        self.take_string(flexible)?;
        let length = before.len() - self.rest.len();
        self.out.extend_from_slice(before.get(..length)?);
        Some(())
    }

    /// Elements of an array.
    fn count(&mut self, flexible: bool) -> Option<usize> {
        let count = if flexible {
            self.take_varint()?.checked_sub(1)?
        } else {
            u32::from_be_bytes(self.take(4)?.try_into().ok()?)
        };
        let count = usize::try_from(count).ok()?;
        self.put_count(flexible, count);
        Some(count)
    }

    fn put_count(&mut self, flexible: bool, count: usize) {
        if flexible {
            self.put_varint(count as u32 + 1);
        } else {
            self.out.extend_from_slice(&(count as u32).to_be_bytes());
        }
    }

    fn tags(&mut self) -> Option<()> {
        let count = self.take_varint()?;
        self.put_varint(count);
        for _ in 0..count {
            let tag = self.take_varint()?;
            let size = self.take_varint()?;
            self.put_varint(tag);
            self.put_varint(size);
            self.bytes(usize::try_from(size).ok()?)?;
        }
        Some(())
    }

    /// A string; within, nothing for null.
    fn take_string(&mut self, flexible: bool) -> Option<Option<&'a [u8]>> {
        let length = if flexible {
            self.take_varint()?.checked_sub(1)
        } else {
            let length = i16::from_be_bytes(self.take(2)?.try_into().ok()?);
            u32::try_from(length).ok()
        };
        match length {
            Some(length) => self.take(usize::try_from(length).ok()?).map(Some),
            None => Some(None),
        }
    }

    fn put_string(&mut self, flexible: bool, text: &str) -> Option<()> {
        if flexible {
            self.put_varint(u32::try_from(text.len()).ok()?.checked_add(1)?);
        } else {
            self.out.extend_from_slice(&i16::try_from(text.len()).ok()?.to_be_bytes());
        }
        self.out.extend_from_slice(text.as_bytes());
        Some(())
    }

    fn take_varint(&mut self) -> Option<u32> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let &[byte] = self.take(1)? else { return None };
            value |= u32::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn put_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}
