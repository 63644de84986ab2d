//! Without Docker: programs of a signed archive, and a program that stands for systemd. The real one is tried by
//! `deploy/systemd/test.sh`.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, SystemTime},
};

use bus::{Announcement, Bus};
use deployer::{Config, SETTINGS};
use flate2::{Compression, write::GzEncoder};
use protocol::{
    ServiceStats, VERSION,
    control::{DeployOrder, DeployState},
};
use service::Settings;
use sha2::{Digest as _, Sha256};
use testkit::eventually;
use tokio::task::JoinHandle;

use crate::world::{IN_VAIN, PACE, SOON, World, at_each};

const PROGRAMS: [&str; 7] = [
    "vigie",
    "discord-gateway",
    "twitch-gateway",
    "command-worker",
    "healthcheck",
    "backup",
    "webhook-deploy",
];
/// What runs: two workers, a backup that is off.
const UNITS: [&str; 6] = [
    "vigie-provision",
    "vigie-command-worker@1",
    "vigie-command-worker@2",
    "vigie-discord-gateway@1",
    "vigie-twitch-gateway@1",
    "vigie-healthcheck",
];

struct Machine {
    world: World,
    fleet: JoinHandle<()>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.fleet.abort();
    }
}

/// A program of this machine that runs and says a version.
fn program() -> Vec<u8> {
    fs::read("/bin/true").unwrap()
}

type Tar = tar::Builder<GzEncoder<Vec<u8>>>;

fn put(tar: &mut Tar, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, name, bytes).unwrap();
}

fn archive(more: impl FnOnce(&mut Tar)) -> Vec<u8> {
    let mut tar = Tar::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for name in PROGRAMS {
        put(&mut tar, name, &program());
    }
    more(&mut tar);
    tar.into_inner().unwrap().finish().unwrap()
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

const PLATFORM: &str = if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" };

impl Machine {
    async fn start() -> Self {
        let world = World::start().await;
        let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
        world.put("bin/systemctl", include_str!("systemctl.sh"));
        fs::set_permissions(world.path("bin/systemctl"), mode).unwrap();
        let programs = world.path("programs");
        world.put("fake/programs", &programs.display().to_string());
        for folder in ["fake/units", "programs/units", "programs/releases/installed-0/bin"] {
            fs::create_dir_all(world.path(folder)).unwrap();
        }
        for name in PROGRAMS {
            let path = programs.join("releases/installed-0/bin").join(name);
            fs::copy("/bin/true", path).unwrap();
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        for (number, unit) in UNITS.into_iter().enumerate() {
            symlink("../releases/installed-0", programs.join("units").join(unit)).unwrap();
            world.put(&format!("fake/units/{unit}"), &format!("installed-0 {number} {}\n", now + 1));
        }
        let fleet = fleet(world.bus.clone(), &world.path("fake"));
        Self { world, fleet }
    }

    fn config(&self) -> Config {
        let mut variables = self.world.variables();
        let programs = self.world.path("programs").display().to_string();
        let ours = [("DEPLOY_MODE", "binaries".to_owned()), ("DEPLOY_PROGRAMS", programs)];
        variables.extend(ours.map(|(name, value)| (name.to_owned(), value)));
        let mut settings = Settings::from_variables(&[SETTINGS], variables);
        let config = Config::read(&mut settings);
        assert_eq!(settings.problems(), []);
        let environment = self.world.config().environment;
        Config { pace: PACE, environment, ..config }
    }

    /// A release is signed that says it has this sum.
    fn release(&self, version: &str, archive: &[u8], sum: &str) {
        let file = format!("vigie-{version}-test.tar.gz");
        fs::write(self.world.path(&file), archive).unwrap();
        self.world.release_text(&format!(
            r#"{{ "image": "", "version": "{version}", "platforms": {{}},
                "binaries": {{ "{PLATFORM}": {{ "file": "{file}", "sha256": "{sum}" }} }} }}"#
        ));
    }

    fn good(&self, version: &str) {
        // Each is another file, or it would be none.
        let archive = archive(|tar| {
            let mut program = program();
            program.extend_from_slice(version.as_bytes());
            put(tar, "sandbox", &program);
        });
        self.release(version, &archive, &sum(&archive));
    }

    /// What runs, and since when.
    fn running(&self) -> BTreeMap<String, (String, String)> {
        units(&self.world.path("fake"))
            .into_iter()
            .map(|(unit, release, run)| (unit, (release, run)))
            .collect()
    }

    /// Every unit runs this version and is told to start it, and nothing else runs.
    #[track_caller]
    fn runs(&self, release: &str) {
        let running = self.running();
        let names: Vec<&str> = running.keys().map(String::as_str).collect();
        let mut expected = UNITS.to_vec();
        expected.sort_unstable();
        assert_eq!(names, expected);
        for (unit, (found, _)) in &running {
            assert_eq!(found, release, "{unit}");
            let link = fs::read_link(self.world.path("programs/units").join(unit)).unwrap();
            assert_eq!(link, Path::new("../releases").join(release), "{unit}");
        }
    }

    fn current(&self) -> String {
        let link = fs::read_link(self.world.path("programs/current")).unwrap();
        link.file_name().unwrap().to_string_lossy().into_owned()
    }

    async fn refused(&self, words: &str) {
        let end = self.world.deploy().await;
        assert!(!end.good && end.words.contains(words), "{words}: {}", end.words);
        assert_eq!(self.world.history().await[0].state, DeployState::NeverStarted);
        self.runs("installed-0");
    }
}

