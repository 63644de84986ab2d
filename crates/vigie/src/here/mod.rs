//! What runs Vigie here: Docker Compose, systemd or `vigie up`. Each starts, stops and starts again the parts,
//! and has their logs; what the parts themselves say is not known here.

mod compose;
mod lines;
pub(crate) mod program;
mod started;
mod systemd;
mod up;

pub(crate) use compose::{HandedOver, hand_over, inside_to_the_end};
pub(crate) use lines::{LogLine, Logs, Wanted, is_called};
pub(crate) use started::{NO_NATS, Starter, is_inside, of_nats, works_as};
pub(crate) use up::{Hold, Shape};

use std::{fmt, time::Duration};

use anyhow::{bail, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use self::{compose::Compose, systemd::Systemd, up::Up};
use crate::{
    find::Which,
    paint::{self, Paint},
};

/// The longest name of a part, in bytes.
const MAX_NAME: usize = 64;
/// What talks to people and writes what they change: nothing is restored under it.
const BOT: [&str; 4] = ["discord-gateway", "twitch-gateway", "command-worker", "dashboard"];
/// How often parts are looked at until they are as they should be.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long parts may take to be ready; images may have to be built before, which does not count.
const READY_LIMIT: Duration = Duration::from_secs(90);

/// What may run Vigie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Way {
    /// Docker Compose, with the compose file of this folder.
    Compose,
    /// systemd, with the units of vigie.target.
    Systemd,
    /// `vigie up`, with the data folder of --data.
    Up,
}

/// Which of them is meant.
#[derive(clap::Args, Debug)]
pub(crate) struct Runs {
    /// What runs Vigie here, when it is not to be looked for
    #[arg(long = "run", value_name = "WAY")]
    way: Option<Way>,
    #[command(flatten)]
    pub which: Which,
}

impl Runs {
    /// Whether it was said what runs it here.
    pub(crate) const fn is_named(&self) -> bool {
        self.way.is_some()
    }

    /// Which Vigie it is, unless something else than Compose was named.
    pub(crate) fn perhaps_compose(&self) -> Option<&Which> {
        matches!(self.way, None | Some(Way::Compose)).then_some(&self.which)
    }
}

/// How a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// It works, as far as its supervisor knows.
    Ready,
    /// It runs, and does not work yet.
    Starting,
    /// It runs and does not work, or ends again and again.
    Failing,
    /// It does not run.
    Down,
    /// It did what it is for, and does not run.
    Done,
}

/// One process or container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// What it is called; several may be called the same.
    pub name: String,
    /// How it is.
    pub state: State,
    /// The same in the supervisor's words.
    pub detail: String,
}

impl Part {
    /// Whether it works, or has done what it is for.
    pub(crate) const fn is_up(&self) -> bool {
        matches!(self.state, State::Ready | State::Done)
    }

    fn is_bot_at_work(&self) -> bool {
        let is_bot = compose::stands_in(&self.name) || BOT.iter().any(|name| is_called(&self.name, name));
        is_bot && !matches!(self.state, State::Down | State::Done)
    }
}

/// What runs Vigie here.
pub(crate) enum Supervisor {
    Compose(Compose),
    Systemd(Systemd),
    Up(Up),
}

/// Looks for what runs Vigie here: what runs goes before what is only there. `None` when nothing is.
///
/// # Errors
/// When two of them run it, or the one that was named is not here.
pub(crate) async fn find(runs: &Runs) -> anyhow::Result<Option<Supervisor>> {
    if let Some(way) = runs.way {
        return named(way, runs).await.map(Some);
    }
    let up = Up::at(&runs.which.data);
    let (compose, systemd) = tokio::join!(Compose::find(), Systemd::find());
    let mut running: Vec<Supervisor> = Vec::new();
    let mut there: Option<Supervisor> = None;
    let found = [
        (up.running().is_some(), Some(Supervisor::Up(up))),
        (compose.as_ref().is_some_and(Compose::runs), compose.map(Supervisor::Compose)),
        (systemd.as_ref().is_some_and(Systemd::runs), systemd.map(Supervisor::Systemd)),
    ];
    for (runs, one) in found {
        match one {
            Some(one) if runs => running.push(one),
            // A data folder alone says nothing.
            Some(Supervisor::Up(_)) | None => {}
            Some(one) => there = there.or(Some(one)),
        }
    }
    if running.len() > 1 {
        let names: Vec<String> = running.iter().map(ToString::to_string).collect();
        bail!("{} run Vigie here: name one with --run", names.join(" and "));
    }
    Ok(running.pop().or(there))
}

