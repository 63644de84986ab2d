//! Keeps one group of channels joined for ever: connects, joins, hands over when Twitch asks for it,
//! and begins again when a connection is lost.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    chat::Chat,
    connection::{Closed, Connection, Signal},
    joins::{Joins, Refusal},
    login::LoginError,
    rooms::{Line, State},
    tokens::Validity,
};

/// A connection that lived so long was a good one: the next wait is short again.
const GOOD_LIFE: Duration = Duration::from_secs(60);
/// Channels in one PART.
const PARTS: usize = 10;

/// A group of channels on one connection.
pub struct Slot {
    /// Its number, from 0. Its channels are in `rooms`, with those among them that are to be joined.
    pub number: usize,
    /// What it shares with the others.
    pub chat: Arc<Chat>,
    /// Whether the token may be used.
    pub validity: watch::Receiver<Validity>,
}

/// A connection and what it has joined.
struct Member {
    connection: Connection,
    joins: Joins,
    chat: Arc<Chat>,
    born: Instant,
}

/// What a member did.
enum Step {
    Joined(String),
    Refused(Vec<Refusal>),
    Reconnect,
    Closed(Closed),
}

/// How a life on connections ended.
enum End {
    Shutdown,
    Lost { cause: Closed, lived: Duration },
    TokenGone,
}

impl Slot {
    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// None: a slot never gives up.
    pub async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut pause = self.chat.timing.retries();
        let mut assigned = self.chat.rooms.assigned();
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            // The sender lives as long as the slot.
            _ = assigned.wait_for(|count| *count > 0) => {}
        }
        loop {
            let opened = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                opened = self.open() => opened,
            };
            let trouble = match opened {
                Ok(member) => match self.live(member, &shutdown).await {
                    End::Shutdown => return Ok(()),
                    End::TokenGone => continue,
                    End::Lost { cause, lived } => {
                        if lived >= GOOD_LIFE {
                            pause.reset();
                        }
                        self.chat.stats.disconnects.with(cause.as_str()).inc();
                        cause.to_string()
                    }
                },
                Err(error) => describe(&error),
            };
            let wait = pause.next();
            warn!(slot = self.number, retry_ms = millis(wait), trouble, "not connected to Twitch");
            self.chat.rooms.disconnected(self.number, trouble);
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = sleep(wait) => {}
            }
        }
    }

    async fn open(&mut self) -> Result<Member, LoginError> {
        // The sender lives as long as the service.
        if self.validity.wait_for(Validity::usable).await.is_err() {
            std::future::pending::<()>().await;
        }
        Member::open(&self.chat, self.number).await
    }

    async fn live(&mut self, mut current: Member, shutdown: &CancellationToken) -> End {
        self.take_over(&current);
        let mut handover = Handover::None;
        let mut retry = self.chat.timing.retries();
        let mut old: Option<(Member, Instant)> = None;
        let mut assigned = self.chat.rooms.assigned();
        assigned.mark_changed();
        loop {
            tokio::select! {
                // The sender lives as long as the slot.
                Ok(()) = assigned.changed() => {
                    let wanted = self.chat.rooms.wanted(self.number);
                    current.set(&wanted);
                    if let Handover::Joining(next) = &mut handover {
                        next.set(&wanted);
                    }
                }
                () = shutdown.cancelled() => {
                    current.connection.quit().await;
                    return End::Shutdown;
                }
                () = gone(&mut self.validity) => {
                    current.connection.quit().await;
                    let trouble = match &*self.validity.borrow() {
                        Validity::Bad(reason) => reason.clone(),
                        _ => "the token is being checked".to_owned(),
                    };
                    self.chat.rooms.disconnected(self.number, trouble);
                    return End::TokenGone;
                }
                step = current.step() => match step {
                    Step::Joined(login) => self.joined(&login),
                    Step::Refused(refusals) => self.refused(refusals),
                    Step::Reconnect if handover.is_none() => {
                        info!(slot = self.number, "Twitch asks for a new connection; joining it before this one ends");
                        handover = Handover::begin(&self.chat, self.number, Duration::ZERO);
                    }
                    Step::Reconnect => {}
                    Step::Closed(cause) => {
                        self.chat.rooms.disconnected(self.number, cause.to_string());
                        let next = tokio::select! {
                            () = shutdown.cancelled() => return End::Shutdown,
                            next = std::mem::replace(&mut handover, Handover::None).finish() => next,
                        };
                        // It may not have joined everything yet; it goes on with that.
                        let Some(next) = next else {
                            return End::Lost { cause, lived: current.born.elapsed() };
                        };
                        current = next;
                        self.take_over(&current);
                    }
                },
                progress = handover.step() => match progress {
                    Progress::Nothing => {}
                    Progress::Joined(login) => self.chat.rooms.set_state(&login, State::Joined),
                    Progress::Failed(trouble) => {
                        warn!(slot = self.number, trouble, "the new connection did not come; trying again");
                        handover = Handover::begin(&self.chat, self.number, retry.next());
                    }
                    Progress::Settled(next) => {
                        info!(slot = self.number, "the new connection took over");
                        let until = Instant::now() + self.chat.timing.linger;
                        old = Some((std::mem::replace(&mut current, *next), until));
                        handover = Handover::None;
                        retry.reset();
                        self.take_over(&current);
                    }
                },
                // Lines that were on their way when the new connection took over.
                () = linger(&mut old) => {
                    if let Some((member, _)) = old.take() {
                        member.connection.quit().await;
                    }
                }
            }
        }
    }

    fn take_over(&self, member: &Member) {
        let line = Line { connection: member.connection.number, lines: member.connection.lines.clone() };
        for login in self.chat.rooms.wanted(self.number) {
            let state = match (member.joins.is_joined(&login), member.joins.refusal(&login)) {
                (true, _) => State::Joined,
                (false, Some(reason)) => State::Refused(reason.to_owned()),
                (false, None) => State::Waiting,
            };
            self.chat.rooms.set_state(&login, state);
        }
        self.chat.rooms.connected(self.number, line);
    }

    fn joined(&self, login: &str) {
        info!(channel = login, "joined");
        self.chat.rooms.set_state(login, State::Joined);
    }

    fn refused(&self, refusals: Vec<Refusal>) {
        for Refusal { login, reason } in refusals {
            warn!(channel = login, reason, "not joined; trying again later");
            self.chat.rooms.set_state(&login, State::Refused(reason));
        }
    }
}

