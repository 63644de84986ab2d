//! The deployer is replaced by the next one, in a world in which its containers live and die: old one, new one and
//! helper.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use deployer::Config;
use protocol::control::{AuditResult, Deploy};
use testkit::eventually;
use tokio::task::JoinHandle;

use crate::{
    build::{config_of, version},
    remote::Remote,
    world::{OPERATIONS, Running, SOON, World, compose, containers, image},
};

/// The container of the deployer that somebody started by hand.
const OLD: &str = "000000000050";

/// Containers of the deployer and of its helper, each with the program in it as long as it runs.
pub struct Lives {
    inside: Arc<Mutex<Inside>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Inside {
    deployers: BTreeMap<String, Running>,
    helper: Option<Running>,
}

impl Drop for Lives {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lives {
    /// With one deployer, whose second image is that of release 0.
    pub fn start(world: &World, config: Config) -> Self {
        let first = image(OPERATIONS);
        world.put("fake/images/vigie:local-operations", &first);
        world.put(&format!("fake/images/{first}"), &first);
        let words = format!("service deployer\nimage {first}\nfolder {}\n", world.path("bot").display());
        world.put(&format!("fake/containers/{OLD}{:052}", 0), &words);
        let inside = Arc::<Mutex<Inside>>::default();
        let (shared, fake) = (inside.clone(), world.path("fake"));
        let task = tokio::spawn(async move {
            let mut looks = tokio::time::interval(Duration::from_millis(20));
            loop {
                looks.tick().await;
                shared.lock().unwrap().look(&fake, &config);
            }
        });
        Self { inside, task }
    }

    /// As the engine does, the ones that were not told to end are started again.
    fn kill_deployers(&self) {
        self.inside.lock().unwrap().deployers.clear();
    }

