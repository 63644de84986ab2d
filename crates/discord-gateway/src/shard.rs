//! One shard: a connection after another, each with a fresh `twilight_gateway::Shard`, which does the
//! handshake, the heartbeats and the decompression. When to connect, with which session, and when to
//! stop reading is decided here; see [`crate::backoff`] for why.
//!
//! A frame is taken when there is room for what it becomes. When there is none, because JetStream is
//! slow or away, the connection is closed with 4000, which keeps the session, and resumed once there
//! is room: Discord keeps what is missed for some minutes, this process does not.

use std::{sync::Arc, time::Duration};

use anyhow::bail;
use futures_util::StreamExt;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use twilight_gateway::{
    CloseFrame, Config as TwilightConfig, ConfigBuilder, Intents, Message, Session, Shard as Connection,
    ShardId, error::ReceiveMessageErrorType,
};

use crate::{
    backoff::{Backoff, End, Next, Why},
    config,
    cursor::Cursor,
    frame::{self, Header},
    identify::{Granted, Identify, Permit, SessionStartLimit},
    publish::Item,
    reader::{Reader, Taken},
};

/// The events that are used, and no more: names and presence of members are none of this bot's business.
pub const INTENTS: Intents = Intents::GUILDS
    .union(Intents::GUILD_MESSAGES)
    .union(Intents::DIRECT_MESSAGES)
    .union(Intents::MESSAGE_CONTENT);
/// Things read and not yet given to the outbox, per shard.
pub const QUEUE: usize = 1024;
/// After a stop for lack of room, reading goes on when so much of the queue is free.
const ROOM: usize = QUEUE / 2;
/// How long a closing handshake may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// How often the state of a connection is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long a connection may take to become a live session, the wait for heartbeats aside.
const LIVE_LIMIT: Duration = Duration::from_secs(60);
/// The close code of an end that no close frame announced.
const ABNORMAL: u16 = 1006;

/// What all shards share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Token, intents, TLS; without a queue.
    pub twilight: TwilightConfig<Granted>,
    /// Where the gateway is.
    pub gateway_url: String,
    /// Whether resumes go to `gateway_url` as well, instead of where READY says.
    pub fixed_url: bool,
    /// Who may IDENTIFY when.
    pub identify: Arc<Identify>,
    /// Asks Discord how many session starts are left.
    pub recheck: Arc<dyn Recheck>,
    /// Cancelled when the service stops.
    pub shutdown: CancellationToken,
}

/// Asks Discord how many session starts are left.
pub trait Recheck: Send + Sync + std::fmt::Debug {
    /// `None` when it does not say.
    fn recheck(&self) -> futures_util::future::BoxFuture<'_, Option<SessionStartLimit>>;
}

/// One shard.
#[derive(Debug)]
pub struct Shard {
    id: ShardId,
    shared: Shared,
    reader: Reader,
    items: mpsc::Sender<Item>,
    backoff: Backoff,
    /// The resume URL failed; the next connect goes to the main one.
    avoid_resume_url: bool,
}

/// What is going on with one connection.
struct Life {
    resuming: bool,
    live_since: Option<Instant>,
    started: Instant,
    heartbeat: Option<Duration>,
    acknowledged: Instant,
    closing: Option<(Why, Instant)>,
}

impl Shard {
    /// A shard that goes on where `reader` stands.
    #[must_use]
    pub fn new(id: ShardId, shared: Shared, reader: Reader, items: mpsc::Sender<Item>) -> Self {
        Self { id, shared, reader, items, backoff: Backoff::default(), avoid_resume_url: false }
    }

