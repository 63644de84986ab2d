//! The only place that talks to systemd: the `systemctl` program, with a closed set of verbs, for a closed set of units.
//! Nothing of it needs root: a rule of polkit grants these verbs for these units.
//!
//! | command | for |
//! |---|---|
//! | `show` of the units that are replaced | to see how they are |
//! | `start`, `stop`, `reset-failed` of one of them | to replace it |
//! | `journalctl` of one of them | the last words of what failed |

use std::{collections::HashMap, time::Duration};

use child::{Child, ChildError, Environment};
use reqwest::Client;
use service::clock::unix_ms;
use tokio::task::JoinSet;

use crate::{
    archive::NEEDED,
    crew::{Container, Goal, Move},
    release::Release,
    shelf::{Shelf, ShelfError},
    units::{self, SERVICES, unit_of, units_of},
};

/// How long a question may take.
const ASK_LIMIT: Duration = Duration::from_secs(30);
/// How long it may take to start or stop a unit: NATS may have to come first.
const ACT_LIMIT: Duration = Duration::from_secs(180);
/// How long a service may take to say whether it is ready.
const READY_LIMIT: Duration = Duration::from_secs(2);
/// So long after its start a service may be not ready yet: what Docker's health check gives it.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a program may take to say its version.
const VERSION_LIMIT: Duration = Duration::from_secs(20);
/// What is asked of each unit.
const PROPERTIES: &str =
    "--property=Id,ActiveState,SubState,InvocationID,NRestarts,Environment,ExecMainStartTimestamp";
/// Lines of the log of what failed.
const LOG_LINES: &str = "20";
/// The longest log of what failed, in characters.
const LOG_MAX: usize = 1500;

/// systemd, and the releases that its units start.
#[derive(Clone, Debug)]
pub struct Systemd {
    /// The environment of its programs.
    pub environment: Environment,
    /// Releases, and which unit starts which.
    pub shelf: Shelf,
    /// For asking services whether they are ready.
    pub client: Client,
}

/// Why systemd did not do it.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// The program failed.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// A link cannot be moved.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// It runs and cannot be told what.
    #[error("{0} was told to start another version since it was started: restart it first, with systemctl")]
    Moved(String),
}

impl Systemd {
    fn systemctl(&self, limit: Duration) -> Child {
        Child::new("systemctl", self.environment.clone(), limit).arg("--no-ask-password")
    }