    fn kill_helper(&self, world: &World) {
        world.put("fake/helper-ended", "");
        self.inside.lock().unwrap().helper = None;
    }
}

impl Inside {
    fn look(&mut self, fake: &Path, config: &Config) {
        let mut ids: Vec<String> = Vec::new();
        for (id, service, _) in containers(fake) {
            if service == "deployer" && !fake.join("stopped").join(&id).exists() {
                ids.push(id);
            }
        }
        self.deployers.retain(|id, _| ids.contains(id));
        for id in ids {
            let instance = format!("{}-1", &id[..12]);
            self.deployers.entry(id).or_insert_with(|| Running::deployer(config.clone(), &instance));
        }
        let runs = fake.join("helper").exists() && !fake.join("helper-ended").exists();
        if !runs {
            self.helper = None;
        } else if self.helper.is_none() {
            let (config, ended) = (config.clone(), fake.join("helper-ended"));
            self.helper = Some(Running::of(async move {
                deployer::help(config).await.unwrap();
                fs::write(ended, "").unwrap();
            }));
        }
    }
}

/// What the deployers run, and what `docker compose up` would give them.
fn deployers(world: &World) -> (Vec<String>, String) {
    let all = containers(&world.path("fake")).into_iter().filter(|(_, service, _)| service == "deployer");
    let tag = fs::read_to_string(world.path("fake/images/vigie:local-operations")).unwrap();
    (all.map(|(_, _, image)| image).collect(), tag.trim().to_owned())
}

/// The deploy, when it was said how its succession ended and nothing of it is left.
async fn over(world: &World) -> Deploy {
    eventually(SOON, || async {
        let history = world.history().await;
        let last = history.first().cloned().ok_or_else(|| "no deploy".to_owned())?;
        if last.words.lines().count() > 1 && !world.path("fake/helper").exists() {
            return Ok(last);
        }
        let log = fs::read_to_string(world.path("fake/log")).unwrap_or_default();
        Err(format!("{last:?}\n{}", log.lines().rev().take(12).collect::<Vec<_>>().join("\n")))
    })
    .await
}

fn ran(world: &World, number: u8) {
    let second = image(number | OPERATIONS);
    assert_eq!(deployers(world), (vec![second.clone()], second));
}

#[tokio::test]
async fn after_a_deploy_the_deployer_is_replaced_last_and_another_one_works() {
    let world = World::start().await;
    world.release_with_operations(1);
    let _lives = Lives::start(&world, world.config());
    assert!(world.deploy().await.good);
    let deploy = over(&world).await;
    assert!(deploy.words.ends_with("\nthe deployer is that of 1.1.0 too"), "{}", deploy.words);
    ran(&world, 1);
    let trail = eventually(SOON, || async {
        let trail = world.bus.trail(10).await.unwrap();
        if trail[0].verb == "self-update" { Ok(trail) } else { Err(trail) }
    })
    .await;
    assert_eq!((trail[0].result, trail[0].object.as_str()), (AuditResult::Done, "1.1.0"));
    // The new one is there, knows what was done, and does the next.
    world.release_with_operations(2);
    assert!(world.deploy().await.good);
    assert!(over(&world).await.words.contains("1.2.0 too"));
    ran(&world, 2);
}

#[tokio::test]
async fn one_that_does_not_get_healthy_never_takes_the_place_of_the_old_one() {
    let world = World::start().await;
    world.release_with_operations(1);
    world.put(&format!("fake/bad/{}", image(1 | OPERATIONS)), "");
    let _lives = Lives::start(&world, world.config());
    assert!(world.deploy().await.good);
    let deploy = over(&world).await;
    assert!(deploy.words.contains("the deployer of 1.1.0 failed: deployer: container"), "{}", deploy.words);
    assert!(deploy.words.ends_with("the one before works again"), "{}", deploy.words);
    ran(&world, 0);
    // The very one that was there.
    assert!(world.path(&format!("fake/containers/{OLD}{:052}", 0)).exists());
    assert!(world.status().await.quarantined.is_empty(), "the bot itself is well");
}

#[tokio::test]
async fn a_release_without_the_second_image_leaves_the_deployer_and_says_so() {
    let world = World::start().await;
    world.release(1);
    let _lives = Lives::start(&world, world.config());
    assert!(world.deploy().await.good);
    let words = over(&world).await.words;
    assert!(
        words.ends_with("1.1.0 has no operations image, so that the deployer stays the one before"),
        "{words}"
    );
    ran(&world, 0);
}

#[tokio::test]
async fn switched_off_nothing_of_the_second_image_is_touched() {
    let world = World::start().await;
    world.release_with_operations(1);
    let mut config = world.config();
    config.operations = false;
    let _lives = Lives::start(&world, config);
    assert!(world.deploy().await.good);
    world.release_with_operations(2);
    assert!(world.deploy().await.good);
    ran(&world, 0);
    assert!(world.history().await.iter().all(|deploy| deploy.words.lines().count() == 1));
    let log = fs::read_to_string(world.path("fake/log")).unwrap();
    assert!(!log.contains("-operations") && !log.contains("successor"), "{log}");
}

#[tokio::test]
async fn a_backup_that_runs_the_second_image_comes_along_and_goes_back() {
    let world = World::start().await;
    let _lives = Lives::start(&world, world.config());
    let first = image(OPERATIONS);
    let words = format!("service backup\nimage {first}\nfolder {}\n", world.path("bot").display());
    world.put(&format!("fake/containers/{:012}{:052}", 60, 0), &words);
    let backups = || {
        let all = containers(&world.path("fake")).into_iter().filter(|(_, service, _)| service == "backup");
        all.map(|(_, _, image)| image).collect::<Vec<_>>()
    };
    world.release_with_operations(1);
    assert!(world.deploy().await.good);
    over(&world).await;
    assert_eq!(backups(), [image(1 | OPERATIONS)]);
    world.release_with_operations(2);
    world.put(&format!("fake/unready/{}", image(2)), "");
    assert!(!world.deploy().await.good);
    assert_eq!(backups(), [image(1 | OPERATIONS)]);
    ran(&world, 1);
}

/// Whoever gives this command dies, before or after it is done.
async fn dies_at(word: &str, when: &str, good: bool) {
    let world = World::start().await;
    world.release_with_operations(1);
    if !good {
        world.put(&format!("fake/bad/{}", image(1 | OPERATIONS)), "");
    }
    let lives = Lives::start(&world, world.config());
    world.put(&format!("fake/hang-{when}"), word);
    assert!(world.deploy().await.good);
    eventually(SOON, || async { fs::read(world.path("fake/hung")).map_err(|_| (word, when)) }).await;
    if word.contains("successor") {
        lives.kill_deployers();
    } else {
        lives.kill_helper(&world);
    }
    let deploy = over(&world).await;
    assert_eq!(deploy.words.ends_with("1.1.0 too"), good, "{when} {word}: {}", deploy.words);
    ran(&world, u8::from(good));
}

#[tokio::test]
async fn it_comes_to_its_end_after_the_death_of_the_helper() {
    for word in ["--scale deployer=2", "stop -- 000000000050", "rm -- 000000000050"] {
        for when in ["before", "after"] {
            dies_at(word, when, true).await;
        }
    }
}

#[tokio::test]
async fn it_comes_to_its_end_after_the_death_of_a_deployer() {
    for word in ["--name vigie-deployer-successor", "stop -- vigie-deployer-successor"] {
        for when in ["before", "after"] {
            dies_at(word, when, true).await;
        }
    }
}

#[tokio::test]
async fn it_comes_back_after_the_death_of_the_helper_on_the_way_back() {
    for (word, when) in [("stop -- 0000000001", "before"), ("rm -- 0000000001", "after")] {
        dies_at(word, when, false).await;
    }
}

#[tokio::test]
async fn all_of_them_may_die_at_once() {
    let world = World::start().await;
    world.release_with_operations(1);
    let lives = Lives::start(&world, world.config());
    world.put("fake/hang-after", "stop -- 000000000050");
    assert!(world.deploy().await.good);
    eventually(SOON, || async { fs::read(world.path("fake/hung")) }).await;
    lives.kill_helper(&world);
    lives.kill_deployers();
    assert!(over(&world).await.words.ends_with("1.1.0 too"));
    ran(&world, 1);
}

#[tokio::test]
async fn a_helper_that_never_comes_to_its_end_is_given_up() {
    let world = World::start().await;
    world.release_with_operations(1);
    world.put("fake/fail", "--name vigie-deployer-successor");
    let _lives = Lives::start(&world, world.config());
    assert!(world.deploy().await.good);
    let words = over(&world).await.words;
    assert!(words.contains("the helper that replaces the deployer ended 3 times"), "{words}");
    assert!(words.ends_with("the deployer of before goes on"), "{words}");
    ran(&world, 0);
}

/// A version whose compose file gives its deployer the machine.
fn push_a_trap(world: &World, remote: &Remote, number: u8) {
    version(remote, number);
    let own = r#""command": ["deployer"], "user": "65532","#;
    let trap = r#""command": ["sh", "-c", "id"], "user": "0", "volumes": [
        { "type": "bind", "source": "/var/run/docker.sock", "target": "/s" }],"#;
    let pushed = compose().replace(own, trap);
    assert!(pushed.contains("docker.sock"));
    fs::write(remote.path("compose.yaml"), pushed).unwrap();
    fs::write(remote.path("operations"), image(number | OPERATIONS)).unwrap();
    remote.push();
    assert!(!world.path("bot/image").exists());
}

#[tokio::test]
async fn what_is_pushed_under_the_name_of_the_deployer_is_never_its_definition() {
    let world = World::start().await;
    let remote = Remote::start(world.folder.path(), None).await;
    push_a_trap(&world, &remote, 1);
    let mut config = config_of(&world, &remote.url, []);
    config.operations = true;
    let _lives = Lives::start(&world, config);
    let end = world.deploy().await;
    assert!(end.good, "{}", end.words);
    over(&world).await;
    ran(&world, 1);
    let bot = world.path("bot").display().to_string();
    let log = fs::read_to_string(world.path("fake/log")).unwrap();
    let is_of_deployer = |line: &&str| line.contains(" -- deployer") || line.contains("deployer=");
    let commands: Vec<&str> = log.lines().filter(is_of_deployer).collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    assert!(
        commands
            .iter()
            .all(|line| line.contains(&format!("--project-directory {bot} --file {bot}/compose.yaml")))
    );
    // What is pushed keeps running from where it was pushed to.
    assert!(log.lines().any(|line| line.contains("command-worker=") && line.contains("data/versions/")));
}

#[tokio::test]
async fn whoever_may_push_gets_no_image_near_docker_unless_the_operator_says_so() {
    let world = World::start().await;
    let remote = Remote::start(world.folder.path(), None).await;
    push_a_trap(&world, &remote, 1);
    let config = config_of(&world, &remote.url, []);
    assert!(!config.operations && world.config().operations);
    let _lives = Lives::start(&world, config);
    assert!(world.deploy().await.good);
    push_a_trap(&world, &remote, 2);
    assert!(world.deploy().await.good);
    ran(&world, 0);
    assert!(
        world.commands().iter().all(|line| !line.starts_with("build") || line.ends_with(" command-worker"))
    );
}
