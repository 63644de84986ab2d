//! `vigie up` while it runs: parts come back, and a second one is refused.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::folder::{Folder, runs, signal};

#[test]
fn every_part_is_started_and_reported_ready() {
    let folder = Folder::new();
    let mut up = folder.up(&["--workers", "2"], &[]);
    let pids = up.ready();
    assert_eq!(pids.len(), 6, "nats, two workers, two gateways, the health check");
    assert!(pids.iter().all(|pid| runs(*pid)));
    let planned: Vec<_> = up
        .seen()
        .iter()
        .filter(|report| report["state"] == "planned")
        .map(|report| report["part"].clone())
        .collect();
    let services =
        ["command-worker-1", "command-worker-2", "discord-gateway", "twitch-gateway", "healthcheck"];
    let expected = [&["nats"][..], &services].concat();
    assert_eq!(planned, expected);
}

#[test]
fn backup_runs_where_somebody_said_where_to_and_alone_knows_its_key() {
    let folder = Folder::new();
    folder.add("backup");
    let settings = [
        ("BACKUP_EXPORT", "exports"),
        ("BACKUP_PASSWORD", "correct horse battery"),
        ("AWS_SECRET_ACCESS_KEY", "another horse"),
    ];
    let mut up = folder.up(&[], &settings);
    up.ready();
    let told = |part: &str| {
        let variables = fs::read(format!("/proc/{}/environ", up.pid_of(part))).unwrap();
        String::from_utf8_lossy(&variables).replace('\0', "\n")
    };
    let data = folder.data().canonicalize().unwrap().join("backup");
    let backup = told("backup");
    assert!(backup.contains(&format!("BACKUP_DATA={}\n", data.display())), "{backup}");
    assert!(backup.contains("BACKUP_PASSWORD=correct horse battery"), "{backup}");
    assert!(backup.contains("AWS_SECRET_ACCESS_KEY=another horse"), "{backup}");
    for part in ["command-worker-1", "discord-gateway", "healthcheck"] {
        assert!(!told(part).contains("horse"), "{part}");
    }
}

#[test]
fn after_a_restore_that_did_not_come_to_its_end_the_bot_waits_for_backup() {
    let folder = Folder::new();
    folder.add("backup");
    let unfinished = folder.data().join("backup/restore.json");
    fs::create_dir_all(unfinished.parent().unwrap()).unwrap();
    fs::write(&unfinished, "{}").unwrap();
    let mut alone = folder.up(&[], &[]);
    assert_eq!(alone.ended().code(), Some(1), "nobody could go back from it");
    let log = alone.log().join("\n");
    assert!(log.contains("expected BACKUP_REPOSITORY or BACKUP_EXPORT to be set as before"), "{log}");

    let mut up = folder.up(&[], &[("BACKUP_EXPORT", "exports")]);
    for _ in 0..2 {
        up.wait_for_any(&["backup", "healthcheck"], "ready");
    }
    let early: Vec<_> = up.seen().iter().filter(|report| report["state"] == "starting").cloned().collect();
    let bot = |report: &&serde_json::Value| {
        ["command-worker-1", "discord-gateway", "twitch-gateway"].iter().any(|name| report["part"] == *name)
    };
    assert!(early.len() == 3 && !early.iter().any(|report| bot(&report)), "{early:#?}");
    fs::remove_file(&unfinished).unwrap();
    assert_eq!(up.ready().len(), 6);
    // Nor does it run while one goes on, whatever became of the command that has stopped it.
    fs::write(&unfinished, "{}").unwrap();
    for _ in 0..3 {
        up.wait_for_any(&["command-worker-1", "discord-gateway", "twitch-gateway"], "stopped");
    }
    fs::remove_file(unfinished).unwrap();
    for _ in 0..3 {
        up.wait_for_any(&["command-worker-1", "discord-gateway", "twitch-gateway"], "ready");
    }
}

#[test]
fn a_killed_service_comes_back_at_once() {
    let folder = Folder::new();
    let mut up = folder.up(&[], &[]);
    up.ready();
    let first = up.pid_of("discord-gateway");
    signal(first, "KILL");
    let ended = up.wait_for("discord-gateway", "ended");
    let detail = ended["detail"].as_str().unwrap();
    assert!(detail.starts_with("killed (signal 9); starting it again in 0."), "{detail}");
    up.wait_for("discord-gateway", "ready");
    assert_ne!(up.pid_of("discord-gateway"), first);
}

