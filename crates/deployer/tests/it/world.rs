//! A bot of which only the containers and the answers are there, releases that are signed, and the deployer.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bus::{Announcement, Bus};
use deployer::{Config, Pace, Place, SETTINGS, SourceConfig};
use protocol::{
    ServiceStats, VERSION,
    control::{
        BackupAnswer, BackupOrder, BackupReply, BackupRequest, BackupStatus, Deploy, DeployAnswer,
        DeployOrder, DeployReply, DeployRequest, DeployStatus, Job, JobEnd,
    },
};
use service::{Context, Settings};
use testkit::{Nats, eventually};
use tokio::{runtime::Builder, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Longer than anything takes.
pub const SOON: Duration = Duration::from_secs(60);
/// The same where nothing gets well.
pub const IN_VAIN: Pace = Pace { limit: Duration::from_secs(4), ..PACE };
/// What makes the number of a release that of its second image.
pub const OPERATIONS: u8 = 0x80;
/// What a busy machine takes to be well, and a moment to stay so.
pub const PACE: Pace = Pace {
    limit: Duration::from_secs(20),
    watch: Duration::from_millis(100),
    canary: Duration::from_millis(50),
    look: Duration::from_millis(50),
};

pub struct World {
    pub nats: Nats,
    pub bus: Bus,
    pub folder: tempfile::TempDir,
    pair: minisign::KeyPair,
    fleet: JoinHandle<()>,
}

/// The deployer at work.
pub struct Running {
    killed: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.fleet.abort();
    }
}

impl Drop for Running {
    /// As dead as `SIGKILL` makes it: nothing is awaited.
    fn drop(&mut self) {
        self.killed.cancel();
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Running {
    pub fn deployer(config: Config, instance: &str) -> Self {
        let mut context = Context::new("deployer");
        instance.clone_into(&mut context.instance);
        Self::of(async move {
            let outcome = deployer::run(context, config).await;
            panic!("it ended: {outcome:?}")
        })
    }

    /// A runtime of its own, with which all of it ends.
    pub fn of(work: impl Future<Output = ()> + Send + 'static) -> Self {
        let killed = CancellationToken::new();
        let stop = killed.clone();
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = work => {}
                    () = stop.cancelled() => {}
                }
            });
        });
        Self { killed, thread: Some(thread) }
    }
}

/// The image of a release, of which the registry's digest is made.
pub fn image(number: u8) -> String {
    let hex: String = digest(number).chars().skip(7).map(turned).collect();
    format!("sha256:{hex}")
}

/// As `tr 0-9a-f a-f0-9` does.
fn turned(c: char) -> char {
    const FROM: &str = "0123456789abcdef";
    const TO: &str = "abcdef0123456789";
    FROM.find(c).and_then(|at| TO.chars().nth(at)).unwrap()
}

fn digest(number: u8) -> String {
    format!("sha256:{}", format!("{number:02x}").repeat(32))
}

/// The compose file of the bot, as Compose would merge it.
pub fn compose() -> String {
    let service = |command: &str| {
        format!(
            r#"{{ "image": "vigie:local", "command": ["{command}"], "restart": "unless-stopped",
                "build": {{ "context": "FOLDER", "dockerfile": "deploy/Dockerfile" }} }}"#
        )
    };
    format!(
        r#"{{ "name": "vigie", "services": {{
            "nats": {{ "image": "nats:2.15-alpine",
                "volumes": [{{ "type": "bind", "source": "FOLDER/nats.conf", "target": "/etc/nats/nats.conf",
                    "read_only": true }}] }},
            "keys": {{ "image": "vigie:local", "command": ["vigie", "keys", "/keys"], "restart": "no" }},
            "provision": {{ "image": "vigie:local", "command": ["vigie", "provision", "--stay"] }},
            "backup": {{ "image": "vigie:local-operations", "command": ["backup"],
                "build": {{ "context": "FOLDER", "dockerfile": "deploy/Dockerfile" }} }},
            "deployer": {{ "image": "vigie:local-operations", "command": ["deployer"], "user": "65532",
                "build": {{ "context": "FOLDER", "dockerfile": "deploy/Dockerfile" }} }},
            "command-worker": {}, "discord-gateway": {}, "twitch-gateway": {}, "healthcheck": {} }} }}"#,
        service("command-worker"),
        service("discord-gateway"),
        service("twitch-gateway"),
        service("healthcheck"),
    )
}

impl World {
    /// A bot of version 0 with two workers, which somebody started by hand.
    pub async fn start() -> Self {
        let nats = Nats::start().await;
        let bus = nats.bus("test").await;
        Self::of(nats, bus)
    }

