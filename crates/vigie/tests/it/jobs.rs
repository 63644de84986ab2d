//! `vigie backup`, `deploy` and `audit` against services that speak the real protocol over a real server.

use std::{
    collections::BTreeMap,
    fs,
    process::{Output, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use bus::{Bus, User};
use protocol::{
    VERSION,
    control::{
        Audit, AuditResult, Backup, BackupAnswer, BackupOrder, BackupReply, BackupRequest, BackupStatus,
        Deploy, DeployAnswer, DeployOrder, DeployReply, DeployRequest, DeployState, DeployStatus, Job,
        JobEnd,
    },
};
use serde_json::Value;
use testkit::Nats;

use crate::{
    folder::{Folder, follow, signal},
    terminal::Terminal,
};

/// A job that goes one step with each question for it.
#[derive(Default)]
pub struct World {
    job: Option<Job>,
    orders: Vec<String>,
    /// Its jobs have no end.
    stuck: bool,
    /// Its restores fail, and cannot be undone.
    unfinished: Option<String>,
    /// What it verifies is whole.
    pub whole: bool,
    /// Why its jobs fail.
    pub fails: Option<String>,
    /// Why it does nothing that is asked.
    pub refuses: Option<String>,
}

impl World {
    fn begin(&mut self, verb: &str) -> String {
        let job = Job {
            id: format!("{verb}-1"),
            verb: verb.to_owned(),
            by: "cli".to_owned(),
            step: "database".to_owned(),
            done: 0,
            total: Some(3),
            began_ms: 1_000,
            end: None,
        };
        let id = job.id.clone();
        self.job = Some(job);
        id
    }

    fn step(&mut self, good: bool, words: &str) -> Option<Job> {
        let (good, words) = self.fails.as_deref().map_or((good, words), |why| (false, why));
        if let Some(job) = self.job.as_mut().filter(|job| job.end.is_none() && !self.stuck) {
            job.done += 1;
            if job.done == 3 {
                job.end = Some(JobEnd { at_ms: 13_000, good, words: words.to_owned() });
            }
        }
        self.job.clone()
    }
}

pub type Shared = Arc<Mutex<World>>;

/// A service `backup`.
pub async fn backup(bus: &Bus, world: Shared) {
    let mut orders = bus.obey::<BackupRequest>("backup").await.unwrap();
    bus.round_trip().await;
    tokio::spawn(async move {
        while let Some(ordered) = orders.next().await {
            assert_eq!(ordered.order.by, "cli");
            let reply = {
                let mut world = world.lock().unwrap();
                if ordered.order.order != BackupOrder::Status {
                    world.orders.push(serde_json::to_string(&ordered.order.order).unwrap());
                }
                let off = world.refuses.clone();
                match &ordered.order.order {
                    // As it answers where backups are off.
                    BackupOrder::Status if off.is_some() => BackupReply::Status(Box::default()),
                    _ if off.is_some() => BackupReply::Refused { reason: off.unwrap() },
                    BackupOrder::Create => BackupReply::Accepted { job: world.begin("create") },
                    BackupOrder::Restore { backup, .. } if backup == "gone" => {
                        BackupReply::Refused { reason: "there is no backup gone".to_owned() }
                    }
                    BackupOrder::Restore { .. } => BackupReply::Accepted { job: world.begin("restore") },
                    BackupOrder::Verify => BackupReply::Accepted { job: world.begin("verify") },
                    BackupOrder::Drill => BackupReply::Accepted { job: world.begin("drill") },
                    BackupOrder::List => BackupReply::Backups {
                        backups: vec![Backup {
                            id: "9f3c1a".to_owned(),
                            at_ms: 1_700_000_000_000,
                            bytes: Some(1024),
                            parts: vec!["database".to_owned()],
                            proved_ms: None,
                        }],
                    },
                    BackupOrder::Status => {
                        let verify =
                            !world.whole && world.job.as_ref().is_some_and(|job| job.verb == "verify");
                        let words = if verify { "one file is torn" } else { "12 MiB in 1 part" };
                        BackupReply::Status(Into::into(BackupStatus {
                            job: {
                                let good = !verify && world.unfinished.is_none();
                                world.step(good, words)
                            },
                            unfinished: world.unfinished.clone(),
                            good_ms: Some(1_700_000_000_000),
                            ..BackupStatus::default()
                        }))
                    }
                }
            };
            ordered.answer(&BackupAnswer { v: VERSION, reply }).await.unwrap();
        }
    });
}

/// A `deployer`.
pub async fn deployer(bus: &Bus, world: Shared) {
    let mut orders = bus.obey::<DeployRequest>("deploy").await.unwrap();
    bus.round_trip().await;
    tokio::spawn(async move {
        while let Some(ordered) = orders.next().await {
            let reply = {
                let mut world = world.lock().unwrap();
                let refuses = world.refuses.clone();
                match ordered.order.order.clone() {
                    DeployOrder::Request { .. } | DeployOrder::Rollback { .. } if refuses.is_some() => {
                        DeployReply::Refused { reason: refuses.unwrap() }
                    }
                    DeployOrder::Request { force, commit } => {
                        world.orders.push(format!("request {force} {commit:?}"));
                        DeployReply::Accepted { job: world.begin("request") }
                    }
                    DeployOrder::Rollback { to } => {
                        world.orders.push(format!("rollback {to:?}"));
                        DeployReply::Accepted { job: world.begin("rollback") }
                    }
                    DeployOrder::Status => DeployReply::Status(Into::into(DeployStatus {
                        job: world.step(true, "4 services"),
                        current: Some("0.2.0".to_owned()),
                        ..DeployStatus::default()
                    })),
                    DeployOrder::History => DeployReply::History {
                        deploys: vec![Deploy {
                            id: "request-1".to_owned(),
                            by: "cli".to_owned(),
                            from: None,
                            to: "0.2.0".to_owned(),
                            began_ms: 1_700_000_000_000,
                            ended_ms: 1_700_000_060_000,
                            state: DeployState::RolledOut,
                            words: "4 services".to_owned(),
                        }],
                    },
                }
            };
            ordered.answer(&DeployAnswer { v: VERSION, reply }).await.unwrap();
        }
    });
}

async fn run(folder: &Folder, nats: &Nats, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = folder.vigie(arguments);
    command.env("NATS_URL", nats.url()).stdin(Stdio::null());
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn a_backup_is_made_and_watched_until_it_is_over() {
    let (folder, nats, world) = (Folder::new(), Nats::start().await, Shared::default());
    let (code, _, err) = run(&folder, &nats, &["backup", "create"]).await;
    assert_eq!(code, Some(1));
    assert!(err.starts_with("vigie: no `backup` answers: it is not set up here"), "{err}");

    let bus = nats.bus("test").await;
    backup(&bus, world.clone()).await;
    let (code, out, err) = run(&folder, &nats, &["backup", "create"]).await;
    assert_eq!((code, &*out), (Some(0), "✓ create: 12 MiB in 1 part (create-1, 12 s)\n"), "{err}");
    assert_eq!(err, "create: database\n", "one line for one step");
    let (code, out, _) = run(&folder, &nats, &["backup", "verify", "--json"]).await;
    let job: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &job["end"]["good"]), (Some(1), &false.into()), "what is not whole is no success");
    let (code, out, _) = run(&folder, &nats, &["backup", "drill", "--no-wait"]).await;
    assert_eq!((code, &*out), (Some(0), "accepted: drill-1; `vigie backup status` tells how it is\n"));
    let (_, out, _) = run(&folder, &nats, &["backup", "list"]).await;
    assert!(out.contains("9f3c1a  2023-11-14 22:13:20  1.0 KiB  database  no"), "{out}");
    let (_, out, _) = run(&folder, &nats, &["backup", "list", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["id"], "9f3c1a");
    let (code, out, _) = run(&folder, &nats, &["backup", "status", "--json"]).await;
    assert_eq!(code, Some(0));
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["good_ms"], 1_700_000_000_000_u64);
}

#[tokio::test]
async fn nothing_is_replaced_unasked() {
    let (folder, nats, world) = (Folder::new(), Nats::start().await, Shared::default());
    let bus = nats.bus("test").await;
    backup(&bus, world.clone()).await;
    let (code, _, err) = run(&folder, &nats, &["backup", "restore"]).await;
    assert_eq!(code, Some(64), "{err}");
    assert!(err.contains("add --yes, or --into"), "{err}");

    let mut command = folder.vigie(&["backup", "restore"]);
    command.env("NATS_URL", nats.url());
    let talk = move || {
        let mut terminal = Terminal::start(&command);
        terminal.wait_for("replace all it has kept by the backup latest?");
        terminal.press("n\n");
        terminal.ended()
    };
    let (status, shown) = tokio::task::spawn_blocking(talk).await.unwrap();
    assert_eq!(status.code(), Some(1), "{shown}");
    assert!(shown.contains("nothing was restored") && world.lock().unwrap().orders.is_empty(), "{shown}");

    let (code, _, err) = run(&folder, &nats, &["backup", "restore", "gone", "--yes"]).await;
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.starts_with("nothing here runs Vigie: gateways and workers must be stopped where they run"),
        "{err}"
    );
    assert!(err.ends_with("vigie: backup refuses: there is no backup gone\n"), "{err}");
    let (code, out, err) = run(&folder, &nats, &["backup", "restore", "9f3c1a", "--into", "/srv/new"]).await;
    assert_eq!(code, Some(0), "{out}{err}");
    let orders = world.lock().unwrap().orders.clone();
    assert_eq!(orders[1], r#"{"verb":"restore","backup":"9f3c1a","into":"/srv/new"}"#);
}

#[tokio::test]
async fn what_is_half_restored_is_told_by_a_code_of_its_own() {
    let (folder, nats, world) = (Folder::new(), Nats::start().await, Shared::default());
    let bus = nats.bus("test").await;
    backup(&bus, world.clone()).await;
    world.lock().unwrap().unfinished = Some("9f3c1a".to_owned());
    let (code, _, err) = run(&folder, &nats, &["backup", "restore", "--yes", "--no-stop"]).await;
    assert_eq!(code, Some(74), "{err}");
    assert!(err.contains("keep the bot stopped until `vigie backup status` says that it went back"), "{err}");
    let (_, out, _) = run(&folder, &nats, &["backup", "status"]).await;
    assert!(out.contains("✗ the restore of 9f3c1a is neither done nor undone"), "{out}");
    world.lock().unwrap().unfinished = None;
    let (code, _, err) = run(&folder, &nats, &["backup", "restore", "--yes", "--no-stop"]).await;
    assert_eq!(code, Some(0), "{err}");
}

#[tokio::test]
async fn no_signal_starts_the_bot_in_the_midst_of_a_restore_or_on_what_is_half() {
    let (folder, world) = (Folder::new(), Shared::default());
    let mut up = folder.up(&[], &[]);
    let url = up.wait_for("nats", "ready")["url"].as_str().unwrap().to_owned();
    up.ready();
    let bus = Bus::connect(bus::Options { url, name: "test".to_owned() }).await.unwrap();
    backup(&bus, world.clone()).await;
    let held = || {
        let file = fs::File::open(folder.data().join("vigie.hold")).unwrap();
        matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock))
    };
    for (half, expected) in [(None, 0), (Some("9f3c1a".to_owned()), 1)] {
        *world.lock().unwrap() = World { stuck: true, ..World::default() };
        let mut command = folder.vigie(&["backup", "restore", "9f3c1a", "--yes"]);
        let mut restore = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Nobody reads what it says there, as behind a terminal that was closed.
        drop(restore.stdout.take());
        let lines = follow(restore.stderr.take().unwrap());
        let lines = &lines;
        let says = |text: &'static str| {
            testkit::eventually(Duration::from_secs(30), move || async move {
                lines.try_iter().find(|line| line.contains(text)).ok_or(text)
            })
        };
        says("restore: database").await;
        for name in ["INT", "INT", "TERM", "HUP"] {
            signal(restore.id(), name);
            says("it still goes on; the bot is started again when it is over").await;
            assert!(held(), "after {name}");
        }
        if half.is_some() {
            world.lock().unwrap().unfinished = half;
            world.lock().unwrap().stuck = false;
            says("the bot is started again when it has").await;
            signal(restore.id(), "INT");
            says("the bot is started again when it has").await;
            assert!(held());
            // It has gone back.
            world.lock().unwrap().unfinished = None;
        }
        world.lock().unwrap().stuck = false;
        let status = testkit::eventually(Duration::from_secs(60), || {
            let ended = restore.try_wait().unwrap();
            async move { ended.ok_or("it goes on") }
        })
        .await;
        assert_eq!(status.code(), Some(expected));
        assert!(!folder.data().join("vigie.hold").exists());
    }
}

