//! Old backups go, and what only they held goes with them, with drills and without.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use backup::Keep;
use protocol::control::BackupOrder;

use crate::{
    programs,
    world::{World, noise},
};

const HOUR: u64 = 3_600_000;
const MB: u64 = 1 << 20;

static NOW: AtomicU64 = AtomicU64::new(1_795_305_600_000);

fn now() -> u64 {
    NOW.load(Ordering::Relaxed)
}

/// How many bytes are below a folder.
pub fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let of = |entry: fs::DirEntry| match entry.metadata().unwrap() {
        found if found.is_dir() => size(&entry.path()),
        found => found.len(),
    };
    entries.map(of).sum()
}

#[tokio::test]
async fn in_a_repository_they_go_and_without_drills_their_room_comes_back_after_a_week() {
    if !programs::restic() {
        return;
    }
    let world = World::start().await;
    let mut config = world.config(true);
    (config.keep, config.clock) = (Keep { last: 1, ..Keep::default() }, now);
    let service = world.serve(config).await;
    fs::write(world.path("gitea/large"), noise(8 << 20)).unwrap();
    world.good(BackupOrder::Create).await;
    fs::remove_file(world.path("gitea/large")).unwrap();
    for (later, room) in [(HOUR, 8 * MB..16 * MB), (9 * 24 * HOUR, 0..4 * MB)] {
        NOW.fetch_add(later, Ordering::Relaxed);
        world.good(BackupOrder::Create).await;
        assert_eq!(world.list().await.len(), 1);
        assert_eq!(fs::read_dir(world.path("repository/snapshots")).unwrap().count(), 1);
        let found = size(&world.path("repository"));
        assert!(room.contains(&found), "{found}");
    }
    service.stop().await;
}
