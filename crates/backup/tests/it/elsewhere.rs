//! Backups that are not on this machine: by ssh, in S3, by WebDAV, and on a server of restic's own kind. The program
//! itself is run, with the settings that people are told to use.

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use protocol::control::{BackupOrder, JobEnd};
use testkit::{eventually, free_port};

use crate::{
    program::{self, BINARY, Program},
    programs,
    servers::{NAME, PASSWORD, Server, WRONG},
    world::{World, noise, restore},
};

const KEY: &str = "correct horse battery";
/// Longer than anything takes, with programs that try again.
const LATE: Duration = Duration::from_secs(300);
/// What is sent, in bytes, and how many of them arrive.
const LARGE: usize = 24 << 20;
const CUT: u32 = 12 << 20;
/// What is said then.
const AWAY: [&str; 3] = ["does not answer", "ssh does not get to", "rclone does not get to"];
/// What is said to whom nobody lets in.
const REFUSED: [&str; 3] = ["does not let the backup in", "ssh does not get to", "rclone does not get to"];

/// How to get there.
#[derive(Clone, Default)]
struct Way {
    repository: String,
    variables: Vec<(&'static str, String)>,
    /// A folder of the test that is to be the user's home.
    home: Option<&'static str>,
}

/// A server, and who saves there.
struct Elsewhere {
    world: World,
    server: Server,
    right: Way,
    /// What opens nothing.
    wrong: Vec<Way>,
    secrets: Vec<String>,
    /// All that was said to anybody.
    told: String,
}

impl Way {
    fn to(repository: String) -> Self {
        Self { repository, ..Self::default() }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }
}

impl Elsewhere {
    fn new(world: World, server: Server, ways: (Way, Vec<Way>), secrets: &[&str]) -> Self {
        let secrets = secrets.iter().chain(&[KEY]).map(|secret| (*secret).to_owned()).collect();
        Self { world, server, right: ways.0, wrong: ways.1, secrets, told: String::new() }
    }

