//! Docker Compose: the project of the compose file in this folder.

use std::{
    collections::BTreeSet,
    env,
    ffi::{OsStr, OsString},
    fmt, fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
};

use anyhow::{Context, anyhow};
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    signal::unix::{SignalKind, signal},
};

use super::{
    Part, State,
    lines::{LogLine, Logs, Wanted, is_called},
    program,
    started::{self, NO_NATS},
    systemd::Systemd,
    up::Up,
};
use crate::find::{self, Which};

/// What Compose looks for when nothing else is named.
const FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];
/// Whoever has this in the compose file has Vigie in it.
const OURS: &str = "discord-gateway";
/// What does its work at the start, and ends.
const ONE_SHOTS: [&str; 1] = ["keys"];
/// Where the operator's key is, and NATS can be reached.
const TOOLS: &str = "status";
const NATS: &str = "nats";
/// Parts of the demo, and what they do the work of.
const DEMO: [(&str, &str); 2] = [("demo-discord", "discord-gateway"), ("demo-twitch", "twitch-gateway")];

/// What a container of `docker compose run` has, which is a part of nothing.
const ONE_OFF: &str = "com.docker.compose.oneoff=True";

/// A project, and its containers when it was found, or why Docker did not tell.
pub(crate) struct Compose {
    folder: PathBuf,
    containers: anyhow::Result<Vec<Container>>,
}

/// What `docker compose ps` tells.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    service: String,
    state: String,
    #[serde(default)]
    health: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    exit_code: i64,
    /// `name=value`, with commas between them; not of older ones of Compose.
    #[serde(default)]
    labels: String,
}

impl Compose {
    /// The project of this folder, if Docker is here. What Docker cannot tell is told when something is done.
    pub(super) async fn find() -> Option<Self> {
        let named = env::var_os("COMPOSE_FILE").is_some_and(|files| !files.is_empty());
        let ours = |file: &&str| fs::read_to_string(file).is_ok_and(|text| text.contains(OURS));
        if !(named || FILES.iter().find(|file| Path::new(file).is_file()).is_some_and(ours))
            || !program::is_there("docker")
        {
            return None;
        }
        let containers = containers().await;
        let has_ours = |all: &Vec<Container>| all.iter().any(|one| is_ours(&one.service));
        // Another project's file may be the one that is named.
        (!named || containers.as_ref().map_or(true, has_ours))
            .then(|| Self { folder: env::current_dir().unwrap_or_else(|_| PathBuf::from(".")), containers })
    }

    /// Whether some of it runs, as far as Docker tells.
    pub(super) fn runs(&self) -> bool {
        let up = |one: &Container| one.state == "running" || one.state == "restarting";
        self.containers.as_ref().is_ok_and(|all| all.iter().any(up))
    }

    pub(super) async fn parts(&self) -> anyhow::Result<Vec<Part>> {
        Ok(containers().await?.into_iter().map(Container::part).collect())
    }

    /// Also creates what is missing, and takes new settings.
    pub(super) async fn start(&self, names: &[String]) -> anyhow::Result<()> {
        let containers = self.containers()?;
        let services: Vec<String> = match names {
            [] => {
                let active = program::ask(compose(["config", "--services"])).await?;
                let mut services: BTreeSet<String> =
                    active.lines().map(|line| line.trim().to_owned()).collect();
                // What was started with a profile is started by its name.
                services.extend(containers.iter().map(|one| one.service.clone()));
                services.into_iter().filter(|name| !ONE_SHOTS.contains(&name.as_str())).collect()
            }
            // One that has no container yet is known by Compose alone.
            names => names.iter().map(|name| self.meant(name).unwrap_or_else(|_| name.clone())).collect(),
        };
        // An image may be built first, which takes as long as it takes.
        let mut command = compose(["up", "--detach", "--wait"]);
        command.args(services);
        program::tell(command, false).await
    }

