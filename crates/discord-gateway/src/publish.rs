//! What a shard read goes to JetStream: commands one by one and at once, chatter in batches.

use std::{sync::Arc, time::Duration};

use bus::{Bus, Message, Outbox, topology::MAX_PAYLOAD_BYTES};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use protocol::{Event, EventBody, Platform, subject};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{Span, error, info_span, warn};

use crate::{
    convert::batch,
    cursor::{Progress, Ticket},
    facts::Facts,
    frame::Snowflake,
    stats::Stats,
};

/// A batch waits for more at most this long.
pub const FLUSH_AFTER: Duration = Duration::from_millis(250);
/// A batch has at most so many events.
pub const MAX_EVENTS: usize = 128;
/// A batch has at most about so many bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// What an event takes besides its text and names, in bytes.
const EVENT_BYTES: usize = 420;
/// Messages on their way to JetStream, per shard.
const OUTBOX: usize = 256;
/// Commands that wait until the rank of their author is known, per shard. The author of one more counts
/// as everyone.
const MAX_RANKING: usize = 32;
/// How long a shutdown waits for JetStream.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// Something to publish.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "the large one is the one that nearly all are")]
pub enum Item {
    /// Goes into a batch.
    Chatter {
        /// The frame it came in.
        ticket: Ticket,
        /// The session of that frame.
        session: Arc<str>,
        /// What happened.
        event: Event,
    },
    /// Goes alone.
    Command(Box<CommandItem>),
}

/// A command to publish.
#[derive(Debug)]
pub struct CommandItem {
    /// The frame it came in.
    pub ticket: Ticket,
    /// What happened.
    pub event: Event,
    /// Its `traceparent`.
    pub trace: String,
    /// The span that its publishing belongs to.
    pub span: Span,
    /// What to ask when the rank of the author is not known.
    pub unranked: Option<Unranked>,
}

/// Somebody whose rank is not known.
#[derive(Debug)]
pub struct Unranked {
    /// Where.
    pub guild: Snowflake,
    /// Who.
    pub user: Snowflake,
    /// With which roles.
    pub roles: Vec<Snowflake>,
}

/// What to do once a message is stored; the span ends with it.
#[derive(Debug)]
struct Token {
    tickets: Vec<Ticket>,
    _span: Span,
}

/// Publishes for one shard.
#[derive(Debug)]
pub struct Publisher {
    outbox: Outbox<Token>,
    facts: Arc<Facts>,
    stats: Arc<Stats>,
    progress: Progress,
}

#[derive(Debug)]
struct Gathered {
    events: Vec<Event>,
    tickets: Vec<Ticket>,
    session: Arc<str>,
    bytes: usize,
    due: Instant,
}

impl Publisher {
    /// A publisher that reports what is stored to `progress`.
    #[must_use]
    pub fn new(bus: Bus, facts: Arc<Facts>, stats: Arc<Stats>, progress: Progress) -> Self {
        let done = progress.clone();
        let outbox = Outbox::start(bus, OUTBOX, move |token: Token| done.done(token.tickets));
        Self { outbox, facts, stats, progress }
    }

    /// Publishes until `items` ends, then waits until everything is stored; but not for long after
    /// `stop`, whatever it waits for.
    pub async fn run(self, items: mpsc::Receiver<Item>, stop: CancellationToken) {
        let limit = async {
            stop.cancelled().await;
            sleep(FLUSH_LIMIT).await;
        };
        tokio::select! {
            () = self.publish(items) => {}
            () = limit => {
                warn!(pending = self.outbox.pending(), "not stored in time; it is read again after the restart");
            }
        }
    }

    async fn publish(&self, mut items: mpsc::Receiver<Item>) {
        let mut gathered = Gathered::new();
        let mut ranking: FuturesUnordered<BoxFuture<'_, Box<CommandItem>>> = FuturesUnordered::new();
        loop {
            tokio::select! {
                item = items.recv() => match item {
                    Some(Item::Command(command))
                        if command.unranked.is_some() && ranking.len() < MAX_RANKING =>
                    {
                        ranking.push(Box::pin(ranked(&self.facts, command)));
                    }
                    Some(Item::Command(command)) => self.command(command).await,
                    Some(Item::Chatter { ticket, session, event }) => {
                        if gathered.belongs_elsewhere(&session) {
                            self.flush(&mut gathered).await;
                        }
                        gathered.push(ticket, session, event);
                        if gathered.is_full() {
                            self.flush(&mut gathered).await;
                        }
                    }
                    None => break,
                },
                Some(command) = ranking.next() => self.command(command).await,
                () = sleep_until(gathered.due), if !gathered.events.is_empty() => {
                    self.flush(&mut gathered).await;
                }
            }
        }
        self.flush(&mut gathered).await;
        while let Some(command) = ranking.next().await {
            self.command(command).await;
        }
        if !self.outbox.flush(FLUSH_LIMIT).await {
            warn!(pending = self.outbox.pending(), "not stored in time; it is read again after the restart");
        }
    }

