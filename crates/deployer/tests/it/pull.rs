//! Signed releases: good ones, bad ones, and those that are none.

use std::{fs, time::Duration};

use bus::RequestError;
use deployer::Config;
use protocol::{
    VERSION,
    control::{
        AuditResult, BackupAnswer, BackupOrder, BackupReply, BackupRequest, BackupStatus, DeployOrder,
        DeployReply, DeployRequest, DeployState, Job, JobEnd,
    },
};
use testkit::eventually;

use crate::world::{IN_VAIN, SOON, World, compose, image};

#[tokio::test]
async fn a_good_release_rolls_out_by_itself_in_order_and_is_told() {
    let world = World::start().await;
    world.release(1);
    let _running = world.run(world.config());
    let end = world.deploy().await;
    assert!(end.good, "{}", end.words);
    assert_eq!(end.words, "updated to 1.1.0 (010101010101)");
    world.runs(1);
    let began: Vec<String> = world.commands().into_iter().filter(|line| !line.starts_with("tag")).collect();
    let up = |how: &str, count: u32, service: &str| {
        format!(
            "up --detach --no-deps --no-build --pull never --{how} --scale {service}={count} -- {service}"
        )
    };
    let expected = [
        format!("pull --quiet -- registry.example.org/you/vigie@sha256:{}", "01".repeat(32)),
        format!("image rm -- registry.example.org/you/vigie@sha256:{}", "01".repeat(32)),
        "run --rm --no-deps -T -- keys".to_owned(),
        "exec -T -- nats nats-server --signal reload=1".to_owned(),
        up("force-recreate", 1, "provision"),
        up("no-recreate", 3, "command-worker"),
        up("no-recreate", 4, "command-worker"),
        format!("stop -- {:012}{:052} {:012}{:052}", 1, 0, 2, 0),
        up("no-recreate", 2, "discord-gateway"),
        format!("stop -- {:012}{:052}", 3, 0),
        up("no-recreate", 2, "twitch-gateway"),
        format!("stop -- {:012}{:052}", 4, 0),
        up("force-recreate", 1, "healthcheck"),
    ];
    assert_eq!(began, expected);
    let status = world.status().await;
    assert_eq!(status.current.as_deref(), Some("1.1.0"));
    // What was started by hand can come back.
    assert_eq!(status.kept, [format!("before-{}", &image(0)[7..19])]);
    let trail = eventually(SOON, || async {
        let trail = world.bus.trail(10).await.unwrap();
        if trail.len() == 2 { Ok(trail) } else { Err(trail) }
    })
    .await;
    assert_eq!((trail[1].result, trail[0].result), (AuditResult::Begun, AuditResult::Done));
    assert_eq!((trail[0].by.as_str(), trail[0].object.as_str()), ("cli", "1.1.0"));
    assert_eq!(world.history().await.len(), 1);
    assert!(world.deploy().await.words.starts_with("nothing new"));
    assert_eq!(world.history().await.len(), 1);
}

#[tokio::test]
async fn a_release_that_does_not_get_healthy_comes_back_by_itself_and_is_not_tried_again() {
    let world = World::start().await;
    world.release(1);
    world.put(&format!("fake/bad/{}", image(1)), "");
    let _running = world.run(world.config());
    let end = world.deploy().await;
    assert!(!end.good);
    let words = "1.1.0 failed at canary: command-worker: container 000000000102 is running, unhealthy; its last words:\n\
                 error: the token is refused\n";
    assert!(end.words.starts_with(words), "{}", end.words);
    world.runs(0);
    let status = world.status().await;
    assert_eq!(status.quarantined, ["1.1.0"]);
    let history = world.history().await;
    assert_eq!((history[0].state, history[0].to.as_str()), (DeployState::RolledBackTo, "1.1.0"));
    // The workers that ran are those that run.
    assert!(fs::exists(world.path(&format!("fake/containers/{:012}{:052}", 1, 0))).unwrap());
    let id = world.accepted(DeployOrder::Request { commit: None, force: true }).await;
    assert!(world.end(&id).await.words.contains("is not tried again"));
    world.release(2);
    assert!(world.deploy().await.good);
    world.runs(2);
}

