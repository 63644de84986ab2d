//! A machine that is gone: everything of a bot is removed, and it comes back from its backup alone, by the very commands of
//! `docs/backup.md`. And a restore in the place of what is there, by `vigie backup restore`.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use bus::{Bus, Cut, Login, Message, User};
use protocol::{Catalogue, VERSION};
use serde_json::Value;
use tokio::{process::Command, time::sleep};

use super::{
    docker::{docker, output_within, with_engine},
    image,
    people::first_reply,
    project::Project,
    report::seconds,
};
use crate::{chaos::kinds::Platform, paths, shell};

/// What `--only` calls this.
pub const NAME: &str = "restore";
/// What is read to know what a person does.
const PAGE: &str = "docs/backup.md";
const SECTION: &str = "### A machine that is gone";
/// The line of it that is different on each machine.
const PLACE: &str = "backups=/mnt/usb/vigie";
/// After it everything is as it was, and nothing of the bot runs yet.
const RESTORE: &str = "backup restore latest --yes\n";
/// The user of the containers.
const USER: u32 = 65_532;
const PASSWORD: &str = "correct horse battery";
/// Gateways and workers of the demo.
const BOT: [&str; 3] = ["demo-discord", "demo-twitch", "command-worker"];
/// What lasts.
const STREAMS: [&str; 3] = ["DEAD", "KV_settings", "KV_session"];
/// How long all the steps may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(400);
const SOON: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(200);

/// What a bot has kept.
#[derive(Debug, PartialEq)]
struct Kept {
    streams: Vec<(&'static str, Option<Value>)>,
    dead: String,
    settings: Vec<u8>,
}

/// A bot in a folder of its own, whose backups are in another one.
struct Machine {
    stack: Project,
    folder: PathBuf,
    backups: PathBuf,
    programs: PathBuf,
}

/// Why none of this can be done here; `None` when it can.
#[must_use]
pub fn missing() -> Option<&'static str> {
    if shell::find("restic").is_none() {
        return Some("restic is not installed, by which a lost machine gets its settings back");
    }
    let is_root = rustix::process::geteuid().is_root();
    (!is_root).then_some("this is not root, who gives a folder to the user of the containers")
}

/// Tries both; what was measured, in words.
///
/// # Errors
/// When something does not come back.
pub async fn run(folder: &Path, image: &str) -> anyhow::Result<Vec<(&'static str, String)>> {
    shell::complain("trying a machine that is gone");
    let machine = Machine::new(folder, image).await?;
    let (made, trail) = machine.live().await?;
    let before = machine.kept().await?;
    machine.wiped().await?;
    let began = Instant::now();
    let steps = steps()?;
    // Once gateways run, cursors go on.
    let (restore, start) = steps.split_at(steps.find(RESTORE).map_or(0, |at| at + RESTORE.len()));
    machine.steps(restore).await?;
    let restored = began.elapsed();
    let after = machine.kept().await?;
    ensure!(before == after, "it was\n{before:?}\nand is now\n{after:?}");
    let now = machine.trail().await?;
    ensure!(now.starts_with(&trail), "the audit trail was\n{trail:#?}\nand is now\n{now:#?}");
    let began = Instant::now();
    machine.steps(start).await?;
    let back = restored + began.elapsed();
    machine.chats().await?;
    let answers = restored + began.elapsed();
    shell::complain("trying a restore in place");
    let in_place = machine.in_place(&before).await?;
    machine.stack.down().await?;
    Ok(vec![
        ("`vigie backup create` with its first repository", seconds(made)),
        ("a machine that is gone: by the steps of docs/backup.md, until all is healthy", seconds(back)),
        ("the same, until the first reply on both platforms", seconds(answers)),
        ("`vigie backup restore` in place, with the bot stopped and started", seconds(in_place)),
    ])
}

/// The commands of the page, with nothing left out.
fn steps() -> anyhow::Result<String> {
    let page = fs::read_to_string(paths::root().join(PAGE)).with_context(|| format!("cannot read {PAGE}"))?;
    of_page(&page)
        .with_context(|| format!("expected commands below {SECTION:?} in {PAGE}, with {PLACE} in them"))
}