#[tokio::test]
async fn under_vigie_up_the_bot_is_stopped_for_a_restore_and_nats_is_not() {
    let (folder, world) = (Folder::new(), Shared::default());
    let mut up = folder.up(&[], &[]);
    let url = up.wait_for("nats", "ready")["url"].as_str().unwrap().to_owned();
    up.ready();
    let options = bus::Options { url, name: "test".to_owned() };
    let bus = Bus::connect(options).await.unwrap();
    backup(&bus, world.clone()).await;
    // The line is written anew with each change: one that is cut short, or of a part between two processes, passes.
    let look = || -> Option<BTreeMap<String, u64>> {
        let text = fs::read_to_string(folder.data().join("vigie.lock")).ok()?;
        let running: Value = serde_json::from_str(text.lines().next()?).ok()?;
        let parts = running["parts"].as_array().filter(|_| running["ready"] == true)?.iter();
        parts.map(|part| Some((part["name"].as_str()?.to_owned(), part["pid"].as_u64()?))).collect()
    };
    let pids = || testkit::eventually(Duration::from_secs(30), || async { look().ok_or("no whole line") });
    for (name, expected) in [("9f3c1a", 0), ("gone", 1)] {
        let before = pids().await;
        let mut command = folder.vigie(&["backup", "restore", name, "--yes"]);
        let Output { status, stdout, stderr } =
            tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert_eq!(status.code(), Some(expected), "{out}{err}");
        assert!(
            err.contains("stopping command-worker-1, discord-gateway, twitch-gateway of `vigie up`"),
            "{err}"
        );
        assert!(out.contains("✓ command-worker-1  ready, process "), "{out}");
        assert_eq!(out.contains("✓ restore: "), expected == 0, "{out}");
        for (part, pid) in pids().await {
            let goes_on = ["nats", "healthcheck"].contains(&part.as_str());
            assert_eq!(before[&part] == pid, goes_on, "{part}");
        }
    }
    assert!(!folder.data().join("vigie.hold").exists());
}

