//! The load generator: chatter with some commands in it, at a steady rate, spread over all channels
//! of a platform, and how long the answers took. It measures where people are: at the platform.
//! Several loads run beside each other by name, such as the one of a crowd in one channel.

mod run;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::run::{Place, Run};
use crate::{
    discord::{ChannelInfo, Discord},
    feed::{Feed, Platform},
    twitch::Twitch,
};

/// Most lines per second that can be asked for.
pub const MOST_PER_SECOND: f64 = 20_000.0;
/// Longest run, in seconds.
pub const MOST_SECONDS: f64 = 3600.0;
/// Loads that are known by name, those that are over as well.
const MOST_NAMES: usize = 8;

/// What to send.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What the load is called; one of a name at a time.
    #[serde(default)]
    pub name: String,
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
    /// One of a name at a time, and so many in all.
    #[error("a run of this name is under way, or {MOST_NAMES} others; wait for it, or stop it first")]
    Busy,
    /// There is nowhere to talk.
    #[error("expected channels that exist; see GET /sandbox/channels")]
    NoChannel,
}

/// Runs loads; cheap to clone.
#[derive(Clone)]
pub struct Load {
    place: Arc<Place>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    runs: Arc<Mutex<BTreeMap<String, Arc<Run>>>>,
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
        let place = Arc::new(Place { discord, twitch, feed });
        Self { place, tasks, shutdown, runs: Arc::default() }
    }

    /// Starts a run.
    ///
    /// # Errors
    /// [`CannotRun`] says what was expected.
    pub fn start(&self, plan: Plan) -> Result<(), CannotRun> {
        check(&plan)?;
        let Place { discord, twitch, .. } = &*self.place;
        let channels = match (&plan.channels, plan.platform) {
            (Some(named), _) => named.clone(),
            (None, Platform::Discord) => first_of_each_guild(discord.channels()),
            (None, Platform::Twitch) => twitch.channels().into_iter().map(|one| one.login).collect(),
        };
        if channels.is_empty() {
            return Err(CannotRun::NoChannel);
        }
        let name = plan.name.clone();
        let run = Arc::new(Run::new(plan, channels, self.shutdown.child_token()));
        {
            let mut runs = self.lock();
            if runs.get(&name).is_some_and(|run| !run.is_done()) {
                return Err(CannotRun::Busy);
            }
            if runs.len() >= MOST_NAMES {
                runs.retain(|_, run| !run.is_done());
            }
            if runs.len() >= MOST_NAMES {
                return Err(CannotRun::Busy);
            }
            runs.insert(name, Arc::clone(&run));
        }
        let place = Arc::clone(&self.place);
        self.tasks.spawn(async move { run.run(&place).await });
        Ok(())
    }

    /// Ends the run of that name, if it is under way.
    pub fn stop(&self, name: &str) {
        if let Some(run) = self.lock().get(name) {
            run.stop.cancel();
        }
    }

    /// What the last run of that name did until now.
    #[must_use]
    pub fn report(&self, name: &str) -> Report {
        let run = self.lock().get(name).cloned();
        run.map(|run| run.report()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Run>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
