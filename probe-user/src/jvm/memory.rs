//! Heap and metaspace by pool, called as the JVM's own memory pools are.
//!
//! The JVM brings these counters up to date at collections; what was allocated since the last one shows in Eden at
//! best every 50 ms (Serial, Parallel) or with each new region (G1).

use super::perf_data::{Index, Place, Prologue};

/// Spaces of a generation are eden and two survivors.
const SPACES: usize = 4;

/// Alignment of objects: G1 adds it to each capacity so that `jstat` never divides by zero (HotSpot's
/// `g1MonitoringSupport.hpp`, `pad_capacity`).
const G1_PADDING: u64 = 8;

/// Which pools a JVM has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Serial,
    Parallel,
    G1,
    Z,
    GenerationalZ,
    Other,
}

/// What a pool is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Area {
    /// Java objects.
    Heap,
    /// Classes.
    NonHeap,
}

/// A memory pool, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// As `MemoryPoolMXBean` has it: `G1 Old Gen`, `Metaspace`.
    pub name: &'static str,
    /// What it is part of.
    pub area: Area,
    /// In use.
    pub used: u64,
    /// Capacity now: what the JVM has taken from the system.
    pub committed: u64,
    /// Capacity at most; nothing if the JVM does not say.
    pub max: Option<u64>,
}

/// Where the counters of a pool are.
#[derive(Debug, Clone, Copy)]
struct Space {
    used: Place,
    committed: Place,
    max: Option<Place>,
}

/// All pools of a JVM.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    pools: Vec<(&'static str, Area, Vec<Space>)>,
    padding: u64,
}

impl Pools {
    pub(crate) fn find(index: &Index, family: Family) -> Self {
        let space = |name: &str| Space::find(index, name);
        let young = |number: usize| space(&format!("sun.gc.generation.0.space.{number}"));
        let all_young = || (0..SPACES).filter_map(young).collect::<Vec<_>>();
        let survivors = || [young(1), young(2)].into_iter().flatten().collect::<Vec<_>>();
        let old = || space("sun.gc.generation.1.space.0").into_iter().collect::<Vec<_>>();
        let eden = || young(0).into_iter().collect::<Vec<_>>();
        let heap = match family {
            Family::Serial => vec![("Eden Space", eden()), ("Survivor Space", survivors()), ("Tenured Gen", old())],
            Family::Parallel => {
                vec![("PS Eden Space", eden()), ("PS Survivor Space", survivors()), ("PS Old Gen", old())]
            }
            // The first survivor space is a place-holder there.
            Family::G1 => vec![
                ("G1 Eden Space", eden()),
                ("G1 Survivor Space", young(2).into_iter().collect()),
                ("G1 Old Gen", old()),
            ],
            Family::Z => vec![("ZHeap", old())],
            Family::GenerationalZ => vec![("ZGC Young Generation", all_young()), ("ZGC Old Generation", old())],
            Family::Other => vec![("Young Generation", all_young()), ("Old Generation", old())],
        };
        let mut pools: Vec<_> = heap.into_iter().map(|(name, spaces)| (name, Area::Heap, spaces)).collect();
        for (name, counters) in
            [("Metaspace", "sun.gc.metaspace"), ("Compressed Class Space", "sun.gc.compressedclassspace")]
        {
            pools.push((name, Area::NonHeap, space(counters).into_iter().collect()));
        }
        pools.retain(|(.., spaces)| !spaces.is_empty());
        Self { pools, padding: if family == Family::G1 { G1_PADDING } else { 0 } }
    }

    pub(crate) fn read(&self, prologue: &Prologue, file: &[u8]) -> Vec<Pool> {
        let read = |(name, area, spaces): &(&'static str, Area, Vec<Space>)| {
            let padding = if *area == Area::Heap { self.padding } else { 0 };
            let value = |place: Place| prologue.long(file, place);
            let capacity = |place: Place| Some(value(place)?.saturating_sub(padding));
            let read =
                |space: &Space| Some((value(space.used)?, capacity(space.committed)?, space.max.and_then(capacity)));
            // Of two survivor spaces one is empty: the pool is the other.
            let (used, committed, max) = spaces.iter().filter_map(read).max_by_key(|(used, ..)| *used)?;
            Some(Pool { name, area: *area, used, committed, max })
        };
        self.pools.iter().filter_map(read).collect()
    }
}

impl Space {
    fn find(index: &Index, name: &str) -> Option<Self> {
        let place = |counter: &str| index.place(&format!("{name}.{counter}"));
        Some(Self { used: place("used")?, committed: place("capacity")?, max: place("maxCapacity") })
    }
}
