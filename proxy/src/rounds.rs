//! Gathers what the workers counted.

use std::sync::Arc;

use kafkascope_protocol::Timestamp;
use kafkascope_telemetry::Registry;
use kafkascope_telemetry::otlp::Source;
use tokio::sync::{mpsc, oneshot};

use crate::forward::Clock;
use crate::worker::Command;

/// Asks all workers. Does not keep them alive.
#[derive(Debug, Clone)]
pub(crate) struct Rounds {
    pub(crate) registry: Arc<Registry>,
    pub(crate) workers: Vec<mpsc::WeakUnboundedSender<Command>>,
    pub(crate) clock: Clock,
}

impl Rounds {
    /// Brings the registry up to date. Returns the time of that. Goes on to its end even if the caller goes away,
    /// because an answer that nobody absorbs is lost.
    pub(crate) async fn collect(&self) -> Timestamp {
        let round = tokio::spawn(Self::gather(self.clone()));
        // It panics only if the registry did, and then there is nothing to wait for.
        _ = round.await;
        self.now()
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.clock.now().0)
    }

    async fn gather(self) {
        // All are asked before the first answer is awaited, so that the deltas are of one time.
        let ask = |worker: &mpsc::WeakUnboundedSender<Command>| {
            let (sender, answer) = oneshot::channel();
            worker.upgrade()?.send(Command::Collect(sender)).ok().map(|()| answer)
        };
        let answers: Vec<_> = self.workers.iter().filter_map(ask).collect();
        for answer in answers {
            // A worker that ended in between leaves its last delta to whoever joins it.
            if let Ok(delta) = answer.await {
                self.registry.absorb(delta);
            }
        }
    }
}

impl Source for Rounds {
    async fn collect(&self) -> Timestamp {
        Self::collect(self).await
    }
}