#[tokio::test]
async fn containers_that_run_are_not_enough() {
    let world = World::start().await;
    world.release(1);
    world.put(&format!("fake/unready/{}", image(1)), "");
    let _running = world.run(Config { pace: IN_VAIN, ..world.config() });
    let end = world.deploy().await;
    // The log goes with the container.
    let words = "1.1.0 failed at canary: not within 4 s: command-worker: not ready: discord: the token is refused; \
                 its last words:\nerror: the token is refused\n";
    assert!(end.words.starts_with(words), "{}", end.words);
    assert_eq!(world.history().await[0].state, DeployState::RolledBackTo);
    world.runs(0);
}

#[tokio::test]
async fn what_is_still_starting_at_the_end_of_its_time_is_told_with_its_log() {
    let world = World::start().await;
    world.release(1);
    world.put(&format!("fake/slow/{}", image(1)), "");
    let _running = world.run(Config { pace: IN_VAIN, ..world.config() });
    let end = world.deploy().await;
    let words = "1.1.0 failed at canary: not within 4 s: command-worker: container 000000000102 is running, starting; \
                 its last words:\nerror: the token is refused\n";
    assert!(end.words.starts_with(words), "{}", end.words);
    world.runs(0);
}

#[tokio::test]
async fn nothing_begins_without_a_backup_that_was_made() {
    let world = World::start().await;
    world.release(1);
    let mut config = world.config();
    config.backup = true;
    let _running = world.run(config);
    let end = world.deploy().await;
    assert!(end.words.contains("start the service backup, or set DEPLOY_BACKUP=off"), "{}", end.words);
    let bad = world.backup(false).await;
    let end = world.deploy().await;
    assert!(end.words.starts_with("backup: nothing was saved: the disk is full"), "{}", end.words);
    bad.abort();
    let states: Vec<DeployState> = world.history().await.iter().map(|deploy| deploy.state).collect();
    assert_eq!(states, [DeployState::NeverStarted; 2]);
    world.runs(0);
    let _good = world.backup(true).await;
    assert!(world.deploy().await.good);
    world.runs(1);
}

/// A drill at the wrong moment, or one answer that came late, was the end of a deploy that nobody asked for again.
#[tokio::test]
async fn a_backup_that_is_busy_with_something_else_is_waited_for() {
    let world = World::start().await;
    world.release(1);
    let mut orders = world.bus.obey::<BackupRequest>("backup").await.unwrap();
    world.bus.round_trip().await;
    let job = |verb: &str, ended: bool| {
        let end = ended.then(|| JobEnd { at_ms: 2, good: true, words: String::new() });
        let (id, verb, by, step) = (format!("{verb}-1"), verb.to_owned(), String::new(), String::new());
        let job = Some(Job { id, verb, by, step, done: 1, total: None, began_ms: 1, end });
        BackupReply::Status(Box::new(BackupStatus { job, ..BackupStatus::default() }))
    };
    let answers = [
        (BackupOrder::Create, None),
        (BackupOrder::Create, Some(BackupReply::Refused { reason: "drill is running".to_owned() })),
        (BackupOrder::Status, Some(job("drill", false))),
        (BackupOrder::Status, Some(job("drill", true))),
        (BackupOrder::Create, Some(BackupReply::Accepted { job: "create-1".to_owned() })),
        (BackupOrder::Status, Some(job("create", false))),
        (BackupOrder::Status, Some(job("create", true))),
    ];
    let backup = tokio::spawn(async move {
        for (expected, reply) in answers {
            let ordered = orders.next().await.unwrap();
            assert_eq!(ordered.order.order, expected);
            if let Some(reply) = reply {
                ordered.answer(&BackupAnswer { v: VERSION, reply }).await.unwrap();
            }
        }
        // It is off from here on.
        while let Some(ordered) = orders.next().await {
            let reply = match ordered.order.order {
                BackupOrder::Status => BackupReply::Status(Box::default()),
                _ => BackupReply::Refused { reason: "backups are off".to_owned() },
            };
            ordered.answer(&BackupAnswer { v: VERSION, reply }).await.unwrap();
        }
    });
    let _running = world.run(Config { backup: true, ..world.config() });
    let end = world.deploy().await;
    assert!(end.good, "{}", end.words);
    world.runs(1);
    world.release(2);
    let end = world.deploy().await;
    backup.abort();
    assert!(end.words.starts_with("backup: backup refused: backups are off; mend it, or"), "{}", end.words);
}

