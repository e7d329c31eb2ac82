//! Who and what is known: the processes that are watched, and whose file is whose.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use kafkascope_probe_ebpf::FileKey;
use kafkascope_protocol::Timestamp;
use kafkascope_telemetry::Dictionary;

use super::jvm;
use super::labels::{self, Attributes};
use super::page_cache::inode;
use crate::discovery::Process;
use crate::discovery::log_dirs::{LogDirs, LogFile};

/// A process that is watched, and what is remembered of it between two looks.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) process: Arc<Process>,
    pub(crate) attributes: Attributes,
    pub(crate) cluster: Option<Arc<str>>,
    pub(crate) started: Timestamp,
    pub(crate) jvm: Option<jvm::Watch>,
}

/// What reports look things up in.
pub(crate) struct Known<'a> {
    pub(crate) processes: &'a HashMap<u32, Watched>,
    pub(crate) log_dirs: &'a mut LogDirs,
    /// Whether partitions are told apart in metrics.
    pub(crate) partitions: bool,
}

impl Known<'_> {
    pub(crate) fn process(&self, tgid: u32) -> Option<&Watched> {
        self.processes.get(&tgid)
    }

    /// Looks into the log directories again if any of these files is not known, and it is time.
    pub(crate) fn look_for(&mut self, mut keys: impl Iterator<Item = FileKey>) {
        if keys.any(|key| self.log_dirs.file(inode(key)).is_none()) {
            self.log_dirs.maintain(Instant::now());
        }
    }

    /// What a file in a log directory is.
    pub(crate) fn file(&mut self, key: FileKey) -> Option<LogFile> {
        self.log_dirs.file(inode(key)).cloned()
    }

    /// The attributes of a process's files of a topic, and what tells them from others. `None`: not in a log directory.
    pub(crate) fn of_topic(
        &mut self,
        key: FileKey,
        dictionary: &Dictionary,
    ) -> Option<(Attributes, (String, Option<u32>))> {
        let file = self.file(key)?;
        let watched = self.processes.get(&key.tgid)?;
        let mut attributes = watched.attributes.clone();
        attributes.extend(labels::of_partition(&file.partition, watched.cluster.as_ref(), self.partitions, dictionary));
        let partition = self.partitions.then_some(file.partition.number);
        Some((attributes, (file.partition.topic.clone(), partition)))
    }

    /// The process that listens at a port of a network namespace.
    pub(crate) fn listener(&self, netns: u32, port: u16) -> Option<&Watched> {
        self.processes.values().find(|watched| {
            watched.process.network_namespace == Some(netns.into())
                && watched.process.listeners.iter().any(|listener| listener.port() == port)
        })
    }
}
