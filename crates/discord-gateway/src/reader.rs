//! What the dispatches of one shard become: facts, events, interactions, or nothing but a count.

use std::{collections::HashSet, sync::Arc};

use service::clock::{unix_ms, unix_us};
use tokio::{
    sync::{mpsc, mpsc::error::TrySendError},
    time::Instant,
};
use tracing::{debug, info_span, warn};

use crate::{
    convert,
    cursor::{Cursor, Progress},
    facts::Facts,
    frame::{Guild, GuildGone, Interaction, Kind, Message, Ready, RoleChange, RoleGone, Snowflake, data},
    interactions::{Asked, Form},
    publish::{CommandItem, Item, Unranked},
    stats::Stats,
};

/// An interaction that is replayed and older than this has been given up by Discord, in milliseconds.
const INTERACTION_LIFE_MS: u64 = 3000;

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was used, or passed by.
    Yes,
    /// It was used, and the session is live from here.
    Live,
    /// There is no room for it; it was not taken.
    NoRoom,
    /// It must be read and cannot be.
    Unreadable,
}

/// What a reader needs of others.
#[derive(Clone, Debug)]
pub struct Context {
    /// What is known of the guilds.
    pub facts: Arc<Facts>,
    /// What is counted.
    pub stats: Arc<Stats>,
    /// Where interactions go.
    pub interactions: mpsc::Sender<Asked>,
    /// What a command starts with.
    pub prefix: Arc<str>,
}

/// Reads for one shard.
#[derive(Debug)]
pub struct Reader {
    shard: u32,
    ctx: Context,
    progress: Progress,
    /// The session as far as it was read, which is further than it is stored.
    session: Option<Cursor>,
    session_id: Arc<str>,
    own_user: Snowflake,
    /// What comes was missed before; RESUMED ends that.
    replaying: bool,
    /// Guilds that are counted and of which no `GUILD_CREATE` came yet. Another one's is a new guild.
    away: HashSet<Snowflake>,
}

impl Reader {
    /// A reader that goes on with a session, if there is one.
    #[must_use]
    pub fn new(shard: u32, ctx: Context, progress: Progress, own_user: Snowflake) -> Self {
        let session = progress.cursor();
        let session_id = session.as_ref().map_or("", |cursor| &cursor.session).into();
        if let Some(cursor) = &session {
            ctx.stats.set_guilds(shard, cursor.guilds);
        }
        Self { shard, ctx, progress, session, session_id, own_user, replaying: false, away: HashSet::new() }
    }

    /// The session to resume, if there is one.
    #[must_use]
    pub const fn session(&self) -> Option<&Cursor> {
        self.session.as_ref()
    }

    /// What is counted.
    #[must_use]
    pub const fn stats(&self) -> &Arc<Stats> {
        &self.ctx.stats
    }

    /// A connection begins; with a session, what was missed comes first.
    pub const fn resuming(&mut self) {
        self.replaying = self.session.is_some();
    }

    /// Gives the session up.
    pub fn drop_session(&mut self) {
        if self.session.take().is_some() {
            self.ctx.stats.sessions_lost.inc();
            warn!(
                shard = self.shard,
                "a session cannot be resumed: what was said since its last event is not read"
            );
        }
        self.replaying = false;
        self.progress.session_lost();
    }

    /// Takes a dispatch. One that cannot be read is counted and passed by, except for READY.
    pub fn take(&mut self, frame: &str, sequence: u64, name: &str, items: &mpsc::Sender<Item>) -> Taken {
        let received_us = unix_us();
        let (kind, label) = Kind::of(name);
        self.ctx.stats.dispatches.with(label).inc();
        if kind == Kind::Ready {
            return self.ready(frame, sequence);
        }
        // A replay begins after what was read; should it not, nothing is done twice.
        if self.session.as_ref().is_some_and(|session| sequence <= session.sequence) {
            return Taken::Yes;
        }
        let taken = match kind {
            Kind::Message => self.message(frame, sequence, received_us, items),
            Kind::Interaction => self.interaction(frame, sequence, received_us),
            Kind::Resumed => {
                self.replaying = false;
                self.pass(sequence, Ok(()));
                Taken::Live
            }
            _ => {
                let learned = self.learn(kind, frame);
                self.pass(sequence, learned);
                Taken::Yes
            }
        };
        if taken != Taken::NoRoom
            && let Some(session) = &mut self.session
        {
            session.sequence = sequence;
        }
        taken
    }

    fn ready(&mut self, frame: &str, sequence: u64) -> Taken {
        let ready: Ready = match data(frame) {
            Ok(ready) => ready,
            Err(error) => {
                warn!(%error, "READY cannot be read");
                self.ctx.stats.malformed.inc();
                return Taken::Unreadable;
            }
        };
        let cursor = Cursor {
            session: ready.session_id,
            resume_url: ready.resume_gateway_url,
            sequence,
            user: ready.user.id.0,
            guilds: ready.guilds.len(),
        };
        self.own_user = ready.user.id;
        self.away = ready.guilds.iter().map(|guild| guild.id).collect();
        self.session_id = cursor.session.as_str().into();
        self.ctx.stats.set_guilds(self.shard, cursor.guilds);
        self.progress.session(cursor.clone());
        self.session = Some(cursor);
        self.replaying = false;
        Taken::Live
    }

