//! The load generator: chatter with some commands in it, at a steady rate, spread over all channels
//! of a platform, and how long the answers took. It measures where people are: at the platform.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    discord::{ChannelInfo, Discord},
    feed::{Feed, Item, Platform},
    pace::Pace,
    people::Person,
    replay::corpus,
    twitch::Twitch,
};

/// Most lines per second that can be asked for.
pub const MOST_PER_SECOND: f64 = 20_000.0;
/// Longest run, in seconds.
pub const MOST_SECONDS: f64 = 3600.0;
/// Latencies that are kept for the percentiles; later ones only count.
const MOST_SAMPLES: usize = 500_000;
/// Commands whose answer is awaited at the same time; more are sent, but count as unanswered.
const MOST_PENDING: usize = 50_000;
/// How much longer than planned a run may take on a machine that cannot keep the rate.
const LATE: Duration = Duration::from_secs(1);
/// How long the last answers may take after the last line was sent.
const GRACE: Duration = Duration::from_secs(3);

/// What to send.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Where.
    pub platform: Platform,
    /// Lines per second, above 0 and at most [`MOST_PER_SECOND`].
    pub rate: f64,
    /// For how long, at most [`MOST_SECONDS`].
    pub seconds: f64,
    /// Which part of the lines are commands, 0 to 1.
    #[serde(default = "some")]
    pub command_share: f64,
    /// The command: a line, or on Discord a slash command without options.
    #[serde(default = "ping")]
    pub command: String,
    /// Discord channel ids or Twitch logins to talk in; without it, the first channel of every guild,
    /// or every Twitch channel.
    pub channels: Option<Vec<String>>,
}

fn some() -> f64 {
    0.05
}

fn ping() -> String {
    "!ping".to_owned()
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing was asked for yet.
    #[default]
    Idle,
    /// Lines are being sent, or the last answers awaited.
    Running,
    /// It is over.
    Done,
}

/// What a run did until now.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// How far it is.
    pub phase: Phase,
    /// Lines sent, commands among them.
    pub sent: u64,
    /// Commands sent.
    pub commands: u64,
    /// Commands that were answered.
    pub answered: u64,
    /// Lines that the platform itself did not take.
    pub refused: u64,
    /// Items of the feed that the generator was too slow to see; answers may be among them.
    pub missed: u64,
    /// How long lines were being sent, in seconds.
    pub seconds: f64,
    /// Lines per second that were reached.
    pub rate: f64,
    /// Half of the answers were faster, in microseconds.
    pub p50_us: Option<u32>,
    /// 90 % of the answers were faster.
    pub p90_us: Option<u32>,
    /// 99 % of the answers were faster.
    pub p99_us: Option<u32>,
    /// The slowest answer.
    pub max_us: Option<u32>,
}

/// A run cannot start.
#[derive(Debug, thiserror::Error)]
pub enum CannotRun {
    /// A number is out of its bounds.
    #[error("expected {0}")]
    OutOfBounds(String),
    /// One at a time.
    #[error("a run is under way; wait for it, or stop it first")]
    Busy,
    /// There is nowhere to talk.
    #[error("expected channels that exist; see GET /sandbox/channels")]
    NoChannel,
}

/// Runs one load at a time; cheap to clone.
#[derive(Clone)]
pub struct Load {
    discord: Discord,
    twitch: Twitch,
    feed: Feed,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    run: Arc<Mutex<Run>>,
}

#[derive(Default)]
struct Run {
    report: Report,
    latencies_us: Vec<u32>,
    pending: HashSet<String>,
    stop: CancellationToken,
}

impl Load {
    /// Over the handles of one sandbox.
    pub fn new(
        discord: Discord,
        twitch: Twitch,
        feed: Feed,
        shutdown: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        Self { discord, twitch, feed, tasks, shutdown, run: Arc::default() }
    }

    /// Starts a run.
    ///
    /// # Errors
    /// [`CannotRun`] says what was expected.
    pub fn start(&self, plan: Plan) -> Result<(), CannotRun> {
        check(&plan)?;
        let channels = match (&plan.channels, plan.platform) {
            (Some(named), _) => named.clone(),
            (None, Platform::Discord) => first_of_each_guild(self.discord.channels()),
            (None, Platform::Twitch) => self.twitch.channels().into_iter().map(|one| one.login).collect(),
        };
        if channels.is_empty() {
            return Err(CannotRun::NoChannel);
        }
        let stop = self.shutdown.child_token();
        {
            let mut run = self.lock();
            if run.report.phase == Phase::Running {
                return Err(CannotRun::Busy);
            }
            *run = Run { stop: stop.clone(), ..Run::default() };
            run.report.phase = Phase::Running;
        }
        let load = self.clone();
        self.tasks.spawn(async move {
            load.run(&plan, &channels, stop).await;
            let mut run = load.lock();
            run.report.phase = Phase::Done;
            run.pending = HashSet::new();
        });
        Ok(())
    }