    async fn command(&self, command: Box<CommandItem>) {
        let CommandItem { ticket, event, trace, span, .. } = *command;
        let subject = subject::event(&event);
        let publish = info_span!(parent: &span, "nats.publish", otel.kind = "producer", subject);
        let trace = service::trace::header(&publish, &trace);
        match Message::new(subject, event.id.as_str(), &event) {
            Ok(message) => {
                self.stats.commands.inc();
                let message = message.trace(trace);
                self.send(message, Token { tickets: vec![ticket], _span: publish }).await;
            }
            Err(error) => self.lost(&error, vec![ticket]),
        }
    }

    async fn flush(&self, gathered: &mut Gathered) {
        let (Some(first), Some(last)) = (gathered.tickets.first(), gathered.tickets.last()) else { return };
        let id = format!("{}:{}-{}", gathered.session, first.sequence(), last.sequence());
        let tickets = std::mem::take(&mut gathered.tickets);
        let events = std::mem::take(&mut gathered.events);
        gathered.bytes = 0;
        match Message::new(subject::chatter(Platform::Discord), id, &batch(events)) {
            Ok(message) => self.send(message, Token { tickets, _span: Span::none() }).await,
            Err(error) => self.lost(&error, tickets),
        }
    }

    async fn send(&self, message: Message, token: Token) {
        if message.len() > MAX_PAYLOAD_BYTES {
            // It would be too large after a restart as well.
            return self.lost(&"it is larger than NATS takes", token.tickets);
        }
        if let Err(error) = self.outbox.send(message, token).await {
            error!(%error, "not stored; it is read again after a restart");
        }
    }

    fn lost(&self, error: &dyn std::fmt::Display, tickets: Vec<Ticket>) {
        error!(%error, events = tickets.len(), "cannot be published");
        self.stats.unpublishable.inc_by(u64::try_from(tickets.len()).unwrap_or_default());
        self.progress.done(tickets);
    }
}

impl Gathered {
    fn new() -> Self {
        Self { events: Vec::new(), tickets: Vec::new(), session: "".into(), bytes: 0, due: Instant::now() }
    }

    fn belongs_elsewhere(&self, session: &Arc<str>) -> bool {
        !self.events.is_empty() && !Arc::ptr_eq(session, &self.session)
    }

    fn push(&mut self, ticket: Ticket, session: Arc<str>, event: Event) {
        if self.events.is_empty() {
            self.due = Instant::now() + FLUSH_AFTER;
            self.session = session;
        }
        self.bytes += size(&event);
        self.events.push(event);
        self.tickets.push(ticket);
    }

    fn is_full(&self) -> bool {
        self.events.len() >= MAX_EVENTS || self.bytes >= MAX_BYTES
    }
}

async fn ranked(facts: &Facts, mut command: Box<CommandItem>) -> Box<CommandItem> {
    if let Some(Unranked { guild, user, roles }) = command.unranked.take() {
        let rank = facts.ask_rank(guild, user, &roles).await;
        if let EventBody::Command(body) = &mut command.event.body {
            body.message.author.rank = rank;
        }
    }
    command
}

/// About how many bytes an event takes as JSON: control characters become six, quotes two.
fn size(event: &Event) -> usize {
    let cost = |text: &str| -> usize {
        let of = |byte: u8| match byte {
            b'"' | b'\\' => 2,
            0..=0x1f => 6,
            _ => 1,
        };
        text.bytes().map(of).sum()
    };
    match &event.body {
        EventBody::Message(message) => EVENT_BYTES + cost(&message.text) + cost(&message.author.name),
        _ => EVENT_BYTES,
    }
}
