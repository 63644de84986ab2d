//! A disk that is full for a while. A small one is made for this, in memory, which takes root; without
//! it these tests say that they were skipped.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use bus::{Bus, Message, Options};
use protocol::{Catalogue, VERSION};

use crate::folder::Folder;

const SIZE: &str = "size=96m";

/// A file system in a folder; gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(at).stderr(Stdio::null());
        if !mount.status().is_ok_and(|status| status.success()) {
            testkit::skipped("a small disk cannot be mounted here (that takes root)");
            return None;
        }
        Some(Self(at.to_owned()))
    }

    fn fill(&self) -> PathBuf {
        let path = self.0.join("photos");
        let mut file = fs::File::create(&path).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn what_could_not_be_stored_on_a_full_disk_is_stored_when_there_is_room_again() {
    let folder = Folder::new();
    let Some(disk) = SmallDisk::mount(&folder.data()) else { return };
    let mut up = folder.up(&[], &[]);
    let url = up.wait_for("nats", "ready")["url"].as_str().unwrap().to_owned();
    up.ready();
    let bus = Bus::connect(Options { url, name: "test".to_owned() }).await.unwrap();
    let photos = disk.fill();
    let command =
        Message::new("event.discord.1.command.3", "1", &Catalogue { v: VERSION, commands: Vec::new() })
            .unwrap();
    let stored = tokio::spawn(async move { bus.store(&command).await });
    let up = tokio::task::spawn_blocking(move || {
        let ended = up.wait_for("nats", "ended");
        let why = ended["detail"].as_str().unwrap();
        assert!(why.starts_with("its disk was full and was killed"), "{why}");
        up
    });
    let mut up = up.await.unwrap();
    fs::remove_file(photos).unwrap();
    stored.await.unwrap().unwrap();
    up.seen();
}
