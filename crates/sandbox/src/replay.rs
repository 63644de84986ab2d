//! Plays a captured chat again, at a rate: on Discord, on Twitch, or on both. Ids and times are new,
//! as if it was said now; who said what stays.

pub mod corpus;

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{counters::Counters, discord::Discord, pace::Pace, people::Person, twitch::Twitch};

/// Most lines per second that can be asked for.
pub const MOST_PER_SECOND: f64 = 10_000.0;
/// Most lines in one run; a shorter chat starts over until they are said.
pub const MOST_LINES: u64 = 10_000_000;
/// Most lines in one captured chat.
pub const MOST_CAPTURED: usize = 100_000;

/// Which platforms a replay plays on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Only the local Discord.
    Discord,
    /// Only the local Twitch.
    Twitch,
    /// Each line on both.
    #[default]
    Both,
}

/// What to play.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Where.
    #[serde(default)]
    pub platform: Stage,
    /// Lines per second, above 0 and at most [`MOST_PER_SECOND`].
    pub rate: f64,
    /// How many lines; without it, the chat once through.
    pub count: Option<u64>,
    /// A captured chat: IRC lines as received, one per entry. Without it, the built-in chat.
    pub lines: Option<Vec<String>>,
    /// Discord channel id; without it, the first channel.
    pub discord_channel: Option<String>,
    /// Twitch channel login; without it, the first channel.
    pub twitch_channel: Option<String>,
}

/// How far a replay is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Progress {
    /// Whether lines are being said now.
    pub running: bool,
    /// Lines to say in all.
    pub total: u64,
    /// Turns taken, each one line on every platform that plays.
    pub done: u64,
    /// Lines that a platform did not take.
    pub refused: u64,
    /// Entries of the captured chat that are no chat line and were passed by.
    pub skipped: u64,
}

/// A replay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum CannotReplay {
    /// The plan is wrong.
    #[error("expected {0}")]
    OutOfBounds(String),
    /// One at a time.
    #[error("a replay is under way; wait for it, or stop it first")]
    Busy,
    /// There is nowhere to talk.
    #[error("the platform has no such channel")]
    NoChannel,
}

/// One line of a captured chat.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    login: String,
    text: String,
}

/// Plays one chat at a time; cheap to clone.
#[derive(Clone)]
pub struct Replay {
    discord: Discord,
    twitch: Twitch,
    counters: Counters,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    run: Arc<Mutex<(Progress, CancellationToken)>>,
}

impl Replay {
    /// Over the handles of one sandbox.
    pub fn new(
        discord: Discord,
        twitch: Twitch,
        counters: Counters,
        shutdown: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        Self { discord, twitch, counters, shutdown, tasks, run: Arc::default() }
    }

    /// Starts playing.
    ///
    /// # Errors
    /// [`CannotReplay`] says what was expected.
    pub fn start(&self, plan: &Plan) -> Result<Progress, CannotReplay> {
        let (chat, skipped) = chat(plan)?;
        let total = plan.count.unwrap_or(chat.len() as u64);
        check(plan.rate, total)?;
        let channels = self.channels(plan)?;
        let stop = self.shutdown.child_token();
        let progress = Progress { running: true, total, skipped, ..Progress::default() };
        {
            let mut run = self.lock();
            if run.0.running {
                return Err(CannotReplay::Busy);
            }
            *run = (progress.clone(), stop.clone());
        }
        let (replay, rate) = (self.clone(), plan.rate);
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = replay.play(&chat, rate, total, &channels) => {}
            }
            replay.lock().0.running = false;
        });
        Ok(progress)
    }

    /// Ends the replay that is under way, if any.
    pub fn stop(&self) {
        self.lock().1.cancel();
    }

    /// How far the last replay is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.lock().0.clone()
    }

    /// The channels to talk in, for the platforms that play.
    fn channels(&self, plan: &Plan) -> Result<Channels, CannotReplay> {
        let pick = |named: &Option<String>, mut known: Vec<String>| match named {
            Some(name) => known.contains(name).then(|| name.clone()).ok_or(CannotReplay::NoChannel),
            None if known.is_empty() => Err(CannotReplay::NoChannel),
            None => Ok(known.swap_remove(0)),
        };
        let mut channels = Channels::default();
        if plan.platform != Stage::Twitch {
            let known = self.discord.channels().into_iter().map(|one| one.id).collect();
            channels.discord = Some(pick(&plan.discord_channel, known)?);
        }
        if plan.platform != Stage::Discord {
            let known = self.twitch.channels().into_iter().map(|one| one.login).collect();
            channels.twitch = Some(pick(&plan.twitch_channel, known)?);
        }
        Ok(channels)
    }

    async fn play(&self, chat: &[Said], rate: f64, total: u64, channels: &Channels) {
        let mut pace = Pace::new(rate);
        let mut said = chat.iter().cycle();
        for _ in 0..total {
            pace.turn().await;
            let Some(line) = said.next() else { return };
            let refused = self.say(line, channels);
            let mut run = self.lock();
            run.0.done += 1;
            run.0.refused += refused;
        }
    }

    /// Says one line on every platform that plays; returns how many of them refused.
    fn say(&self, line: &Said, channels: &Channels) -> u64 {
        let mut refused = 0;
        let mut count = |platform: &str, taken: bool| {
            let what = if taken { "sent" } else { "refused" };
            self.counters.add(&format!("replay.{platform}.{what}"));
            refused += u64::from(!taken);
        };
        if let Some(channel) = &channels.discord {
            let said = self.discord.say(stand_in(&line.login), channel, &line.text);
            count("discord", said.is_ok());
        }
        if let Some(channel) = &channels.twitch {
            let said = self.twitch.say_as(&line.login, channel, &line.text);
            count("twitch", said.is_ok());
        }
        refused
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Progress, CancellationToken)> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Channels {
    discord: Option<String>,
    twitch: Option<String>,
}

