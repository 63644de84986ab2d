//! Whatever is killed comes back, and what was said meanwhile is answered, once.

use e2e::{Stack, StackOptions};
use sandbox::{feed::Platform, people::Person};

const BOTH: [Platform; 2] = [Platform::Discord, Platform::Twitch];

#[tokio::test]
async fn what_is_said_while_no_worker_runs_is_answered_when_one_is_back() {
    let mut stack = Stack::start(StackOptions::default()).await;
    stack.workers[0].kill();
    let ids = BOTH.map(|platform| stack.say(platform, Person::Ines, "!echo patience"));
    stack.workers[0].resume();
    for (platform, id) in BOTH.into_iter().zip(&ids) {
        stack.answer(platform, id).await;
    }
}

#[tokio::test]
async fn what_is_said_while_nats_is_away_is_answered_when_it_is_back() {
    let mut stack = Stack::start(StackOptions::default()).await;
    stack.nats.kill();
    let ids = BOTH.map(|platform| stack.say(platform, Person::Ines, "!echo patience"));
    stack.nats.resume().await;
    for (platform, id) in BOTH.into_iter().zip(&ids) {
        stack.answer(platform, id).await;
    }
}

#[tokio::test]
async fn a_killed_discord_gateway_resumes_and_answers_what_it_missed() {
    let mut stack = Stack::start(StackOptions::default()).await;
    stack.ask(Platform::Discord, "!echo before").await;
    stack.discord.kill();
    let id = stack.say(Platform::Discord, Person::Ines, "!echo while away");
    stack.discord.resume();
    stack.answer(Platform::Discord, &id).await;
    assert_eq!(
        stack.sandbox.counters().get("discord.gateway.identify"),
        1,
        "it resumed, it did not identify"
    );
    assert_eq!(stack.answers(Platform::Discord, &id).len(), 1);
}

#[tokio::test]
async fn a_gateway_that_is_asked_to_stop_resumes_where_it_was() {
    let mut stack = Stack::start(StackOptions::default()).await;
    let before = stack.ask(Platform::Discord, "!echo before").await;
    assert_eq!(stack.discord.terminate(), Some(0), "{}", stack.discord.log());
    let id = stack.say(Platform::Discord, Person::Ines, "!echo while away");
    stack.discord.resume();
    stack.answer(Platform::Discord, &id).await;
    assert_eq!(stack.sandbox.counters().get("discord.gateway.identify"), 1);
    let first = before.reply_to.unwrap();
    assert_eq!(stack.answers(Platform::Discord, &first).len(), 1, "nothing is answered twice");
}

#[tokio::test]
async fn a_killed_twitch_gateway_joins_again() {
    let mut stack = Stack::start(StackOptions::default()).await;
    stack.twitch.kill();
    stack.twitch.resume();
    stack.twitch.ready().await;
    stack.ask(Platform::Twitch, "!echo back").await;
}
