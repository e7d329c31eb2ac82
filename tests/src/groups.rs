//! The clients of `Groups.java`: they stop at stations, where both sides are read, until they are told to go on.

use std::{fs, path::Path, thread, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;

use crate::{eventually::eventually, java::Tool, kafka::Version};

/// To come to the next station, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// The stations, in their order.
const STATIONS: [&str; 6] = ["read", "behind", "ahead", "pending", "committed", "aborted"];

/// Who works, and with what.
#[derive(Debug)]
pub struct Clients<'a> {
    /// Bootstrap servers of all but one.
    pub bootstrap: &'a str,
    /// Bootstrap servers of the producer of what the group falls behind by.
    pub late: &'a str,
    /// A topic with one partition. The names of the group and of all clients begin with it.
    pub topic: &'a str,
    /// Of the group: classic or consumer.
    pub protocol: &'a str,
}

/// What the clients say at a station.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Said {
    /// Of the group's consumer.
    pub position: f64,
    /// Records that it got.
    pub consumed: f64,
    /// Records that it has sought over.
    pub sought_over: f64,
    /// Commits past what it got.
    pub ahead: f64,
}

/// The stations of clients that work.
pub struct Stations<'a> {
    folder: &'a Path,
    ended: &'a dyn Fn() -> bool,
}

impl Clients<'_> {
    /// Lets them work, at most for `limit`, while `compare` waits for them at each station and lets them go on.
    pub fn run<T>(
        &self,
        version: Version,
        limit: Duration,
        compare: impl FnOnce(&Stations<'_>) -> Result<T>,
    ) -> Result<T> {
        let folder = tempfile::tempdir()?;
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("java/Groups.java");
        let tool = Tool::source(version, &source)?.args([self.bootstrap, self.topic, self.protocol]);
        let tool = tool.args([folder.path()]).args([self.late]);
        let clients = thread::spawn(move || tool.run(limit));
        let stations = Stations { folder: folder.path(), ended: &|| clients.is_finished() };
        let compared = compare(&stations);
        if compared.is_err() {
            // Lets them end.
            STATIONS.iter().try_for_each(|station| stations.leave(station))?;
        }
        let said = clients.join().map_err(|_panic| anyhow!("the clients' thread panicked"))?;
        let compared = compared?;
        said.map(|_| compared)
    }
}

impl Stations<'_> {
    /// Waits until the clients are there.
    pub fn reach(&self, station: &str) -> Result<Said> {
        let path = self.folder.join(station);
        eventually(&format!("the group's clients to be at {station}"), PATIENCE, || {
            ensure!(!(self.ended)(), "the group's clients have ended");
            Ok(path.exists().then_some(()))
        })?;
        let text = fs::read_to_string(path)?;
        serde_json::from_str(&text).with_context(|| text.clone())
    }

    /// Lets the clients go on.
    pub fn leave(&self, station: &str) -> Result<()> {
        Ok(fs::write(self.folder.join(format!("{station}.go")), "")?)
    }
}
