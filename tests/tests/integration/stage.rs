//! A cluster with the proxy before it and taps around the proxy, shared by the trials of one Kafka version.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kafkascope_tests::eventually::eventually;
use kafkascope_tests::kafka::{Cluster, ClusterSpec, Version};
use kafkascope_tests::proxy::{Proxy, ProxySpec};
use kafkascope_tests::tap::Recorder;
use kafkascope_tests::wire;

/// After its clients are gone, a connection ends at once.
const QUIET: Duration = Duration::from_secs(60);

/// The stages; each is built when the first trial asks for it.
#[derive(Debug, Default)]
pub(crate) struct Stages {
    v4: Mutex<Option<Stage>>,
    v39: Mutex<Option<Stage>>,
}

/// Where clients play.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) proxy: Proxy,
    pub(crate) taps: Recorder,
}

/// What happens on a stage.
pub(crate) type Play = fn(&mut Stage) -> Result<()>;

impl Stages {
    /// Runs `play` alone on the stage of `version`, then proves that the proxy handed on every byte as it was.
    pub(crate) fn on(&self, version: Version, play: impl FnOnce(&mut Stage) -> Result<()>) -> Result<()> {
        let mut guard = self.lock(version);
        if guard.is_none() {
            *guard = Some(Stage::build(version)?);
        }
        let stage = guard.as_mut().context("no stage")?;
        stage.taps.forget();
        let outcome = play(stage);
        let outcome = outcome.with_context(|| format!("the proxy's last words:\n{}\n", stage.proxy.last_words()));
        let compared = stage.taps.compare(QUIET);
        outcome?;
        let (connections, bytes) = compared?;
        ensure!(connections > 0 && bytes > 0, "nothing went through the proxy");
        Ok(())
    }

    /// The same for a play in which connections break: no byte identity.
    pub(crate) fn on_broken(&self, version: Version, play: impl FnOnce(&mut Stage) -> Result<()>) -> Result<()> {
        let mut passed = Ok(());
        let identical = self.on(version, |stage| {
            passed = play(stage);
            Ok(())
        });
        // A reset may overtake bytes, so the two sides may differ here, which the taps are not asked about.
        drop(identical);
        passed
    }

    fn lock(&self, version: Version) -> MutexGuard<'_, Option<Stage>> {
        let stage = match version {
            Version::V4 => &self.v4,
            Version::V39 => &self.v39,
        };
        stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stage {
    fn build(version: Version) -> Result<Self> {
        let cluster = Cluster::start(&ClusterSpec::new(version, 3))?;
        let taps = Recorder::start(cluster.routes())?;
        let proxy = Proxy::start(&ProxySpec::new(taps.routes().iter().copied()))?;
        // A broker's series wait a moment for its ids, from its first connection on.
        for broker in cluster.brokers() {
            wire::metadata(broker.front(), &[])?;
        }
        eventually("the series of all brokers", QUIET, || {
            let scrape = proxy.metrics()?;
            let shown = scrape.select("kafkascope_connections_opened_total", &[]).count();
            Ok((shown == cluster.brokers().len()).then_some(()))
        })?;
        Ok(Self { cluster, proxy, taps })
    }
}
