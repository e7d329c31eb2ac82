//! How many connections live, in all and on each worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts of live connections. The acceptor adds, workers subtract.
#[derive(Debug)]
pub(crate) struct Live {
    limit: usize,
    workers: Vec<AtomicUsize>,
    ended: Notify,
}

/// A place taken by a connection, free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    live: Arc<Live>,
    pub(crate) worker: usize,
}

impl Live {
    pub(crate) fn new(limit: usize, workers: usize) -> Arc<Self> {
        Arc::new(Self { limit, workers: (0..workers).map(|_| AtomicUsize::new(0)).collect(), ended: Notify::new() })
    }

    /// A place on the least loaded worker, unless as many connections live as may.
    pub(crate) fn take_place(self: &Arc<Self>) -> Option<Place> {
        // Only the worker that accepts adds, so between looking and adding the counts can but fall.
        if self.count() >= self.limit {
            return None;
        }
        let load = |(_, load): &(usize, &AtomicUsize)| load.load(Ordering::Relaxed);
        let (worker, load) = self.workers.iter().enumerate().min_by_key(load)?;
        load.fetch_add(1, Ordering::Relaxed);
        Some(Place { live: Arc::clone(self), worker })
    }

    pub(crate) fn count(&self) -> usize {
        self.workers.iter().map(|load| load.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Waits until none lives.
    pub(crate) async fn none_left(&self) {
        while self.count() > 0 {
            self.ended.notified().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(load) = self.live.workers.get(self.worker) {
            load.fetch_sub(1, Ordering::Relaxed);
        }
        self.live.ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_loaded_worker_gets_the_next_connection() {
        let live = Live::new(10, 2);
        let places: Vec<_> = (0..4).filter_map(|_| live.take_place()).collect();
        assert_eq!(places.iter().map(|place| place.worker).collect::<Vec<_>>(), [0, 1, 0, 1]);
        let mut kept = places;
        kept.retain(|place| place.worker == 0);
        assert_eq!(live.take_place().unwrap().worker, 1);
    }

    #[test]
    fn at_the_limit_there_is_no_place_until_one_ends() {
        let live = Live::new(1, 2);
        let place = live.take_place().unwrap();
        assert!(live.take_place().is_none());
        drop(place);
        assert!(live.take_place().is_some());
    }
}
