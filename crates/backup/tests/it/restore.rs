//! Bringing a backup back.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    time::Duration,
};

use protocol::{ServiceStats, VERSION, control::BackupOrder};
use testkit::Nats;

use crate::{
    programs,
    world::{SOON, World, restore},
};

fn stats(service: &str) -> ServiceStats {
    ServiceStats {
        v: VERSION,
        service: service.to_owned(),
        instance: "one".to_owned(),
        build: "0.1.0 (test)".to_owned(),
        uptime_s: 1,
        ready: true,
        reason: String::new(),
        resident_bytes: 1,
        metrics: std::collections::BTreeMap::new(),
    }
}

#[tokio::test]
async fn in_place_everything_is_as_it_was_and_what_was_there_is_put_aside() {
    let world = World::start().await;
    world.set("saved").await;
    let owners: [(&str, u32); 2] = [("bot/vigie.db", 65_534), ("gitea/repositories/one.git", 65_533)];
    for (name, owner) in owners {
        fs::set_permissions(world.path(name), fs::Permissions::from_mode(0o640)).unwrap();
        if rustix::process::geteuid().is_root() {
            chown(world.path(name), Some(owner), Some(owner)).unwrap();
        }
    }
    let service = world.serve(world.config(programs::restic())).await;
    world.good(BackupOrder::Create).await;
    world.people(5);
    world.set("later").await;
    fs::write(world.path("gitea/repositories/one.git"), "changed").unwrap();
    fs::write(world.path("gitea/new"), "new").unwrap();
    world.good(restore("latest", None)).await;
    assert_eq!(world.count(), 3);
    assert!(world.has("saved").await && !world.has("later").await);
    assert_eq!(fs::read_to_string(world.path("gitea/repositories/one.git")).unwrap(), "objects");
    assert!(!world.path("gitea/new").exists());
    for (name, owner) in owners {
        let found = fs::metadata(world.path(name)).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, 0o640, "{name}");
        assert!(
            !rustix::process::geteuid().is_root() || (found.uid(), found.gid()) == (owner, owner),
            "{name}"
        );
    }
    assert_eq!(fs::read_to_string(world.path("gitea/.vigie-before/new")).unwrap(), "new");
    // What was put aside is not saved with it.
    world.good(BackupOrder::Create).await;
    let into = world.path("again");
    world.good(restore("latest", Some(&into))).await;
    assert!(
        into.join("folders/gitea/repositories").exists()
            && !into.join("folders/gitea/.vigie-before").exists()
    );
    service.stop().await;
}

#[tokio::test]
async fn a_wiped_machine_comes_back_from_the_backup_alone() {
    let restic = programs::restic();
    let lost = World::start().await;
    lost.set("saved").await;
    lost.people(40);
    let service = lost.serve(lost.config(restic)).await;
    lost.good(BackupOrder::Create).await;
    service.stop().await;
    // Another machine: its own NATS, its own empty folders; of the lost one it has where backups are.
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let new = World::of(nats, bus);
    for folder in ["bot", "gitea"] {
        fs::remove_dir_all(new.path(folder)).unwrap();
    }
    let mut config = new.config(restic);
    if restic {
        config.repository = Some(lost.path("repository").display().to_string().into());
        let into = new.path("settings-first");
        let service = new.serve(config.clone()).await;
        shown_before_anything_is_done(&new).await;
        new.good(restore("latest", Some(&into))).await;
        assert_eq!(fs::read_to_string(into.join("settings/0/.env")).unwrap(), "DISCORD_TOKEN=hunter2\n");
        service.stop().await;
    } else {
        config.export = Some(lost.path("export"));
    }
    let service = new.serve(config).await;
    shown_before_anything_is_done(&new).await;
    new.good(restore("latest", None)).await;
    assert_eq!(new.count(), 43);
    assert!(new.has("saved").await);
    assert_eq!(fs::read_to_string(new.path("gitea/repositories/one.git")).unwrap(), "objects");
    service.stop().await;
}