#[tokio::test]
async fn a_deploy_is_asked_for_watched_and_gone_back_from() {
    let (folder, nats, world) = (Folder::new(), Nats::start().await, Shared::default());
    let bus = nats.bus("test").await;
    deployer(&bus, world.clone()).await;
    let (code, out, err) = run(&folder, &nats, &["deploy", "now", "--force"]).await;
    assert_eq!((code, &*out), (Some(0), "✓ deploy: 4 services (request-1, 12 s)\n"), "{err}");
    let (code, _, err) = run(&folder, &nats, &["deploy", "rollback"]).await;
    assert_eq!(code, Some(64), "{err}");
    let (code, out, _) = run(&folder, &nats, &["deploy", "rollback", "0.1.9", "--yes", "--json"]).await;
    assert_eq!(code, Some(0));
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["verb"], "rollback");
    assert_eq!(world.lock().unwrap().orders, ["request true None", "rollback Some(\"0.1.9\")"]);
    let (_, out, _) = run(&folder, &nats, &["deploy", "status"]).await;
    assert!(out.starts_with("· runs: 0.2.0\n! nothing to go back to\n"), "{out}");
    let (_, out, _) = run(&folder, &nats, &["deploy", "history"]).await;
    assert!(out.contains("2023-11-14 22:13:20  1 min  ✓ rolled out  0.2.0"), "{out}");
}

