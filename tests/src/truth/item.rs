//! The 45 items that kafkascope is measured by, and the one list of those that are not built yet.

use anyhow::{Context, Result, bail};

/// What an item is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// Read from the protocol as it passes.
    Wire,
    /// Read on the hosts: kernel, JVM, ZooKeeper.
    Host,
    /// State of the cluster and of its groups.
    Cluster,
}

/// An item.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item {
    /// 1 to 45.
    pub number: u8,
    /// Its usual name.
    pub name: &'static str,
    /// What it is about.
    pub group: Group,
}

/// All of them, in order.
pub(crate) const ITEMS: [Item; 45] = [
    item(1, "UnderReplicatedPartitions", Group::Cluster),
    item(2, "IsrShrinksPerSec, IsrExpandsPerSec", Group::Cluster),
    item(3, "ActiveControllerCount", Group::Cluster),
    item(4, "OfflinePartitionsCount", Group::Cluster),
    item(5, "LeaderElectionRateAndTimeMs", Group::Cluster),
    item(6, "UncleanLeaderElectionsPerSec", Group::Cluster),
    item(7, "TotalTimeMs", Group::Wire),
    item(8, "PurgatorySize", Group::Wire),
    item(9, "BytesInPerSec, BytesOutPerSec", Group::Wire),
    item(10, "RequestsPerSec", Group::Wire),
    item(11, "page cache read ratio", Group::Host),
    item(12, "disk usage", Group::Host),
    item(13, "CPU usage", Group::Host),
    item(14, "network bytes", Group::Host),
    item(15, "GC count", Group::Host),
    item(16, "GC time", Group::Host),
    item(17, "compression-rate-avg", Group::Wire),
    item(18, "response-rate", Group::Wire),
    item(19, "request-rate", Group::Wire),
    item(20, "request-latency-avg", Group::Wire),
    item(21, "outgoing-byte-rate", Group::Wire),
    item(22, "io-wait-time-ns-avg", Group::Wire),
    item(23, "batch-size-avg", Group::Wire),
    item(24, "records-lag", Group::Cluster),
    item(25, "records-lag-max", Group::Cluster),
    item(26, "bytes-consumed-rate", Group::Wire),
    item(27, "records-consumed-rate", Group::Wire),
    item(28, "fetch-rate", Group::Wire),
    item(29, "ZooKeeper outstanding_requests", Group::Host),
    item(30, "ZooKeeper avg_latency", Group::Host),
    item(31, "ZooKeeper num_alive_connections", Group::Host),
    item(32, "ZooKeeper followers", Group::Host),
    item(33, "ZooKeeper pending_syncs", Group::Host),
    item(34, "open file descriptors", Group::Host),
    item(35, "network bytes of ZooKeeper's host", Group::Host),
    item(36, "usable memory", Group::Host),
    item(37, "swap", Group::Host),
    item(38, "disk latency", Group::Host),
    item(39, "topic offsets", Group::Cluster),
    item(40, "consumer offsets", Group::Cluster),
    item(41, "processes up", Group::Host),
    item(42, "the agent's own state", Group::Cluster),
    item(43, "status of groups and partitions", Group::Cluster),
    item(44, "messages that never reach the consumer", Group::Cluster),
    item(45, "outliers", Group::Cluster),
];

/// An item, or a part of one, that is not built.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unbuilt {
    /// Number of the item.
    pub item: u8,
    /// The part, if the rest of the item is built.
    pub part: Option<&'static str>,
    /// Why it is absent.
    pub reason: &'static str,
}

/// The only source of `absent`.
pub(crate) const UNBUILT: &[Unbuilt] = &[
    all(1, WATCH),
    all(2, WATCH),
    all(3, WATCH),
    all(4, WATCH),
    all(6, "no broker loses records here; the trials force an unclean election and compare with JMX"),
    Unbuilt {
        item: 7,
        part: Some("FetchFollower, mean ms"),
        reason: "replication does not pass the proxy in this set-up: brokers talk to each other directly",
    },
    Unbuilt {
        item: 8,
        part: Some("Produce"),
        reason: "brokers write offsets and transactions through the same purgatory, which no figure tells apart",
    },
    all(22, "known to the client only; client telemetry (KIP-714) is not answered yet"),
    all(29, ZOOKEEPER),
    all(30, ZOOKEEPER),
    all(31, ZOOKEEPER),
    all(32, ZOOKEEPER),
    all(33, ZOOKEEPER),
    all(34, ZOOKEEPER),
    Unbuilt { item: 41, part: Some("answers of brokers and ZooKeeper"), reason: WATCH },
    Unbuilt { item: 12, part: Some("size of log directories by broker"), reason: WATCH },
    all(43, WATCH),
    all(45, WATCH),
];

const WATCH: &str = "the watcher, which asks the cluster, is not built";
const ZOOKEEPER: &str = "nothing asks ZooKeeper yet";

const fn item(number: u8, name: &'static str, group: Group) -> Item {
    Item { number, name, group }
}

const fn all(item: u8, reason: &'static str) -> Unbuilt {
    Unbuilt { item, part: None, reason }
}

/// Whether nothing of an item is built.
pub(crate) fn is_unbuilt(number: u8) -> bool {
    UNBUILT.iter().any(|unbuilt| unbuilt.item == number && unbuilt.part.is_none())
}

/// Whether an item is read on hosts.
pub(crate) fn is_of_host(number: u8) -> bool {
    ITEMS.iter().any(|item| item.number == number && item.group == Group::Host)
}

/// The usual name of an item.
pub(crate) fn name(number: u8) -> &'static str {
    ITEMS.iter().find(|item| item.number == number).map_or("", |item| item.name)
}

/// Items of `wire`, `host`, `cluster`, or of numbers separated by commas.
pub fn selection(text: &str) -> Result<Vec<u8>> {
    let of = |group| ITEMS.iter().filter(|item| item.group == group).map(|item| item.number).collect();
    match text {
        "wire" => Ok(of(Group::Wire)),
        "host" => Ok(of(Group::Host)),
        "cluster" => Ok(of(Group::Cluster)),
        numbers => numbers.split(',').map(number).collect(),
    }
}

/// The number of an item.
pub fn number(text: &str) -> Result<u8> {
    let number =
        text.trim().parse().with_context(|| format!("`{text}` is neither a group nor the number of an item"))?;
    if !(1..=45).contains(&number) {
        bail!("there is no item {number}: they are numbered 1 to 45");
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_numbered_without_a_gap() {
        assert!(ITEMS.iter().zip(1..).all(|(item, number)| item.number == number));
    }

    #[test]
    fn each_unbuilt_item_is_listed_once_and_has_a_reason() {
        for (index, unbuilt) in UNBUILT.iter().enumerate() {
            assert!(!unbuilt.reason.is_empty() && ITEMS.iter().any(|item| item.number == unbuilt.item));
            assert!(
                UNBUILT.iter().skip(index + 1).all(|other| (other.item, other.part) != (unbuilt.item, unbuilt.part))
            );
        }
    }

    #[test]
    fn groups_and_numbers_select_items() {
        assert_eq!(selection("7, 20").unwrap(), [7, 20]);
        let groups = ["wire", "host", "cluster"].map(|group| selection(group).unwrap());
        assert!(groups[0].contains(&7) && groups[1].contains(&13) && groups[2].contains(&1));
        assert_eq!(groups.iter().map(Vec::len).sum::<usize>(), 45);
        for wrong in ["", "0", "46", "7,", "moon"] {
            assert!(selection(wrong).is_err(), "{wrong}");
        }
    }
}