impl Member {
    async fn open(chat: &Arc<Chat>, slot: usize) -> Result<Self, LoginError> {
        let connection = Connection::open(chat).await?;
        let joins = Joins::new(&chat.rooms.wanted(slot), chat.timing.join_within);
        Ok(Self { connection, joins, chat: chat.clone(), born: Instant::now() })
    }

    /// From now on these channels are to be joined; leaves the others.
    fn set(&mut self, logins: &[String]) {
        for left in self.joins.set(logins).chunks(PARTS) {
            info!(channels = left.join(","), "left to other gateways");
            // A queue that is full is noticed by the watchdog.
            let _ = self.connection.lines.try_send(format!("PART #{}", left.join(",#")));
        }
    }

    /// Goes on until something happens that others should know. Cancel-safe.
    async fn step(&mut self) -> Step {
        loop {
            let wake = self.joins.wake_at();
            tokio::select! {
                signal = self.connection.signal() => match signal {
                    Signal::Joined(login) if self.joins.confirmed(&login) => return Step::Joined(login),
                    Signal::Joined(_) => {}
                    Signal::Refused { login, reason } => {
                        if let Some(refusal) = self.joins.refused(&login, reason) {
                            return Step::Refused(vec![refusal]);
                        }
                    }
                    Signal::Reconnect => return Step::Reconnect,
                    Signal::Closed(cause) => return Step::Closed(cause),
                },
                () = self.chat.joins.take(), if self.joins.has_next() => {
                    if let Some(login) = self.joins.next() {
                        // A queue that is full is noticed by the watchdog, and the join as not confirmed.
                        let _ = self.connection.lines.try_send(format!("JOIN #{login}"));
                    }
                }
                () = until(wake) => {
                    let refusals = self.joins.look_at_the_clock();
                    if !refusals.is_empty() {
                        return Step::Refused(refusals);
                    }
                }
            }
        }
    }
}

/// A connection that is to replace another.
enum Handover {
    None,
    Opening(std::pin::Pin<Box<dyn Future<Output = Result<Member, LoginError>> + Send>>),
    Joining(Box<Member>),
}

enum Progress {
    Nothing,
    Joined(String),
    Failed(String),
    Settled(Box<Member>),
}

impl Handover {
    fn begin(chat: &Arc<Chat>, slot: usize, after: Duration) -> Self {
        let chat = chat.clone();
        Self::Opening(Box::pin(async move {
            sleep(after).await;
            Member::open(&chat, slot).await
        }))
    }

    const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    fn take_member(&mut self) -> Option<Member> {
        match std::mem::replace(self, Self::None) {
            Self::Joining(member) => Some(*member),
            Self::None | Self::Opening(_) => None,
        }
    }

    /// The new connection, as far as it has come; waits for one that is being opened.
    async fn finish(self) -> Option<Member> {
        match self {
            Self::None => None,
            Self::Opening(opening) => opening.await.ok(),
            Self::Joining(member) => Some(*member),
        }
    }

    /// Cancel-safe.
    async fn step(&mut self) -> Progress {
        match self {
            Self::None => std::future::pending().await,
            Self::Opening(opening) => match opening.await {
                Ok(member) => {
                    *self = Self::Joining(Box::new(member));
                    Progress::Nothing
                }
                Err(error) => {
                    *self = Self::None;
                    Progress::Failed(describe(&error))
                }
            },
            Self::Joining(member) => {
                let step = match member.joins.settled() {
                    true => Step::Refused(Vec::new()),
                    false => member.step().await,
                };
                if let Step::Closed(cause) = step {
                    *self = Self::None;
                    return Progress::Failed(cause.to_string());
                }
                if member.joins.settled()
                    && let Some(member) = self.take_member()
                {
                    return Progress::Settled(Box::new(member));
                }
                match step {
                    Step::Joined(login) => Progress::Joined(login),
                    _ => Progress::Nothing,
                }
            }
        }
    }
}

/// Resolves when the token may not be used any more.
async fn gone(validity: &mut watch::Receiver<Validity>) {
    if validity.wait_for(|validity| !validity.usable()).await.is_err() {
        // Nobody checks any more: the service is ending.
        std::future::pending::<()>().await;
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Resolves when the old connection ended or had its time.
async fn linger(old: &mut Option<(Member, Instant)>) {
    let Some((member, until)) = old else { return std::future::pending().await };
    let until = *until;
    let ended = async { while !matches!(member.connection.signal().await, Signal::Closed(_)) {} };
    tokio::select! {
        () = ended => {}
        () = sleep_until(until) => {}
    }
}

/// The error with all its causes, on one line. A refused login is louder: only a person can mend it.
fn describe(error: &LoginError) -> String {
    let text = service::chain(error);
    if matches!(error, LoginError::Refused { .. }) {
        error!("{text}");
    }
    text
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
