//! What all loops of a worker share.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bus::Bus;
use commands::{Definition, Engine};
use protocol::{ServiceStats, VERSION};
use service::Context;

use crate::{config::Config, facts::WorkerFacts, latency::Latencies, numbers::Numbers, rate::Rate};

/// The name under which the rate of events is told.
const EVENTS_PER_SECOND: &str = "events_per_second";

/// A worker at work.
pub struct Worker {
    pub bus: Bus,
    pub engine: Engine,
    pub config: Config,
    pub numbers: Numbers,
    pub latencies: Arc<Latencies>,
    rate: Mutex<Rate>,
    started: Instant,
    context: Context,
}

impl Worker {
    pub fn new(
        context: &Context,
        bus: Bus,
        config: Config,
        commands: &'static [&'static Definition],
    ) -> Self {
        let started = Instant::now();
        let latencies = Arc::new(Latencies::default());
        let facts = WorkerFacts::new(bus.clone(), context.instance.clone(), started, Arc::clone(&latencies));
        Self {
            engine: Engine::new(commands, config.language, config.owner.clone(), Arc::new(facts)),
            numbers: Numbers::new(&context.metrics),
            rate: Mutex::new(Rate::default()),
            context: context.clone(),
            bus,
            config,
            latencies,
            started,
        }
    }

    /// Counts events that were taken.
    pub fn took(&self, events: u32) {
        self.numbers.events.inc_by(events.into());
        self.rate().add(self.started.elapsed(), events);
    }

    /// What the worker says of itself.
    pub fn stats(&self) -> ServiceStats {
        let health = self.context.health.readiness();
        let mut metrics = self.context.metrics.snapshot();
        metrics.insert(EVENTS_PER_SECOND.to_owned(), self.rate().per_second(self.started.elapsed()));
        ServiceStats {
            v: VERSION,
            service: self.context.name.to_owned(),
            instance: self.context.instance.clone(),
            build: service::BUILD.to_owned(),
            uptime_s: self.uptime().as_secs(),
            ready: health.ready,
            reason: health.reason,
            resident_bytes: service::resident_bytes(),
            metrics,
        }
    }

    fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    fn rate(&self) -> std::sync::MutexGuard<'_, Rate> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