/// The units that run: name, version, and which run it is.
fn units(fake: &Path) -> Vec<(String, String, String)> {
    let Ok(entries) = fs::read_dir(fake.join("units")) else { return Vec::new() };
    let read = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path()).ok()?;
        let mut words = text.split_whitespace().map(str::to_owned);
        Some((entry.file_name().into_string().ok()?, words.next()?, words.next()?))
    };
    entries.filter_map(|entry| read(entry.ok()?)).collect()
}

/// Answers on NATS for each unit that runs.
fn fleet(bus: Bus, fake: &Path) -> JoinHandle<()> {
    let fake = fake.to_owned();
    tokio::spawn(async move {
        let mut there: BTreeMap<(String, String), Announcement> = BTreeMap::new();
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        loop {
            looks.tick().await;
            let now = units(&fake);
            there.retain(|(unit, run), _| now.iter().any(|(found, _, again)| found == unit && again == run));
            for (unit, release, run) in now {
                let name = unit.trim_start_matches("vigie-").to_owned();
                if name == "provision" || there.contains_key(&(unit.clone(), run.clone())) {
                    continue;
                }
                let service = name.split('@').next().unwrap().to_owned();
                let (instance, unready) =
                    (format!("ship-{}", name.replace('@', "-")), fake.join("unready").join(&release));
                let named = service.clone();
                let stats = move || ServiceStats {
                    v: VERSION,
                    service: named.clone(),
                    instance: instance.clone(),
                    build: String::new(),
                    uptime_s: 1,
                    ready: !unready.exists(),
                    reason: "the token is refused".to_owned(),
                    resident_bytes: 1,
                    metrics: BTreeMap::new(),
                };
                if let Ok(announcement) = bus.announce(&service, stats).await {
                    there.insert((unit, run), announcement);
                }
            }
        }
    })
}

#[tokio::test]
async fn a_good_release_is_rolled_out_place_by_place() {
    let machine = Machine::start().await;
    machine.good("1.1.0");
    let _running = machine.world.run(machine.config());
    let end = machine.world.deploy().await;
    assert!(end.good && end.words == "updated to 1.1.0", "{}", end.words);
    machine.runs("1.1.0");
    assert_eq!(machine.current(), "1.1.0");
    let log = fs::read_to_string(machine.world.path("fake/log")).unwrap();
    let changes = ["start -- ", "stop -- "];
    let changes: Vec<&str> =
        log.lines().filter(|line| changes.iter().any(|it| line.starts_with(it))).collect();
    let worker = |verb: &str, number: u8| format!("{verb} -- vigie-command-worker@{number}.service");
    let expected = [
        "stop -- vigie-provision.service".to_owned(),
        "start -- vigie-provision.service".to_owned(),
        worker("start", 0),
        worker("stop", 1),
        worker("start", 1),
        worker("stop", 2),
        worker("start", 2),
        worker("stop", 0),
        "start -- vigie-discord-gateway@0.service".to_owned(),
    ];
    assert_eq!(changes[..expected.len()], expected);
    assert_eq!(changes.last(), Some(&"start -- vigie-healthcheck.service"));
    assert_eq!(machine.world.status().await.kept, ["installed-0"]);
    assert!(machine.world.deploy().await.words.starts_with("nothing new"));
    // What somebody starts by hand is of this version too.
    let idle = fs::read_link(machine.world.path("programs/units/vigie-command-worker@7")).unwrap();
    assert_eq!(idle, Path::new("../releases/1.1.0"));
}

