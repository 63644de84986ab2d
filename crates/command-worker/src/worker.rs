//! What all loops of a worker share.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bus::Bus;
use commands::{Definition, Engine};
use service::Context;

use crate::{config::Config, facts::WorkerFacts, latency::Latencies, numbers::Numbers, rate::Rate};

/// A worker at work.
pub struct Worker {
    pub bus: Bus,
    pub engine: Engine,
    pub config: Config,
    pub numbers: Numbers,
    pub latencies: Arc<Latencies>,
    rate: Arc<Mutex<Rate>>,
    started: Instant,
}

impl Worker {
    pub fn new(
        context: &Context,
        bus: Bus,
        config: Config,
        commands: &'static [&'static Definition],
    ) -> Self {
        let started = context.started;
        let latencies = Arc::new(Latencies::default());
        let rate = Arc::new(Mutex::new(Rate::default()));
        let told = Arc::clone(&rate);
        context.metrics.gauge_of("events_per_second", "Events taken, a second, lately", move || {
            locked(&told).per_second(started.elapsed())
        });
        let facts = WorkerFacts::new(bus.clone(), context.instance.clone(), started, Arc::clone(&latencies));
        Self {
            engine: Engine::new(commands, config.language, config.owner.clone(), Arc::new(facts)),
            numbers: Numbers::new(&context.metrics),
            rate,
            bus,
            config,
            latencies,
            started,
        }
    }

    /// Counts events that were taken.
    pub fn took(&self, events: u32) {
        self.numbers.events.inc_by(events.into());
        locked(&self.rate).add(self.started.elapsed(), events);
    }
}

fn locked(rate: &Mutex<Rate>) -> MutexGuard<'_, Rate> {
    rate.lock().unwrap_or_else(PoisonError::into_inner)
}