    /// `stop`, or `restart`, by which a part also takes new settings.
    pub(super) async fn order(&self, verb: &str, names: &[String]) -> anyhow::Result<()> {
        let services = self.services(names)?;
        let order: &[&str] = match (verb, names) {
            ("restart", []) => &["up", "--detach", "--wait", "--force-recreate"],
            ("restart", _) => &["up", "--detach", "--wait", "--force-recreate", "--no-deps"],
            (verb, _) => &[verb],
        };
        let mut command = compose(order);
        command.args(services);
        // Half of a restart is worse than a slow one, and Compose bounds how long it waits for each part.
        program::tell(command, verb != "restart").await
    }

    /// `stop` or `start` of these services and no others, as they are: here no name means its stand-in of the demo.
    pub(super) async fn exactly(&self, verb: &str, services: &[String]) -> anyhow::Result<()> {
        let order = || {
            let mut command = compose([verb]);
            command.args(services);
            command
        };
        program::tell_to_the_end(order).await
    }

    pub(super) fn logs(&self, wanted: &Wanted) -> anyhow::Result<Logs> {
        let services = self.services(&wanted.names)?;
        let lines = wanted.lines.to_string();
        let mut command = compose(["logs", "--no-color", "--tail", &lines]);
        if wanted.follow {
            command.arg("--follow");
        }
        command.args(services);
        Logs::of_program(command, LogLine::of_prefixed)
    }

    /// Its containers.
    fn containers(&self) -> anyhow::Result<&[Container]> {
        self.containers.as_deref().map_err(|error| anyhow!("{error:#}; `vigie doctor` says how to mend it"))
    }

    /// Services of ours that were started, whether they run or not.
    fn services_started(&self) -> anyhow::Result<Vec<Part>> {
        let parts = self.containers()?.iter().cloned().map(Container::part);
        let services = find::SERVICES.into_iter().chain(find::OPTIONAL.map(|(name, _)| name));
        Ok(parts.filter(|part| services.clone().any(|name| started::works_as(&part.name, name))).collect())
    }

    /// The services that are meant; all that have a container when nothing is named.
    fn services(&self, names: &[String]) -> anyhow::Result<Vec<String>> {
        if !names.is_empty() {
            return names.iter().map(|name| self.meant(name)).collect();
        }
        let all: BTreeSet<&str> = self.containers()?.iter().map(|one| one.service.as_str()).collect();
        Ok(all.into_iter().filter(|name| !ONE_SHOTS.contains(name)).map(str::to_owned).collect())
    }

    /// The service of this name or, in the demo, the one that does its work.
    fn meant(&self, name: &str) -> anyhow::Result<String> {
        let containers = self.containers()?;
        let has = |service: &str| containers.iter().any(|one| one.service == service);
        let stand_in = DEMO.iter().find(|(demo, real)| *real == name && has(demo));
        match stand_in {
            Some((demo, _)) => Ok((*demo).to_owned()),
            None if has(name) => Ok(name.to_owned()),
            None => {
                let all: BTreeSet<&str> = containers.iter().map(|one| one.service.as_str()).collect();
                Err(super::no_part(name, all))
            }
        }
    }
}

impl fmt::Display for Compose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Docker Compose in {}", self.folder.display())
    }
}

impl Container {
    fn part(self) -> Part {
        let state = match (self.state.as_str(), self.health.as_str()) {
            ("running", "" | "healthy") => State::Ready,
            ("running", "starting") => State::Starting,
            ("running", _) | ("restarting" | "dead", _) => State::Failing,
            ("exited", _) if self.exit_code == 0 && ONE_SHOTS.contains(&self.service.as_str()) => State::Done,
            _ => State::Down,
        };
        let detail = if self.status.is_empty() { self.state } else { self.status };
        Part { name: self.service, state, detail }
    }
}

/// What became of a command that asks NATS.
pub(crate) enum HandedOver {
    /// It was run in a container, and ended so.
    Done(ExitCode),
    /// NATS of Compose cannot be asked, and why. What Compose knows can still be told here.
    WithoutNats(String),
    /// It is to be run here.
    Not,
}