    /// The platform of this machine, such as `linux/arm64`, when systemd answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn platform(&self) -> Result<String, SystemdError> {
        self.systemctl(ASK_LIMIT).args(["show", "--property=Version"]).text().await?;
        Ok(format!("linux/{}", machine()))
    }

    /// All units of the bot that are not simply off.
    ///
    /// # Errors
    /// When systemd does not answer.
    pub async fn containers(&self) -> Result<Vec<Container>, SystemdError> {
        let mut asked = JoinSet::new();
        for (order, seen) in self.seen().await?.into_iter().enumerate() {
            let release = self.shelf.started_by(&seen.unit).unwrap_or_default();
            let client = self.client.clone();
            asked.spawn(async move {
                let health = seen.health(&client).await;
                (order, seen.container(release, health))
            });
        }
        let mut found = Vec::new();
        while let Some(one) = asked.join_next().await {
            found.extend(one);
        }
        found.sort_by_key(|(order, _)| *order);
        Ok(found.into_iter().map(|(_, container)| container).collect())
    }

    async fn seen(&self) -> Result<Vec<Seen>, SystemdError> {
        let names = SERVICES.iter().flat_map(|(service, ..)| units_of(service));
        let names = names.map(|unit| format!("{unit}.service"));
        let show = self.systemctl(ASK_LIMIT).args(["show", "--timestamp=unix", PROPERTIES, "--"]).args(names);
        Ok(show.text().await?.text.split("\n\n").filter_map(Seen::read).collect())
    }

    /// That each unit that runs is of the version that its link says.
    ///
    /// # Errors
    /// [`SystemdError::Moved`] when somebody moved a link and started nothing anew.
    pub async fn as_linked(&self) -> Result<(), SystemdError> {
        for seen in self.seen().await? {
            let (started, said) = (seen.started_s, self.shelf.said_s(&seen.unit));
            if let (Some(started), Some(said)) = (started, said)
                && said > started
            {
                return Err(SystemdError::Moved(seen.unit));
            }
        }
        Ok(())
    }

    /// Whoever starts a unit by hand from here on gets this version.
    ///
    /// # Errors
    /// When systemd does not answer, or a link cannot be moved.
    pub async fn prepare(&self, name: &str) -> Result<(), SystemdError> {
        self.shelf.point_current(name)?;
        let there = self.containers().await?;
        let off = |unit: &String| there.iter().all(|it| unit_of(&it.id) != unit);
        for unit in SERVICES.iter().flat_map(|(service, ..)| units_of(service)).filter(off) {
            self.shelf.point(&unit, name)?;
        }
        Ok(())
    }

    /// Does what is next.
    ///
    /// # Errors
    /// When systemd does not.
    pub async fn obey(&self, what: &Move, goal: &Goal<'_>) -> Result<(), SystemdError> {
        match what {
            Move::Grow(_) => {
                let there = self.containers().await?;
                for unit in units::wanted(goal) {
                    if there.iter().all(|it| unit_of(&it.id) != unit) {
                        self.start(&unit, goal.image).await?;
                    }
                }
            }
            Move::Renew(_) => {
                for unit in units::wanted(goal) {
                    self.stop(&unit).await?;
                    self.start(&unit, goal.image).await?;
                }
            }
            Move::End(ids) => {
                for unit in ids.iter().map(|id| unit_of(id)) {
                    self.stop(unit).await?;
                }
            }
            Move::Arrived | Move::Wait(..) | Move::Fail(..) => {}
        }
        Ok(())
    }

    /// Starts a unit that does not run, as this version.
    async fn start(&self, unit: &str, name: &str) -> Result<(), SystemdError> {
        self.shelf.point(unit, name)?;
        self.act("start", unit).await
    }

    /// Stops it; what systemd had given up on is off too then.
    async fn stop(&self, unit: &str) -> Result<(), SystemdError> {
        self.act("stop", unit).await?;
        match self.act("reset-failed", unit).await {
            // It was not loaded any more, so there was nothing to forget.
            Err(SystemdError::Child(ChildError::Failed { complaint, .. }))
                if complaint.contains("not loaded") =>
            {
                Ok(())
            }
            other => other,
        }
    }

    async fn act(&self, verb: &str, unit: &str) -> Result<(), SystemdError> {
        let unit = format!("{unit}.service");
        self.systemctl(ACT_LIMIT).args([verb, "--"]).arg(&unit).text().await?;
        Ok(())
    }

    /// The last words of a unit.
    pub async fn last_words(&self, id: &str) -> String {
        let unit = format!("{}.service", unit_of(id));
        let logs = Child::new("journalctl", self.environment.clone(), ASK_LIMIT);
        let logs =
            logs.args(["--quiet", "--no-pager", "--output=cat", "--lines", LOG_LINES, "--unit"]).arg(&unit);
        let said = logs.text().await.map(|output| output.text).unwrap_or_default();
        let start = said.char_indices().rev().nth(LOG_MAX).map_or(0, |(at, _)| at);
        let said = said.get(start..).unwrap_or_default().trim();
        if said.is_empty() { format!("journalctl --unit {unit}") } else { said.to_owned() }
    }

    /// That the programs of a release run on this machine.
    ///
    /// # Errors
    /// When one of them does not.
    pub async fn prove(&self, release: &Release) -> Result<(), SystemdError> {
        for program in NEEDED {
            let path = self.shelf.bin(&release.image).join(program);
            Child::new(path, Environment::new(), VERSION_LIMIT).arg("--version").text().await?;
        }
        Ok(())
    }
}

/// What this machine is, as images and archives are named.
#[must_use]
pub fn machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A unit as `systemctl show` tells of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    unit: String,
    service: &'static str,
    state: &'static str,
    invocation: String,
    restarts: u64,
    instance: String,
    /// Where it says whether it is ready, when it does.
    address: Option<String>,
    /// In seconds since 1970.
    started_s: Option<u64>,
}

