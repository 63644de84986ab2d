//! The service dies in the midst of a job; the next one finds nothing half.

use std::fs;

use protocol::control::BackupOrder;
use testkit::{eventually, free_port};

use crate::{
    program, programs,
    world::{SOON, World, noise, restore},
};

/// Begins it and kills the service at the step.
async fn dies_at(world: &World, restic: bool, order: BackupOrder, step: &str) -> bool {
    let address = format!("127.0.0.1:{}", free_port());
    let service = program::start(world, restic, &address);
    world.status().await;
    let job = world.order(order).await.unwrap();
    let reached = eventually(SOON, || async {
        let status = world.status().await;
        let now = status.job.clone().filter(|one| one.id == job).unwrap();
        match (now.end.is_some(), now.step == step) {
            (true, _) => Ok(false),
            (_, true) => Ok(true),
            _ => Err(status),
        }
    })
    .await;
    drop(service);
    reached
}

#[tokio::test]
async fn during_a_backup_at_any_step() {
    let world = World::start().await;
    world.people(8000);
    let steps = ["database", "repository", "old backups"];
    let mut reached = 0;
    for step in steps {
        reached += usize::from(dies_at(&world, programs::restic(), BackupOrder::Create, step).await);
        let service = world.serve(world.config(programs::restic())).await;
        let status = world.status().await;
        assert!(status.job.is_none_or(|job| job.end.is_some()), "{step}");
        world.is_tidy();
        // What was stored before, and what is stored now, is whole.
        world.good(BackupOrder::Create).await;
        world.good(BackupOrder::Drill).await;
        service.stop().await;
    }
    assert!(reached > 0, "no step was seen");
    let exported = fs::read_dir(world.path("export")).map(|found| {
        found
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "part"))
            .count()
    });
    assert!(exported.is_err() || exported.unwrap() == 0);
}

#[tokio::test]
async fn what_a_restic_without_its_service_stored_is_no_backup() {
    if !programs::restic() {
        return;
    }
    let world = World::start().await;
    let service = world.serve(world.config(true)).await;
    world.good(BackupOrder::Create).await;
    let restic = |arguments: &[&str]| {
        let output = std::process::Command::new("restic")
            .args(["--password-command", "echo correct horse battery", "--repo"])
            .arg(world.path("repository"))
            .args(arguments)
            .current_dir(world.path("gitea"))
            .env("RESTIC_CACHE_DIR", world.path("cache"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    restic(&["backup", "--tag", "vigie,id:20991122T033000Z,number:99", "."]);
    world.good(BackupOrder::Drill).await;
    assert_eq!(world.list().await.len(), 1);
    world.good(BackupOrder::Create).await;
    assert_eq!(world.list().await.len(), 2);
    assert!(!restic(&["snapshots"]).contains("20991122T033000Z"));
    service.stop().await;
}

#[tokio::test]
async fn during_a_restore_to_a_new_place_nothing_is_left_there() {
    let world = World::start().await;
    let service = world.serve(world.config(false)).await;
    fs::write(world.path("gitea/large"), noise(64 << 20)).unwrap();
    world.good(BackupOrder::Create).await;
    service.stop().await;
    let into = world.path("looked-at");
    assert!(dies_at(&world, false, restore("latest", Some(&into)), "restore").await);
    let half = world.path(".vigie-restored-looked-at");
    assert!(half.exists() && !into.exists());
    let service = world.serve(world.config(false)).await;
    assert!(!half.exists(), "a copy of everything is left behind");
    service.stop().await;
}

#[tokio::test]
async fn during_a_restore_in_place_all_is_old_or_all_is_new() {
    let world = World::start().await;
    world.set("saved").await;
    let service = world.serve(world.config(false)).await;
    world.good(BackupOrder::Create).await;
    service.stop().await;
    let backup = "latest";
    let mut reached = 0;
    for step in ["restore", "prepare", "files", "streams", "check", "streams"] {
        world.people(2);
        world.set("later").await;
        let before = world.count();
        fs::write(world.path("gitea/repositories/one.git"), "later").unwrap();
        let seen = dies_at(&world, false, restore(backup, None), step).await;
        reached += usize::from(seen && ["files", "streams"].contains(&step));
        let service = world.serve(world.config(false)).await;
        let status = eventually(SOON, || async {
            let status = world.status().await;
            if status.job.as_ref().is_some_and(|job| job.end.is_some()) { Ok(status) } else { Err(status) }
        })
        .await;
        let (count, later) = (world.count(), world.has("later").await);
        let file = fs::read_to_string(world.path("gitea/repositories/one.git")).unwrap();
        let (found, old, new) =
            ((count, later, file.as_str()), (before, true, "later"), (3, false, "objects"));
        assert!([old, new].contains(&found), "{step}: {found:?} {:?}", status.job);
        assert!(world.has("saved").await, "{step}");
        world.is_tidy();
        service.stop().await;
    }
    assert!(reached > 0, "no step that exchanges something was seen");
}