    /// Ends the run that is under way, if any.
    pub fn stop(&self) {
        self.lock().stop.cancel();
    }

    /// What the last run did until now.
    #[must_use]
    pub fn report(&self) -> Report {
        let (mut report, mut latencies) = {
            let run = self.lock();
            (run.report.clone(), run.latencies_us.clone())
        };
        latencies.sort_unstable();
        report.p50_us = percentile(&latencies, 50);
        report.p90_us = percentile(&latencies, 90);
        report.p99_us = percentile(&latencies, 99);
        report.max_us = latencies.last().copied();
        report
    }

    async fn run(&self, plan: &Plan, channels: &[String], stop: CancellationToken) {
        let feed = self.feed.watch();
        let sent = CancellationToken::new();
        let sending = async {
            self.send_all(plan, channels, &stop).await;
            sent.cancel();
        };
        tokio::join!(sending, self.listen(plan.platform, feed, &sent, &stop));
    }

    async fn send_all(&self, plan: &Plan, channels: &[String], stop: &CancellationToken) {
        let lines = corpus::lines();
        let start = Instant::now();
        let latest = Duration::from_secs_f64(plan.seconds) + LATE;
        let mut pace = Pace::new(plan.rate);
        let mut owed = 0.0;
        let (mut chatter, mut commands) = (0_usize, 0_usize);
        for _ in 0..lines_of(plan) {
            tokio::select! {
                () = stop.cancelled() => return,
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
            let said = self.say(plan.platform, person, channel, text);
            self.count(said, is_command, elapsed);
        }
    }

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

    fn count(&self, said: Option<String>, is_command: bool, elapsed: Duration) {
        let mut run = self.lock();
        let Some(id) = said else {
            run.report.refused += 1;
            return;
        };
        run.report.sent += 1;
        if is_command {
            run.report.commands += 1;
            if run.pending.len() < MOST_PENDING {
                run.pending.insert(id);
            }
        }
        run.report.seconds = elapsed.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "2^53 lines take longer than any run")]
        let sent = run.report.sent as f64;
        run.report.rate = if elapsed.is_zero() { 0.0 } else { sent / elapsed.as_secs_f64() };
    }

    /// Sees the answers until all are there, or the grace is over.
    async fn listen(
        &self,
        platform: Platform,
        mut feed: broadcast::Receiver<Item>,
        sent: &CancellationToken,
        stop: &CancellationToken,
    ) {
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
                () = stop.cancelled() => return,
                () = &mut over => return,
                () = sent.cancelled(), if !sent.is_cancelled() => {}
                item = feed.recv() => match item {
                    Ok(Item::Message { platform: here, line } | Item::Edited { platform: here, line }) => {
                        if here == platform && line.author.role == "bot" {
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
        let mut run = self.lock();
        if !to.is_some_and(|to| run.pending.remove(to)) {
            return;
        }
        run.report.answered += 1;
        if let Some(latency_us) = latency_us
            && run.latencies_us.len() < MOST_SAMPLES
        {
            run.latencies_us.push(u32::try_from(latency_us).unwrap_or(u32::MAX));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by `check`")]
fn lines_of(plan: &Plan) -> u64 {
    (plan.rate * plan.seconds).round() as u64
}

/// The other channels of a guild may be closed to viewers or to the bot.
fn first_of_each_guild(channels: Vec<ChannelInfo>) -> Vec<String> {
    let mut seen = HashSet::new();
    channels.into_iter().filter(|one| seen.insert(one.guild_id.clone())).map(|one| one.id).collect()
}

fn check(plan: &Plan) -> Result<(), CannotRun> {
    let bounds = |sentence: String| Err(CannotRun::OutOfBounds(sentence));
    if !(plan.rate > 0.0 && plan.rate <= MOST_PER_SECOND) {
        return bounds(format!("rate above 0 and at most {MOST_PER_SECOND} lines per second"));
    }
    if !(plan.seconds > 0.0 && plan.seconds <= MOST_SECONDS) {
        return bounds(format!("seconds above 0 and at most {MOST_SECONDS}"));
    }
    if !(0.0..=1.0).contains(&plan.command_share) {
        return bounds("command_share from 0 to 1".to_owned());
    }
    if plan.command.trim().is_empty() {
        return bounds("a command, such as \"!ping\"".to_owned());
    }
    Ok(())
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

    #[test]
    fn plans_out_of_bounds_are_refused() {
        let plan = |json: &str| check(&serde_json::from_str(json).unwrap()).unwrap_err().to_string();
        assert_eq!(
            plan(r#"{"platform":"discord","rate":0,"seconds":1}"#),
            "expected rate above 0 and at most 20000 lines per second"
        );
        assert_eq!(
            plan(r#"{"platform":"twitch","rate":1,"seconds":1,"command_share":2}"#),
            "expected command_share from 0 to 1"
        );
    }
}