    fn learn(&mut self, kind: Kind, frame: &str) -> Result<(), serde_json::Error> {
        let facts = &self.ctx.facts;
        match kind {
            Kind::GuildCreate => {
                let guild: Guild = data(frame)?;
                facts.learn(&guild);
                let new = !self.away.remove(&guild.id);
                self.set_guilds(|guilds| guilds + usize::from(new));
            }
            Kind::GuildUpdate => facts.learn(&data(frame)?),
            Kind::GuildDelete => {
                let gone: GuildGone = data(frame)?;
                if gone.unavailable {
                    self.away.insert(gone.id);
                } else {
                    facts.forget(gone.id);
                    self.away.remove(&gone.id);
                    self.set_guilds(|guilds| guilds.saturating_sub(1));
                }
            }
            Kind::RoleCreate | Kind::RoleUpdate => {
                let change: RoleChange = data(frame)?;
                facts.set_role(change.guild_id, &change.role);
            }
            Kind::RoleDelete => {
                let gone: RoleGone = data(frame)?;
                facts.remove_role(gone.guild_id, gone.role_id);
            }
            _ => {}
        }
        Ok(())
    }

    fn set_guilds(&mut self, change: impl FnOnce(usize) -> usize) {
        if let Some(session) = &mut self.session {
            session.guilds = change(session.guilds);
            self.progress.set_guilds(session.guilds);
            self.ctx.stats.set_guilds(self.shard, session.guilds);
        }
    }

    fn message(&self, frame: &str, sequence: u64, received_us: u64, items: &mpsc::Sender<Item>) -> Taken {
        let message: Message<'_> = match data(frame) {
            Ok(message) => message,
            Err(error) => {
                self.pass(sequence, Err(error));
                return Taken::Yes;
            }
        };
        if message.author.id == self.own_user || !message.is_chat() {
            self.pass(sequence, Ok(()));
            return Taken::Yes;
        }
        let room = match items.try_reserve() {
            Ok(room) => room,
            Err(TrySendError::Full(()) | TrySendError::Closed(())) => return Taken::NoRoom,
        };
        let (rank, unranked) = self.rank(&message);
        let of_bot = message.author.bot || message.webhook_id.is_some();
        let command = !of_bot && convert::is_command(&message.content, &self.ctx.prefix);
        let prefix = command.then_some(&*self.ctx.prefix);
        let Some(event) = convert::message(&message, rank, prefix, received_us) else {
            self.pass(sequence, Ok(()));
            return Taken::Yes;
        };
        self.ctx.stats.events.inc();
        let ticket = self.progress.open(sequence);
        room.send(if command {
            let span = info_span!(
                "discord.message",
                otel.kind = "consumer",
                event_id = event.id.as_str(),
                community = event.community.as_str(),
            );
            let trace = service::trace::start(&span);
            Item::Command(Box::new(CommandItem { ticket, event, trace, span, unranked }))
        } else {
            Item::Chatter { ticket, session: self.session_id.clone(), event }
        });
        Taken::Yes
    }

    /// The author's rank; and what to ask when it is not known. Only commands ask: chatter of a guild
    /// that is not known counts as written by everyone.
    fn rank(&self, message: &Message<'_>) -> (protocol::Rank, Option<Unranked>) {
        let (Some(guild), Some(member)) = (message.guild_id, &message.member) else {
            return Default::default();
        };
        match self.ctx.facts.rank(guild, message.author.id, &member.roles) {
            Some(rank) => (rank, None),
            None => {
                let unranked = Unranked { guild, user: message.author.id, roles: member.roles.clone() };
                (protocol::Rank::default(), Some(unranked))
            }
        }
    }

    fn interaction(&self, frame: &str, sequence: u64, received_us: u64) -> Taken {
        self.ctx.stats.interactions.inc();
        let asked: Interaction<'_> = match data(frame) {
            Ok(asked) => asked,
            Err(error) => {
                self.pass(sequence, Err(error));
                return Taken::Yes;
            }
        };
        let late = self.replaying && unix_ms().saturating_sub(asked.id.at_ms()) > INTERACTION_LIFE_MS;
        let question = convert::interaction(&asked, received_us).filter(|_| !late);
        let (Some(question), Some(form)) = (question, Form::of(asked.kind)) else {
            debug!(id = %asked.id, late, "an interaction is passed by");
            self.ctx.stats.unanswered.with(if late { "late" } else { "unknown" }).inc();
            self.pass(sequence, Ok(()));
            return Taken::Yes;
        };
        let span = info_span!(
            "discord.interaction",
            otel.kind = "consumer",
            event_id = question.id.as_str(),
            community = question.community.as_str(),
        );
        let trace = service::trace::start(&span);
        let asked = Asked {
            id: asked.id,
            application: asked.application_id,
            token: asked.token,
            form,
            question,
            trace,
            span,
            read_at: Instant::now(),
            ticket: self.progress.open(sequence),
            progress: self.progress.clone(),
        };
        if let Err(TrySendError::Full(asked) | TrySendError::Closed(asked)) =
            self.ctx.interactions.try_send(asked)
        {
            warn!("more interactions than can be answered at a time; one is passed by");
            self.ctx.stats.unanswered.with("too_many").inc();
            asked.finished();
        }
        Taken::Yes
    }

    /// A frame in need of nothing more.
    fn pass(&self, sequence: u64, read: Result<(), serde_json::Error>) {
        if let Err(error) = read {
            debug!(%error, sequence, "a dispatch cannot be read; passed by");
            self.ctx.stats.malformed.inc();
        }
        self.progress.pass(sequence);
    }
}
