//! A repository that is damaged, has another password, is gone, or in use.

use std::{fs, path::PathBuf, process::Command};

use protocol::control::BackupOrder;

use crate::{
    programs,
    world::{World, restore},
};

/// The largest pack of the repository.
fn pack(world: &World) -> PathBuf {
    let mut packs = Vec::new();
    for folder in fs::read_dir(world.path("repository/data")).unwrap() {
        packs.extend(fs::read_dir(folder.unwrap().path()).unwrap().map(|pack| pack.unwrap().path()));
    }
    packs.into_iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap()
}

#[tokio::test]
async fn a_damaged_pack_is_found_by_the_drill_and_restores_nothing() {
    if !programs::restic() {
        return;
    }
    let world = World::start().await;
    let service = world.serve(world.config(true)).await;
    world.good(BackupOrder::Create).await;
    let pack = pack(&world);
    let mut bytes = fs::read(&pack).unwrap();
    let length = bytes.len();
    bytes[length / 4..length / 2].fill(0);
    fs::remove_file(&pack).unwrap();
    fs::write(&pack, bytes).unwrap();
    let end = world.does(BackupOrder::Drill).await;
    assert!(!end.good, "{}", end.words);
    assert!(world.list().await[0].proved_ms.is_none());
    assert!(!world.does(restore("latest", None)).await.good);
    assert_eq!(world.count(), 3);
    world.is_tidy();
    service.stop().await;
}

#[tokio::test]
async fn another_password_opens_nothing_and_is_told() {
    if !programs::restic() {
        return;
    }
    let world = World::start().await;
    let service = world.serve(world.config(true)).await;
    world.good(BackupOrder::Create).await;
    service.stop().await;
    let mut config = world.config(true);
    config.password = Some("another horse entirely".to_owned().into());
    let service = world.serve(config).await;
    for order in [BackupOrder::Create, BackupOrder::Drill, restore("latest", None)] {
        let end = world.does(order).await;
        assert!(!end.good && end.words.contains("BACKUP_PASSWORD must be the one"), "{}", end.words);
        assert!(!end.words.contains("horse"), "{}", end.words);
    }
    service.stop().await;
}

#[tokio::test]
async fn a_disk_that_is_not_there_is_missed_and_no_new_repository_begun() {
    if !programs::restic() {
        return;
    }
    let world = World::start().await;
    let service = world.serve(world.config(true)).await;
    world.good(BackupOrder::Create).await;
    fs::rename(world.path("repository"), world.path("unplugged")).unwrap();
    let end = world.does(BackupOrder::Create).await;
    assert!(!end.good && end.words.contains("is its disk there?"), "{}", end.words);
    assert!(!world.path("repository").exists());
    // Another disk, with another repository.
    let other = World::start().await;
    let elsewhere = other.serve(other.config(true)).await;
    other.good(BackupOrder::Create).await;
    elsewhere.stop().await;
    fs::rename(other.path("repository"), world.path("repository")).unwrap();
    let end = world.does(BackupOrder::Create).await;
    assert!(!end.good && end.words.contains("another repository"), "{}", end.words);
    service.stop().await;
}

/// What is stored is held against the rest of the repository at once, not only when somebody orders it: a deploy relies
/// on it.
#[tokio::test]
async fn a_repository_that_has_lost_something_is_told_of_by_the_next_backup() {
    if !programs::restic() {
        return;
    }
    let world = World::start().await;
    let service = world.serve(world.config(true)).await;
    world.good(BackupOrder::Create).await;
    let folders = fs::read_dir(world.path("repository/data")).unwrap().map(|folder| folder.unwrap().path());
    let packs = folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|pack| pack.unwrap().path());
    fs::remove_file(packs.max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap()).unwrap();
    let end = world.does(BackupOrder::Create).await;
    assert!(!end.good && end.words.contains("is stored: checking the repository"), "{}", end.words);
    service.stop().await;
}

#[tokio::test]
async fn a_lock_of_somebody_who_is_gone_is_removed() {
    if !programs::restic() {
        return;
    }
    let world = World::start().await;
    let service = world.serve(world.config(true)).await;
    world.good(BackupOrder::Create).await;
    // A restic that is killed while it has the repository locked for itself alone.
    let mut prune = Command::new("restic")
        .args(["check", "--read-data", "--password-command", "echo correct horse battery", "--repo"])
        .arg(world.path("repository"))
        .env("RESTIC_CACHE_DIR", world.path("cache"))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let locks = world.path("repository/locks");
    testkit::eventually(crate::world::SOON, || async {
        let count = fs::read_dir(&locks).unwrap().count();
        let over = fs::metadata(world.path("repository")).is_err();
        if count > 0 || over { Ok(()) } else { Err(count) }
    })
    .await;
    prune.kill().unwrap();
    // Whom nobody has waited for still counts as a process, and its lock as one in use.
    let job = world.order(BackupOrder::Create).await.unwrap();
    testkit::eventually(crate::world::SOON, || async {
        let job = world.status().await.job.unwrap();
        if job.step == "repository" || job.end.is_some() { Ok(()) } else { Err(job) }
    })
    .await;
    prune.wait().unwrap();
    let end = world.end_of(&job).await;
    assert!(end.good, "{}", end.words);
    world.good(BackupOrder::Drill).await;
    service.stop().await;
}