/// On Discord the same chatter is always played by the same one of the sandbox's own people.
fn stand_in(login: &str) -> Person {
    let sum: usize = login.bytes().map(usize::from).sum();
    [Person::Max, Person::Ines, Person::Noor][sum % 3]
}

fn check(rate: f64, total: u64) -> Result<(), CannotReplay> {
    let bounds = |sentence: String| Err(CannotReplay::OutOfBounds(sentence));
    if !(rate > 0.0 && rate <= MOST_PER_SECOND) {
        return bounds(format!("rate above 0 and at most {MOST_PER_SECOND} lines per second"));
    }
    if !(1..=MOST_LINES).contains(&total) {
        return bounds(format!("count from 1 to {MOST_LINES}"));
    }
    Ok(())
}

/// The lines to say, and how many entries were no chat lines.
fn chat(plan: &Plan) -> Result<(Vec<Said>, u64), CannotReplay> {
    let Some(lines) = &plan.lines else {
        let own =
            |(login, text): &(&str, &str)| Said { login: (*login).to_owned(), text: (*text).to_owned() };
        return Ok((corpus::lines().iter().map(own).collect(), 0));
    };
    if lines.len() > MOST_CAPTURED {
        return Err(CannotReplay::OutOfBounds(format!("at most {MOST_CAPTURED} captured lines")));
    }
    let chat: Vec<Said> = lines.iter().filter_map(|line| read_line(line)).collect();
    if chat.is_empty() {
        let example = ":login!login@login.tmi.twitch.tv PRIVMSG #channel :text";
        return Err(CannotReplay::OutOfBounds(format!("IRC lines such as \"{example}\"; found none")));
    }
    let skipped = (lines.len() - chat.len()) as u64;
    Ok((chat, skipped))
}

/// Reads a `PRIVMSG` with or without tags; anything else is no chat line.
fn read_line(line: &str) -> Option<Said> {
    let line = line.trim_end_matches(['\r', '\n']);
    let line = if line.starts_with('@') { line.split_once(' ')?.1.trim_start() } else { line };
    let (source, rest) = line.strip_prefix(':')?.split_once(' ')?;
    let login = source.split('!').next().filter(|login| !login.is_empty())?;
    let (_channel, text) = rest.strip_prefix("PRIVMSG ")?.split_once(' ')?;
    let text = text.strip_prefix(':').unwrap_or(text);
    (!text.trim().is_empty()).then(|| Said { login: login.to_owned(), text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Option<(&str, &str)>) {
        let expected = expected.map(|(login, text)| Said { login: login.to_owned(), text: text.to_owned() });
        assert_eq!(read_line(line), expected, "{line}");
    }

    #[test]
    fn chat_lines_are_read_with_and_without_tags() {
        let plain = ":dory!dory@dory.tmi.twitch.tv PRIVMSG #harbour :hi : there";
        check(plain, Some(("dory", "hi : there")));
        check(&format!("@badges=;color=#FF0000;tmi-sent-ts=1 {plain}\r\n"), Some(("dory", "hi : there")));
    }

    #[test]
    fn other_lines_are_passed_by() {
        check("PING :tmi.twitch.tv", None);
        check("@a=b :tmi.twitch.tv USERNOTICE #harbour :resub", None);
        check(":dory!dory@dory PRIVMSG #harbour : ", None);
        check("@only-tags", None);
        check("", None);
    }
}