impl Seen {
    /// `None` for one that is off, or is none of ours.
    fn read(block: &str) -> Option<Self> {
        let fields: HashMap<&str, &str> = block.lines().filter_map(|line| line.split_once('=')).collect();
        let field = |name: &str| fields.get(name).copied().unwrap_or_default();
        let unit = field("Id").strip_suffix(".service")?;
        let state = match (field("ActiveState"), field("SubState")) {
            ("active" | "reloading" | "deactivating", _) => "running",
            ("activating", "auto-restart") => "restarting",
            ("activating", _) => "starting",
            ("failed", _) => "exited",
            _ => return None,
        };
        let variables = field("Environment").split_whitespace();
        let variables: HashMap<&str, &str> =
            variables.filter_map(|pair| pair.trim_matches('"').split_once('=')).collect();
        Some(Self {
            service: units::service_of(unit)?,
            unit: unit.to_owned(),
            state,
            invocation: field("InvocationID").to_owned(),
            restarts: field("NRestarts").parse().unwrap_or_default(),
            instance: variables.get("VIGIE_INSTANCE").copied().unwrap_or_default().to_owned(),
            address: variables.get("VIGIE_HTTP_ADDR").map(|address| (*address).to_owned()),
            started_s: field("ExecMainStartTimestamp").strip_prefix('@').and_then(|it| it.parse().ok()),
        })
    }

    /// What a health check of Docker would say.
    async fn health(&self, client: &Client) -> &'static str {
        let Some(address) = self.address.as_ref().filter(|_| self.state == "running") else { return "" };
        let answer = client.get(format!("http://{address}/readyz")).timeout(READY_LIMIT).send().await;
        let ready = answer.is_ok_and(|answer| answer.status().is_success());
        let since_ms = unix_ms().saturating_sub(self.started_s.unwrap_or_default() * 1000);
        health(ready, Duration::from_millis(since_ms))
    }

    fn container(self, release: String, health: &str) -> Container {
        Container {
            id: units::id(&self.unit, &self.invocation),
            service: self.service.to_owned(),
            image: release,
            folder: String::new(),
            created: self.started_s.unwrap_or_default().to_string(),
            state: self.state.to_owned(),
            health: health.to_owned(),
            restarts: self.restarts,
            instance: self.instance,
        }
    }
}

fn health(ready: bool, since: Duration) -> &'static str {
    match ready {
        true => "healthy",
        false if since < PATIENCE => "starting",
        false => "unhealthy",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "Id=vigie-command-worker@2.service
ActiveState=active
SubState=running
InvocationID=0123abcd
NRestarts=1
Environment=NO_COLOR=1 NATS_URL=nats://127.0.0.1:4222 VIGIE_HTTP_ADDR=127.0.0.1:9432 VIGIE_INSTANCE=ship-command-worker-2
ExecMainStartTimestamp=@1795330000";

    #[test]
    fn a_unit_is_read_as_systemd_shows_it() {
        let seen = Seen::read(BLOCK).unwrap();
        assert_eq!((seen.service, seen.state, seen.restarts), ("command-worker", "running", 1));
        assert_eq!((seen.address.as_deref(), seen.started_s), (Some("127.0.0.1:9432"), Some(1_795_330_000)));
        let container = seen.container("1.2.3".to_owned(), "healthy");
        assert_eq!(container.id, "vigie-command-worker@2#0123abcd");
        assert_eq!(container.instance, "ship-command-worker-2");
        assert!(container.works() && !units::is_helper(&container));
        let state = |active: &str, sub: &str| {
            let block =
                BLOCK.replace("=active", &format!("={active}")).replace("=running", &format!("={sub}"));
            Seen::read(&block).map(|seen| seen.state)
        };
        assert_eq!(state("inactive", "dead"), None);
        assert_eq!(state("failed", "failed"), Some("exited"));
        assert_eq!(state("activating", "auto-restart"), Some("restarting"));
        assert_eq!(Seen::read(&BLOCK.replace("command-worker@2", "nats")), None);
        assert_eq!(Seen::read(""), None);
    }

    #[test]
    fn who_is_not_ready_for_long_is_not_well() {
        assert_eq!(health(true, PATIENCE * 9), "healthy");
        assert_eq!(health(false, PATIENCE / 2), "starting");
        assert_eq!(health(false, PATIENCE), "unhealthy");
    }
}
