//! One shard: a connection after another, each with a fresh `twilight_gateway::Shard`, which does the
//! handshake, the heartbeats and the decompression. When to connect, with which session, and when to
//! stop reading is decided here; see [`crate::backoff`] for why.
//!
//! A frame is taken when there is room for what it becomes. When there is none, because JetStream is
//! slow or away, the connection is closed with 4000, which keeps the session, and resumed once there
//! is room: Discord keeps what is missed for some minutes, this process does not.

use std::{sync::Arc, time::Duration};

use anyhow::bail;
use service::chain;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use twilight_gateway::{
    Config as TwilightConfig, ConfigBuilder, Intents, Message, Session, ShardId,
    error::ReceiveMessageErrorType,
};

use crate::{
    backoff::{Backoff, End, Next, Why},
    config,
    cursor::Cursor,
    frame::{self, Header},
    identify::{Granted, Identify, Permit},
    ledger::SessionStartLimit,
    link::Link,
    publish::Item,
    reach::Reach,
    reader::{Reader, Taken},
    shards::Ours,
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
/// How often the state of a connection is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long a connection may take to become a live session, the wait for heartbeats aside.
const LIVE_LIMIT: Duration = Duration::from_secs(60);
/// How long a session waits to be resumed until NATS says whose the shard is. Discord forgets a session
/// after some minutes without a connection.
const RESUME_PATIENCE: Duration = Duration::from_secs(30);
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
    /// Whether Discord can be reached.
    pub reach: Arc<Reach>,
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
    ours: Ours,
    reader: Reader,
    items: mpsc::Sender<Item>,
    backoff: Backoff,
    /// The resume URL failed; the next connect goes to the main one.
    avoid_resume_url: bool,
}

/// What is going on with one connection.
struct Life {
    resuming: bool,
    greeted: bool,
    live_since: Option<Instant>,
    started: Instant,
    heartbeat: Option<Duration>,
    acknowledged: Instant,
}

impl Shard {
    /// A shard that goes on where `reader` stands.
    #[must_use]
    pub fn new(id: ShardId, shared: Shared, ours: Ours, reader: Reader, items: mpsc::Sender<Item>) -> Self {
        Self { id, shared, ours, reader, items, backoff: Backoff::default(), avoid_resume_url: false }
    }

