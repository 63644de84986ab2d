//! One channel: waits for something to tell, collects what comes with it, tells it, and tests itself every day.

use std::{sync::Arc, time::Duration};

use service::{Counter, clock::unix_ms};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    Again, Board, Failure,
    discord::Discord,
    email::Email,
    note::Note,
    web::{Ntfy, Webhook},
};
use crate::{
    config::Quiet,
    kept::Store,
    rules::{Alert, Pace},
    silences::covers,
    view::{Condition, Views},
};

/// What comes within this time is told together.
const GROUP_WAIT: Duration = Duration::from_secs(10);
/// How long telling, or a test, may take in all.
const LIMIT: Duration = Duration::from_secs(60);
/// What is being told when this service is to end is told to its end, so that it is not told again by the next one;
/// for so long.
const LAST_LIMIT: Duration = Duration::from_secs(3);
/// After a failure; doubled with each, up to the last.
const PAUSES: std::ops::Range<Duration> = Duration::from_secs(10)..Duration::from_secs(600);
/// Between two tests of a channel that nobody needed.
const TEST_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// A way to tell people.
pub enum Way {
    /// By the bot, or a webhook of its channel.
    Discord(Discord),
    /// By JSON, to whom it may concern.
    Webhook(Webhook),
    /// By ntfy.
    Ntfy(Ntfy),
    /// By e-mail.
    Email(Email),
}

impl Way {
    async fn tell(&self, note: &Note) -> Result<(), Failure> {
        match self {
            Self::Discord(way) => way.tell(note).await,
            Self::Webhook(way) => way.tell(note).await,
            Self::Ntfy(way) => way.tell(note).await,
            Self::Email(way) => way.tell(note).await,
        }
    }

    /// As quietly as it can be done.
    async fn test(&self) -> Result<(), Failure> {
        match self {
            Self::Discord(way) => way.test().await,
            Self::Webhook(way) => way.test().await,
            Self::Ntfy(way) => way.test().await,
            Self::Email(way) => way.test().await,
        }
    }
}

/// A channel at work.
pub struct Channel {
    pub name: &'static str,
    pub way: Way,
    pub views: Views,
    pub store: Arc<Store>,
    pub board: Board,
    pub quiet: Option<Quiet>,
    pub pace: Pace,
    pub told: Counter,
    pub failed: Counter,
    pub shutdown: CancellationToken,
}

/// When something is tried next.
struct Next {
    at: Instant,
    pause: Duration,
}

impl Default for Next {
    fn default() -> Self {
        Self { at: Instant::now(), pause: PAUSES.start }
    }
}

impl Next {
    fn failed(&mut self, again: Again, pace: Pace) {
        if again == Again::Late {
            self.pause = PAUSES.end;
        }
        self.at = Instant::now() + pace.of(self.pause);
        self.pause = (self.pause * 2).min(PAUSES.end);
    }

    fn has_failed(&self) -> bool {
        self.pause > PAUSES.start
    }
}

