//! What all loops of a worker share.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bus::{Bucket, Bus, Message};
use commands::{Definition, Engine};
use protocol::{Action, subject};
use service::Context;
use tracing::{Instrument, info_span};

use crate::{
    config::Config, facts::WorkerFacts, jobs::Jobs, latency::Latencies, numbers::Numbers, rate::Rate,
};

/// A worker at work.
pub struct Worker {
    pub bus: Bus,
    pub engine: Engine,
    pub config: Config,
    pub numbers: Numbers,
    pub latencies: Arc<Latencies>,
    pub jobs: Jobs,
    rate: Arc<Mutex<Rate>>,
    instance: String,
    started: Instant,
}

impl Worker {
    /// `leases` is where it is kept what is followed.
    pub fn new(
        context: &Context,
        bus: Bus,
        leases: Bucket,
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
            engine: Engine::new(commands, config.language, config.owners.clone(), Arc::new(facts)),
            numbers: Numbers::new(&context.metrics),
            rate,
            jobs: Jobs::new(leases),
            instance: context.instance.clone(),
            bus,
            config,
            latencies,
            started,
        }
    }

    /// Which of the workers this is.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Has something done by a gateway: stored, so that it is done once.
    ///
    /// # Errors
    /// When NATS did not store it, or the action cannot be JSON.
    pub async fn publish(
        &self,
        action: &Action,
        trace: &str,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let subject = subject::action(action.platform, &action.channel, &action.community);
        let span = info_span!("nats.publish", otel.kind = "producer", subject, action_id = %action.id);
        let message =
            Message::new(subject, action.id.as_str(), action)?.trace(service::trace::header(&span, trace));
        self.bus.store(&message).instrument(span).await?;
        self.numbers.actions.with(action.platform.as_str()).inc();
        Ok(())
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
