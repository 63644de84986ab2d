//! Chat commands: an event comes in, an action goes out, once.

use std::time::Duration;

use bus::{Message, Queue};
use protocol::{
    Batch, ChannelId, DropReason, EventBody, Outcome, OutcomeBody, Platform, Raid, Rank, VERSION, subject,
};
use testkit::{Junk, eventually};

use crate::{
    sample,
    world::{SOON, World, channel, counted, event, ines, said},
};

#[tokio::test]
async fn a_question_is_answered_under_the_events_id() {
    let world = World::start().await;
    let worker = world.worker(commands::ALL).await;
    world.say(7, "!echo hello @everyone").await;
    let action = &world.actions(1).await[0];
    assert_eq!(action.id.as_str(), "twitch:7:0");
    assert_eq!(said(action), "hello @\u{200b}everyone");
    let lives_ms = action.expires_at_ms.saturating_sub(service::clock::unix_ms());
    assert!((20_000..=30_000).contains(&lives_ms), "{lives_ms} ms");
    world.backlog("EVENTS", 0).await;
    worker.stop().await;
}

#[tokio::test]
async fn an_event_that_comes_twice_is_answered_once() {
    let world = World::start().await;
    let worker = world.worker(sample::COMMANDS).await;
    let event = event(7, "!greet", Rank::Everyone);
    world.store(&event, "first").await;
    world.store(&event, "second").await;
    worker.counts("commands_passed_total.again", 1.0).await;
    worker.stop().await;
    // Who does not know of it stores the same answer. Its own cooldown does not keep it from that: the first
    // may be lost.
    let other = world.worker(sample::COMMANDS).await;
    world.store(&event, "third").await;
    other.counts("actions_total.twitch", 1.0).await;
    other.counts("commands_passed_total.cooldown", 0.0).await;
    world.backlog("EVENTS", 0).await;
    world.backlog("ACTIONS_TWITCH", 1).await;
    other.stop().await;
}

#[tokio::test]
async fn answers_in_a_channel_stand_in_the_order_of_the_questions() {
    let world = World::start().await;
    for n in 0..40 {
        world.store(&event(n, &format!("!echo {n}"), Rank::Moderator), &n.to_string()).await;
    }
    let worker = world.worker(commands::ALL).await;
    let heard: Vec<String> = world.actions(40).await.iter().map(|action| said(action).to_owned()).collect();
    assert_eq!(heard, (0..40).map(|n| n.to_string()).collect::<Vec<_>>());
    worker.stop().await;
}

#[tokio::test]
async fn a_crowded_channel_does_not_keep_the_others_waiting() {
    let world = World::start().await;
    let mut outcomes = world.bus.subscribe("outcome.>").await.unwrap();
    world.bus.round_trip().await;
    for n in 0..400 {
        world.store(&event(n, &format!("!echo {n}"), Rank::Moderator), &n.to_string()).await;
    }
    let mut other = event(400, "!echo me too", Rank::Moderator);
    let EventBody::Command(command) = &mut other.body else { panic!() };
    command.message.channel = ChannelId::from(3);
    world.store(&other, "400").await;
    let worker = world.worker(commands::ALL).await;
    let partition = subject::partition(&ChannelId::from(3));
    let queue = Queue::Actions(Platform::Twitch);
    let mut actions = world.bus.take_over(queue, partition, 1, || true).await.unwrap();
    let answer = tokio::time::timeout(SOON, actions.next()).await.expect("an answer");
    assert_eq!(said(&answer.decode().unwrap()), "me too");
    // Whoever is not answered is told why.
    let turned_away: Outcome = outcomes.next().await.unwrap().decode().unwrap();
    let OutcomeBody::Dropped { reason, detail } = turned_away.body else { panic!("{turned_away:?}") };
    assert_eq!((reason, &*detail), (DropReason::RateLimited, "128 commands wait in this channel already"));
    world.backlog("EVENTS", 0).await;
    assert!(worker.number("commands_passed_total.crowded") >= 1.0);
    worker.stop().await;
}

