//! Archives, for people without restic.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use backup::Keep;
use protocol::control::BackupOrder;

use crate::world::{SOON, World, restore};

#[tokio::test]
async fn an_archive_is_opened_by_tar_and_holds_no_settings() {
    let world = World::start().await;
    world.set("saved").await;
    let root = rustix::process::geteuid().is_root();
    if root {
        chown(world.path("gitea/repositories/one.git"), Some(65_534), Some(65_533)).unwrap();
    }
    let service = world.serve(world.config(false)).await;
    world.good(BackupOrder::Create).await;
    let archive = fs::read_dir(world.path("export")).unwrap().next().unwrap().unwrap();
    assert_eq!(archive.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let listed = Command::new("tar").args(["--zstd", "-tf"]).arg(archive.path()).output();
    // Without tar or zstd of its own the machine has no say in this.
    if let Ok(listed) = listed.as_ref().map(|listed| String::from_utf8_lossy(&listed.stdout))
        && !listed.is_empty()
    {
        assert!(listed.starts_with("manifest.json\n") && !listed.contains("\nsettings"), "{listed}");
        assert!(listed.contains("streams/KV_settings/stream.tar.s2"), "{listed}");
    }
    let into = world.path("new-place");
    world.good(restore("latest", Some(&into))).await;
    let restored = into.join("folders/gitea/repositories/one.git");
    assert_eq!(fs::read_to_string(&restored).unwrap(), "objects");
    let found = fs::metadata(&restored).unwrap();
    assert!(!root || (found.uid(), found.gid()) == (65_534, 65_533));
    service.stop().await;
}

#[tokio::test]
async fn old_ones_go_and_what_is_no_archive_stays() {
    let world = World::start().await;
    let mut config = world.config(false);
    config.keep = Keep { last: 2, ..Keep::default() };
    fs::create_dir_all(world.path("export")).unwrap();
    fs::write(world.path("export/holidays.tar.zst"), "mine").unwrap();
    fs::write(world.path("export/vigie-000009-20261122T033000Z.tar.zst.part"), "torn").unwrap();
    let service = world.serve(config).await;
    for _ in 0..4 {
        world.good(BackupOrder::Create).await;
    }
    let mut names: Vec<String> = fs::read_dir(world.path("export"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names[0] == "holidays.tar.zst" && names[1].starts_with("vigie-000003-"), "{names:?}");
    assert_eq!(world.list().await.len(), 2);
    service.stop().await;
}

#[tokio::test]
async fn a_torn_archive_is_found_and_restores_nothing() {
    let world = World::start().await;
    let service = world.serve(world.config(false)).await;
    world.good(BackupOrder::Create).await;
    let path = fs::read_dir(world.path("export")).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&path).unwrap();
    for torn in [bytes[..bytes.len() / 2].to_vec(), flipped(&bytes)] {
        fs::write(&path, torn).unwrap();
        assert!(!world.does(BackupOrder::Verify).await.good);
        assert!(!world.does(BackupOrder::Drill).await.good);
        let into = world.path("nothing");
        assert!(!world.does(restore("latest", Some(&into))).await.good);
        assert!(!into.exists() && !world.path(".vigie-nothing").exists());
        assert!(!world.does(restore("latest", None)).await.good);
        assert_eq!(world.count(), 3);
        world.is_tidy();
    }
    service.stop().await;
}

fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    bytes
}

#[tokio::test]
async fn files_that_grow_shrink_and_go_while_they_are_saved_tear_nothing() {
    let world = World::start().await;
    let (stop, turns) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = std::thread::spawn({
        let (folder, stop, turns) = (world.path("gitea"), stop.clone(), turns.clone());
        move || {
            let mut grows = File::create(folder.join("grows.log")).unwrap();
            let shrinks = File::create(folder.join("shrinks.log")).unwrap();
            while !stop.load(Ordering::Relaxed) {
                // Up to 8 MB, so that it is in the midst of being read when it changes.
                if grows.metadata().unwrap().len() < 8 << 20 {
                    grows.write_all(&[b'x'; 1000]).unwrap();
                }
                let turn = turns.fetch_add(1, Ordering::Relaxed);
                shrinks.set_len(if turn % 2 == 0 { 4 << 20 } else { 10 }).unwrap();
                fs::write(folder.join("goes"), "gone in a moment").unwrap();
                fs::remove_file(folder.join("goes")).unwrap();
            }
        }
    });
    testkit::eventually(SOON, || async {
        let count = turns.load(Ordering::Relaxed);
        if count > 10 { Ok(()) } else { Err(count) }
    })
    .await;
    let service = world.serve(world.config(false)).await;
    for _ in 0..5 {
        world.good(BackupOrder::Create).await;
        world.good(BackupOrder::Verify).await;
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    world.good(BackupOrder::Drill).await;
    service.stop().await;
}
