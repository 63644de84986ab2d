//! Folders that are not what they were: a link, a file, a disk that is not mounted; and settings behind a link.

use std::{fs, os::unix::fs::symlink};

use protocol::control::BackupOrder;

use crate::{
    programs,
    world::{World, restore},
};

#[tokio::test]
async fn a_folder_that_is_a_link_a_file_or_suddenly_empty_is_missed() {
    let world = World::start().await;
    let service = world.serve(world.config(false)).await;
    world.good(BackupOrder::Create).await;
    let (gitea, elsewhere) = (world.path("gitea"), world.path("elsewhere"));
    fs::rename(&gitea, &elsewhere).unwrap();
    symlink(&elsewhere, &gitea).unwrap();
    let end = world.does(BackupOrder::Create).await;
    assert!(!end.good && end.words.contains("expected a folder at"), "{}", end.words);
    fs::remove_file(&gitea).unwrap();
    fs::write(&gitea, "a file").unwrap();
    let end = world.does(BackupOrder::Create).await;
    assert!(!end.good && end.words.contains("expected a folder at"), "{}", end.words);
    fs::remove_file(&gitea).unwrap();
    // As where a disk would be mounted; also after a restart.
    fs::create_dir(&gitea).unwrap();
    service.stop().await;
    let service = world.serve(world.config(false)).await;
    let end = world.does(BackupOrder::Create).await;
    assert!(!end.good && end.words.contains("had 1 files in the last backup"), "{}", end.words);
    assert_eq!(world.list().await.len(), 1);
    service.stop().await;
}

#[tokio::test]
async fn settings_behind_a_link_are_saved_by_the_name_of_the_link() {
    if !programs::restic() {
        return;
    }
    let world = World::start().await;
    let config = world.config(true);
    fs::rename(world.path(".env"), world.path("env-of-this-machine")).unwrap();
    symlink("env-of-this-machine", world.path(".env")).unwrap();
    let service = world.serve(config).await;
    world.good(BackupOrder::Create).await;
    let into = world.path("new-place");
    world.good(restore("latest", Some(&into))).await;
    assert_eq!(fs::read_to_string(into.join("settings/0/.env")).unwrap(), "DISCORD_TOKEN=hunter2\n");
    assert!(fs::symlink_metadata(into.join("settings/0/.env")).unwrap().is_file());
    service.stop().await;
}

#[tokio::test]
async fn a_disk_of_archives_that_is_not_there_is_missed_and_no_new_folder_begun() {
    let world = World::start().await;
    let service = world.serve(world.config(false)).await;
    world.good(BackupOrder::Create).await;
    fs::rename(world.path("export"), world.path("unplugged")).unwrap();
    let end = world.does(BackupOrder::Create).await;
    assert!(!end.good && end.words.contains("is its disk there?"), "{}", end.words);
    assert!(!world.path("export").exists());
    fs::create_dir(world.path("export")).unwrap();
    let end = world.does(BackupOrder::Drill).await;
    assert!(!end.good && end.words.contains("is its disk there?"), "{}", end.words);
    fs::remove_dir(world.path("export")).unwrap();
    fs::rename(world.path("unplugged"), world.path("export")).unwrap();
    world.good(BackupOrder::Create).await;
    assert_eq!(world.list().await.len(), 2);
    service.stop().await;
}