/// `vigie up` with the data folder that is meant, whether it runs or not.
pub(crate) fn up(runs: &Runs) -> Supervisor {
    Supervisor::Up(Up::at(&runs.which.data))
}

async fn named(way: Way, runs: &Runs) -> anyhow::Result<Supervisor> {
    match way {
        Way::Up => Ok(Supervisor::Up(Up::at(&runs.which.data))),
        Way::Compose => match Compose::find().await {
            Some(compose) => Ok(Supervisor::Compose(compose)),
            None => bail!("expected docker, and Vigie's compose.yaml in this folder"),
        },
        Way::Systemd => match Systemd::find().await {
            Some(systemd) => Ok(Supervisor::Systemd(systemd)),
            None => bail!("expected systemd with vigie.target: deploy/systemd/install.sh installs it"),
        },
    }
}

/// The same, where there must be one.
///
/// # Errors
/// As [`find`], and when there is none; the message says what to do.
pub(crate) async fn must_find(runs: &Runs) -> anyhow::Result<Supervisor> {
    match find(runs).await? {
        Some(found) => Ok(found),
        None => bail!(
            "nothing runs Vigie here: no compose.yaml of it in this folder, no unit of vigie.target, no `vigie up` \
             in {}; go to its folder, or start it with `vigie start`",
            runs.which.data.display()
        ),
    }
}

impl Supervisor {
    pub(crate) const fn way(&self) -> Way {
        match self {
            Self::Compose(_) => Way::Compose,
            Self::Systemd(_) => Way::Systemd,
            Self::Up(_) => Way::Up,
        }
    }

    /// Its parts, sorted by name.
    ///
    /// # Errors
    /// When it does not say.
    pub(crate) async fn parts(&self) -> anyhow::Result<Vec<Part>> {
        let mut parts = match self {
            Self::Compose(compose) => compose.parts().await?,
            Self::Systemd(systemd) => systemd.parts().await?,
            Self::Up(up) => up.parts(),
        };
        parts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(parts)
    }

    /// Starts all parts, or those of these names.
    ///
    /// # Errors
    /// When that cannot be done; the message says what to do.
    pub(crate) async fn start(&self, names: &[String], shape: Shape) -> anyhow::Result<()> {
        match self {
            Self::Compose(compose) => compose.start(names).await,
            Self::Systemd(systemd) => systemd.order("start", names).await,
            Self::Up(up) => up.start(names, shape).await,
        }
    }

