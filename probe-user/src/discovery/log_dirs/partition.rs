//! Names of folders and files in a log dir, as Kafka's `LocalLog` and `LogFileUtils` make them.

/// A partition that has a folder in a log dir.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Partition {
    /// Topic. Of a folder that is being deleted Kafka may have cut off the end, to keep the name short.
    pub topic: String,
    /// Partition number.
    pub number: u32,
    /// What the folder is for.
    pub state: State,
}

/// What the folder of a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Its log.
    Current,
    /// Waits to be deleted.
    Deleted,
    /// The log on its way from another log dir.
    Future,
    /// A replica that this broker should not have.
    Stray,
}

/// What a file in the folder of a partition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// Records: a segment.
    Log,
    /// Offsets to positions.
    Index,
    /// Times to offsets.
    TimeIndex,
    /// Aborted transactions.
    TransactionIndex,
    /// State of producers; of the metadata log, of the whole cluster.
    Snapshot,
    /// `leader-epoch-checkpoint`, `partition.metadata` and whatever there will be.
    Other,
}

/// Longest name of a folder that a file system takes.
const NAME_LIMIT: usize = 255;

impl Partition {
    /// From the name of a folder: `topic-number`, or `topic-number.id-delete` and the like.
    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok().filter(|name| name.len() <= NAME_LIMIT)?;
        let suffixes = [("-delete", State::Deleted), ("-future", State::Future), ("-stray", State::Stray)];
        let marked = suffixes.iter().find_map(|(suffix, state)| {
            let (partition, id) = name.strip_suffix(suffix)?.rsplit_once('.')?;
            // A topic may end in `-delete` too, but then a number follows; the id is a UUID without dashes.
            (!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some((partition, *state))
        });
        let (partition, state) = marked.unwrap_or((name, State::Current));
        let (topic, number) = partition.rsplit_once('-')?;
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if topic.is_empty() || !topic.bytes().all(legal) || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Self { topic: topic.to_owned(), number: number.parse().ok()?, state })
    }
}

impl FileKind {
    /// From the name of a file. A file that waits to be deleted, or is being cleaned or swapped in, is what it was.
    pub(crate) fn of(name: &[u8]) -> Self {
        let mut name = name;
        for suffix in [&b".deleted"[..], b".cleaned", b".swap"] {
            name = name.strip_suffix(suffix).unwrap_or(name);
        }
        let extension = name.iter().rposition(|byte| *byte == b'.').and_then(|dot| name.get(dot..));
        match extension {
            Some(b".log") => Self::Log,
            Some(b".index") => Self::Index,
            Some(b".timeindex") => Self::TimeIndex,
            Some(b".txnindex") => Self::TransactionIndex,
            Some(b".snapshot" | b".checkpoint") => Self::Snapshot,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn folders_are_named_as_kafka_does() {
        let id = "4c2a3f0e9e2b4d70a1d3b7a3c1e5f6a7";
        let cases = [
            ("orders-0".to_owned(), Some(("orders", 0, State::Current))),
            ("a-b.c_d-12".to_owned(), Some(("a-b.c_d", 12, State::Current))),
            ("__cluster_metadata-0".to_owned(), Some(("__cluster_metadata", 0, State::Current))),
            (format!("a-b-3.{id}-delete"), Some(("a-b", 3, State::Deleted))),
            (format!("a-3.{id}-future"), Some(("a", 3, State::Future))),
            (format!("a-3.{id}-stray"), Some(("a", 3, State::Stray))),
            ("a.b-delete-3".to_owned(), Some(("a.b-delete", 3, State::Current))),
            ("topic".to_owned(), None),
            ("-1".to_owned(), None),
            ("a-".to_owned(), None),
            ("a-+1".to_owned(), None),
            ("a b-1".to_owned(), None),
            ("a-4294967296".to_owned(), None),
        ];
        for (name, expected) in cases {
            let expected = expected.map(|(topic, number, state)| Partition { topic: topic.to_owned(), number, state });
            assert_eq!(Partition::parse(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn files_are_named_as_kafka_does() {
        let cases = [
            ("00000000000000000000.log", FileKind::Log),
            ("00000000000000000000.log.deleted", FileKind::Log),
            ("00000000000000000000.index.cleaned", FileKind::Index),
            ("00000000000000000000.timeindex", FileKind::TimeIndex),
            ("00000000000000000000.txnindex", FileKind::TransactionIndex),
            ("00000000000000000012.snapshot", FileKind::Snapshot),
            ("00000000000000000012-0000000001.checkpoint", FileKind::Snapshot),
            ("leader-epoch-checkpoint", FileKind::Other),
            ("partition.metadata", FileKind::Other),
        ];
        for (name, kind) in cases {
            assert_eq!(FileKind::of(name.as_bytes()), kind, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_read_without_a_panic(name: Vec<u8>, text in "[a-z.-]{0,12}-[0-9a-f.]{0,40}(-delete)?") {
            Partition::parse(&name);
            Partition::parse(text.as_bytes());
            FileKind::of(&name);
        }
    }
}
