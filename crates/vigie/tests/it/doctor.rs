//! `vigie doctor` against the sandbox's Discord and Twitch, and against ones that are odd.

use std::{
    io::{Read, Write},
    net::TcpListener,
    process::Output,
};

use sandbox::{Options, Sandbox};
use serde_json::Value;
use testkit::Nats;

use crate::folder::Folder;

async fn run(folder: &Folder, variables: &[(&str, &str)]) -> Output {
    let mut command = folder.vigie(&["doctor", "--json"]);
    command.envs(variables.iter().copied());
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
    assert_eq!(areas, ["settings", "discord", "twitch", "clock", "nats", "nats", "disk", "disk"]);
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
            "settings: STAND_IN: expected good or stubborn, found \"odd\"",
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
