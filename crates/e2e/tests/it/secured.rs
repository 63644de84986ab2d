//! NATS holds each service to what it is granted, and that is enough for all it does.

use std::time::Duration;

use bus::{DISCOVERY_LIMIT, User};
use e2e::{Stack, StackOptions};
use sandbox::{feed::Platform, people::Person};
use serde_json::json;
use testkit::eventually;

const BOTH: [Platform; 2] = [Platform::Discord, Platform::Twitch];

/// What the bus says of a refusal, whoever it is that was refused.
const REFUSED: &str = "NATS refused";

fn nothing_was_refused(stack: &Stack) {
    let logs = stack.logs();
    assert!(!logs.contains(REFUSED) && !logs.contains("Permissions Violation"), "{logs}");
}

#[tokio::test]
async fn all_that_services_do_is_granted_also_when_nats_comes_back() {
    let mut stack = Stack::start(StackOptions { workers: 2, ..StackOptions::default() }).await;
    let channel = stack.discord_channel();
    eventually(Duration::from_secs(10), || async {
        let count = stack.sandbox.discord().commands(&channel).len();
        if count > 0 { Ok(()) } else { Err(count) }
    })
    .await;
    for round in ["before", "after"] {
        for platform in BOTH {
            let answer = stack.ask(platform, &format!("!echo {round}")).await;
            assert!(answer.text.contains(round), "{answer:?}");
            stack.ask(platform, "!stats").await;
        }
        let id = stack.sandbox.discord().slash(Person::Ines, &channel, "ping", json!({})).unwrap();
        stack.answer(Platform::Discord, &id).await;
        nothing_was_refused(&stack);
        if round == "before" {
            stack.nats.kill();
            stack.nats.resume().await;
            stack.discord.ready().await;
            stack.twitch.ready().await;
            for worker in &stack.workers {
                worker.ready().await;
            }
        }
    }
    let operator = stack.nats.bus_as(User::Operator, "operator").await;
    let mut names: Vec<_> =
        operator.stats(DISCOVERY_LIMIT * 4).await.into_iter().map(|one| one.service).collect();
    names.dedup();
    assert_eq!(names, ["command-worker", "discord-gateway", "twitch-gateway"]);
    for service in [&mut stack.discord, &mut stack.twitch].into_iter().chain(&mut stack.workers) {
        assert_eq!(service.terminate(), Some(0), "{}", service.log());
    }
    nothing_was_refused(&stack);
}

#[tokio::test]
async fn a_service_with_the_key_of_another_one_gets_nothing_done_and_says_so() {
    let stack = Stack::start(StackOptions::default()).await;
    let mut settings = stack.settings();
    settings.push(("NATS_NKEY".to_owned(), stack.nats.seed(User::Dashboard)));
    settings.push(("VIGIE_HTTP_ADDR".to_owned(), "127.0.0.1:0".to_owned()));
    let ended = e2e::run_to_end("command-worker", &settings).await;
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains(REFUSED) && ended.said.contains("vigie keys"), "{}", ended.said);
}

#[tokio::test]
async fn a_service_without_a_key_says_which_setting_is_missing() {
    let stack = Stack::start(StackOptions::default()).await;
    let mut settings = stack.settings();
    settings.push(("VIGIE_HTTP_ADDR".to_owned(), "127.0.0.1:0".to_owned()));
    let ended = e2e::run_to_end("twitch-gateway", &settings).await;
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains("expected NATS_NKEY_FILE"), "{}", ended.said);
}