#[tokio::test]
async fn what_was_asked_for_and_took_no_place_is_not_waited_for() {
    let (folder, nats) = (Folder::new(), Nats::start().await);
    let bus = nats.bus("test").await;
    let mut orders = bus.obey::<DeployRequest>("deploy").await.unwrap();
    bus.round_trip().await;
    let job = |number: u32, over: bool| Job {
        id: format!("deploy-{number}"),
        verb: "request".to_owned(),
        by: "cli".to_owned(),
        step: "build".to_owned(),
        done: 0,
        total: None,
        began_ms: 1_000,
        end: over.then(|| JobEnd { at_ms: 13_000, good: true, words: "4 services".to_owned() }),
    };
    // The second is what was asked for: at first in vain, then behind what was over long before.
    let mut told =
        [job(1, false), job(1, true), job(1, true), job(1, true), job(2, false), job(2, true)].into_iter();
    tokio::spawn(async move {
        while let Some(ordered) = orders.next().await {
            let reply = match ordered.order.order {
                DeployOrder::Status => DeployReply::Status(Into::into(DeployStatus {
                    job: told.next(),
                    ..DeployStatus::default()
                })),
                _ => DeployReply::Accepted { job: "deploy-2".to_owned() },
            };
            ordered.answer(&DeployAnswer { v: VERSION, reply }).await.unwrap();
        }
    });
    let (code, _, err) = run(&folder, &nats, &["deploy", "now"]).await;
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.contains("deploy-2 is not there any more: deploy-1 is over") && err.contains("deploy status"),
        "{err}"
    );
    let (code, out, err) = run(&folder, &nats, &["deploy", "now"]).await;
    assert_eq!((code, &*out), (Some(0), "✓ deploy: 4 services (deploy-2, 12 s)\n"), "{err}");
}