/// A full disk was the end of a push, which is told again only when nobody answers.
#[tokio::test]
async fn what_cannot_be_written_down_is_not_answered() {
    let world = World::start().await;
    let _running = world.run(world.config());
    world.status().await;
    let in_the_way = world.path("data/deployer.json.new");
    fs::create_dir(&in_the_way).unwrap();
    let order = DeployOrder::Request { commit: None, force: false };
    let request = DeployRequest { v: VERSION, by: "hook:site".to_owned(), order };
    let answer = world.bus.command("deploy", &request, Duration::from_secs(1)).await;
    assert!(matches!(answer, Err(RequestError::TimedOut { .. })), "{answer:?}");
    fs::remove_dir(&in_the_way).unwrap();
    world.deploy().await;
}

#[tokio::test]
async fn nothing_begins_that_could_not_end_well() {
    let world = World::start().await;
    let _running = world.run(world.config());
    let refused = |end: JobEnd, words: &str| {
        assert!(!end.good && end.words.contains(words), "{}", end.words);
    };
    refused(world.deploy().await, "release.json cannot be read");
    world.release(1);
    let text = fs::read_to_string(world.path("release.json")).unwrap();
    world.put("release.json", &text.replace("you/vigie", "other/vigie"));
    refused(world.deploy().await, "not signed by the key in DEPLOY_RELEASE_KEY");
    world.release_text(&text.replace("linux/amd64", "linux/arm64"));
    refused(world.deploy().await, "1.1.0 has no image for linux/amd64");
    world.release(1);
    world.put("fake/architecture", "arm64");
    refused(world.deploy().await, "1.1.0 is for linux/arm64, this machine is linux/amd64");
    world.put("fake/architecture", "amd64");
    let compose = fs::read_to_string(world.path("bot/compose.yaml")).unwrap();
    world
        .put("bot/compose.yaml", &compose.replace("\"restart\": \"unless-stopped\"", "\"privileged\": true"));
    refused(world.deploy().await, "command-worker: privileged: is not allowed here");
    world.put("bot/compose.yaml", &compose);
    // What runs could not come back: its image was removed.
    fs::remove_file(world.path(&format!("fake/images/{}", image(0)))).unwrap();
    refused(world.deploy().await, "is not on this machine any more");
    world.runs(0);
    let states: Vec<DeployState> = world.history().await.iter().map(|deploy| deploy.state).collect();
    assert_eq!(states, [DeployState::NeverStarted; 6]);
    assert!(world.status().await.quarantined.is_empty());
}

#[tokio::test]
async fn people_go_back_and_are_told_when_there_is_nothing_to_go_back_to() {
    let world = World::start().await;
    let _running = world.run(world.config());
    let back = |to: Option<&str>| DeployOrder::Rollback { to: to.map(str::to_owned) };
    assert!(matches!(world.ask(back(None)).await, DeployReply::Refused { reason } if reason.contains("yet")));
    for number in 1..=5 {
        world.release(number);
        assert!(world.deploy().await.good);
    }
    assert_eq!(world.status().await.kept, ["1.4.0", "1.3.0", "1.2.0"]);
    eventually(SOON, || async {
        let images = fs::read_dir(world.path("fake/images")).unwrap();
        let names = images.filter_map(|it| it.ok()?.file_name().into_string().ok());
        let mut kept: Vec<String> = names.filter(|name| name.starts_with("vigie-kept")).collect();
        kept.sort();
        let expected = ["vigie-kept:1.2.0", "vigie-kept:1.3.0", "vigie-kept:1.4.0", "vigie-kept:1.5.0"];
        if kept == expected { Ok(()) } else { Err(kept) }
    })
    .await;
    assert!(
        matches!(world.ask(back(Some("1.0.0"))).await, DeployReply::Refused { reason } if reason.contains("1.2.0"))
    );
    let id = world.accepted(back(None)).await;
    assert!(world.end(&id).await.good);
    world.runs(4);
    let id = world.accepted(back(Some("1.2.0"))).await;
    assert!(world.end(&id).await.good);
    world.runs(2);
    assert!(!world.deploy().await.good, "what somebody went back from comes back by itself");
    world.runs(2);
}

#[tokio::test]
async fn what_is_asked_during_a_deploy_becomes_one_more() {
    let world = World::start().await;
    world.release(1);
    world.put("fake/hang-before", "pull --quiet");
    let running = world.run(world.config());
    let first = world.request().await;
    eventually(SOON, || async { fs::read(world.path("fake/hung")) }).await;
    let second = world.request().await;
    for _ in 0..5 {
        assert_eq!(world.request().await, second);
    }
    let status = world.status().await.job.unwrap();
    assert_eq!((status.id.as_str(), status.step.as_str(), status.end), (first.as_str(), "fetch", None));
    drop(running);
    world.release(2);
    let _running = world.run(world.config());
    assert!(world.end(&second).await.good);
    world.runs(2);
    let ids: Vec<String> = world.history().await.into_iter().map(|deploy| deploy.id).collect();
    assert_eq!(ids, [second, first]);
}

