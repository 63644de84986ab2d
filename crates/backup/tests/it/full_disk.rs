//! A disk that is full. It takes root to mount a small one: elsewhere these tests say that they were skipped.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use backup::Keep;
use protocol::control::BackupOrder;

use crate::{
    old::size,
    programs,
    world::{World, noise, restore},
};

/// A disk of so many MB, unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path, megabytes: u32) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder).output();
        if !mounted.is_ok_and(|mounted| mounted.status.success()) {
            testkit::skipped("a small disk cannot be mounted here (that takes root)");
            return None;
        }
        Some(Self(folder.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn where_backups_are_the_old_ones_stay_and_the_new_one_is_not_half() {
    // restic stores 16 MB at once.
    for (restic, megabytes, large, smaller) in [(false, 8, 12, 0), (true, 24, 40, 12)] {
        let world = World::start().await;
        let Some(_disk) = SmallDisk::mount(&world.path("disk"), megabytes) else { return };
        let mut config = world.config(restic && programs::restic());
        if config.repository.is_some() {
            config.repository = Some(world.path("disk/repository").display().to_string().into());
        } else {
            config.export = Some(world.path("disk"));
        }
        let service = world.serve(config).await;
        world.good(BackupOrder::Create).await;
        // Random, so that it cannot be pressed.
        fs::write(world.path("gitea/large"), noise(large << 20)).unwrap();
        let end = world.does(BackupOrder::Create).await;
        assert!(!end.good && end.words.to_lowercase().contains("no space left"), "{}", end.words);
        assert_eq!(world.list().await.len(), 1);
        // What was stored of it does not take the room of the next one.
        fs::write(world.path("gitea/large"), noise(smaller << 20)).unwrap();
        world.good(BackupOrder::Create).await;
        world.good(BackupOrder::Drill).await;
        world.is_tidy();
        service.stop().await;
    }
}

#[tokio::test]
async fn where_work_is_done_it_is_told_before_anything_begins() {
    let world = World::start().await;
    let mut config = world.config(false);
    config.data = world.path("data-of-before");
    let service = world.serve(config).await;
    world.good(BackupOrder::Create).await;
    service.stop().await;
    let Some(_disk) = SmallDisk::mount(&world.path("data"), 8) else { return };
    let service = world.serve(world.config(false)).await;
    for order in [BackupOrder::Create, BackupOrder::Drill, restore("latest", None)] {
        let end = world.does(order).await;
        assert!(!end.good && end.words.contains("has room for"), "{}", end.words);
    }
    assert_eq!(world.count(), 3);
    service.stop().await;
}

/// A drill that failed once left the repository as full as it was, for ever.
#[tokio::test]
async fn where_a_drill_has_no_room_the_room_of_old_backups_is_given_back() {
    if !programs::restic() {
        return;
    }
    let world = World::start().await;
    let Some(_disk) = SmallDisk::mount(&world.path("data"), 70) else { return };
    let mut config = world.config(true);
    config.keep = Keep { last: 1, ..Keep::default() };
    let service = world.serve(config).await;
    let large = noise(20 << 20);
    for large in large.chunks(10 << 20) {
        fs::write(world.path("gitea/large"), large).unwrap();
        world.good(BackupOrder::Create).await;
    }
    assert!(size(&world.path("repository")) > 20 << 20);
    let end = world.does(BackupOrder::Drill).await;
    assert!(!end.good && end.words.contains("has room for"), "{}", end.words);
    assert!(size(&world.path("repository")) < 16 << 20);
    service.stop().await;
}

#[tokio::test]
async fn where_it_is_restored_all_is_as_it_was() {
    let world = World::start().await;
    let Some(_disk) = SmallDisk::mount(&world.path("bot/mounted"), 4) else { return };
    let mut config = world.config(false);
    config.database = Some(backup::Database::Sqlite(world.path("bot/mounted/vigie.db")));
    let database = rusqlite::Connection::open(world.path("bot/mounted/vigie.db")).unwrap();
    database.execute_batch("CREATE TABLE people (name TEXT)").unwrap();
    let body = "x".repeat(1 << 20);
    database.execute("INSERT INTO people VALUES (?1)", [&body]).unwrap();
    let service = world.serve(config).await;
    world.good(BackupOrder::Create).await;
    database.execute("DELETE FROM people", []).unwrap();
    drop(database);
    fs::write(world.path("bot/mounted/filler"), vec![1; 2 << 20]).unwrap();
    let end = world.does(restore("latest", None)).await;
    assert!(!end.good, "{}", end.words);
    let database = rusqlite::Connection::open(world.path("bot/mounted/vigie.db")).unwrap();
    let count: i64 = database.query_row("SELECT count(*) FROM people", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 0);
    world.is_tidy();
    service.stop().await;
}
