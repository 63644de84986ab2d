//! A chat line goes in, a reply comes out.

use std::time::Duration;

use bus::{RequestError, User};
use e2e::{Stack, StackOptions};
use protocol::{Interaction, InteractionResponse, VERSION, subject};
use sandbox::{feed::Platform, people::Person};
use serde_json::json;
use testkit::eventually;

#[tokio::test]
async fn a_chat_line_is_answered_once_on_both_platforms() {
    let stack = Stack::start(StackOptions { workers: 2, ..StackOptions::default() }).await;
    for platform in [Platform::Discord, Platform::Twitch] {
        let answer = stack.ask(platform, "!echo ahoy").await;
        assert!(answer.text.contains("ahoy"), "{answer:?}");
        assert_eq!(answer.author.role, "bot");
        assert!(answer.latency_us.is_some());
    }
    for platform in [Platform::Discord, Platform::Twitch] {
        let ids: Vec<String> =
            (0..5).map(|n| stack.say(platform, Person::Max, &format!("!echo n{n}"))).collect();
        for (n, id) in ids.iter().enumerate() {
            let answer = stack.answer(platform, id).await;
            assert!(answer.text.contains(&format!("n{n}")), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_slash_command_is_registered_and_answered() {
    let stack = Stack::start(StackOptions::default()).await;
    let channel = stack.discord_channel();
    let names = eventually(Duration::from_secs(10), || async {
        let commands = stack.sandbox.discord().commands(&channel);
        let names: Vec<_> = commands.iter().filter_map(|it| it["name"].as_str().map(str::to_owned)).collect();
        if names.is_empty() { Err(names) } else { Ok(names) }
    })
    .await;
    let expected = [
        "about", "backup", "backups", "deploys", "echo", "help", "ping", "rollback", "stats", "update",
        "uptime",
    ];
    assert_eq!(names, expected);
    let options = json!({"text": "ahoy @everyone"});
    let id = stack.sandbox.discord().slash(Person::Ines, &channel, "echo", options).unwrap();
    let answer = stack.answer(Platform::Discord, &id).await;
    assert!(answer.text.contains("ahoy") && !answer.text.contains("@everyone"), "{answer:?}");
}

#[tokio::test]
async fn a_button_changes_the_message_it_is_on() {
    let stack = Stack::start(StackOptions::default()).await;
    let stats = stack.ask(Platform::Discord, "!stats").await;
    let button = stats.components[0]["components"][0]["custom_id"].as_str().unwrap().to_owned();
    let channel = stack.discord_channel();
    let mut feed = stack.sandbox.feed().watch();
    stack.sandbox.discord().press(Person::Ines, &channel, &stats.id, &button).unwrap();
    let edited = async {
        loop {
            if let sandbox::feed::Item::Edited { line, .. } = feed.recv().await.unwrap() {
                return line;
            }
        }
    };
    let edited = tokio::time::timeout(Duration::from_secs(10), edited).await.unwrap();
    assert_eq!(edited.id, stats.id);
}

#[tokio::test]
async fn nobody_on_watch_is_said_at_once() {
    let mut stack = Stack::start(StackOptions::default()).await;
    let channel = stack.discord_channel();
    eventually(Duration::from_secs(10), || async {
        let count = stack.sandbox.discord().commands(&channel).len();
        if count > 0 { Ok(()) } else { Err(count) }
    })
    .await;
    stack.workers[0].kill();
    until_nobody_serves(&stack).await;
    let id = stack.sandbox.discord().slash(Person::Ines, &channel, "ping", json!({})).unwrap();
    let answer = stack.answer(Platform::Discord, &id).await;
    assert!(answer.ephemeral, "{answer:?}");
    assert!(answer.text.contains("Nobody is on watch"), "{answer:?}");
    assert!(answer.latency_us.unwrap() < 1_500_000, "{answer:?}");
}

/// NATS may give a question to a worker that was just killed, until it has read the end of its
/// connection. Nobody can promise anything about those.
async fn until_nobody_serves(stack: &Stack) {
    let bus = stack.nats.bus_as(User::DiscordGateway, "test").await;
    let question: Interaction = serde_json::from_value(json!({
        "v": VERSION, "id": "discord-1", "platform": "discord", "community": "1", "channel": "1",
        "user": {"id": "1", "name": "test", "rank": "everyone"},
        "at_ms": 0, "received_us": 0,
        "body": {"command": {"name": "ping", "options": {}}},
    }))
    .unwrap();
    let subject = subject::interaction(question.platform, &question.community);
    eventually(Duration::from_secs(10), || async {
        let within = Duration::from_millis(200);
        match bus.request::<_, InteractionResponse>(subject.clone(), &question, within, None).await {
            Err(RequestError::NoResponders { .. }) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    bus.drain().await;
}