#[tokio::test]
async fn a_cooldown_holds_across_workers_and_not_for_moderators() {
    let world = World::start().await;
    let (one, two) = (world.worker(sample::COMMANDS).await, world.worker(sample::COMMANDS).await);
    for n in 0..8 {
        world.say(n, "!greet").await;
    }
    counted(&[&one, &two], "commands_passed_total.cooldown", 7.0).await;
    world.backlog("EVENTS", 0).await;
    world.backlog("ACTIONS_TWITCH", 1).await;
    world.store(&event(100, "!greet", Rank::Moderator), "100").await;
    world.backlog("ACTIONS_TWITCH", 2).await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_command_that_fails_or_panics_apologises_with_an_id() {
    let world = World::start().await;
    let worker = world.worker(sample::COMMANDS).await;
    let apology = "sorry, that went wrong. If it stays so, tell the bot’s owner this id: 1a2b3c4d";
    world.say(1, "!fail").await;
    assert_eq!(world.heard().await, apology);
    world.say(2, "!panic").await;
    assert_eq!(world.heard().await, apology);
    worker.counts("errors_total.failed", 1.0).await;
    worker.counts("errors_total.panicked", 1.0).await;
    world.say(3, "!greet").await;
    assert_eq!(world.heard().await, "hello Ines");
    worker.stop().await;
}

#[tokio::test]
async fn what_is_no_command_of_ours_gets_no_answer() {
    let world = World::start().await;
    let worker = world.worker(sample::COMMANDS).await;
    world.say(1, "!nothing").await;
    worker.counts("commands_passed_total.unknown", 1.0).await;
    world.backlog("EVENTS", 0).await;
    world.backlog("ACTIONS_TWITCH", 0).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_question_that_is_too_old_is_dropped_with_an_outcome() {
    let world = World::start().await;
    let worker = world.worker(sample::COMMANDS).await;
    let mut outcomes = world.bus.subscribe("outcome.>").await.unwrap();
    world.bus.round_trip().await;
    let mut old = event(1, "!greet", Rank::Everyone);
    old.at_ms -= 61_000;
    world.store(&old, "1").await;
    let incoming = tokio::time::timeout(SOON, outcomes.next()).await.unwrap().unwrap();
    let outcome: Outcome = incoming.decode().unwrap();
    assert_eq!(outcome.action.as_str(), "twitch:1:0");
    let OutcomeBody::Dropped { reason: DropReason::Expired, detail } = outcome.body else {
        panic!("{outcome:?}");
    };
    assert!(detail.contains("61 s") && detail.contains("clock"), "{detail}");
    world.backlog("EVENTS", 0).await;
    world.backlog("ACTIONS_TWITCH", 0).await;
    worker.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_put_away_with_the_reason() {
    let world = World::start().await;
    let worker = world.worker(sample::COMMANDS).await;
    let commands = subject::event(&event(1, "", Rank::Everyone));
    let subjects = [&*commands, "event.twitch.1.raid", "chatter.twitch"];
    for (v, subject) in [(1, subjects[0]), (9, subjects[0]), (1, subjects[1]), (9, subjects[2])] {
        let message = Message::new(subject, format!("{subject} {v}"), &Junk { v }).unwrap();
        world.bus.store(&message).await.unwrap();
    }
    // A raid under the subject of commands.
    let mut raid = event(1, "", Rank::Everyone);
    raid.body = EventBody::Raid(Raid { from: ines(Rank::Everyone), viewers: 3 });
    world.bus.store(&Message::new(subjects[0], "raid", &raid).unwrap()).await.unwrap();
    world.backlog("DEAD", 5).await;
    worker.counts("undecodable_total", 5.0).await;
    world.backlog("EVENTS", 0).await;
    world.backlog("CHATTER", 0).await;
    worker.stop().await;
}

#[tokio::test]
async fn an_event_that_nobody_could_finish_is_put_away() {
    let world = World::start().await;
    world.say(1, "!greet").await;
    let partition = subject::partition(&channel());
    for attempt in 1..=4 {
        // Each ends with it in hand.
        let mut worker = world.bus.take_over(Queue::Commands, partition, 1, || true).await.unwrap();
        let delivery = tokio::time::timeout(SOON, worker.next()).await.unwrap();
        assert_eq!(delivery.attempt, attempt);
    }
    let worker = world.worker(sample::COMMANDS).await;
    world.backlog("DEAD", 1).await;
    world.backlog("EVENTS", 0).await;
    world.backlog("ACTIONS_TWITCH", 0).await;
    worker.counts("errors_total.poison", 1.0).await;
    worker.stop().await;
}

#[tokio::test]
async fn chatter_and_community_events_are_counted_once() {
    let world = World::start().await;
    let worker = world.worker(sample::COMMANDS).await;
    let message = |n: u64| {
        let mut event = event(n, "hi", Rank::Everyone);
        let EventBody::Command(command) = event.body else { unreachable!("made as a command") };
        event.body = EventBody::Message(command.message);
        event
    };
    for (id, numbers) in [("a", 0..10), ("b", 5..15)] {
        let batch = Batch { v: VERSION, platform: Platform::Twitch, events: numbers.map(message).collect() };
        let message = Message::new(subject::chatter(Platform::Twitch), id, &batch).unwrap();
        world.bus.store(&message).await.unwrap();
    }
    let mut raid = event(20, "", Rank::Everyone);
    raid.body = EventBody::Raid(Raid { from: ines(Rank::Everyone), viewers: 3 });
    world.store(&raid, "20").await;
    worker.counts("messages_total.twitch", 15.0).await;
    worker.counts("community_events_total.raid", 1.0).await;
    worker.counts("events_total", 16.0).await;
    world.backlog("CHATTER", 0).await;
    world.backlog("EVENTS", 0).await;
    eventually(SOON, || async {
        let stats = world.bus.stats(Duration::from_millis(300)).await;
        let rate = stats.iter().find_map(|service| service.metrics.get("events_per_second").copied());
        if rate.is_some_and(|rate| rate > 1.0) { Ok(()) } else { Err(rate) }
    })
    .await;
    worker.stop().await;
}