    async fn serve(&self, way: &Way) -> Program {
        let mut command = match way.home {
            None => Command::new(BINARY),
            Some(home) => {
                let mut command = at_home();
                let (passwd, home) = (self.world.path("passwd"), self.world.path(home).display().to_string());
                let all = fs::read_to_string("/etc/passwd").unwrap();
                let moved = |line: &str| {
                    let mut fields: Vec<&str> = line.split(':').collect();
                    if let Some(field) = fields.get_mut(5) {
                        *field = &home;
                    }
                    fields.join(":") + "\n"
                };
                fs::write(&passwd, all.lines().map(moved).collect::<String>()).unwrap();
                command.arg(passwd).arg(BINARY);
                command
            }
        };
        program::set(&mut command, &self.world, &format!("127.0.0.1:{}", free_port()));
        command.env("LOG_LEVEL", "debug").env("HOME", self.world.path("nobody"));
        command.env("BACKUP_REPOSITORY", &way.repository).env("BACKUP_PASSWORD", KEY);
        command.envs(way.variables.iter().map(|(name, value)| (name, value)));
        let log = fs::File::options().create(true).append(true).open(self.world.path("log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let program = Program(command.spawn().unwrap());
        self.world.status().await;
        program
    }

    async fn does(&mut self, order: BackupOrder) -> JobEnd {
        let job = self.world.order(order).await.unwrap();
        let status = eventually(LATE, || async {
            let status = self.world.status().await;
            let over = status.job.as_ref().is_some_and(|one| one.id == job && one.end.is_some());
            if over { Ok(status) } else { Err(status) }
        })
        .await;
        self.told += &format!("{status:?} {:?}\n", self.world.list().await);
        status.job.unwrap().end.unwrap()
    }

    async fn good(&mut self, order: BackupOrder) {
        let end = self.does(order.clone()).await;
        assert!(end.good, "{order:?}: {}; {}", end.words, self.server.said());
    }

    async fn bad(&mut self, order: BackupOrder, because: &[&str]) {
        let end = self.does(order).await;
        assert!(!end.good && because.iter().any(|words| end.words.contains(words)), "{}", end.words);
        assert!(!end.words.contains("is its disk there"), "nothing is gone: {}", end.words);
    }

    async fn does_as_well_as_here(mut self) {
        self.lets_in_nobody_else().await;
        let way = self.right.clone();
        let mut program = self.serve(&way).await;
        self.good(BackupOrder::Create).await;
        assert_eq!(self.world.list().await.len(), 1);
        self.good(BackupOrder::Verify).await;
        self.good(BackupOrder::Drill).await;
        let into = self.world.path("looked-at");
        self.good(restore("latest", Some(&into))).await;
        let file = fs::read_to_string(into.join("folders/gitea/repositories/one.git"));
        assert_eq!(file.unwrap(), "objects");

        // It goes in the midst of a backup. restic would try for minutes, and is ended meanwhile.
        fs::write(self.world.path("gitea/large"), noise(LARGE)).unwrap();
        self.server.proxy.cut_after(CUT);
        self.world.order(BackupOrder::Create).await.unwrap();
        self.server.proxy.was_cut().await;
        program.terminate().await;
        let program = self.serve(&way).await;
        self.bad(BackupOrder::Create, &AWAY).await;
        assert_eq!(self.world.list().await.len(), 1);
        self.server.proxy.resume();
        self.good(BackupOrder::Drill).await;
        assert_eq!(self.world.list().await.len(), 1);
        self.good(BackupOrder::Create).await;
        assert_eq!(self.world.list().await.len(), 2);
        self.world.is_tidy();
        drop(program);
        self.lets_in_nobody_else().await;
        self.kept_its_secrets().await;
    }

    /// The first time too: who is not let in makes no repository, and misses none.
    async fn lets_in_nobody_else(&mut self) {
        for wrong in self.wrong.clone() {
            let program = self.serve(&wrong).await;
            self.bad(BackupOrder::Create, &REFUSED).await;
            drop(program);
        }
    }

    /// Neither in its log, nor in what it answers and keeps, nor in the audit trail.
    async fn kept_its_secrets(&self) {
        let mut told = self.told.clone() + &fs::read_to_string(self.world.path("log")).unwrap();
        told += &fs::read_to_string(self.world.path("data/backup.json")).unwrap();
        told += &format!("{:?}", self.world.bus.trail(100).await.unwrap());
        assert!(AWAY.iter().chain(&REFUSED).any(|words| told.contains(words)));
        for secret in &self.secrets {
            assert!(!told.contains(secret), "{secret} is told");
        }
    }
}

/// Runs a program, named after a file that takes the place of `/etc/passwd` for it alone: ssh looks there for the home
/// of its user, and nowhere else.
fn at_home() -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/passwd && exec \"$1\""]);
    command
}

async fn as_well_as_here(place: impl AsyncFnOnce() -> Option<Elsewhere>) {
    if let Some(elsewhere) = Box::pin(place()).await {
        Box::pin(elsewhere.does_as_well_as_here()).await;
    }
}