    pub fn of(nats: Nats, bus: Bus) -> Self {
        service::install_crypto();
        let folder = tempfile::tempdir().unwrap();
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let world = Self { fleet: fleet(bus.clone(), folder.path()), nats, bus, folder, pair };
        for name in [
            "bin",
            "fake/containers",
            "fake/stopped",
            "fake/images",
            "fake/bad",
            "fake/slow",
            "fake/unready",
            "bot",
            "data",
        ] {
            fs::create_dir_all(world.path(name)).unwrap();
        }
        world.put("bin/docker", include_str!("docker.sh"));
        let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
        fs::set_permissions(world.path("bin/docker"), mode).unwrap();
        world.put("fake/architecture", "amd64");
        world.put("bot/compose.yaml", &compose());
        world.put("bot/nats.conf", "");
        world.put("bot/.env", "DISCORD_TOKEN=hunter2");
        world.put("fake/images/vigie:local", &image(0));
        world.put(&format!("fake/images/{}", image(0)), &image(0));
        let bot = world.path("bot").display().to_string();
        let services = [
            "provision",
            "command-worker",
            "command-worker",
            "discord-gateway",
            "twitch-gateway",
            "healthcheck",
        ];
        for (number, service) in services.into_iter().enumerate() {
            let words = format!("service {service}\nimage {}\nfolder {bot}\n", image(0));
            world.put(&format!("fake/containers/{number:012}{:052}", 0), &words);
        }
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// In one step, so that others see the old or the new.
    pub fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        let beside = self.folder.path().join("beside");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, path).unwrap();
    }

    /// A new release is signed.
    pub fn release(&self, number: u8) {
        let text = format!(
            r#"{{ "image": "registry.example.org/you/vigie", "version": "1.{number}.0", "digest": "{0}",
                "commit": "{1}", "platforms": {{ "linux/amd64": "{0}" }} }}"#,
            digest(number),
            format!("{number:02x}").repeat(20),
        );
        self.release_text(&text);
    }

    /// The same, with its second image.
    pub fn release_with_operations(&self, number: u8) {
        self.release(number);
        let text = fs::read_to_string(self.path("release.json")).unwrap();
        let second = digest(number | OPERATIONS);
        let second = format!(
            r#", "operations": {{ "digest": "{second}", "platforms": {{ "linux/amd64": "{second}" }} }} }}"#
        );
        let (start, _) = text.rsplit_once('}').unwrap();
        self.release_text(&format!("{start}{second}"));
    }

    pub fn release_text(&self, text: &str) {
        let signature = minisign::sign(None, &self.pair.sk, text.as_bytes(), None, None).unwrap();
        self.put("release.json.minisig", &signature.to_string());
        self.put("release.json", text);
    }

    /// The settings.
    pub fn variables(&self) -> HashMap<String, String> {
        let text = |name: &str| self.path(name).display().to_string();
        let variables = [
            ("NATS_URL", self.nats.url()),
            ("DEPLOY_FOLDER", text("bot")),
            ("DEPLOY_DATA", text("data")),
            ("DEPLOY_RELEASE", text("release.json")),
            ("DEPLOY_RELEASE_KEY", self.pair.pk.to_base64()),
            ("DEPLOY_BACKUP", "off".to_owned()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).into()
    }

    pub fn config(&self) -> Config {
        self.config_with([])
    }

    /// With more settings.
    pub fn config_with(&self, more: impl IntoIterator<Item = (&'static str, String)>) -> Config {
        let mut variables = self.variables();
        variables.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let mut settings = Settings::from_variables(&[SETTINGS], variables);
        let mut config = Config::read(&mut settings);
        assert_eq!(settings.problems(), []);
        assert!(matches!(&config.source, SourceConfig::Pull { release: Place::File(_), .. }));
        config.pace = PACE;
        config.contained = false;
        let mut path = self.path("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        config.environment =
            vec![("PATH".into(), path), ("DOCKER_CONFIG".into(), OsString::from(self.path("fake")))];
        config
    }

    pub fn run(&self, config: Config) -> Running {
        Running::deployer(config, "deployer-1")
    }

    pub async fn ask(&self, order: DeployOrder) -> DeployReply {
        let request = DeployRequest { v: VERSION, by: "cli".to_owned(), order };
        eventually(SOON, || async {
            let answer = self.bus.command("deploy", &request, Duration::from_secs(5)).await;
            answer.map(|answer: DeployAnswer| answer.reply).map_err(|error| error.to_string())
        })
        .await
    }

    pub async fn status(&self) -> DeployStatus {
        match self.ask(DeployOrder::Status).await {
            DeployReply::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    pub async fn history(&self) -> Vec<Deploy> {
        match self.ask(DeployOrder::History).await {
            DeployReply::History { deploys } => deploys,
            other => panic!("{other:?}"),
        }
    }

    /// Has the newest rolled out; the name of the job.
    pub async fn request(&self) -> String {
        self.accepted(DeployOrder::Request { commit: None, force: false }).await
    }

    pub async fn accepted(&self, order: DeployOrder) -> String {
        match self.ask(order).await {
            DeployReply::Accepted { job } => job,
            other => panic!("{other:?}"),
        }
    }

    /// How the job ended.
    pub async fn end(&self, id: &str) -> JobEnd {
        eventually(SOON, || async {
            let status = self.status().await;
            match status.job.clone() {
                Some(Job { end: Some(end), id: found, .. }) if found == id => Ok(end),
                _ => Err(status),
            }
        })
        .await
    }

    pub async fn deploy(&self) -> JobEnd {
        let id = self.request().await;
        self.end(&id).await
    }

    /// The images of all containers, by service. None is left that does not run.
    pub fn images(&self) -> BTreeMap<String, Vec<String>> {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (id, service, image) in containers(&self.path("fake")) {
            assert!(!is_stopped(&self.path("fake"), &id), "{service}: {id}");
            found.entry(service).or_default().push(image);
        }
        found
    }

    /// Every service runs this version, as many as before.
    #[track_caller]
    pub fn runs(&self, number: u8) {
        let one = |count: usize| vec![image(number); count];
        let expected = [
            ("command-worker", one(2)),
            ("discord-gateway", one(1)),
            ("healthcheck", one(1)),
            ("provision", one(1)),
            ("twitch-gateway", one(1)),
        ];
        assert_eq!(self.images(), expected.map(|(name, images)| (name.to_owned(), images)).into());
        let tag = fs::read_to_string(self.path("fake/images/vigie:local")).unwrap();
        assert_eq!(tag.trim(), image(number));
    }

    /// The commands that Docker was given, in short.
    pub fn commands(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("fake/log")).unwrap_or_default();
        let changes = ["up ", "run ", "exec ", "build ", "stop ", "pull ", "tag ", "image rm "];
        let short = |line: &str| {
            let line = line.split(".env ").last().unwrap_or(line);
            changes.iter().any(|start| line.starts_with(start)).then(|| line.to_owned())
        };
        log.lines().filter_map(short).collect()
    }

    /// A backup service that saves, or does not.
    pub async fn backup(&self, good: bool) -> JoinHandle<()> {
        let mut orders = self.bus.obey::<BackupRequest>("backup").await.unwrap();
        self.bus.round_trip().await;
        tokio::spawn(async move {
            let end = JobEnd { at_ms: 2, good, words: "the disk is full".to_owned() };
            let job = |end| Job {
                id: "backup-7".to_owned(),
                verb: "create".to_owned(),
                by: "deployer".to_owned(),
                step: "database".to_owned(),
                done: 1,
                total: None,
                began_ms: 1,
                end,
            };
            let mut asked = 0;
            while let Some(ordered) = orders.next().await {
                let reply = match ordered.order.order {
                    BackupOrder::Create => BackupReply::Accepted { job: "backup-7".to_owned() },
                    _ => {
                        asked += 1;
                        let job = Some(job((asked > 2).then(|| end.clone())));
                        BackupReply::Status(Box::new(BackupStatus { job, ..BackupStatus::default() }))
                    }
                };
                ordered.answer(&BackupAnswer { v: VERSION, reply }).await.unwrap();
            }
        })
    }
}

pub fn containers(fake: &Path) -> Vec<(String, String, String)> {
    let Ok(entries) = fs::read_dir(fake.join("containers")) else { return Vec::new() };
    let read = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path()).ok()?;
        let mut lines = text.lines().filter_map(|line| Some(line.split_once(' ')?.1.to_owned()));
        Some((entry.file_name().into_string().ok()?, lines.next()?, lines.next()?))
    };
    entries.filter_map(|entry| read(entry.ok()?)).collect()
}

fn is_stopped(fake: &Path, id: &str) -> bool {
    fake.join("stopped").join(id).exists()
}

/// Answers on NATS for each container that runs.
fn fleet(bus: Bus, folder: &Path) -> JoinHandle<()> {
    let fake = Arc::new(folder.join("fake"));
    tokio::spawn(async move {
        let mut there: BTreeMap<String, Announcement> = BTreeMap::new();
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        loop {
            looks.tick().await;
            let mut now = containers(&fake);
            now.retain(|(id, ..)| !is_stopped(&fake, id));
            there.retain(|id, _| now.iter().any(|(found, ..)| found == id));
            for (id, service, image) in now {
                // The deployer is there itself.
                if ["provision", "deployer"].contains(&service.as_str()) || there.contains_key(&id) {
                    continue;
                }
                let (fake, name, instance) = (fake.clone(), service.clone(), format!("{}-1", &id[..12]));
                let stats = move || {
                    let ready = !fake.join("unready").join(&image).exists();
                    ServiceStats {
                        v: VERSION,
                        service: name.clone(),
                        instance: instance.clone(),
                        build: String::new(),
                        uptime_s: 1,
                        ready,
                        reason: if ready {
                            String::new()
                        } else {
                            "discord: the token is refused".to_owned()
                        },
                        resident_bytes: 1,
                        metrics: BTreeMap::new(),
                    }
                };
                if let Ok(announcement) = bus.announce(&service, stats).await {
                    there.insert(id, announcement);
                }
            }
        }
    })
}

/// What is tried at each of these words, two at a time.
pub async fn at_each<F: Future<Output = ()>>(words: &[&'static str], tried: impl Fn(&'static str) -> F) {
    let (early, late) = words.split_at(words.len() / 2);
    let all = async |words: &[&'static str]| {
        for word in words {
            Box::pin(tried(word)).await;
        }
    };
    tokio::join!(all(early), all(late));
}