/// Gives a command that asks NATS to a container, where that is needed: in Compose NATS is out of reach from here.
/// `looks`: whether it only says how the bot is, for which it is told what was started.
///
/// # Errors
/// When Docker cannot be run, or does not say whether Vigie runs in it.
pub(crate) async fn hand_over(which: &Which, looks: bool) -> anyhow::Result<HandedOver> {
    let runs_here = Up::at(&which.data).running().is_some();
    if runs_here || find::nats_url_setting()?.is_some() {
        return Ok(HandedOver::Not);
    }
    let Some(project) = Compose::find().await else { return Ok(HandedOver::Not) };
    // Whoever runs it by systemd may have no right to use Docker.
    if project.containers.is_err() && Systemd::find().await.is_some_and(|systemd| systemd.runs()) {
        return Ok(HandedOver::Not);
    }
    let containers = project.containers()?;
    let Some(nats) = containers.iter().find(|one| one.service == NATS) else { return Ok(HandedOver::Not) };
    let part = nats.clone().part();
    // What hangs would keep whoever looks waiting, or not even let a container start.
    if looks && project.runs() && !matches!(part.state, State::Ready | State::Starting) {
        return Ok(HandedOver::WithoutNats(started::without_nats(&part)));
    }
    if nats.state != "running" {
        return Ok(HandedOver::Not);
    }
    let started = if looks { Some(serde_json::to_string(&project.services_started()?)?) } else { None };
    let code = inside(started, without_run(env::args_os().skip(1))).await?;
    if looks && code == Some(NO_NATS) {
        return Ok(HandedOver::WithoutNats(started::without_nats(&part)));
    }
    Ok(HandedOver::Done(code.map_or(ExitCode::FAILURE, ExitCode::from)))
}

/// Runs `vigie` with these arguments where NATS of Compose can be reached; its exit code. `started`: the services that
/// were, if it is to know.
///
/// # Errors
/// When Docker cannot be run.
async fn inside<S: AsRef<OsStr>>(
    started: Option<String>,
    arguments: impl IntoIterator<Item = S>,
) -> anyhow::Result<Option<u8>> {
    let mut command = compose(["run", "--rm", "--no-deps"]);
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        command.arg("--no-TTY");
    }
    if let Some(started) = started {
        command.args(["--env", &format!("{}={started}", started::VARIABLE)]);
    }
    command.args([TOOLS, "vigie"]).args(arguments);
    command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    // Ctrl-C reaches the one in the container, which ends in order.
    let _interrupt = signal(SignalKind::interrupt())?;
    let status = command.status().await.context("docker cannot be run")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()))
}

/// The same for what comes to its end whatever is pressed here, also when the terminal is closed.
///
/// # Errors
/// When Docker cannot be run.
pub(crate) async fn inside_to_the_end(arguments: Vec<&str>) -> anyhow::Result<Option<u8>> {
    let mut command = compose(["run", "--rm", "--no-deps", "--no-TTY", TOOLS, "vigie"]);
    command.args(arguments).process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("docker cannot be run")?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (status, (), ()) = tokio::join!(child.wait(), pass_on(out, io::stdout()), pass_on(err, io::stderr()));
    Ok(status.context("docker cannot be run")?.code().and_then(|code| u8::try_from(code).ok()))
}

/// Reads to the end, also where nobody takes what is read.
async fn pass_on(from: Option<impl AsyncRead + Unpin>, mut to: impl Write) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let _ = to.write_all(&buffer[..count]).and_then(|()| to.flush());
    }
}

/// What runs Vigie is not known inside.
fn without_run(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut value = false;
    for argument in arguments {
        if value {
            value = false;
        } else if argument == "--run" {
            value = true;
        } else if !argument.to_string_lossy().starts_with("--run=") {
            kept.push(argument);
        }
    }
    kept
}

fn compose<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = program::command("docker", ["compose"]);
    command.args(arguments);
    command
}

