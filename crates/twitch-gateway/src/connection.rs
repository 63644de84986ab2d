//! One connection that is logged in: reads lines, answers and sends PINGs, notices silence.
//!
//! Events go to a bounded queue. While that is full nothing more is read from the socket, so that
//! TCP holds Twitch back; a PING that was read before the queue filled is still answered, one that
//! lies unread is not. Should that last for minutes, Twitch closes the connection and it is opened
//! again. Writing is a task of its own: a peer that reads no more never keeps us from reading.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use protocol::Event;
use service::Counter;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::AbortOnDropHandle,
};
use tracing::{debug, warn};

use crate::{
    chat::Chat,
    irc::{Guarded, Line, Verb},
    joins,
    limiter::Standing,
    login::{LoginError, log_in, pong},
    mapping::Passed,
    transport::{Reader, Writer},
};

/// Lines that wait to be written.
const OUT_LINES: usize = 64;
/// The last line of a connection.
const QUIT: &str = "QUIT";
/// How long a goodbye may take.
const QUIT_WITHIN: Duration = Duration::from_secs(1);
/// How long a connection that was left keeps what it has read while NATS takes nothing: as long as a
/// command is answered. This bounds how many of them there are, too.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(60);
/// Signals that wait for the slot.
const SIGNALS: usize = 128;

/// What a connection tells its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A channel is joined.
    Joined(String),
    /// Twitch said of a channel what it says when it refuses a join.
    Refused {
        /// The channel.
        login: String,
        /// Twitch's words.
        reason: String,
    },
    /// Twitch is about to close the connection.
    Reconnect,
    /// It ended, and why.
    Closed(Closed),
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// Twitch closed it.
    #[error("twitch closed the connection")]
    ByTwitch,
    /// It broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// No PONG came.
    #[error("twitch did not answer a PING in time; the connection was dead")]
    Silent,
    /// It was left for another one.
    #[error("the connection was left")]
    ByUs,
}

impl Closed {
    /// A name for metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::ByTwitch => "by_twitch",
            Self::Broken(_) => "broken",
            Self::Silent => "silent",
            Self::ByUs => "by_us",
        }
    }
}

/// A live connection; dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    /// Which one; never the same twice in a process.
    pub number: u64,
    /// Lines to be written.
    pub lines: mpsc::Sender<String>,
    signals: mpsc::Receiver<Signal>,
    /// Ends the reading once it has handed over what it has read: other connections take that for told.
    _reading: DropGuard,
    writing: AbortOnDropHandle<()>,
}

impl Connection {
    /// Connects and logs in.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn open(chat: &Arc<Chat>) -> Result<Self, LoginError> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        chat.logins.take().await;
        let (reader, writer) = log_in(&chat.endpoint, &chat.login, &chat.token).await?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (lines, queue) = mpsc::channel(OUT_LINES);
        let (signal, signals) = mpsc::channel(SIGNALS);
        let stop = CancellationToken::new();
        let writing = tokio::spawn(write(writer, queue, signal.downgrade()));
        let reading =
            Reading { chat: chat.clone(), number, reader, lines: lines.clone(), signal, stop: stop.clone() };
        tokio::spawn(reading.run());
        debug!(connection = number, "logged in");
        Ok(Self {
            number,
            lines,
            signals,
            _reading: stop.drop_guard(),
            writing: AbortOnDropHandle::new(writing),
        })
    }

    /// What happens next. Cancel-safe.
    pub async fn signal(&mut self) -> Signal {
        // Reading tells its end itself, unless it panicked.
        let unheard = || Signal::Closed(Closed::Broken("reading it ended without a word".to_owned()));
        self.signals.recv().await.unwrap_or_else(unheard)
    }

    /// Says goodbye, after all that waits to be written.
    pub async fn quit(self) {
        let Self { number, lines, writing, .. } = self;
        let goodbye = async {
            // The writer ends after this line; it may have ended before.
            if lines.send(QUIT.to_owned()).await.is_ok() {
                let _ = writing.await;
            }
        };
        if timeout(QUIT_WITHIN, goodbye).await.is_err() {
            debug!(connection = number, "closed without a goodbye");
        }
    }
}

async fn write(mut writer: Writer, mut queue: mpsc::Receiver<String>, signal: mpsc::WeakSender<Signal>) {
    while let Some(line) = queue.recv().await {
        if let Err(error) = writer.line(&line).await {
            if let Some(signal) = signal.upgrade() {
                // Where signals pile up the watchdog will notice.
                let _ = signal.try_send(Signal::Closed(Closed::Broken(error.to_string())));
            }
            return;
        }
        if line == QUIT {
            break;
        }
    }
    writer.close().await;
}

