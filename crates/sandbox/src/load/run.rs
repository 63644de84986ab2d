//! One load: its lines, and the answers to them.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{Phase, Plan, Report};
use crate::{
    discord::Discord,
    feed::{Feed, Item, Platform},
    pace::Pace,
    people::Person,
    replay::corpus,
    twitch::Twitch,
};

/// Latencies that are kept for the percentiles; later ones only count.
const MOST_SAMPLES: usize = 500_000;
/// Commands whose answer is awaited at the same time; more are sent, but count as unanswered.
const MOST_PENDING: usize = 50_000;
/// How much longer than planned a run may take on a machine that cannot keep the rate.
const LATE: Duration = Duration::from_secs(1);
/// How long the last answers may take after the last line was sent.
const GRACE: Duration = Duration::from_secs(3);

/// Where a run talks and listens.
pub(super) struct Place {
    pub(super) discord: Discord,
    pub(super) twitch: Twitch,
    pub(super) feed: Feed,
}

/// A load that is under way, or over.
pub(super) struct Run {
    plan: Plan,
    channels: Vec<String>,
    state: Mutex<State>,
    pub(super) stop: CancellationToken,
}

#[derive(Default)]
struct State {
    report: Report,
    latencies_us: Vec<u32>,
    pending: HashSet<String>,
}

impl Run {
    pub(super) fn new(plan: Plan, channels: Vec<String>, stop: CancellationToken) -> Self {
        let report = Report { phase: Phase::Running, ..Report::default() };
        Self { plan, channels, state: Mutex::new(State { report, ..State::default() }), stop }
    }

    pub(super) fn is_done(&self) -> bool {
        self.lock().report.phase == Phase::Done
    }

    /// What it did until now.
    pub(super) fn report(&self) -> Report {
        let (mut report, mut latencies) = {
            let state = self.lock();
            (state.report.clone(), state.latencies_us.clone())
        };
        latencies.sort_unstable();
        report.p50_us = percentile(&latencies, 50);
        report.p90_us = percentile(&latencies, 90);
        report.p99_us = percentile(&latencies, 99);
        report.max_us = latencies.last().copied();
        report
    }

    /// Sends all, and sees the answers.
    pub(super) async fn run(&self, place: &Place) {
        let feed = place.feed.watch();
        let sent = CancellationToken::new();
        let sending = async {
            self.send_all(place).await;
            sent.cancel();
        };
        tokio::join!(sending, self.listen(feed, &sent));
        let mut state = self.lock();
        state.report.phase = Phase::Done;
        state.pending = HashSet::new();
    }

    async fn send_all(&self, place: &Place) {
        let Self { plan, channels, .. } = self;
        let lines = corpus::lines();
        let start = Instant::now();
        let latest = Duration::from_secs_f64(plan.seconds) + LATE;
        let mut pace = Pace::new(plan.rate);
        let mut owed = 0.0;
        let (mut chatter, mut commands) = (0_usize, 0_usize);
        for _ in 0..lines_of(plan) {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = pace.turn() => {}
            }
            let elapsed = start.elapsed();
            if elapsed > latest {
                return;
            }
            // Commands are spread evenly, so that a short run has its share too.
            owed += plan.command_share;
            // A tenth added ten times is a little less than one.
            let is_command = owed + 1e-6 >= 1.0;
            owed -= f64::from(u8::from(is_command));
            // Each kind goes round all channels, and another person speaks in each round.
            let turn = if is_command { &mut commands } else { &mut chatter };
            let channel = &channels[*turn % channels.len()];
            let person = Person::ALL[*turn / channels.len() % Person::ALL.len()];
            let text = if is_command { &plan.command } else { lines[*turn % lines.len()].1 };
            *turn += 1;
            let said = place.say(plan.platform, person, channel, text);
            self.count(said, is_command, elapsed);
        }
    }

    fn count(&self, said: Option<String>, is_command: bool, elapsed: Duration) {
        let mut state = self.lock();
        let Some(id) = said else {
            state.report.refused += 1;
            return;
        };
        state.report.sent += 1;
        if is_command {
            state.report.commands += 1;
            if state.pending.len() < MOST_PENDING {
                state.pending.insert(id);
            }
        }
        state.report.seconds = elapsed.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "2^53 lines take longer than any run")]
        let sent = state.report.sent as f64;
        state.report.rate = if elapsed.is_zero() { 0.0 } else { sent / elapsed.as_secs_f64() };
    }

    /// Sees the answers until all are there, or the grace is over.
    async fn listen(&self, mut feed: broadcast::Receiver<Item>, sent: &CancellationToken) {
        let over = async {
            sent.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::pin!(over);
        loop {
            if sent.is_cancelled() && self.lock().pending.is_empty() {
                return;
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = &mut over => return,
                () = sent.cancelled(), if !sent.is_cancelled() => {}
                item = feed.recv() => match item {
                    Ok(Item::Message { platform: here, line } | Item::Edited { platform: here, line }) => {
                        if here == self.plan.platform && line.author.role == "bot" {
                            self.answered(line.reply_to.as_deref(), line.latency_us);
                        }
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(missed)) => self.lock().report.missed += missed,
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    fn answered(&self, to: Option<&str>, latency_us: Option<u64>) {
        let mut state = self.lock();
        if !to.is_some_and(|to| state.pending.remove(to)) {
            return;
        }
        state.report.answered += 1;
        if let Some(latency_us) = latency_us
            && state.latencies_us.len() < MOST_SAMPLES
        {
            state.latencies_us.push(u32::try_from(latency_us).unwrap_or(u32::MAX));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn say(&self, platform: Platform, person: Person, channel: &str, text: &str) -> Option<String> {
        let said = match (platform, text.strip_prefix('/')) {
            (Platform::Discord, Some(name)) => self
                .discord
                .slash(person, channel, name, serde_json::Value::Array(Vec::new()))
                .map_err(|refusal| refusal.to_string()),
            (Platform::Discord, None) => {
                self.discord.say(person, channel, text).map_err(|refusal| refusal.to_string())
            }
            (Platform::Twitch, _) => {
                self.twitch.say(person, channel, text).map_err(|refusal| refusal.to_string())
            }
        };
        said.inspect_err(|refusal| tracing::debug!(%refusal, "a line of the load was not taken")).ok()
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded when it starts")]
fn lines_of(plan: &Plan) -> u64 {
    (plan.rate * plan.seconds).round() as u64
}

/// The value that `percent` of the sorted ones do not exceed (nearest rank).
fn percentile(sorted: &[u32], percent: usize) -> Option<u32> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let sorted: Vec<u32> = (1..=200).collect();
        assert_eq!(percentile(&sorted, 50), Some(100));
        assert_eq!(percentile(&sorted, 99), Some(198));
        assert_eq!(percentile(&[7], 99), Some(7));
        assert_eq!(percentile(&[], 50), None);
    }
}
