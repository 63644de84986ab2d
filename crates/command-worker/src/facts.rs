//! What commands may ask about the world, answered from this worker and from NATS.

use std::{sync::Arc, time::Instant};

use bus::{Bus, DISCOVERY_LIMIT};
use commands::{Backups, Deploys, Facts, Gathering, Latency, Me, Told};
use protocol::Platform;

use crate::{jobs, latency::Latencies};

/// The world as this worker sees it.
pub struct WorkerFacts {
    bus: Bus,
    instance: String,
    started: Instant,
    latencies: Arc<Latencies>,
}

impl WorkerFacts {
    pub fn new(bus: Bus, instance: String, started: Instant, latencies: Arc<Latencies>) -> Self {
        Self { bus, instance, started, latencies }
    }
}

impl Facts for WorkerFacts {
    fn now_us(&self) -> u64 {
        service::clock::unix_us()
    }

    fn me(&self) -> Me {
        let (build, instance) = (service::BUILD.to_owned(), self.instance.clone());
        Me { build, instance, uptime: self.started.elapsed() }
    }

    fn last_latency(&self, platform: Platform) -> Option<Latency> {
        self.latencies.last(platform)
    }

    fn services(&self) -> Gathering<'_> {
        Box::pin(self.bus.stats(DISCOVERY_LIMIT))
    }

    fn deploys(&self) -> Told<'_, Deploys> {
        Box::pin(jobs::deploys(&self.bus))
    }

    fn backups(&self) -> Told<'_, Backups> {
        Box::pin(jobs::backups(&self.bus))
    }
}