    /// Stops all parts, or those of these names, in order.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub(crate) async fn stop(&self, names: &[String]) -> anyhow::Result<()> {
        match self {
            Self::Compose(compose) => compose.order("stop", names).await,
            Self::Systemd(systemd) => systemd.order("stop", names).await,
            Self::Up(up) => up.stop(names).await,
        }
    }

    /// Stops and starts all parts, or those of these names.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub(crate) async fn restart(&self, names: &[String]) -> anyhow::Result<()> {
        match self {
            Self::Compose(compose) => compose.order("restart", names).await,
            Self::Systemd(systemd) => systemd.order("restart", names).await,
            Self::Up(up) => up.restart(names).await,
        }
    }

    /// The parts that talk to people or write what they change, as far as they run.
    ///
    /// # Errors
    /// As [`parts`](Self::parts).
    pub(crate) async fn bot(&self) -> anyhow::Result<Vec<String>> {
        let mut names: Vec<String> =
            self.parts().await?.into_iter().filter(Part::is_bot_at_work).map(|part| part.name).collect();
        names.dedup();
        Ok(names)
    }

    /// Stops parts until [`resume`](Self::resume).
    ///
    /// # Errors
    /// When that cannot be done, or one of them still runs after a while; then some of them may be stopped.
    pub(crate) async fn pause(&self, names: &[String]) -> anyhow::Result<Option<Hold>> {
        let mut hold = None;
        match self {
            Self::Compose(compose) => compose.exactly("stop", names).await?,
            Self::Systemd(systemd) => systemd.order("stop", names).await?,
            Self::Up(up) => hold = Some(up.hold(names).await?),
        }
        let stopped = |part: &Part| !names.contains(&part.name) || !part.is_bot_at_work();
        let parts = self.wait_until(stopped).await?;
        let left: Vec<&str> =
            parts.iter().filter(|part| !stopped(part)).map(|part| part.name.as_str()).collect();
        ensure!(left.is_empty(), "{} did not stop", left.join(", "));
        Ok(hold)
    }

    /// Starts what was stopped by [`pause`](Self::pause), as it was and nothing besides, and waits until it is ready; the
    /// parts as they were last.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) async fn resume(&self, names: &[String], hold: Option<Hold>) -> anyhow::Result<Vec<Part>> {
        match self {
            Self::Compose(compose) => compose.exactly("start", names).await?,
            Self::Systemd(systemd) => systemd.order("start", names).await?,
            Self::Up(_) => drop(hold),
        }
        self.wait_until(|part| !names.contains(&part.name) || part.is_up()).await
    }

    /// The newest lines of its parts' logs and, if wanted, those that come.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub(crate) async fn logs(&self, wanted: &Wanted) -> anyhow::Result<Logs> {
        match self {
            Self::Compose(compose) => compose.logs(wanted),
            Self::Systemd(systemd) => systemd.logs(wanted).await,
            Self::Up(up) => up.logs(wanted),
        }
    }

    /// Waits until every part fits, not for ever; the parts as they were last.
    ///
    /// # Errors
    /// As [`parts`](Self::parts).
    pub(crate) async fn wait_until(&self, fits: impl Fn(&Part) -> bool) -> anyhow::Result<Vec<Part>> {
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            let parts = self.parts().await?;
            if parts.iter().all(&fits) || Instant::now() >= deadline {
                return Ok(parts);
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// Which one it is, for people.
impl fmt::Display for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compose(compose) => compose.fmt(f),
            Self::Systemd(_) => f.write_str("systemd (vigie.target)"),
            Self::Up(up) => up.fmt(f),
        }
    }
}

/// A name as parts have them: it becomes an argument of a program, or a part of a subject.
///
/// # Errors
/// When no part can be called so.
pub(crate) fn part_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_@".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins && text.len() <= MAX_NAME && text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("expected the name of a part, such as twitch-gateway".to_owned())
    }
}

/// What is said about a name that no part has.
fn no_part<'a>(name: &str, all: impl IntoIterator<Item = &'a str>) -> anyhow::Error {
    let all: Vec<&str> = all.into_iter().collect();
    match all.is_empty() {
        true => anyhow::anyhow!("no part is called {name}: nothing was started here yet"),
        false => anyhow::anyhow!("no part is called {name}: expected one of {}", all.join(", ")),
    }
}

/// Parts as a person sees them.
pub(crate) fn render(parts: &[Part], paint: Paint) -> String {
    let width = parts.iter().map(|part| part.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for part in parts {
        let sign = match part.state {
            State::Ready => paint.good("✓"),
            State::Done => paint.faint("·"),
            State::Starting => paint.warn("…"),
            State::Failing => paint.bad("✗"),
            State::Down => paint.bad("○"),
        };
        let name = paint.strong(&format!("{:<width$}", part.name));
        text += &format!("{sign} {name}  {}\n", paint::harmless(&part.detail));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_becomes_a_flag_or_more_than_one_subject() {
        assert!(["nats", "command-worker@2", "a_1"].iter().all(|name| part_name(name).is_ok()));
        let bad = ["", "--rm", "a b", "*", "a.b", ">", "nats;reboot", &"x".repeat(65)];
        assert!(bad.iter().all(|name| part_name(name).is_err()));
    }

    #[test]
    fn parts_are_told_by_a_sign_and_the_supervisors_words() {
        let part = |name: &str, state, detail: &str| Part {
            name: name.to_owned(),
            state,
            detail: detail.to_owned(),
        };
        let parts = [
            part("command-worker", State::Starting, "Up 2 seconds (health: starting)"),
            part("discord-gateway", State::Ready, "Up 3 minutes (healthy)"),
            part("keys", State::Done, "Exited (0) 3 minutes ago"),
            part("nats", State::Failing, "Up 3 minutes (unhealthy)"),
            part("twitch-gateway", State::Down, "Exited (64) 5 seconds ago"),
        ];
        insta::assert_snapshot!(render(&parts, Paint::plain()));
    }
}