impl Channel {
    /// Tells people until the shutdown, or until it can never tell anybody.
    pub async fn run(mut self) {
        // A test that fails must not hold back what is to be told: another way of the channel may work.
        let mut tell = Next::default();
        let mut test = Next { at: self.first_test(), ..Next::default() };
        let shutdown = self.shutdown.clone();
        while let Some(Ok(())) = shutdown.run_until_cancelled(self.views.changed()).await {
            let now = Instant::now();
            let is_test = self.note().is_empty();
            let outcome = if is_test && now >= test.at && self.is_settled() {
                self.bounded(self.way.test()).await
            } else if !is_test && now >= tell.at {
                // What happens together is told together.
                let together = tokio::time::sleep(self.pace.of(GROUP_WAIT));
                if shutdown.run_until_cancelled(together).await.is_none() {
                    return;
                }
                let note = self.note();
                if note.is_empty() {
                    continue;
                }
                self.tell(&note).await
            } else {
                continue;
            };
            match outcome {
                Ok(()) => {
                    tell = Next::default();
                    if is_test {
                        test = Next::default();
                        self.note_test();
                    }
                    if test.has_failed() {
                        // Told by one way, what the test found of the other may still be so.
                        test.at = Instant::now();
                    } else {
                        test.at = self.next_test();
                        self.board.set_channel(self.name, Condition::Fine);
                    }
                }
                Err(Failure { reason, again }) => {
                    self.failed.inc();
                    self.board.set_channel(self.name, Condition::Trouble(reason.clone()));
                    if again == Again::Never {
                        error!(
                            channel = self.name,
                            reason, "given up until the next start: mend its setting"
                        );
                        return shutdown.cancelled().await;
                    }
                    let next = if is_test { &mut test } else { &mut tell };
                    next.failed(again, self.pace);
                    let at = next.at;
                    if !is_test {
                        // What was to be told may be over by then: a test shows in its place that people can be told.
                        test.at = at;
                    }
                    let pause_s = at.saturating_duration_since(Instant::now()).as_secs();
                    warn!(channel = self.name, reason, pause_s, is_test, "people were not told");
                }
            }
        }
    }

    fn note_test(&self) {
        let (name, now) = (self.name.to_owned(), unix_ms());
        self.store.change(|kept| kept.channels.entry(name).or_default().tested_ms = now);
    }

    /// Soon after the start, so that a wrong setting is known at once, unless it was tested of late and nothing was wrong
    /// with it since.
    fn first_test(&self) -> Instant {
        let (own, next) = (self.own(), self.next_test());
        if self.store.get().alerts.iter().any(|alert| alert.key() == own) {
            return Instant::now();
        }
        if next > Instant::now() {
            self.board.set_channel(self.name, Condition::Fine);
        }
        next
    }

    /// A day after the last good one.
    fn next_test(&self) -> Instant {
        let kept = self.store.get().channels.get(self.name).map_or(0, |channel| channel.tested_ms);
        let since = Duration::from_millis(unix_ms().saturating_sub(kept));
        Instant::now() + TEST_EVERY.saturating_sub(since)
    }

    /// The key of the alert that people cannot be told here.
    fn own(&self) -> String {
        format!("channel/{}", self.name)
    }

    /// Before that NATS may not be there yet, and the bot not be ready.
    fn is_settled(&self) -> bool {
        self.views.borrow().as_ref().is_some_and(|view| view.settled)
    }

    /// What is to be told now.
    fn note(&self) -> Note {
        let view = self.views.borrow().clone();
        let alerts: &[Alert] = view.as_ref().map(|view| view.alerts.as_slice()).unwrap_or_default();
        let kept = self.store.get();
        let own = self.own();
        let channel = kept.channels.get(self.name).cloned().unwrap_or_default();
        let now = unix_ms();
        // What gets worse is no part of it.
        let is_silent = |alert: &Alert| covers(&kept.silences, alert, now);
        Note::new(alerts, &channel, is_silent, self.quiet, &own, now)
    }

    async fn tell(&self, note: &Note) -> Result<(), Failure> {
        self.bounded(self.way.tell(note)).await?;
        self.told.inc();
        let (wrong, over, news) = (note.wrong.len(), note.over.len(), note.news.len());
        info!(channel = self.name, wrong, over, news, "people were told");
        let name = self.name.to_owned();
        self.store.change(|kept| note.note_down(kept.channels.entry(name).or_default()));
        Ok(())
    }

    async fn bounded(&self, work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
        let ends = async {
            self.shutdown.cancelled().await;
            tokio::time::sleep(LAST_LIMIT).await;
        };
        tokio::select! {
            outcome = timeout(LIMIT, work) => outcome.unwrap_or_else(|_| {
                Err(Failure::passing(format!("not within {} s", LIMIT.as_secs())))
            }),
            () = ends => Err(Failure::passing("this service ends")),
        }
    }
}