    /// Stays connected until `stop`.
    ///
    /// # Errors
    /// When Discord refuses the token: a restart reads the setting again.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let outcome = self.stay_connected(&stop).await;
        self.shared.reach.rests(self.id.number());
        self.shared.identify.left(self.id.number());
        outcome
    }

    async fn stay_connected(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        loop {
            self.shared.reach.waits(self.id.number());
            let permit = tokio::select! {
                permit = self.turn() => permit,
                () = stop.cancelled() => return Ok(()),
            };
            let end = self.connection(permit, stop).await;
            if end.why == Why::Shutdown {
                return Ok(());
            }
            let next = self.backoff.after(&end);
            self.report(&end, &next)?;
            if next.drop_session {
                self.reader.drop_session();
            }
            self.avoid_resume_url = !end.greeted && !self.avoid_resume_url;
            tokio::select! {
                () = self.away(&end, next.pause) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    /// Waits until the shard may connect: to begin a session only while nobody else can have the shard. To
    /// go on with one, that is waited for as well, but not until Discord has forgotten the session: a
    /// gateway that is alone and without NATS loses nothing that way.
    async fn turn(&self) -> Option<Permit> {
        if self.reader.session().is_some() {
            if timeout(RESUME_PATIENCE, self.ours.wait()).await.is_err() {
                warn!(shard = self.id.number(), "NATS has not confirmed that this shard is ours; resuming");
            }
            return None;
        }
        loop {
            self.ours.wait().await;
            let permit = self.permit().await;
            if self.ours.now() {
                return Some(permit);
            }
        }
    }

    async fn permit(&self) -> Permit {
        let stats = self.reader.stats();
        let refused = |words| {
            self.shared.reach.rests(self.id.number());
            stats.shard_waits(self.id.number(), words);
        };
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
        let stats = self.reader.stats();
        if next.fatal.is_some() {
            self.shared.identify.refused(shard, next.pause);
            stats.shard_waits(shard, words);
            return Ok(());
        }
        info!(shard, pause_ms, new_session = next.drop_session, "{words}");
        if end.why == Why::Full {
            // NATS is waited for; a fresh process would do nothing else.
            stats.shard_waits(shard, words);
        } else {
            stats.shard_down(shard, words);
        }
        Ok(())
    }

    /// Connects and reads until the connection ends.
    async fn connection(&mut self, permit: Option<Permit>, stop: &CancellationToken) -> End {
        let mut link = Link::new(self.id, self.twilight(permit.as_ref()));
        self.shared.reach.trying(self.id.number());
        self.reader.resuming();
        let mut permit = permit;
        let now = Instant::now();
        let mut life = Life {
            resuming: self.reader.session().is_some(),
            greeted: false,
            live_since: None,
            started: now,
            heartbeat: None,
            acknowledged: now,
        };
        let stats = self.reader.stats().clone();
        stats.connects.with(if life.resuming { "resume" } else { "identify" }).inc();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = std::pin::pin!(stop.cancelled());
        let why = loop {
            let ending = tokio::select! {
                () = &mut stop => Some(Why::Shutdown),
                _ = look.tick() => self.look(&link, &life),
                message = link.next() => match message {
                    Some(Ok(Message::Text(frame))) => {
                        let ending = self.frame(&frame, &mut life);
                        if life.live_since.is_some() {
                            permit = None;
                        }
                        ending
                    }
                    Some(Ok(Message::Close(frame))) => break Why::Closed(frame.map(|frame| frame.code)),
                    None => break Why::Closed(None),
                    Some(Err(error)) => match error.kind() {
                        ReceiveMessageErrorType::Reconnect => break Why::NotConnected(chain(&error)),
                        ReceiveMessageErrorType::Deserializing { .. } => {
                            stats.malformed.inc();
                            debug!("a frame cannot be read; passed by");
                            None
                        }
                        _ => {
                            warn!(error = chain(&error), "the stream cannot be decompressed");
                            Some(Why::Garbled)
                        }
                    },
                },
            };
            if let Some(why) = ending {
                link.part().await;
                break why;
            }
        };
        drop(permit);
        self.shared.reach.parted(self.id.number());
        End {
            why,
            live: life.live_since.map(|since| since.elapsed()),
            greeted: life.greeted,
            resuming: life.resuming,
        }
    }

    fn twilight(&self, permit: Option<&Permit>) -> TwilightConfig<Granted> {
        let queue = permit.map(|permit| permit.queue(self.ours.clone())).unwrap_or_default();
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

    /// Takes a frame; says why the connection is to be ended, if it is.
    fn frame(&mut self, frame: &str, life: &mut Life) -> Option<Why> {
        let Some(header) = Header::read(frame) else {
            self.reader.stats().malformed.inc();
            return None;
        };
        match (header.op, header.sequence, header.name) {
            (0, Some(sequence), Some(name)) => match self.reader.take(frame, sequence, &name, &self.items) {
                Taken::Live => {
                    life.live_since.get_or_insert_with(Instant::now);
                    self.avoid_resume_url = false;
                    self.reader.stats().shard_ready(self.id.number());
                    self.shared.identify.accepted();
                    info!(shard = self.id.number(), resumed = life.resuming, "session is live");
                }
                Taken::Yes => {}
                Taken::NoRoom => return Some(Why::Full),
                Taken::Unreadable => return Some(Why::Garbled),
            },
            (0, ..) => {
                self.reader.stats().malformed.inc();
            }
            (7, ..) => return Some(Why::Asked),
            (9, ..) => {
                let resumable = frame::data::<bool>(frame).unwrap_or(false);
                return Some(Why::InvalidSession { resumable });
            }
            (10, ..) => {
                #[derive(serde::Deserialize)]
                struct Hello {
                    heartbeat_interval: u64,
                }
                life.greeted = true;
                self.shared.reach.reached(self.id.number());
                let hello = frame::data::<Hello>(frame).ok();
                life.heartbeat = hello.map(|hello| Duration::from_millis(hello.heartbeat_interval));
                life.acknowledged = Instant::now();
            }
            (11, ..) => life.acknowledged = Instant::now(),
            _ => {}
        }
        None
    }

    /// Looks at the connection as a whole; says why it is to be ended, if it is.
    fn look(&self, link: &Link, life: &Life) -> Option<Why> {
        if let Some(latency_ms) = link.latency_ms() {
            self.reader.stats().set_latency(self.id.number(), latency_ms);
        }
        self.reader.stats().set_heartbeat_age(self.id.number(), life.acknowledged.elapsed());
        // A first heartbeat comes after up to one interval, its acknowledgement soon after. twilight
        // takes any event for a sign of life, which a half-dead gateway gives too.
        let silent = life.heartbeat.is_some_and(|every| life.acknowledged.elapsed() > every * 2 + LOOK);
        let never_live = life.live_since.is_none() && life.started.elapsed() > LIVE_LIMIT;
        (silent || never_live).then_some(Why::Zombie)
    }
}