#[tokio::test]
async fn a_job_that_goes_on_without_an_end_is_left_to_itself_by_ctrl_c() {
    let (folder, nats, world) = (Folder::new(), Nats::start().await, Shared::default());
    let bus = nats.bus("test").await;
    let mut orders = bus.obey::<DeployRequest>("deploy").await.unwrap();
    bus.round_trip().await;
    tokio::spawn(async move {
        while let Some(ordered) = orders.next().await {
            let reply = match ordered.order.order {
                DeployOrder::Status => {
                    let job = world.lock().unwrap().job.clone();
                    DeployReply::Status(Into::into(DeployStatus { job, ..DeployStatus::default() }))
                }
                _ => DeployReply::Accepted { job: world.lock().unwrap().begin("request") },
            };
            ordered.answer(&DeployAnswer { v: VERSION, reply }).await.unwrap();
        }
    });
    let mut command = folder.vigie(&["deploy", "now"]);
    command.env("NATS_URL", nats.url());
    let talk = move || {
        let mut terminal = Terminal::start(&command);
        terminal.wait_for("deploy: database   0 %");
        terminal.press("\x03");
        terminal.ended()
    };
    let (status, shown) = tokio::task::spawn_blocking(talk).await.unwrap();
    assert_eq!(status.code(), Some(75), "{shown}");
    assert!(shown.contains("request-1 goes on; `vigie deploy status` tells how it is"), "{shown}");
}

#[tokio::test]
async fn the_operator_may_do_all_of_it_where_nats_has_keys() {
    let (folder, nats, world) = (Folder::new(), Nats::start_secured().await, Shared::default());
    let connect = |user: User| {
        let options = bus::Options { url: nats.url(), name: "test".to_owned() };
        let login = nats.login(user);
        async move { Bus::connect_as(&login, options).await.unwrap() }
    };
    bus::provision(&connect(User::Provision).await, bus::Storage::File).await.unwrap();
    let service = connect(User::Backup).await;
    backup(&service, world.clone()).await;
    let done = Audit {
        v: VERSION,
        at_ms: 1_700_000_000_000,
        service: "backup".to_owned(),
        by: "cli".to_owned(),
        verb: "create".to_owned(),
        object: "9f3c1a".to_owned(),
        result: AuditResult::Done,
        words: "12 MiB".to_owned(),
    };
    service.note(&done).await.unwrap();
    let seed = nats.seed(User::Operator);
    for (arguments, expected) in [
        (&["backup", "create"][..], "✓ create: "),
        (&["audit"], "2023-11-14 22:13:20  backup   create  9f3c1a   ✓ done"),
        (&["audit", "--json"], "\"result\":\"done\""),
    ] {
        let mut command = folder.vigie(arguments);
        command.env("NATS_URL", nats.url()).env("NATS_NKEY", &seed);
        let output = tokio::time::timeout(
            Duration::from_secs(30),
            tokio::task::spawn_blocking(move || command.output().unwrap()),
        );
        let output = output.await.unwrap().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(out.contains(expected), "{arguments:?}: {out}{err}");
    }
}