async fn shown_before_anything_is_done(new: &World) {
    testkit::eventually(SOON, || async {
        let shown = new.list().await;
        if shown.len() == 1 { Ok(()) } else { Err(shown) }
    })
    .await;
}

#[tokio::test]
async fn nothing_is_exchanged_under_a_bot_that_runs() {
    let world = World::start().await;
    let service = world.serve(world.config(false)).await;
    world.good(BackupOrder::Create).await;
    world.people(2);
    let running = world.bus.announce("command-worker", || stats("command-worker")).await.unwrap();
    world.bus.round_trip().await;
    let end = world.does(restore("latest", None)).await;
    assert!(!end.good && end.words.contains("expected the bot to be stopped"), "{}", end.words);
    assert!(end.words.contains("command-worker"), "{}", end.words);
    assert_eq!(world.count(), 5);
    drop(running);
    service.stop().await;
}

#[tokio::test]
async fn streams_in_memory_cannot_be_put_aside_and_nothing_is_touched() {
    let world = World::start().await;
    let service = world.serve(world.config(false)).await;
    world.set("saved").await;
    world.good(BackupOrder::Create).await;
    // As `NATS_STORAGE=memory` makes it anew.
    world.bus.remove_stream("DEAD").await.unwrap();
    let url = world.nats.url();
    let mut nats = std::net::TcpStream::connect(url.trim_start_matches("nats://")).unwrap();
    let made = r#"{"name":"DEAD","subjects":["dead.*"],"storage":"memory","max_bytes":1048576}"#;
    let subject = "$JS.API.STREAM.CREATE.DEAD";
    write!(nats, "CONNECT {{\"verbose\":false}}\r\nPUB {subject} {}\r\n{made}\r\n", made.len()).unwrap();
    testkit::eventually(SOON, || async {
        let there = world.bus.stream_now("DEAD").await.unwrap();
        if there.is_some() { Ok(()) } else { Err("it is not there") }
    })
    .await;
    world.people(2);
    world.set("later").await;
    let end = world.does(restore("latest", None)).await;
    assert!(!end.good && end.words.contains("set NATS_STORAGE=file"), "{}", end.words);
    assert!(world.count() == 5 && world.has("later").await, "nothing was touched");
    world.is_tidy();
    service.stop().await;
}

#[tokio::test]
async fn a_new_place_is_empty_and_a_backup_that_is_not_there_is_told() {
    let world = World::start().await;
    let service = world.serve(world.config(false)).await;
    let end = world.does(restore("latest", None)).await;
    assert!(!end.good && end.words.contains("there is no backup yet"), "{}", end.words);
    world.good(BackupOrder::Create).await;
    let full = world.path("gitea");
    fs::create_dir(full.join(".vigie-before")).unwrap();
    fs::write(full.join(".vigie-before/only.git"), "the only copy").unwrap();
    symlink(world.path("data"), world.path("link")).unwrap();
    let end = world.does(restore("latest", Some(&full))).await;
    assert!(!end.good && end.words.contains("expected an empty folder"), "{}", end.words);
    assert!(full.join("repositories/one.git").exists());
    for into in ["data", "data/stage/look", "link/look", "gitea/.vigie-before/look"] {
        let end = world.does(restore("latest", Some(&world.path(into)))).await;
        assert!(!end.good && end.words.contains("where the service clears up"), "{into}: {}", end.words);
    }
    // What a restore in place put aside has such a name.
    world.good(restore("latest", Some(&full.join("before")))).await;
    assert!(full.join("before/manifest.json").exists() && full.join(".vigie-before/only.git").exists());
    for into in ["relative", "/tmp/../etc/vigie-test"] {
        let end = world.does(restore("latest", Some(std::path::Path::new(into)))).await;
        assert!(!end.good && end.words.contains("the whole path"), "{}", end.words);
    }
    let end = world.does(restore("20200101T000000Z", None)).await;
    assert!(!end.good && end.words.contains("there is no backup 2020"), "{}", end.words);
    service.stop().await;
}