#[test]
fn a_service_that_is_told_to_start_again_does() {
    let folder = Folder::new();
    let mut up = folder.up(&[], &[("STAND_IN", "fickle")]);
    up.wait_for("discord-gateway", "starting");
    let first = up.pid_of("discord-gateway");
    let ended = up.wait_for("discord-gateway", "ended");
    let detail = ended["detail"].as_str().unwrap();
    assert!(detail.starts_with("exit code 75; starting it again in 0."), "{detail}");
    up.wait_for("discord-gateway", "starting");
    assert_ne!(up.pid_of("discord-gateway"), first);
}

#[test]
fn a_killed_nats_comes_back_on_the_same_port_with_its_streams() {
    let folder = Folder::new();
    let mut up = folder.up(&[], &[("NATS_STORAGE", "memory")]);
    let before = up.wait_for("nats", "ready")["url"].clone();
    up.ready();
    signal(up.pid_of("nats"), "KILL");
    up.wait_for("nats", "ended");
    assert_eq!(up.wait_for("nats", "ready")["url"], before);
    let status = folder.vigie(&["status", "--json"]).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["streams"].as_array().unwrap().len(), 5, "streams in memory are created again");
}

#[test]
fn a_second_one_on_the_same_data_is_refused_and_told_who_is_there() {
    let folder = Folder::new();
    let mut up = folder.up(&[], &[]);
    up.ready();
    let second = folder.vigie(&["up"]).output().unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(said.contains(&format!("another `vigie up` (process {}) already uses", up.pid())), "{said}");
    assert!(said.contains("--data"), "{said}");
}

#[test]
fn settings_that_cannot_be_used_are_not_tried_again() {
    let folder = Folder::new();
    let mut up = folder.up(&[], &[("STAND_IN", "odd")]);
    up.wait_for("discord-gateway", "failed");
    assert_eq!(up.ended().code(), Some(64));
    let log = up.log().join("\n");
    assert!(log.contains("STAND_IN: expected good, stubborn or fickle, found \"odd\""), "{log}");
    assert!(
        log.contains(
            "settings of command-worker-1, discord-gateway, twitch-gateway, healthcheck cannot be used"
        ),
        "{log}"
    );
    let ended: Vec<_> = up.seen().iter().filter(|report| report["state"] == "ended").collect();
    assert!(ended.is_empty(), "{ended:#?}");
}

#[test]
fn bad_settings_of_its_own_are_named() {
    let folder = Folder::new();
    let mut up = folder.up(&[], &[("NATS_STORAGE", "tape")]);
    assert_eq!(up.ended().code(), Some(64));
    assert!(up.log().join("\n").contains("NATS_STORAGE: expected file or memory, found \"tape\""));
}

#[test]
fn an_old_nats_server_is_refused_by_its_version() {
    let folder = Folder::new();
    let old = folder.path().join("old-nats");
    fs::write(&old, "#!/bin/sh\necho nats-server: v2.9.10\n").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    let mut up = folder.up(&[], &[("NATS_SERVER", old.to_str().unwrap())]);
    assert_eq!(up.ended().code(), Some(1));
    let log = up.log().join("\n");
    assert!(
        log.contains("NATS_SERVER must name a nats-server 2.14 or newer") && log.contains("2.9.10"),
        "{log}"
    );
}

#[test]
fn a_nats_that_does_not_answer_is_named() {
    let folder = Folder::new();
    let mut up = folder.up(&[], &[("NATS_URL", "nats://me:secret@127.0.0.1:9")]);
    assert_eq!(up.ended().code(), Some(1));
    let log = up.log().join("\n");
    assert!(log.contains("no NATS server answers at nats://127.0.0.1:9"), "{log}");
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn a_full_disk_and_a_bad_folder_are_named() {
    let folder = Folder::new();
    fs::create_dir(folder.data()).unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.data().join("nats.conf")).unwrap();
    let full = folder.vigie(&["up"]).output().unwrap();
    let said = String::from_utf8(full.stderr).unwrap();
    assert!(said.contains("is full: free some room"), "{said}");

    fs::write(folder.path().join("file"), "").unwrap();
    let bad = folder.vigie(&["up", "--data", "file"]).output().unwrap();
    let said = String::from_utf8(bad.stderr).unwrap();
    assert!(said.contains("is a file where a folder is needed"), "{said}");
}
