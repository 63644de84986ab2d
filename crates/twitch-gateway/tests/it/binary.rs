//! The binary as people start it: TLS with the system's trust, signals, settings that are wrong.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use bus::Queue;
use protocol::{VERSION, control::Restart};
use sandbox::{Sandbox, people::Person};
use testkit::{Everything, Nats};
use tokio::{process::Command, time::timeout};

use crate::rig::{DEMO, SOON, variables};

fn gateway() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twitch-gateway"));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn chat_over_tls_goes_by_the_trust_of_the_system() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let sandbox = Sandbox::start(sandbox::Options::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("trusted.pem");
    std::fs::write(&trusted, sandbox.twitch().tls_certificate_pem()).unwrap();
    let start = |certificates: Option<&std::path::Path>| {
        let mut command = gateway();
        command
            .envs(variables(&nats, &sandbox))
            .env("TWITCH_IRC_URL", format!("ircs://localhost:{}", sandbox.irc_tls_addr().port()))
            .env("VIGIE_HTTP_ADDR", "127.0.0.1:0")
            .current_dir(folder.path());
        if let Some(path) = certificates {
            command.env("SSL_CERT_FILE", path);
        }
        command.spawn().unwrap()
    };

    let mut distrustful = start(None);
    sandbox.counters().wait("twitch.irc.handshake_failed", 1, SOON).await.unwrap();
    distrustful.kill().await.unwrap();
    assert_eq!(sandbox.counters().get("twitch.irc.pass"), 0, "no token for a stranger");

    let mut child = start(Some(&trusted));
    sandbox.counters().wait("twitch.irc.joined", 2, SOON).await.unwrap();
    sandbox.twitch().say(Person::Ines, DEMO, "!ping").unwrap();
    let mut commands = Everything::of(&bus, Queue::Commands, 1).await;
    let delivery = timeout(SOON, commands.next()).await.unwrap();
    assert!(delivery.trace.is_some(), "a command begins a trace");

    let asked = Instant::now();
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let status = timeout(SOON, child.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    sandbox.stop().await;
}

#[tokio::test]
async fn a_gateway_that_is_told_to_start_again_ends_in_order() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let sandbox = Sandbox::start(sandbox::Options::default()).await.unwrap();
    let mut command = gateway();
    command.envs(variables(&nats, &sandbox)).env("VIGIE_HTTP_ADDR", "127.0.0.1:0");
    let mut child = command.env("VIGIE_INSTANCE", "one").spawn().unwrap();
    sandbox.counters().wait("twitch.irc.joined", 2, SOON).await.unwrap();
    let order = Restart {
        v: VERSION,
        by: "test".to_owned(),
        reason: "to see that it does".to_owned(),
        instance: None,
    };
    let answer = bus.command_restart("twitch-gateway", &order, SOON).await.unwrap();
    assert_eq!(answer.instance, "one");
    let status = timeout(SOON, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(i32::from(service::EXIT_START_AGAIN)));
    sandbox.stop().await;
}

#[tokio::test]
async fn all_settings_that_cannot_be_used_are_named_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = gateway();
    command
        .env("TWITCH_CHANNELS", "a b")
        .env("TWITCH_IRC_URL", "irc.chat.twitch.tv")
        .current_dir(folder.path());
    let output = timeout(SOON, command.stderr(Stdio::piped()).output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("TWITCH_CHANNELS") && said.contains("TWITCH_IRC_URL"), "{said}");
}