async fn by_ssh() -> Option<Elsewhere> {
    let tried = at_home().args(["/etc/passwd", "true"]).stdin(Stdio::null()).output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        testkit::skipped("nobody may be given another home here (that takes unshare)");
        return None;
    }
    if !programs::restic() {
        return None;
    }
    let world = World::start().await;
    let server = Server::sshd(world.folder.path()).await?;
    let user = Command::new("id").arg("-un").stdin(Stdio::null()).output().unwrap().stdout;
    let user = String::from_utf8(user).unwrap();
    let stored = world.path("stored").display().to_string();
    let repository = format!("sftp://{}@{}/{stored}", user.trim(), server.address());
    let at = |home| Way { home: Some(home), ..Way::to(repository.clone()) };
    let file = |home: &str, name: &str| {
        fs::create_dir_all(world.path(home).join(".ssh")).unwrap();
        world.path(home).join(".ssh").join(name)
    };
    let key = file("me", "id_ed25519");
    fs::write(file("me", "config"), "ServerAliveInterval 30\n").unwrap();
    // Somebody who is not let in; who does not know the server; and who knows another one by its address.
    fs::copy(world.path("stranger"), file("stranger's", "id_ed25519")).unwrap();
    fs::copy(file("me", "known_hosts"), file("stranger's", "known_hosts")).unwrap();
    fs::copy(&key, file("trusting", "id_ed25519")).unwrap();
    fs::copy(&key, file("mistaken", "id_ed25519")).unwrap();
    let other = fs::read_to_string(world.path("stranger.pub")).unwrap();
    let known = format!("[127.0.0.1]:{} {other}", server.proxy.address().port());
    fs::write(file("mistaken", "known_hosts"), known).unwrap();
    let ways = (at("me"), vec![at("stranger's"), at("trusting"), at("mistaken")]);
    let key = fs::read_to_string(key).unwrap().lines().nth(2).unwrap().to_owned();
    Some(Elsewhere::new(world, server, ways, &[&key]))
}

async fn in_s3() -> Option<Elsewhere> {
    if !programs::restic() {
        return None;
    }
    let world = World::start().await;
    let (server, name, key) = Server::s3(world.folder.path()).await?;
    let way = |name: &str, key: &str| {
        let way = Way::to(format!("s3:http://{}/vigie", server.address()));
        way.with("AWS_ACCESS_KEY_ID", name).with("AWS_SECRET_ACCESS_KEY", key)
    };
    let ways = (way(&name, &key), vec![way(&name, WRONG), way("AKIANOBODY", &key)]);
    Some(Elsewhere::new(world, server, ways, &[&key, WRONG]))
}

async fn of_restics_own_kind() -> Option<Elsewhere> {
    if !programs::restic() {
        return None;
    }
    let world = World::start().await;
    let server = Server::rclone("restic", world.folder.path()).await?;
    let way = |password: &str| Way::to(format!("rest:http://{NAME}:{password}@{}/", server.address()));
    let ways = (way(PASSWORD), vec![way(WRONG)]);
    Some(Elsewhere::new(world, server, ways, &[PASSWORD, WRONG]))
}

async fn by_webdav() -> Option<Elsewhere> {
    if !programs::restic() {
        return None;
    }
    let world = World::start().await;
    let server = Server::rclone("webdav", world.folder.path()).await?;
    let obscured = |password: &str| {
        let output =
            Command::new("rclone").args(["obscure", password]).stdin(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let way = |password: &str| {
        Way::to("rclone:dav:vigie".to_owned())
            .with("RCLONE_CONFIG_DAV_TYPE", "webdav")
            .with("RCLONE_CONFIG_DAV_VENDOR", "other")
            .with("RCLONE_CONFIG_DAV_URL", format!("http://{}", server.address()))
            .with("RCLONE_CONFIG_DAV_USER", NAME)
            .with("RCLONE_CONFIG_DAV_PASS", password)
    };
    let (good, bad) = (obscured(PASSWORD), obscured(WRONG));
    let ways = (way(&good), vec![way(&bad), way(PASSWORD)]);
    Some(Elsewhere::new(world, server, ways, &[PASSWORD, WRONG, &good, &bad]))
}

#[tokio::test]
async fn by_ssh_with_key_and_known_hosts_in_the_home_of_the_user() {
    as_well_as_here(by_ssh).await;
}

#[tokio::test]
async fn in_s3_with_the_key_of_a_user() {
    as_well_as_here(in_s3).await;
}

#[tokio::test]
async fn on_a_server_of_restics_own_kind() {
    as_well_as_here(of_restics_own_kind).await;
}

#[tokio::test]
async fn by_webdav_through_rclone() {
    as_well_as_here(by_webdav).await;
}