#[tokio::test]
async fn a_bad_release_takes_no_place_and_is_not_tried_again() {
    let machine = Machine::start().await;
    let before = machine.running();
    machine.good("1.1.0");
    machine.world.put("fake/bad/1.1.0", "");
    let _running = machine.world.run(machine.config());
    let end = machine.world.deploy().await;
    assert!(end.words.starts_with("1.1.0 failed at canary: command-worker: "), "{}", end.words);
    assert_eq!(machine.world.history().await[0].state, DeployState::RolledBackTo);
    machine.runs("installed-0");
    assert_eq!(machine.current(), "installed-0");
    let after = machine.running();
    let same = |unit: &str| before.get(unit) == after.get(unit);
    assert!(UNITS.iter().filter(|unit| !unit.ends_with("provision")).all(|unit| same(unit)), "{after:?}");
    let id = machine.world.accepted(DeployOrder::Request { commit: None, force: true }).await;
    assert!(machine.world.end(&id).await.words.contains("is not tried again"));
}

#[tokio::test]
async fn units_that_run_are_not_enough() {
    let machine = Machine::start().await;
    machine.good("1.1.0");
    machine.world.put("fake/unready/1.1.0", "");
    let _running = machine.world.run(Config { pace: IN_VAIN, ..machine.config() });
    let end = machine.world.deploy().await;
    assert!(end.words.contains("not ready: the token is refused"), "{}", end.words);
    machine.runs("installed-0");
}

/// One that systemd had given up on before was taken for a failure of the way back, which left the others as they were.
#[tokio::test]
async fn units_that_were_given_up_on_are_left_alone_and_in_nobodys_way() {
    let machine = Machine::start().await;
    let given_up = "vigie-command-worker@3";
    fs::create_dir(machine.world.path("fake/given-up")).unwrap();
    machine.world.put(&format!("fake/given-up/{given_up}"), "");
    let link = machine.world.path("programs/units").join(given_up);
    symlink("../releases/installed-0", &link).unwrap();
    machine.good("1.1.0");
    machine.world.put("fake/unready/1.1.0", "");
    let _running = machine.world.run(machine.config());
    let end = machine.world.deploy().await;
    assert_eq!(machine.world.history().await[0].state, DeployState::RolledBackTo, "{}", end.words);
    machine.runs("installed-0");
    machine.good("1.2.0");
    assert!(machine.world.deploy().await.good);
    machine.runs("1.2.0");
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("../releases/installed-0"));
    let log = fs::read_to_string(machine.world.path("fake/log")).unwrap();
    assert!(!log.contains(&format!("-- {given_up}.service\n")), "{given_up} was touched");
}

/// A service that was just being started stayed as it was, in a deploy that was rolled out.
#[tokio::test]
async fn a_unit_that_is_just_starting_is_replaced_too() {
    let machine = Machine::start().await;
    fs::create_dir(machine.world.path("fake/starting")).unwrap();
    machine.world.put("fake/starting/vigie-healthcheck", "");
    machine.good("1.1.0");
    let _running = machine.world.run(machine.config());
    let end = machine.world.deploy().await;
    assert!(end.good, "{}", end.words);
    machine.runs("1.1.0");
}

#[tokio::test]
async fn no_archive_is_used_but_the_one_that_was_signed_for() {
    let machine = Machine::start().await;
    let _running = machine.world.run(machine.config());
    let good = archive(|_| {});
    machine.release("1.1.0", &good[..good.len() / 2], &sum(&good));
    machine.refused("the archive is another than the release was signed for").await;
    machine.release("1.2.0", &good, &"0".repeat(64));
    machine.refused("the archive is another than the release was signed for").await;
    let text = fs::read_to_string(machine.world.path("release.json")).unwrap();
    machine.world.put("release.json", &text.replace(&"0".repeat(64), &sum(&good)));
    machine.refused("not signed by the key in DEPLOY_RELEASE_KEY").await;
    let linked = archive(|tar| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, "sandbox", "/etc/passwd").unwrap();
    });
    machine.release("1.3.0", &linked, &sum(&linked));
    machine.refused("holds \"sandbox\": expected only the programs of Vigie").await;
    let mut other = program();
    other[18] = 21;
    let other = archive(|tar| put(tar, "sandbox", &other));
    machine.release("1.4.0", &other, &sum(&other));
    machine.refused("sandbox is no program for").await;
    machine.release("1.5.0", b"", &sum(b""));
    let file = fs::File::options().write(true).open(machine.world.path("vigie-1.5.0-test.tar.gz")).unwrap();
    file.set_len(300 << 20).unwrap();
    machine.refused("it has more than 256 MB").await;
    let mut releases: Vec<_> = fs::read_dir(machine.world.path("programs/releases")).unwrap().collect();
    releases.retain(|entry| !entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert_eq!(releases.len(), 1, "{releases:?}");
}