/// What hears of pushes does not while it is replaced itself.
#[tokio::test]
async fn what_comes_while_nobody_hears_of_it_is_found_afterwards() {
    let world = World::start().await;
    let hears = r#""webhook-deploy": { "image": "vigie:local", "command": ["webhook-deploy"] }, "backup": {"#;
    world.put("bot/compose.yaml", &compose().replace(r#""backup": {"#, hears));
    let bot = world.path("bot").display().to_string();
    let container = format!("service webhook-deploy\nimage {}\nfolder {bot}\n", image(0));
    world.put(&format!("fake/containers/{:064}", 7), &container);
    world.release(1);
    world.put("fake/hang-before", "--scale webhook-deploy=1");
    let running = world.run(world.config());
    let told = world.request().await;
    eventually(SOON, || async { fs::read(world.path("fake/hung")) }).await;
    world.release(2);
    drop(running);
    let _running = world.run(world.config());
    let history = eventually(SOON, || async {
        let history = world.history().await;
        if history.len() == 2 { Ok(history) } else { Err(history) }
    })
    .await;
    assert_eq!((history[0].by.as_str(), history[0].state), ("deployer", DeployState::RolledOut));
    assert_eq!(history[1].id, told);
    let images = world.images();
    assert!(images.contains_key("webhook-deploy"), "{images:?}");
    assert!(images.values().flatten().all(|found| *found == image(2)), "{images:?}");
    let end = world.deploy().await;
    assert!(end.words.starts_with("nothing new"), "{}", end.words);
    assert_eq!(world.history().await, history);
}

#[tokio::test]
async fn those_that_were_asked_to_end_and_not_removed_run_again_after_going_back() {
    let world = World::start().await;
    world.release(1);
    let old = |number: u8| world.path(&format!("fake/containers/{number:012}{:052}", 0));
    world.put("fake/once", "");
    world.put("fake/fail", "rm -- 000000000001");
    let _running = world.run(world.config());
    let end = world.deploy().await;
    assert!(end.words.starts_with("1.1.0 failed at workers: `docker rm"), "{}", end.words);
    assert_eq!(world.history().await[0].state, DeployState::RolledBackTo, "{}", end.words);
    world.runs(0);
    assert!(old(1).exists() && old(2).exists());
}

#[tokio::test]
async fn an_engine_that_fails_on_the_way_back_is_said_loudly() {
    let world = World::start().await;
    world.release(1);
    world.put(&format!("fake/unready/{}", image(1)), "");
    let mut config = world.config();
    config.pace.limit = Duration::from_millis(400);
    // The way forth does not come so far as to end anything.
    world.put("fake/fail", "stop --");
    let _running = world.run(config);
    let end = world.deploy().await;
    assert!(
        end.words.contains("going back to") && end.words.contains("the engine is not well"),
        "{}",
        end.words
    );
    assert_eq!(world.history().await[0].state, DeployState::RollbackFailed);
}

/// Seen on a machine that was busy with the build: nothing answered in the one moment at which it was asked.
#[tokio::test]
async fn services_that_do_not_answer_for_a_moment_are_asked_again() {
    let mut world = World::start().await;
    world.release(1);
    let mut config = world.config();
    config.pace.limit = SOON;
    // The first command of `preflight` that `fetch` does not give.
    world.put("fake/wait-before", "config --format");
    let _running = world.run(config);
    let id = world.request().await;
    eventually(SOON, || async { fs::read(world.path("fake/waiting")).map_err(|_| "preflight") }).await;
    world.nats.kill();
    fs::remove_file(world.path("fake/wait-before")).unwrap();
    eventually(SOON, || async {
        let log = fs::read_to_string(world.path("fake/log")).unwrap();
        let looks = log.split("config --format").last().unwrap_or_default().matches("ps --all").count();
        if looks > 1 { Ok(()) } else { Err(log) }
    })
    .await;
    world.nats.resume().await;
    let end = world.end(&id).await;
    assert!(end.good, "{}", end.words);
    world.runs(1);
}