fn of_page(page: &str) -> Option<String> {
    let (_, section) = page.split_once(SECTION)?;
    let section = section.split("\n## ").next()?.split("\n### ").next()?;
    let blocks = section.split("```sh\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0));
    let steps: String = blocks.collect();
    (steps.contains(PLACE) && steps.contains(RESTORE)).then_some(steps)
}

impl Machine {
    /// With a checkout, a folder for backups, and the image with restic in it.
    async fn new(folder: &Path, image: &str) -> anyhow::Result<Self> {
        let top = folder.join(NAME);
        let machine = Self {
            folder: top.join("bot"),
            backups: top.join("usb"),
            programs: top.join("programs"),
            stack: {
                fs::create_dir_all(top.join("bot"))?;
                for name in ["compose.yaml", ".env.example", "nats.conf", "deploy"] {
                    copy(&paths::root().join(name), &top.join("bot").join(name))?;
                }
                Project::of_checkout(NAME, &top.join("bot"), image)?
            },
        };
        fs::create_dir_all(&machine.backups)?;
        fs::set_permissions(&machine.backups, fs::Permissions::from_mode(0o700))?;
        chown(&machine.backups, Some(USER), Some(USER))?;
        // Who is root already may not have it.
        fs::create_dir_all(&machine.programs)?;
        fs::write(machine.programs.join("sudo"), "#!/bin/sh\nexec \"$@\"\n")?;
        fs::set_permissions(machine.programs.join("sudo"), fs::Permissions::from_mode(0o755))?;
        image::unpack(image, &top).await?;
        let (dockerfile, context) = (paths::root().join("deploy/Dockerfile"), top.display().to_string());
        let tag = format!("{image}-operations");
        let file = dockerfile.display().to_string();
        let arguments = ["build", "--quiet", "--target", "operations", "--build-arg", "BINARIES=prebuilt"];
        docker(&[&arguments[..], &["--file", &file, "--tag", &tag, &context]].concat()).await?;
        Ok(machine)
    }

    /// It runs, people chat, something failed for good, and backups are made; how long the first took, and what was done
    /// before the second.
    async fn live(&self) -> anyhow::Result<(Duration, Vec<Value>)> {
        let settings = [
            ("COMPOSE_PROJECT_NAME", self.stack.name()),
            ("COMPOSE_PROFILES", "demo"),
            ("BACKUP_FOLDER", &self.backups.display().to_string()),
            ("BACKUP_REPOSITORY", "/backups/repository"),
            ("BACKUP_PASSWORD", PASSWORD),
            ("BACKUP_SETTINGS_FOLDER", &self.folder.display().to_string()),
            ("BACKUP_SETTINGS", "/settings/.env"),
            ("BACKUP_SCHEDULE", "off"),
        ];
        let env_file = self.folder.join(".env");
        let mut text = fs::read_to_string(&env_file)?;
        for (name, value) in settings {
            text += &format!("{name}={value}\n");
        }
        fs::write(&env_file, text)?;
        fs::set_permissions(&env_file, fs::Permissions::from_mode(0o660))?;
        chown(&env_file, Some(USER), None)?;
        self.steps("docker compose up -d --wait").await?;
        self.chats().await?;
        self.fails_for_good("one").await?;
        // What moves while it is saved could not be compared.
        self.steps(&format!("docker compose stop {}", BOT.join(" "))).await?;
        let began = Instant::now();
        self.ask("backup create").await?;
        let (made, trail) = (began.elapsed(), self.trail().await?);
        ensure!(!trail.is_empty(), "a backup was made, and the audit trail does not say so");
        self.ask("backup create").await?;
        Ok((made, trail))
    }

    /// Nothing of it is left but the backups, and the files of Vigie.
    async fn wiped(&self) -> anyhow::Result<()> {
        self.stack.down().await?;
        fs::remove_file(self.folder.join(".env"))?;
        for list in [["ps", "--all", "--quiet"], ["volume", "ls", "--quiet"], ["network", "ls", "--quiet"]] {
            let label = format!("label=com.docker.compose.project={}", self.stack.name());
            let left = docker(&[&list[..], &["--filter", &label]].concat()).await?;
            ensure!(left.trim().is_empty(), "{} is left", left.trim());
        }
        Ok(())
    }

    /// Later changes are gone afterwards, and what was done is not forgotten.
    async fn in_place(&self, before: &Kept) -> anyhow::Result<Duration> {
        self.fails_for_good("two").await?;
        let trail = self.trail().await?;
        let vigie = self.programs.with_file_name("dist/bin/vigie");
        let began = Instant::now();
        self.steps(&format!("{} backup restore latest --yes", vigie.display())).await?;
        let took = began.elapsed();
        let after = self.kept().await?;
        ensure!(after.dead == before.dead, "the dead letters are not those of the backup: {}", after.dead);
        let now = self.trail().await?;
        ensure!(now.starts_with(&trail) && now.len() > trail.len(), "what was done is forgotten: {now:#?}");
        self.chats().await?;
        Ok(took)
    }

    async fn chats(&self) -> anyhow::Result<()> {
        for platform in Platform::ALL {
            first_reply(&self.stack.url, platform).await?;
        }
        Ok(())
    }

    /// Runs commands as a person types them, in the folder of the bot; what they said.
    async fn steps(&self, script: &str) -> anyhow::Result<String> {
        let script = script.replace(PLACE, &format!("backups={}", self.backups.display()));
        let mut command = with_engine(Command::new("sh"));
        let path = std::env::var("PATH").unwrap_or_default();
        command.args(["-eu", "-c", &script]).current_dir(&self.folder);
        // A person types it where it is asked for.
        command.env("RESTIC_PASSWORD", PASSWORD);
        command.env("PATH", format!("{}:{path}", self.programs.display()));
        output_within(LIMIT, &mut command).await
    }

    async fn ask(&self, arguments: &str) -> anyhow::Result<String> {
        self.steps(&format!("docker compose run --rm --no-TTY status vigie {arguments}")).await
    }

    async fn kept(&self) -> anyhow::Result<Kept> {
        let bus = self.bus(User::Backup).await?;
        let mut streams = Vec::new();
        let began = Instant::now();
        for name in STREAMS {
            let now = loop {
                match bus.stream_now(name).await {
                    Ok(now) => break now,
                    // A machine that starts everything at once is slow to answer.
                    Err(_) if began.elapsed() < SOON => sleep(POLL).await,
                    Err(error) => return Err(error.into()),
                }
            };
            streams.push((name, now.as_ref().map(shape)));
        }
        bus.drain().await;
        Ok(Kept {
            streams,
            dead: self.ask("dead list --json").await?,
            settings: fs::read(self.folder.join(".env"))?,
        })
    }

    /// What was done, the oldest first.
    async fn trail(&self) -> anyhow::Result<Vec<Value>> {
        let said = self.ask("audit --json --lines 200").await?;
        said.lines().map(|line| serde_json::from_str(line).context("audit did not write JSON")).collect()
    }

    /// A command that no worker can read is put away by the one that takes it.
    async fn fails_for_good(&self, id: &str) -> anyhow::Result<()> {
        let bus = self.bus(User::DiscordGateway).await?;
        let letters =
            || async { Ok::<_, anyhow::Error>(self.ask("dead list --json").await?.lines().count()) };
        let before = letters().await?;
        let nonsense = Catalogue { v: VERSION, commands: Vec::new() };
        bus.store(&Message::new("event.discord.1.command.0", id, &nonsense)?).await?;
        bus.drain().await;
        let began = Instant::now();
        while letters().await? == before {
            ensure!(began.elapsed() < SOON, "what cannot be read is no dead letter");
            sleep(POLL).await;
        }
        Ok(())
    }

    /// NATS from this machine: no port is published, and its address on the bridge is near enough.
    async fn bus(&self, user: User) -> anyhow::Result<Bus> {
        let Some(nats) = self.stack.of("nats").await?.pop() else { bail!("nats does not run") };
        let wanted = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
        let addresses = docker(&["inspect", "--format", wanted, &nats.id]).await?;
        let address = addresses.split_whitespace().next().context("nats has no address")?;
        let volume = format!("{}_keys-{}:/key:ro", self.stack.name(), user.name());
        let of_key = ["run", "--rm", "--network", "none", "--volume", &volume, "--entrypoint", "cat"];
        let seed = docker(&[&of_key[..], &["nats:2.15-alpine", "/key/nats.nk"]].concat()).await?;
        let login = Login { user, nkey: Some(seed.trim().to_owned().into()), ca_file: None };
        let options = bus::Options { url: format!("nats://{address}:4222"), name: "trial".to_owned() };
        Ok(Bus::connect_as(&login, options).await?)
    }
}

/// How a stream is, but for what only says when it was looked at.
fn shape(cut: &Cut) -> Value {
    let state = |name: &str| cut.state[name].clone();
    Value::from(vec![state("messages"), state("bytes"), state("first_seq"), state("last_seq")])
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    fs::copy(from, to).map(drop).with_context(|| format!("cannot copy {}", from.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_commands_that_are_tried() {
        let steps = steps().unwrap();
        for needed in ["restic ", "settings/0/.env", RESTORE, "docker compose up -d --wait\n"] {
            assert!(steps.contains(needed), "{needed:?} is not among\n{steps}");
        }
    }

    #[test]
    fn only_the_commands_of_the_section_are_taken() {
        let page = format!(
            "```sh\nrm a\n```\n{SECTION}\ntext\n```sh\n{PLACE}\n{RESTORE}```\nand\n```sh\ntwo\n```\n## B\n```sh\nrm b\n```\n"
        );
        assert_eq!(of_page(&page).unwrap(), format!("{PLACE}\n{RESTORE}two\n"));
        assert!(of_page(&page.replace(PLACE, "else")).is_none());
    }
}