struct Reading {
    chat: Arc<Chat>,
    number: u64,
    reader: Reader,
    lines: mpsc::Sender<String>,
    /// The only one that keeps the signals open: when reading ends, however it ends, its slot hears of it.
    signal: mpsc::Sender<Signal>,
    stop: CancellationToken,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.chat.confirms.lost(self.number);
    }
}

/// What a chunk of lines came to.
#[derive(Default)]
struct Read {
    events: Vec<Event>,
    signals: Vec<Signal>,
    pong: bool,
}

impl Reading {
    async fn run(mut self) {
        let closed = self.read().await;
        debug!(connection = self.number, cause = %closed, "connection ended");
        // The slot is gone when nobody listens.
        let _ = self.signal.send(Signal::Closed(closed)).await;
    }

    async fn read(&mut self) -> Closed {
        let timing = self.chat.timing;
        let mut ping_at = Instant::now() + timing.ping_every;
        let mut pong_by: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Closed::ByUs,
                filled = self.reader.fill() => match filled {
                    Ok(true) => {}
                    Ok(false) => return Closed::ByTwitch,
                    Err(error) => return Closed::Broken(error.to_string()),
                },
                () = sleep_until(pong_by.unwrap_or(ping_at)) => {
                    if pong_by.is_some() || self.lines.try_send("PING :vigie".to_owned()).is_err() {
                        return Closed::Silent;
                    }
                    let now = Instant::now();
                    (ping_at, pong_by) = (now + timing.ping_every, Some(now + timing.pong_within));
                    continue;
                }
            }
            let read = self.take_lines();
            if read.pong {
                pong_by = None;
            }
            for signal in read.signals {
                // Nobody listens to a connection that is left; what it read is handed over all the same.
                if self.signal.send(signal).await.is_err() {
                    break;
                }
            }
            let stalled =
                hand_over(&self.chat.events, &self.chat.stats.stalls, read.events, &self.stop).await;
            // What Twitch said meanwhile lies unread: its silence proves nothing.
            if stalled && pong_by.is_some() {
                pong_by = Some(Instant::now() + timing.pong_within);
            }
        }
    }

    fn take_lines(&mut self) -> Read {
        let received_us = service::clock::unix_us();
        let mut read = Read::default();
        while let Some(line) = self.reader.next_line() {
            let guarded = Guarded::new(&line);
            let parsed = guarded.as_ref().map_err(|rejected| *rejected).and_then(Guarded::line);
            match parsed {
                Ok(line) => self.on_line(&line, received_us, &mut read),
                Err(rejected) => _ = self.chat.stats.rejected.with(rejected.as_str()).inc(),
            }
        }
        self.chat.stats.rejected.with("line_too_long").inc_by(self.reader.take_too_long());
        read
    }

    fn on_line(&self, line: &Line<'_>, received_us: u64, read: &mut Read) {
        match line.verb() {
            Verb::Privmsg | Verb::UserNotice => match self.chat.event(line, received_us) {
                Ok(event) => read.events.push(event),
                Err(passed) => {
                    self.chat.stats.passed.with(passed.as_str()).inc();
                    // What the API sends is confirmed by no USERSTATE.
                    if passed == Passed::Own {
                        self.learn_standing(line);
                    }
                }
            },
            // When the queue is full the writer is stuck, and the watchdog will say so.
            Verb::Ping => _ = self.lines.try_send(pong(line)),
            Verb::Pong => read.pong = true,
            Verb::Reconnect => read.signals.push(Signal::Reconnect),
            Verb::RoomState => self.on_room_state(line, read),
            Verb::UserState => self.on_user_state(line),
            Verb::GlobalUserState => {
                if let Some(id) = line.raw_tag("user-id") {
                    self.chat.set_own_id(id);
                }
            }
            Verb::Notice => self.on_notice(line, read),
            Verb::ClearChat | Verb::ClearMsg => _ = self.chat.stats.cleared.inc(),
            _ => _ = self.chat.stats.passed.with("other_kind").inc(),
        }
    }

    fn on_room_state(&self, line: &Line<'_>, read: &mut Read) {
        if let Some(login) = line.channel() {
            if let Some(id) = line.raw_tag("room-id") {
                self.chat.rooms.set_id(login, id);
            }
            read.signals.push(Signal::Joined(login.to_owned()));
        }
    }

    fn on_user_state(&self, line: &Line<'_>) {
        self.learn_standing(line);
        if let Some(login) = line.channel() {
            let (nonce, id) = (line.raw_tag("client-nonce"), line.raw_tag("id"));
            self.chat.confirms.taken(self.number, login, nonce, id);
        }
    }

    /// What the bot is in a channel stands on its USERSTATE and on its own messages.
    fn learn_standing(&self, line: &Line<'_>) {
        let Some(login) = line.channel() else { return };
        let elevated = |badge| matches!(badge, "moderator" | "lead_moderator" | "vip" | "broadcaster");
        let standing = match line.flag("mod") || line.badges().any(elevated) {
            true => Standing::Elevated,
            false => Standing::Normal,
        };
        self.chat.rooms.set_standing(login, standing);
    }

    fn on_notice(&self, line: &Line<'_>, read: &mut Read) {
        let (Some(login), Some(id)) = (line.channel(), line.raw_tag("msg-id")) else {
            self.chat.stats.passed.with("other_kind").inc();
            return;
        };
        debug!(channel = login, msg_id = id, "notice");
        self.chat.confirms.refused(self.number, login, id, line.text());
        if joins::is_refusal(id) {
            let reason = format!("{} ({id})", line.text());
            read.signals.push(Signal::Refused { login: login.to_owned(), reason });
        }
    }
}

