//! One run of one command, whatever it was asked by: cooldown, deadline, and an apology when it fails.

use std::{any::Any, panic::AssertUnwindSafe, time::Duration};

use commands::{Answer, Call, Failure, apology};
use futures_util::FutureExt;
use tracing::{Instrument, error, info_span, warn};

use crate::worker::Worker;

/// How many digits of the trace id an apology shows: enough to find one trace among a day's.
const SHOWN_ID: usize = 8;

/// What became of a command.
pub enum Attempt {
    /// It has an answer, which may be an apology.
    Answered(Answer),
    /// The person used it a moment ago.
    TooSoon,
}

/// Why a command has no answer of its own.
#[derive(Debug)]
enum Trouble {
    Failed(Failure),
    Panicked(String),
    Late(Duration),
}

impl Worker {
    /// Runs a command within `limit`. `trace` is the header that the event came with.
    pub async fn attempt(&self, call: &Call, limit: Duration, trace: &str) -> Attempt {
        if self.is_too_soon(call).await {
            self.numbers.passed.with("cooldown").inc();
            return Attempt::TooSoon;
        }
        self.numbers.commands.with(call.name()).inc();
        let span = info_span!("command", otel.name = format!("command.{}", call.name()));
        let work = async {
            let answer = call.run().await?;
            match answer.order {
                Some(order) => self.order(call.ask(), order, trace).await,
                None => Ok(answer),
            }
        };
        // A command changes nothing that this worker holds, so nothing is left half done.
        let run = AssertUnwindSafe(work).catch_unwind().instrument(span);
        let trouble = match tokio::time::timeout(limit, run).await {
            Ok(Ok(Ok(answer))) => return Attempt::Answered(answer),
            Ok(Ok(Err(failure))) => Trouble::Failed(failure),
            Ok(Err(panic)) => Trouble::Panicked(words(&*panic)),
            Err(_) => Trouble::Late(limit),
        };
        Attempt::Answered(self.apologise(call, &trouble, trace))
    }

    /// Asks NATS, so that it holds across workers. The same event asks again and is let through: its
    /// answer may have been lost. When NATS does not answer, an answer too many is the lesser evil.
    async fn is_too_soon(&self, call: &Call) -> bool {
        let Some(cooldown) = call.cooldown(self.config.cooldown) else { return false };
        match self.bus.once(&cooldown.key, call.ask().event.as_str(), cooldown.lasts).await {
            Ok(free) => !free,
            Err(error) => {
                warn!(command = call.name(), %error, "the cooldown is not known; answering");
                false
            }
        }
    }

    fn apologise(&self, call: &Call, trouble: &Trouble, trace: &str) -> Answer {
        let trace_id = service::trace::id(trace);
        let (reason, detail) = match trouble {
            Trouble::Failed(failure) => ("failed", service::chain(failure)),
            Trouble::Panicked(message) => ("panicked", message.clone()),
            Trouble::Late(limit) => ("late", format!("no answer within {} s", limit.as_secs())),
        };
        self.numbers.errors.with(reason).inc();
        let (command, event_id) = (call.name(), &call.ask().event);
        error!(trace_id, command, %event_id, reason, detail, "command has no answer");
        apology(call.ask().language, shown(trace_id))
    }
}

/// The part of a trace id that a person is told.
pub fn shown(trace_id: &str) -> &str {
    trace_id.get(..SHOWN_ID).unwrap_or(trace_id)
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
