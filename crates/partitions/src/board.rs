//! Which partitions are attached, why the others are not, and what the probes hear of it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bus::{Bus, Consumer, Queue};
use service::Component;
use tokio::time::sleep;

use crate::ground::Ground;

/// Between two tries to attach.
const ATTACH_PAUSE: Duration = Duration::from_secs(1);

/// Says that all is well while each partition that is worked on is attached.
#[derive(Debug)]
pub struct Board {
    health: Component,
    /// Why it is not, by partition.
    partitions: Mutex<BTreeMap<u16, Option<String>>>,
}

impl Board {
    /// Nothing is worked on yet.
    #[must_use]
    pub fn new(health: Component) -> Self {
        Self { health, partitions: Mutex::default() }
    }

    /// Takes a partition over, trying until it can; `None` when it comes to its end before.
    pub async fn attach(&self, bus: &Bus, queue: Queue, ground: &Ground, ahead: usize) -> Option<Consumer> {
        ground.stop.run_until_cancelled(self.take_over(bus, queue, ground, ahead)).await
    }

    async fn take_over(&self, bus: &Bus, queue: Queue, ground: &Ground, ahead: usize) -> Consumer {
        loop {
            let of = ground.clone();
            match bus.take_over(queue, ground.partition, ahead, move || of.is_ours()).await {
                Ok(consumer) => return consumer,
                Err(error) => self.detached(ground.partition, error.to_string()),
            }
            sleep(ATTACH_PAUSE).await;
        }
    }

    /// The consumer of a partition is attached, or not any more and attaches again.
    pub fn turned(&self, partition: u16, attached: bool) {
        if attached {
            self.lock().insert(partition, None);
            self.report();
        } else {
            self.detached(partition, "attaching again".to_owned());
        }
    }

    /// A partition is begun.
    pub(crate) fn begun(&self, partition: u16) {
        self.detached(partition, "starting".to_owned());
    }

    /// A partition is not worked on any more.
    pub(crate) fn left(&self, partition: u16) {
        self.lock().remove(&partition);
        self.report();
    }

    fn detached(&self, partition: u16, why: String) {
        self.lock().insert(partition, Some(why));
        self.report();
    }

    pub(crate) fn report(&self) {
        let partitions = self.lock();
        match partitions.values().flatten().next() {
            None => self.health.up(),
            Some(why) => self.health.down(format!("not all partitions are attached: {why}")),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u16, Option<String>>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