/// Gives events to the publisher; whether its queue was full. They count as told from when they were
/// read, so a connection that is left meanwhile still hands them over, for as long as they are of use.
async fn hand_over(
    publisher: &mpsc::Sender<Event>,
    stalls: &Counter,
    events: Vec<Event>,
    stop: &CancellationToken,
) -> bool {
    let mut stalled = false;
    let mut rest = events.into_iter();
    while let Some(event) = rest.next() {
        let Err(full) = publisher.try_send(event) else { continue };
        if !stalled {
            stalls.inc();
        }
        stalled = true;
        let too_late = async {
            stop.cancelled().await;
            sleep(HAND_OVER_WITHIN).await;
        };
        tokio::select! {
            biased;
            sent = publisher.send(full.into_inner()) => if sent.is_err() { break },
            () = too_late => {
                warn!(events = rest.len() + 1, "NATS was away for too long; what a left connection read is lost");
                break;
            }
        }
    }
    stalled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::Mapper;

    fn events(count: usize) -> Vec<Event> {
        let mut mapper = Mapper::new("vigie_bot", "!");
        let event = |n| {
            let line = format!(
                "@display-name=Max;id=id-{n};room-id=1;tmi-sent-ts=1;user-id=2 :max!max@max PRIVMSG #olive :hi"
            );
            let guarded = Guarded::new(&line).unwrap();
            mapper.event(&guarded.line().unwrap(), 1).unwrap()
        };
        (0..count).map(event).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_left_still_hands_over_what_it_has_read() {
        let (publisher, mut queue) = mpsc::channel(1);
        let (stalls, stop) = (Counter::default(), CancellationToken::new());
        stop.cancel();
        let read = events(3);
        let (stalled, ids) = tokio::join!(hand_over(&publisher, &stalls, read.clone(), &stop), async {
            sleep(HAND_OVER_WITHIN / 2).await;
            [queue.recv().await, queue.recv().await, queue.recv().await].map(|event| event.unwrap().id)
        });
        assert!(stalled);
        assert_eq!(stalls.get(), 1);
        assert_eq!(ids.to_vec(), read.into_iter().map(|event| event.id).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_left_does_not_wait_for_ever() {
        let (publisher, _queue) = mpsc::channel(1);
        let (stalls, stop) = (Counter::default(), CancellationToken::new());
        stop.cancel();
        let begun = Instant::now();
        hand_over(&publisher, &stalls, events(3), &stop).await;
        assert_eq!(begun.elapsed(), HAND_OVER_WITHIN);
    }

    #[tokio::test]
    async fn a_slot_hears_of_a_reader_that_ended_without_a_word() {
        let ((lines, queue), (signal, signals)) = (mpsc::channel(1), mpsc::channel(1));
        let writer = tokio::spawn(async move {
            let (_queue, _weak) = (queue, signal.downgrade());
            drop(signal);
            std::future::pending::<()>().await;
        });
        let mut connection = Connection {
            number: 1,
            lines,
            signals,
            _reading: CancellationToken::new().drop_guard(),
            writing: AbortOnDropHandle::new(writer),
        };
        assert!(matches!(connection.signal().await, Signal::Closed(Closed::Broken(_))));
    }
}
