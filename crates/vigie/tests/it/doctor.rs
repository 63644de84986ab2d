//! `vigie doctor` against the sandbox's Discord and Twitch, and against ones that are odd.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Output,
};

use sandbox::{Options, Sandbox};
use serde_json::Value;
use testkit::Nats;

use crate::folder::Folder;

/// A Raspberry Pi 4 that is well, as its kernel shows it.
pub fn pi(folder: &Folder) -> PathBuf {
    let root = folder.path().join("pi");
    for part in include_str!("../machines/pi4.txt").split("=== ").skip(1) {
        let (path, text) = part.split_once('\n').unwrap();
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    // The tests may run on another kind of processor.
    fs::write(root.join("proc/sys/kernel/arch"), std::env::consts::ARCH).unwrap();
    root
}

async fn run(folder: &Folder, variables: &[(&str, &str)]) -> Output {
    if !folder.path().join("pi").exists() {
        pi(folder);
    }
    let mut command = folder.vigie(&["doctor", "--json", "--root", "pi"]);
    // Without the `docker` of whoever runs the tests.
    command.env("PATH", folder.path().join("programs")).envs(variables.iter().copied());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn findings(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn bad(output: &Output) -> Vec<String> {
    let all = findings(output);
    let bad = all.iter().filter(|finding| finding["verdict"] == "bad");
    bad.map(|finding| format!("{}: {}", finding["area"].as_str().unwrap(), finding["seen"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn nothing_is_wrong_with_good_tokens_and_a_provisioned_nats() {
    let (folder, nats) = (Folder::new(), Nats::start().await);
    nats.bus("test").await;
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let (url, nats_url) = (sandbox.http_url(), nats.url());
    let told = run(
        &folder,
        &[
            ("NATS_URL", nats_url.as_str()),
            ("DISCORD_API_URL", url.as_str()),
            ("DISCORD_TOKEN", "sandbox-token"),
            ("TWITCH_AUTH_URL", url.as_str()),
            ("TWITCH_OAUTH_TOKEN", "oauth:sandbox-token"),
            ("TWITCH_USERNAME", "vigie_bot"),
        ],
    )
    .await;
    assert_eq!(bad(&told), Vec::<String>::new());
    assert_eq!(told.status.code(), Some(0));
    let good: Vec<_> = findings(&told).into_iter().filter(|finding| finding["verdict"] == "good").collect();
    let areas: Vec<_> = good.iter().map(|finding| finding["area"].clone()).collect();
    let expected = ["settings", "discord", "twitch", "clock", "nats", "nats", "disk", "disk"];
    assert_eq!(areas, [&expected[..], &["machine", "memory", "power", "heat"]].concat());
}

#[tokio::test]
async fn everything_that_is_wrong_is_named_and_no_secret_is_shown() {
    let (folder, nats) = (Folder::new(), Nats::start().await);
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let (url, nats_url) = (sandbox.http_url(), nats.url());
    let told = run(
        &folder,
        &[
            ("NATS_URL", nats_url.as_str()),
            ("STAND_IN", "odd"),
            ("VIGIE_HTTP_ADDR", "everywhere"),
            ("DISCORD_API_URL", url.as_str()),
            ("DISCORD_TOKEN", "hunter2"),
            ("TWITCH_AUTH_URL", "http://127.0.0.1:9"),
            ("TWITCH_OAUTH_TOKEN", "hunter3"),
        ],
    )
    .await;
    assert_eq!(told.status.code(), Some(1));
    let bad = bad(&told);
    assert_eq!(
        bad[..3],
        [
            "settings: STAND_IN: expected good, stubborn or fickle, found \"odd\"",
            "settings: VIGIE_HTTP_ADDR: expected an address with a port, found \"everywhere\"",
            "discord: refuses the token",
        ]
    );
    assert!(bad[3].starts_with("twitch: does not answer"), "{bad:?}");
    assert!(bad[4].starts_with("nats: streams are missing: EVENTS"), "{bad:?}");
    let text = String::from_utf8(told.stdout).unwrap() + &String::from_utf8(told.stderr).unwrap();
    assert!(!text.contains("hunter"), "{text}");
}

#[tokio::test]
async fn a_clock_that_is_off_is_named() {
    let folder = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // A Discord that lives in another time.
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).unwrap();
        let body = r#"{"id":"1","username":"Vigie"}"#;
        let head = "HTTP/1.1 200 OK\r\nDate: Wed, 21 Oct 2015 07:28:00 GMT\r\nConnection: close\r\n";
        write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    });
    let told = run(
        &folder,
        &[("NATS_URL", "nats://127.0.0.1:9"), ("DISCORD_API_URL", url.as_str()), ("DISCORD_TOKEN", "t")],
    )
    .await;
    let bad = bad(&told);
    assert!(bad[0].starts_with("clock: ") && bad[0].contains("s ahead of the platform's"), "{bad:?}");
    assert_eq!(bad[1], "nats: no NATS server answers at nats://127.0.0.1:9");
}

#[tokio::test]
async fn a_pi_in_trouble_is_told_all_of_it() {
    let folder = Folder::new();
    let root = pi(&folder);
    for (path, text) in [
        ("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n"),
        ("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n"),
        ("sys/fs/ext4/mmcblk0p2/errors_count", "2\n"),
        ("sys/class/thermal/thermal_zone0/temp", "82110\n"),
        ("proc/swaps", "Filename Type Size Used Priority\n/var/swap file 102396 0 -2\n"),
    ] {
        fs::write(root.join(path), text).unwrap();
    }
    fs::remove_file(root.join("run/systemd/timesync/synchronized")).unwrap();
    // A Docker of another age.
    let docker = folder.path().join("programs/docker");
    fs::create_dir_all(docker.parent().unwrap()).unwrap();
    let says = "case $1 in version) echo 19.03.8 arm64;; compose) echo 1.29.2;; image) echo amd64;; esac";
    fs::write(&docker, format!("#!/bin/sh\n{says}\n")).unwrap();
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
    let told = run(&folder, &[("NATS_URL", "nats://127.0.0.1:9")]).await;
    assert_eq!(told.status.code(), Some(1));
    let of = |verdict: &str| -> Vec<String> {
        let all = findings(&told).into_iter().filter(|finding| finding["verdict"] == verdict);
        all.map(|one| format!("{}: {}", one["area"].as_str().unwrap(), one["seen"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(
        of("bad")[1..],
        [
            "card: the file system of mmcblk0p2 has counted 2 errors",
            "memory: limits of containers do not hold: the kernel's memory control is off",
            "power: too little voltage right now (get_throttled 0x50005)",
            "docker: engine 19.03.8 is too old; 20.10.0 or newer is needed",
            "docker: Compose 1.29.2 is too old; 2.24.7 or newer is needed",
            "docker: the image is for amd64, this machine for arm64: its containers cannot start",
        ]
    );
    assert_eq!(
        of("warn"),
        [
            "clock: has not been set from the network since the start",
            "memory: swap is on the SD card (/var/swap), which wears it out",
            "power: slowed down right now, by heat or by too little voltage (get_throttled 0x50005)",
            "heat: 82.1 °C: a Pi slows down from here",
        ]
    );
}

#[tokio::test]
async fn what_is_misspelt_or_open_in_the_file_of_settings_is_named() {
    let folder = Folder::new();
    let env = folder.path().join(".env");
    fs::write(&env, "STAND_IM=good\nWORKERS=2\nGRAFANA_PORT=22\n").unwrap();
    fs::set_permissions(&env, fs::Permissions::from_mode(0o644)).unwrap();
    let told = run(&folder, &[("NATS_URL", "nats://127.0.0.1:9")]).await;
    let seen: Vec<String> =
        findings(&told).iter().map(|one| one["seen"].as_str().unwrap().to_owned()).collect();
    assert!(seen.contains(&"STAND_IM is no setting of Vigie".to_owned()), "{seen:?}");
    assert!(seen.contains(&"port 22 (GRAFANA_PORT) is taken already".to_owned()), "{seen:?}");
    let mend = findings(&told).iter().find_map(|one| one["mend"].as_str().map(str::to_owned)).unwrap();
    assert_eq!(mend, "write STAND_IN, if that is what was meant");
}
