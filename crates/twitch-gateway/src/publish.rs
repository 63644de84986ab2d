//! Gives events to NATS: commands and rare events one by one, chatter in batches.
//!
//! While NATS is away the outbox fills, then the queue in front of it, and then the connections read
//! no more: Twitch is held back by TCP and nothing is thrown away here.

use std::time::Duration;

use bus::{Bus, Message, Outbox, OutboxError};
use protocol::{Batch, Event, EventBody, Platform, VERSION, subject};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tracing::{Span, error, info_span, warn};

use crate::stats::Stats;

/// Events that wait to be given to NATS.
pub const QUEUED_EVENTS: usize = 512;
/// Messages that NATS has not acknowledged.
const OUTBOX: usize = 256;
/// The longest that a chat message waits for others.
const BATCH_WITHIN: Duration = Duration::from_millis(250);
/// The most events of a batch.
const BATCH_EVENTS: usize = 128;
/// About the most bytes of a batch.
const BATCH_BYTES: usize = 64 * 1024;
/// What an event takes beside its texts, in bytes.
const EVENT_OVERHEAD_BYTES: usize = 400;
/// How long NATS may take to acknowledge the last events when the service stops.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// Takes events from the connections.
pub struct Publisher {
    outbox: Outbox<Span>,
    stats: Stats,
    batch: Vec<Event>,
    bytes: usize,
    due: Option<Instant>,
}

impl Publisher {
    /// Nothing is given yet.
    #[must_use]
    pub fn new(bus: Bus, stats: Stats) -> Self {
        // A command's span ends when NATS has acknowledged it.
        let outbox = Outbox::start(bus, OUTBOX, drop::<Span>);
        Self { outbox, stats, batch: Vec::new(), bytes: 0, due: None }
    }

    /// Runs until nobody can give it events any more, then waits for NATS.
    ///
    /// # Errors
    /// When the outbox ended, which nobody asked it to: nothing could be stored any more.
    pub async fn run(mut self, mut events: mpsc::Receiver<Event>) -> anyhow::Result<()> {
        loop {
            let due = self.due;
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.take(event).await?,
                    None => break,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.flush().await?,
            }
        }
        self.flush().await?;
        if !self.outbox.flush(FLUSH_WITHIN).await {
            warn!(events = self.outbox.pending(), "NATS did not acknowledge the last events in time");
        }
        Ok(())
    }

    async fn take(&mut self, event: Event) -> Result<(), OutboxError> {
        self.stats.events.inc();
        let EventBody::Message(message) = &event.body else { return self.alone(event).await };
        self.bytes += message.text.len() + message.author.name.len() + EVENT_OVERHEAD_BYTES;
        self.batch.push(event);
        if self.batch.len() >= BATCH_EVENTS || self.bytes >= BATCH_BYTES {
            return self.flush().await;
        }
        self.due.get_or_insert_with(|| Instant::now() + BATCH_WITHIN);
        Ok(())
    }

    async fn alone(&mut self, event: Event) -> Result<(), OutboxError> {
        let subject = subject::event(Platform::Twitch, &event.community, event.body.kind());
        let message = Message::new(subject, event.id.as_str(), &event);
        let is_command = matches!(event.body, EventBody::Command(_));
        let span = match is_command {
            true => info_span!("twitch.message", event_id = %event.id, community = %event.community),
            false => info_span!("twitch.notice", event_id = %event.id, community = %event.community),
        };
        let trace = service::trace::start(&span);
        if is_command {
            self.stats.commands.inc();
            self.store(message.map(|message| message.trace(trace)), span).await
        } else {
            self.store(message.map(|message| message.trace(trace)), span).await
        }
    }

    async fn flush(&mut self) -> Result<(), OutboxError> {
        (self.bytes, self.due) = (0, None);
        let events = std::mem::take(&mut self.batch);
        let Some(first) = events.first() else { return Ok(()) };
        let id = format!("{}+{}", first.id, events.len());
        let batch = Batch { v: VERSION, platform: Platform::Twitch, events };
        self.store(Message::new(subject::chatter(Platform::Twitch), id, &batch), Span::none()).await
    }

    /// What could never be stored is told and left out.
    async fn store(
        &self,
        message: Result<Message, serde_json::Error>,
        span: Span,
    ) -> Result<(), OutboxError> {
        let error = match message {
            Ok(message) => match self.outbox.send(message, span).await {
                Ok(()) => return Ok(()),
                Err(OutboxError::Ended) => return Err(OutboxError::Ended),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        error!(error, "an event could not be given to NATS");
        Ok(())
    }
}
