//! Gives events to NATS: commands and rare events one by one, chatter in batches.
//!
//! While NATS is away the outbox fills, then the queue in front of it, and then the connections read
//! no more: Twitch is held back by TCP and nothing is thrown away here.
//!
//! Where two gateways read a channel, both give its commands and rare events, of which NATS keeps one.
//! Chatter travels in batches, which NATS cannot tell apart; it is given by one, see `standby`.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use bus::{Bus, Holding, Link, Message, Outbox, OutboxError, Subscription};
use protocol::{Batch, CommunityId, Event, EventBody, Platform, VERSION, subject};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tracing::{Span, error, info_span, warn};

use crate::{
    chat::Chat,
    rooms::{Role, Rooms},
    standby::Standby,
    stats::Stats,
};

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
/// How often it is looked whether the other reader told everything.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long the others are listened to when the service stops: a bit longer than a batch waits.
const LAST_HEARD_WITHIN: Duration = Duration::from_millis(400);
/// How long NATS may take to acknowledge the last events when the service stops, unless that was late
/// already: a restart of NATS takes less.
const FLUSH_WITHIN: Duration = Duration::from_secs(4);

/// Takes events from the connections.
pub struct Publisher {
    bus: Bus,
    outbox: Outbox<Span>,
    /// Which channels are read, and as what.
    rooms: Arc<Rooms>,
    held: watch::Receiver<Holding>,
    link: watch::Receiver<Link>,
    stats: Stats,
    batch: Vec<Event>,
    bytes: usize,
    due: Option<Instant>,
    standby: Standby,
    look_at: Instant,
    /// What others tell, while there are others.
    others: Option<Subscription>,
}

impl Publisher {
    /// Nothing is given yet. `held` tells who else there is.
    #[must_use]
    pub fn new(bus: Bus, chat: &Arc<Chat>, held: watch::Receiver<Holding>) -> Self {
        let stats = chat.stats.clone();
        // A command's span ends when NATS has acknowledged it.
        let outbox = Outbox::start(bus.clone(), OUTBOX, drop::<Span>);
        Self {
            link: bus.link(),
            bus,
            outbox,
            rooms: chat.rooms.clone(),
            held,
            stats,
            batch: Vec::new(),
            bytes: 0,
            due: None,
            standby: Standby::default(),
            look_at: Instant::now(),
            others: None,
        }
    }

    /// Runs until nobody can give it events any more, then waits for NATS.
    ///
    /// # Errors
    /// When the outbox ended, which nobody asked it to: nothing could be stored any more.
    pub async fn run(mut self, mut events: mpsc::Receiver<Event>) -> anyhow::Result<()> {
        self.held.mark_changed();
        loop {
            let (due, look_at) = (self.due, self.look_at);
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.take(event).await?,
                    None => break,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.flush().await?,
                told = heard(&mut self.others) => self.standby.heard(&told),
                Ok(()) = self.held.changed() => self.listen().await,
                Ok(()) = self.link.changed() => self.standby.renew(),
                () = sleep_until(look_at), if !self.standby.is_empty() => self.look().await?,
            }
        }
        let listening = async {
            while !self.standby.is_empty() && self.others.is_some() {
                self.standby.heard(&heard(&mut self.others).await);
            }
        };
        // Others have read it too, and it may be on its way.
        let _ = timeout(LAST_HEARD_WITHIN, listening).await;
        for event in self.standby.rest() {
            self.add(event).await?;
        }
        self.flush().await?;
        if !self.outbox.flush(FLUSH_WITHIN).await {
            warn!(events = self.outbox.pending(), "NATS did not acknowledge the last events in time");
        }
        Ok(())
    }

    async fn take(&mut self, event: Event) -> Result<(), OutboxError> {
        if !matches!(event.body, EventBody::Message(_)) {
            return self.alone(event).await;
        }
        let others = match self.role(&event.community) {
            Role::First if !self.standby.has(&event.community) => return self.add(event).await,
            Role::First => false,
            Role::Behind(_) => true,
            Role::Speaker | Role::None => {
                self.stats.passed.with("others_read").inc();
                return Ok(());
            }
        };
        for event in self.standby.hold(event, others) {
            self.add(event).await?;
        }
        Ok(())
    }

    /// Adds a chat message to the batch.
    async fn add(&mut self, event: Event) -> Result<(), OutboxError> {
        let EventBody::Message(message) = &event.body else { return self.alone(event).await };
        self.stats.events.inc();
        self.bytes += message.text.len() + message.author.name.len() + EVENT_OVERHEAD_BYTES;
        self.batch.push(event);
        if self.batch.len() >= BATCH_EVENTS || self.bytes >= BATCH_BYTES {
            return self.flush().await;
        }
        self.due.get_or_insert_with(|| Instant::now() + BATCH_WITHIN);
        Ok(())
    }

    fn role(&self, channel: &CommunityId) -> Role {
        // Twitch tells the id of a channel before anything is said there.
        self.rooms.role(channel.as_str()).unwrap_or(Role::First)
    }

    /// Listens to others while there are some.
    async fn listen(&mut self) {
        let (company, fenced) = {
            let holding = self.held.borrow_and_update();
            (holding.living > 1, holding.fenced)
        };
        if fenced {
            return;
        }
        if company && self.others.is_none() {
            match self.bus.subscribe(&subject::chatter(Platform::Twitch)).await {
                Ok(others) => self.others = Some(others),
                Err(error) => warn!(%error, "chatter may be told twice: others cannot be heard"),
            }
        } else if !company && self.standby.is_empty() {
            self.others = None;
        }
    }

    /// Tells what others should have told and did not. While NATS is away nobody can be heard.
    async fn look(&mut self) -> Result<(), OutboxError> {
        self.look_at = Instant::now() + LOOK_EVERY;
        if *self.link.borrow() == Link::Down {
            return Ok(());
        }
        let rooms = &self.rooms;
        let ahead = |channel: &CommunityId| match rooms.role(channel.as_str()) {
            Some(Role::First) => 0,
            Some(Role::Behind(ahead)) => ahead,
            _ => 1,
        };
        for event in self.standby.due(ahead) {
            self.add(event).await?;
        }
        // The last words of one that has left come after it has.
        self.listen().await;
        Ok(())
    }

    async fn alone(&mut self, event: Event) -> Result<(), OutboxError> {
        self.stats.events.inc();
        let subject = subject::event(&event);
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
        // Another gateway may begin a batch with the same event: the same id must mean the same events.
        let mut digest = DefaultHasher::new();
        events.iter().for_each(|event| event.id.as_str().hash(&mut digest));
        let id = format!("{}+{}+{:016x}", first.id, events.len(), digest.finish());
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

/// What others tell next; never, when nobody is listened to. Cancel-safe.
async fn heard(others: &mut Option<Subscription>) -> Batch {
    loop {
        let Some(listening) = others else { return std::future::pending().await };
        match listening.next().await {
            Some(told) => match told.decode::<Batch>() {
                Ok(batch) => return batch,
                Err(error) => warn!(%error, "chatter of others cannot be read"),
            },
            // The connection ends.
            None => *others = None,
        }
    }
}