    /// Stays connected until the service stops.
    ///
    /// # Errors
    /// When Discord refuses the token: a restart reads the setting again.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let shutdown = self.shared.shutdown.clone();
        loop {
            let permit = match self.reader.session() {
                Some(_) => None,
                None => tokio::select! {
                    permit = self.permit() => Some(permit),
                    () = shutdown.cancelled() => return Ok(()),
                },
            };
            let end = self.connection(permit).await;
            if end.why == Why::Shutdown {
                return Ok(());
            }
            let next = self.backoff.after(&end);
            self.report(&end, &next)?;
            if next.drop_session {
                self.reader.drop_session();
            }
            self.avoid_resume_url = matches!(end.why, Why::NotConnected(_)) && !self.avoid_resume_url;
            tokio::select! {
                () = self.away(&end, next.pause) => {}
                () = shutdown.cancelled() => return Ok(()),
            }
        }
    }

    async fn permit(&self) -> Permit {
        let stats = self.reader.stats();
        let refused = |words| stats.shard_down(self.id.number(), words);
        let recheck = || self.shared.recheck.recheck();
        self.shared.identify.permit(self.id.number(), refused, recheck).await
    }

    async fn away(&self, end: &End, pause: Duration) {
        sleep(pause).await;
        if end.why == Why::Full {
            // An error says that the publisher has ended, and then the service ends too.
            let _ = self.items.reserve_many(ROOM).await;
            info!(shard = self.id.number(), "there is room again; resuming");
        }
    }

    fn report(&self, end: &End, next: &Next) -> anyhow::Result<()> {
        let shard = self.id.number();
        let pause_ms = next.pause.as_millis();
        let words = match (&end.why, next.fatal) {
            (Why::Closed(Some(4004)), Some(words)) => bail!(words),
            (_, Some(words)) => {
                error!(shard, retry_s = next.pause.as_secs(), "{words}");
                words.to_owned()
            }
            (Why::Closed(None), None) => "the gateway closed the connection".to_owned(),
            (Why::Closed(Some(ABNORMAL)), None) => "the connection broke".to_owned(),
            (Why::Closed(Some(code)), None) => format!("the gateway closed the connection with {code}"),
            (Why::NotConnected(reason), None) => {
                format!("the gateway at {} cannot be reached: {reason}", self.shared.gateway_url)
            }
            (Why::InvalidSession { .. }, None) => "discord ended the session".to_owned(),
            (Why::Asked, None) => "discord asked to reconnect".to_owned(),
            (Why::Zombie, None) => "heartbeats are not acknowledged".to_owned(),
            (Why::Full, None) => "NATS does not take events; reading stops until it does".to_owned(),
            (Why::Garbled, None) => "what the gateway sent cannot be read".to_owned(),
            (Why::Shutdown, None) => return Ok(()),
        };
        if next.fatal.is_none() {
            info!(shard, pause_ms, new_session = next.drop_session, "{words}");
        }
        self.reader.stats().shard_down(shard, words);
        Ok(())
    }

    /// Connects and reads until the connection ends.
    async fn connection(&mut self, permit: Option<Permit>) -> End {
        let mut connection = Connection::with_config(self.id, self.twilight(permit.as_ref()));
        let mut permit = permit;
        let now = Instant::now();
        let mut life = Life {
            resuming: self.reader.session().is_some(),
            live_since: None,
            started: now,
            heartbeat: None,
            acknowledged: now,
            closing: None,
        };
        let stats = self.reader.stats().clone();
        stats.connects.with(if life.resuming { "resume" } else { "identify" }).inc();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shutdown = self.shared.shutdown.clone();
        let mut stop = std::pin::pin!(shutdown.cancelled());
        let why = loop {
            let deadline = life.closing.as_ref().map(|(_, deadline)| *deadline);
            tokio::select! {
                () = &mut stop, if deadline.is_none() => life.close(&connection, Why::Shutdown),
                () = until(deadline), if deadline.is_some() => break Why::Closed(Some(ABNORMAL)),
                _ = look.tick() => self.look(&connection, &mut life),
                message = connection.next() => match message {
                    Some(Ok(Message::Text(frame))) if life.closing.is_none() => {
                        self.frame(&frame, &connection, &mut life);
                        if life.live_since.is_some() {
                            permit = None;
                        }
                    }
                    Some(Ok(Message::Text(_))) => {}
                    Some(Ok(Message::Close(frame))) => break Why::Closed(frame.map(|frame| frame.code)),
                    Some(Err(error)) => match error.kind() {
                        ReceiveMessageErrorType::Reconnect => break Why::NotConnected(chain(&error)),
                        ReceiveMessageErrorType::Deserializing { .. } => {
                            stats.malformed.inc();
                            debug!(%error, "a frame cannot be read; passed by");
                        }
                        _ => {
                            warn!(error = chain(&error), "the stream cannot be decompressed");
                            life.close(&connection, Why::Garbled);
                        }
                    },
                    None => break Why::Closed(None),
                },
            }
        };
        drop(permit);
        let why = life.closing.map_or(why, |(why, _)| why);
        End { why, live: life.live_since.map(|since| since.elapsed()), resuming: life.resuming }
    }

    fn twilight(&self, permit: Option<&Permit>) -> TwilightConfig<Granted> {
        let queue = permit.map(Permit::queue).unwrap_or_default();
        let mut builder = ConfigBuilder::from(self.shared.twilight.clone())
            .queue(queue)
            .proxy_url(self.shared.gateway_url.clone());
        if let Some(Cursor { session, resume_url, sequence, .. }) = self.reader.session() {
            builder = builder.session(Session::new(*sequence, session.clone()));
            // A URL that is none would make twilight panic.
            match config::url(resume_url, &["ws", "wss"]) {
                Ok(url) if !self.shared.fixed_url && !self.avoid_resume_url => {
                    builder = builder.resume_url(url);
                }
                Ok(_) => {}
                Err(reason) => warn!(reason, "the resume URL cannot be used; resuming at the main one"),
            }
        }
        builder.build()
    }

    fn frame(&mut self, frame: &str, connection: &Connection<Granted>, life: &mut Life) {
        let Some(header) = Header::read(frame) else {
            self.reader.stats().malformed.inc();
            return;
        };
        match (header.op, header.sequence, header.name) {
            (0, Some(sequence), Some(name)) => match self.reader.take(frame, sequence, &name, &self.items) {
                Taken::Live => {
                    life.live_since.get_or_insert_with(Instant::now);
                    self.avoid_resume_url = false;
                    self.reader.stats().shard_ready(self.id.number());
                    info!(shard = self.id.number(), resumed = life.resuming, "session is live");
                }
                Taken::Yes => {}
                Taken::NoRoom => life.close(connection, Why::Full),
                Taken::Unreadable => life.close(connection, Why::Garbled),
            },
            // twilight closes the connection itself after these two.
            (7, ..) => life.expect_close(Why::Asked),
            (9, ..) => {
                let resumable = frame::data::<bool>(frame).unwrap_or(false);
                life.expect_close(Why::InvalidSession { resumable });
            }
            (10, ..) => {
                #[derive(serde::Deserialize)]
                struct Hello {
                    heartbeat_interval: u64,
                }
                let hello = frame::data::<Hello>(frame).ok();
                life.heartbeat = hello.map(|hello| Duration::from_millis(hello.heartbeat_interval));
                life.acknowledged = Instant::now();
            }
            (11, ..) => life.acknowledged = Instant::now(),
            (0, ..) => {
                self.reader.stats().malformed.inc();
            }
            _ => {}
        }
    }

    fn look(&self, connection: &Connection<Granted>, life: &mut Life) {
        let shard = self.id.number();
        if life.closing.is_some() {
            return;
        }
        if let Some(last) = connection.latency().recent().first() {
            self.reader.stats().set_latency(shard, last.as_secs_f64() * 1000.0);
        }
        let never_live = life.live_since.is_none() && life.started.elapsed() > LIVE_LIMIT;
        let age = life.acknowledged.elapsed();
        match life.heartbeat {
            // A first heartbeat comes after up to one interval, its acknowledgement soon after.
            Some(every) if age > every * 2 + LOOK => life.close(connection, Why::Zombie),
            None if never_live => life.close(connection, Why::Zombie),
            _ => {}
        }
    }
}

impl Life {
    /// Closes with 4000, which keeps the session, and waits a little for the other side.
    fn close(&mut self, connection: &Connection<Granted>, why: Why) {
        connection.close(CloseFrame::RESUME);
        // Without a connection there is no one to wait for.
        let limit = if self.heartbeat.is_some() { CLOSE_LIMIT } else { Duration::ZERO };
        self.closing.get_or_insert((why, Instant::now() + limit));
    }

    fn expect_close(&mut self, why: Why) {
        self.closing.get_or_insert((why, Instant::now() + CLOSE_LIMIT));
    }
}

async fn until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        sleep_until(deadline).await;
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