#[tokio::test]
async fn programs_that_do_not_run_are_not_started() {
    let machine = Machine::start().await;
    let mut broken = program();
    broken.truncate(4096);
    let mut tar = Tar::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for name in PROGRAMS {
        put(&mut tar, name, &broken);
    }
    let archive = tar.into_inner().unwrap().finish().unwrap();
    machine.release("1.1.0", &archive, &sum(&archive));
    let _running = machine.world.run(machine.config());
    machine.refused("preflight: ").await;
}

#[tokio::test]
async fn what_was_installed_and_not_started_is_no_ground_to_stand_on() {
    let machine = Machine::start().await;
    machine.good("1.1.0");
    // Started long ago, and told since to start something else.
    machine.world.put("fake/units/vigie-command-worker@1", "installed-0 7 1000000000\n");
    let _running = machine.world.run(machine.config());
    machine.refused("vigie-command-worker@1 was told to start another version since it was started").await;
}

#[tokio::test]
async fn people_go_back_and_three_are_kept() {
    let machine = Machine::start().await;
    let _running = machine.world.run(machine.config());
    for number in 1..=5 {
        machine.good(&format!("1.{number}.0"));
        assert!(machine.world.deploy().await.good);
    }
    assert_eq!(machine.world.status().await.kept, ["1.4.0", "1.3.0", "1.2.0"]);
    eventually(SOON, || async {
        let releases = fs::read_dir(machine.world.path("programs/releases")).unwrap();
        let mut names: Vec<String> =
            releases.filter_map(|it| it.unwrap().file_name().into_string().ok()).collect();
        names.sort();
        if names == ["1.2.0", "1.3.0", "1.4.0", "1.5.0"] { Ok(()) } else { Err(names) }
    })
    .await;
    let id = machine.world.accepted(DeployOrder::Rollback { to: Some("1.2.0".to_owned()) }).await;
    assert!(machine.world.end(&id).await.good);
    machine.runs("1.2.0");
}

async fn dies_at(word: &str, when: &str, good: bool) {
    let machine = Machine::start().await;
    machine.good("1.1.0");
    machine.world.put(&format!("fake/hang-{when}"), word);
    let config = Config { pace: if good { PACE } else { IN_VAIN }, ..machine.config() };
    let running = machine.world.run(config.clone());
    let id = machine.world.request().await;
    eventually(SOON, || async { fs::read(machine.world.path("fake/hung")).map_err(|_| (word, when)) }).await;
    drop(running);
    if !good {
        machine.world.put("fake/unready/1.1.0", "");
    }
    let _running = machine.world.run(config);
    let end = machine.world.end(&id).await;
    assert_eq!(end.good, good, "{when} {word}: {}", end.words);
    machine.runs(if good { "1.1.0" } else { "installed-0" });
}

/// Every kind of command that a deploy gives.
const COMMANDS: [&str; 8] = [
    "stop -- vigie-provision",
    "start -- vigie-command-worker@0",
    "stop -- vigie-command-worker@1",
    "start -- vigie-command-worker@2",
    "start -- vigie-discord-gateway@0",
    "stop -- vigie-twitch-gateway@1",
    "stop -- vigie-twitch-gateway@0",
    "start -- vigie-healthcheck",
];

#[tokio::test]
async fn it_goes_on_after_its_death_before_any_command() {
    at_each(&COMMANDS, |word| dies_at(word, "before", true)).await;
}

#[tokio::test]
async fn it_goes_on_after_its_death_after_any_command() {
    at_each(&COMMANDS, |word| dies_at(word, "after", true)).await;
}

#[tokio::test]
async fn it_goes_back_after_its_death_after_any_command_when_what_is_new_does_not_work() {
    at_each(&COMMANDS[1..], |word| dies_at(word, "after", false)).await;
}