async fn containers() -> anyhow::Result<Vec<Container>> {
    read(&program::ask(compose(["ps", "--all", "--format", "json"])).await?)
}

/// One object a line; older ones of Compose write all of them as one list.
fn read(text: &str) -> anyhow::Result<Vec<Container>> {
    let odd = "docker compose ps says something that cannot be read";
    let mut all: Vec<Container> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).context(odd)?
    } else {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines.map(|line| serde_json::from_str(line).context(odd)).collect::<anyhow::Result<_>>()?
    };
    all.retain(|one| !one.labels.split(',').any(|label| label == ONE_OFF));
    Ok(all)
}

fn is_ours(service: &str) -> bool {
    find::SERVICES.iter().any(|name| is_called(service, name)) || stands_in(service)
}

/// The part of the demo that does the work of this service.
pub(super) fn stand_in_of(service: &str) -> Option<&'static str> {
    DEMO.iter().find(|(_, real)| *real == service).map(|(demo, _)| *demo)
}

/// Whether it does the work of another part in the demo.
pub(super) fn stands_in(service: &str) -> bool {
    DEMO.iter().any(|(demo, _)| *demo == service)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PS: &str = r#"{"Service":"keys","State":"exited","Health":"","Status":"Exited (0) 2 minutes ago","ExitCode":0}
{"Service":"nats","State":"running","Health":"healthy","Status":"Up 2 minutes (healthy)","ExitCode":0}
{"Service":"demo-twitch","State":"running","Health":"starting","Status":"Up 2 seconds (health: starting)"}
{"Service":"command-worker","State":"restarting","Status":"Restarting (1) 1 second ago"}
{"Service":"discord-gateway","State":"exited","Status":"Exited (0) 1 second ago","ExitCode":0,"Labels":"com.docker.compose.oneoff=False,a=b"}
{"Service":"doctor","State":"exited","Status":"Exited (1) 1 hour ago","ExitCode":1,"Labels":"a=b,com.docker.compose.oneoff=True"}
"#;

    fn project() -> Compose {
        Compose { folder: PathBuf::from("/srv/bot"), containers: read(PS) }
    }

    #[test]
    fn containers_are_read_in_both_ways_that_compose_writes_them() {
        let list = format!("[{}]", PS.trim().replace('\n', ","));
        for text in [PS, &list] {
            let parts: Vec<_> = read(text).unwrap().into_iter().map(Container::part).collect();
            let states: Vec<_> = parts.iter().map(|part| part.state).collect();
            let expected = [State::Done, State::Ready, State::Starting, State::Failing, State::Down];
            assert_eq!(states, expected);
        }
        assert!(read("").unwrap().is_empty() && read("oops").is_err());
    }

    #[test]
    fn a_name_means_a_service_or_its_stand_in_in_the_demo() {
        let meant = |name: &str| project().meant(name);
        assert_eq!(meant("twitch-gateway").unwrap(), "demo-twitch");
        assert_eq!(meant("discord-gateway").unwrap(), "discord-gateway");
        let error = meant("twich").unwrap_err().to_string();
        assert!(error.starts_with("no part is called twich: expected one of command-worker, "), "{error}");
        let all = ["command-worker", "demo-twitch", "discord-gateway", "nats"];
        assert_eq!(project().services(&[]).unwrap(), all, "keys has done its work");
    }

    #[test]
    fn what_docker_does_not_tell_is_no_empty_project() {
        let project =
            Compose { folder: PathBuf::from("/srv/bot"), containers: Err(anyhow!("permission denied")) };
        assert!(!project.runs());
        let told = project.meant("nats").unwrap_err().to_string();
        assert!(told.starts_with("permission denied; `vigie doctor`"), "{told}");
        assert!(project.services(&[]).is_err());
    }

    #[test]
    fn a_container_is_not_told_what_runs_it() {
        let arguments = ["status", "--run", "compose", "--json", "--run=up"].map(OsString::from);
        assert_eq!(without_run(arguments.into_iter()), ["status", "--json"]);
    }
}