/// As after a restore that failed and could not be undone.
fn half(world: &World) {
    fs::create_dir_all(world.path("gitea/.vigie-incoming")).unwrap();
    fs::create_dir_all(world.path("gitea/.vigie-before/repositories")).unwrap();
    fs::write(world.path("gitea/.vigie-before/repositories/only.git"), "the only copy").unwrap();
    fs::write(world.path("gitea/half"), "half").unwrap();
    let place =
        format!(r#"{{"folder":{:?},"names":null,"phase":"in"}}"#, world.path("gitea").display().to_string());
    let journal =
        format!(r#"{{"backup":"20261122T033000Z","places":[{place}],"database":false,"streams":[]}}"#);
    fs::write(world.path("data/restore.json"), journal).unwrap();
}

/// Waits until the worker that was announced is not there any more.
async fn gone(world: &World) {
    testkit::eventually(SOON, || async {
        let left = world.bus.stats(Duration::from_millis(300)).await;
        if left.iter().any(|one| one.service == "command-worker") { Err(left) } else { Ok(()) }
    })
    .await;
}

#[tokio::test]
async fn a_start_goes_back_unless_a_bot_runs_since_long_on_what_is_half() {
    let world = World::start().await;
    let service = world.serve(world.config(false)).await;
    world.good(BackupOrder::Create).await;
    assert_eq!(world.status().await.unfinished, None);
    service.stop().await;
    half(&world);
    let gone_back = || async {
        testkit::eventually(SOON, || async {
            let status = world.status().await;
            let end = status.job.clone().filter(|job| job.verb == "go-back").and_then(|job| job.end);
            end.ok_or(status)
        })
        .await
    };
    // It was started by hand, on what is half.
    let long = || ServiceStats { uptime_s: 3600, ..stats("command-worker") };
    let running = world.bus.announce("command-worker", long).await.unwrap();
    world.bus.round_trip().await;
    let service = world.serve(world.config(false)).await;
    let end = gone_back().await;
    assert!(!end.good && end.words.contains("stop it, start backup again"), "{}", end.words);
    assert_eq!(world.status().await.unfinished.as_deref(), Some("20261122T033000Z"));
    assert!(world.path("gitea/half").exists());
    service.stop().await;
    drop(running);
    gone(&world).await;
    // All starts together, as after a power cut.
    let _running = world.bus.announce("command-worker", || stats("command-worker")).await.unwrap();
    world.bus.round_trip().await;
    let service = world.serve(world.config(false)).await;
    let end = gone_back().await;
    assert!(end.good, "{}", end.words);
    assert_eq!(world.status().await.unfinished, None);
    assert_eq!(fs::read_to_string(world.path("gitea/repositories/only.git")).unwrap(), "the only copy");
    assert!(!world.path("gitea/half").exists());
    world.is_tidy();
    service.stop().await;
}

#[tokio::test]
async fn what_an_unfinished_restore_put_aside_is_back_before_anything_is_saved_or_exchanged() {
    let world = World::start().await;
    let service = world.serve(world.config(false)).await;
    world.good(BackupOrder::Create).await;
    half(&world);
    let running = world.bus.announce("command-worker", || stats("command-worker")).await.unwrap();
    world.bus.round_trip().await;
    for order in [BackupOrder::Create, restore("latest", None)] {
        let end = world.does(order).await;
        assert!(!end.good && end.words.contains("expected the bot to be stopped"), "{}", end.words);
        assert!(world.path("gitea/.vigie-before/repositories/only.git").exists());
    }
    drop(running);
    gone(&world).await;
    world.good(BackupOrder::Create).await;
    assert_eq!(fs::read_to_string(world.path("gitea/repositories/only.git")).unwrap(), "the only copy");
    assert!(!world.path("gitea/half").exists());
    world.is_tidy();
    // And a restore begins from there: what it puts aside is what was.
    fs::remove_dir_all(world.path("gitea/repositories")).unwrap();
    half(&world);
    world.good(restore("latest", None)).await;
    assert!(world.path("gitea/.vigie-before/repositories/only.git").exists());
    assert!(!world.path("gitea/half").exists() && !world.path("gitea/.vigie-before/half").exists());
    service.stop().await;
}
