//! One channel: waits for something to tell, collects what comes with it, tells it, and tests itself every day.

use std::{sync::Arc, time::Duration};

use service::{Counter, clock::unix_ms};
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};

use super::{
    Board, Failure,
    discord::Discord,
    email::Email,
    note::Note,
    web::{Ntfy, Webhook},
};
use crate::{
    config::Quiet,
    kept::Store,
    rules::{Alert, Pace},
    view::{Condition, Views},
};

/// What comes within this time is told together.
const GROUP_WAIT: Duration = Duration::from_secs(10);
/// How long telling, or a test, may take in all.
const LIMIT: Duration = Duration::from_secs(60);
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
}

impl Channel {
    /// Tells people until it is dropped, or can never tell anybody.
    pub async fn run(mut self) {
        let mut test_at = self.first_test();
        let mut pause = PAUSES.start;
        let mut not_before = Instant::now();
        while self.views.changed().await.is_ok() {
            if Instant::now() < not_before {
                continue;
            }
            let outcome = if !self.note().is_empty() {
                // What happens together is told together.
                tokio::time::sleep(self.pace.of(GROUP_WAIT)).await;
                let note = self.note();
                if note.is_empty() {
                    continue;
                }
                self.tell(&note).await
            } else if Instant::now() >= test_at && self.is_settled() {
                bounded(self.way.test()).await
            } else {
                continue;
            };
            match outcome {
                Ok(()) => {
                    // Either way it is known that it works.
                    test_at = Instant::now() + TEST_EVERY;
                    pause = PAUSES.start;
                    let (name, now) = (self.name, unix_ms());
                    self.store
                        .change(|kept| kept.channels.entry(name.to_owned()).or_default().tested_ms = now);
                    self.board.set_channel(self.name, Condition::Fine);
                }
                Err(Failure { reason, for_good }) => {
                    self.failed.inc();
                    self.board.set_channel(self.name, Condition::Trouble(reason.clone()));
                    if for_good {
                        error!(
                            channel = self.name,
                            reason, "given up until the next start: mend its setting"
                        );
                        return std::future::pending().await;
                    }
                    warn!(channel = self.name, reason, pause_s = pause.as_secs(), "people were not told");
                    not_before = Instant::now() + self.pace.of(pause);
                    pause = (pause * 2).min(PAUSES.end);
                }
            }
        }
    }

    /// Soon after the start, so that a wrong setting is known at once, unless it was tested of late.
    fn first_test(&self) -> Instant {
        let kept = self.store.get().channels.get(self.name).map_or(0, |channel| channel.tested_ms);
        let since = Duration::from_millis(unix_ms().saturating_sub(kept));
        if since < TEST_EVERY {
            self.board.set_channel(self.name, Condition::Fine);
        }
        Instant::now() + TEST_EVERY.saturating_sub(since)
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
        let told = kept.channels.get(self.name).map(|channel| &channel.told);
        let own = format!("channel/{}", self.name);
        Note::new(alerts, told.unwrap_or(&Default::default()), self.quiet, &own, unix_ms())
    }

    async fn tell(&self, note: &Note) -> Result<(), Failure> {
        bounded(self.way.tell(note)).await?;
        self.told.inc();
        info!(channel = self.name, wrong = note.wrong.len(), over = note.over.len(), "people were told");
        let name = self.name.to_owned();
        self.store.change(|kept| note.note_down(&mut kept.channels.entry(name).or_default().told));
        Ok(())
    }
}

async fn bounded(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let late = || Failure::passing(format!("not within {} s", LIMIT.as_secs()));
    timeout(LIMIT, work).await.unwrap_or_else(|_| Err(late()))
}
