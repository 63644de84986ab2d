//! Actions that become messages, by chat.

use std::{collections::HashMap, time::Duration};

use bus::{BucketName, Queue};
use protocol::{
    Action, ActionBody, Content, Delivery, DropReason, MessageId, OutcomeBody, Platform, subject,
};
use sandbox::people::Person;
use tokio::time::timeout;

use crate::rig::{DEMO, Plan, QUIET, Rig, SOON, dropped, message_of, reply, send, with_app};

/// Much sooner than NATS would give something to somebody else by itself.
const AT_ONCE: Duration = Duration::from_secs(4);

#[tokio::test]
async fn an_answer_stands_below_its_question() {
    let mut rig = Rig::ready(Plan::default()).await;
    let asked = rig.sandbox.twitch().say(Person::Ines, DEMO, "!ping").unwrap();
    let action = rig.ask(DEMO, reply(&asked, "pong")).await;
    let outcome = rig.outcome_of(&action).await;
    let line = rig.sandbox.twitch().history(DEMO).pop().unwrap();
    assert_eq!((line.text.as_str(), line.reply_to.as_deref()), ("pong", Some(asked.as_str())));
    assert_eq!(message_of(&outcome).as_str(), line.id);
    // The bot's own words are never an event, even where another connection tells them.
    assert_eq!(rig.commands(1).await.len(), 1);
    rig.stop().await;
}

#[tokio::test]
async fn an_action_is_done_once_however_often_it_comes() {
    let mut rig = Rig::ready(Plan::default()).await;
    for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce] {
        let action =
            rig.ask_with(DEMO, send(format!("{delivery:?}")), delivery, Duration::from_secs(30)).await;
        rig.store(&action, "again").await;
        rig.outcome_of(&action).await;
        rig.store(&action, &format!("once more {delivery:?}")).await;
    }
    rig.until_counted("actions_total", 5.0).await;
    rig.say(DEMO, "the end").await;
    assert_eq!(rig.seen(DEMO), ["AtMostOnce", "AtLeastOnce", "the end"]);
    rig.stop().await;
}

#[tokio::test]
async fn actions_of_a_channel_keep_their_order() {
    let mut rig = Rig::ready(Plan::default()).await;
    for n in 0..15 {
        rig.ask(DEMO, send(format!("n {n}"))).await;
    }
    for _ in 0..15 {
        assert!(matches!(rig.outcome().await.body, OutcomeBody::Sent { .. }));
    }
    assert_eq!(rig.seen(DEMO), (0..15).map(|n| format!("n {n}")).collect::<Vec<_>>());
    rig.stop().await;
}

#[tokio::test]
async fn a_long_answer_is_split_and_hostile_text_stays_text() {
    let mut rig = Rig::ready(Plan::default()).await;
    let asked = rig.sandbox.twitch().say(Person::Ines, DEMO, "!long").unwrap();
    let action = rig.ask(DEMO, reply(&asked, "word ".repeat(300))).await;
    rig.outcome_of(&action).await;
    let lines = rig.sandbox.twitch().history(DEMO);
    let answers = &lines[1..];
    assert_eq!(answers.len(), 3);
    assert!(answers.iter().all(|line| line.reply_to.as_deref() == Some(asked.as_str())));
    assert!(answers[2].text.ends_with('…'));
    let action = rig.ask(DEMO, send("/disconnect\r\nJOIN #somewhere\r\n/ban olive")).await;
    rig.outcome_of(&action).await;
    assert_eq!(rig.seen(DEMO).pop().unwrap(), "\u{200B}/disconnect JOIN #somewhere /ban olive");
    assert_eq!(rig.sandbox.counters().get("twitch.irc.connect"), 1);
    rig.stop().await;
}

#[tokio::test]
async fn what_cannot_be_done_is_told() {
    let mut rig = Rig::ready(Plan::default()).await;
    let message = MessageId::new("m").unwrap();
    let unsupported = [
        ActionBody::Edit { message: message.clone(), content: Content::text("x") },
        ActionBody::React { message: message.clone(), emoji: "👍".to_owned() },
        ActionBody::Delete { message },
    ];
    for body in unsupported {
        let action = rig.ask(DEMO, body).await;
        assert_eq!(dropped(&rig.outcome_of(&action).await).0, DropReason::Unsupported);
    }
    let action = rig.ask(DEMO, send(" \r\n ")).await;
    assert_eq!(dropped(&rig.outcome_of(&action).await).0, DropReason::Invalid);
    let action = rig.ask_with(DEMO, send("late"), Delivery::AtMostOnce, Duration::ZERO).await;
    assert_eq!(dropped(&rig.outcome_of(&action).await).0, DropReason::Expired);
    rig.sandbox.twitch().timeout(QUIET, "vigie_bot", 600).unwrap();
    let action = rig.ask(QUIET, send("hello")).await;
    let outcome = rig.outcome_of(&action).await;
    let (reason, detail) = dropped(&outcome);
    assert_eq!(reason, DropReason::Forbidden);
    assert!(detail.contains("timed out") && detail.contains("msg_timedout"), "{detail}");
    rig.stop().await;
}

#[tokio::test]
async fn a_message_is_uncertain_when_the_connection_ends_before_it_is_confirmed() {
    let mut rig = Rig::ready(Plan::default()).await;
    rig.sandbox.twitch().faults().set_silent(true);
    let action = rig.ask(DEMO, send("who hears me")).await;
    rig.count("twitch.privmsg.in", 1).await;
    rig.sandbox.twitch().drop_connections();
    assert_eq!(dropped(&rig.outcome_of(&action).await).0, DropReason::Uncertain);
    rig.sandbox.twitch().faults().set_silent(false);
    rig.stop().await;
}

#[tokio::test]
async fn the_account_limit_is_kept_and_waiting_is_told() {
    let mut rig = Rig::ready(Plan::default()).await;
    // 20 messages in 30 s where the bot is like any viewer, and a second between two of them.
    for n in 0..3 {
        rig.ask_with(QUIET, send(format!("n {n}")), Delivery::AtMostOnce, Duration::from_secs(20)).await;
    }
    for _ in 0..3 {
        assert!(matches!(rig.outcome().await.body, OutcomeBody::Sent { .. }));
    }
    for round in 0..2 {
        for n in 0..15 {
            rig.ask(DEMO, send(format!("elevated {round} {n}"))).await;
        }
        for _ in 0..15 {
            assert!(matches!(rig.outcome().await.body, OutcomeBody::Sent { .. }));
        }
    }
    // What was said as a moderator counts for the viewer too.
    let action = rig.ask_with(QUIET, send("too much"), Delivery::AtMostOnce, Duration::from_secs(5)).await;
    let outcome = rig.outcome_of(&action).await;
    assert!(matches!(outcome, OutcomeBody::Queued { wait_ms } if wait_ms > 2000), "{outcome:?}");
    assert_eq!(dropped(&rig.outcome_of(&action).await).0, DropReason::RateLimited);
    assert_eq!(rig.sandbox.counters().get("twitch.privmsg.refused.msg_ratelimit"), 0);
    rig.stop().await;
}

#[tokio::test]
async fn the_same_words_twice_are_not_taken_for_a_repetition() {
    let mut rig = Rig::ready(Plan::default()).await;
    for _ in 0..2 {
        rig.say(QUIET, "pong").await;
    }
    assert_eq!(rig.sandbox.counters().get("twitch.privmsg.refused.msg_duplicate"), 0);
    rig.stop().await;
}

#[tokio::test]
async fn an_action_that_waited_for_the_gateway_is_done() {
    for variables in [Vec::new(), with_app()] {
        let mut plan = Plan { variables, ..Plan::default() };
        // The channel is the last to be joined.
        let names = plan.channels(10).join(",");
        plan.variables.push(("TWITCH_CHANNELS", format!("{names},{QUIET}")));
        let mut rig = Rig::start(plan).await;
        rig.say(QUIET, "I was away").await;
        rig.stop().await;
    }
}

#[tokio::test]
async fn a_channel_that_is_not_joined_is_not_spoken_in() {
    let mut rig =
        Rig::ready(Plan { variables: vec![("TWITCH_CHANNELS", DEMO.to_owned())], ..Plan::default() }).await;
    let action = rig.ask(QUIET, send("hello?")).await;
    let outcome = rig.outcome_of(&action).await;
    let (reason, detail) = dropped(&outcome);
    assert_eq!(reason, DropReason::NotFound);
    assert!(detail.contains("TWITCH_CHANNELS"), "{detail}");
    rig.stop().await;
}

#[tokio::test]
async fn when_twitch_says_too_much_nothing_more_is_said_for_a_while() {
    let mut plan = Plan::default();
    plan.sandbox.twitch.limits.messages = 1;
    plan.sandbox.twitch.limits.elevated_messages = 2;
    let mut rig = Rig::ready(plan).await;
    for n in 0..2 {
        rig.say(DEMO, format!("n {n}")).await;
    }
    for _ in 0..2 {
        let action = rig.ask_with(DEMO, send("more"), Delivery::AtMostOnce, Duration::from_secs(5)).await;
        let mut outcome = rig.outcome_of(&action).await;
        if matches!(outcome, OutcomeBody::Queued { .. }) {
            outcome = rig.outcome_of(&action).await;
        }
        assert_eq!(dropped(&outcome).0, DropReason::RateLimited);
    }
    assert_eq!(rig.sandbox.counters().get("twitch.privmsg.in"), 3);
    rig.stop().await;
}

#[tokio::test]
async fn what_still_waits_when_the_gateway_stops_is_left_to_the_next_one() {
    let variables = vec![("TWITCH_MESSAGES_PER_30S", "1".to_owned())];
    let mut rig = Rig::ready(Plan { variables, ..Plan::default() }).await;
    rig.say(QUIET, "said").await;
    let waiting = rig.ask_with(QUIET, send("unsaid"), Delivery::AtMostOnce, Duration::from_secs(600)).await;
    assert!(matches!(rig.outcome_of(&waiting).await, OutcomeBody::Queued { .. }));
    let bus = rig.nats.bus("next").await;
    rig.end().await;
    let partition = subject::partition(&waiting.channel);
    let mut left = bus.take_over(Queue::Actions(Platform::Twitch), partition, 1, || true).await.unwrap();
    let delivery = timeout(SOON, left.next()).await.unwrap();
    assert_eq!(delivery.decode::<Action>().unwrap(), waiting);
    assert_eq!(rig.seen(QUIET), ["said"]);
}

#[tokio::test]
async fn what_was_said_before_a_crash_still_counts() {
    let variables = vec![("TWITCH_MESSAGES_PER_30S", "1".to_owned())];
    let mut rig = Rig::ready(Plan { variables, ..Plan::default() }).await;
    rig.say(QUIET, "said").await;
    rig.kill_and_start().await;
    let action = rig.ask_with(QUIET, send("too soon"), Delivery::AtMostOnce, Duration::from_secs(5)).await;
    assert!(matches!(rig.outcome_of(&action).await, OutcomeBody::Queued { .. }));
    assert_eq!(dropped(&rig.outcome_of(&action).await).0, DropReason::RateLimited);
    assert_eq!(rig.seen(QUIET), ["said"]);
    rig.stop().await;
}

#[tokio::test]
async fn a_message_that_was_certainly_not_sent_waits_for_the_next_connection() {
    let mut rig = Rig::ready(Plan::default()).await;
    rig.sandbox.twitch().faults().refuse_logins(2);
    rig.sandbox.twitch().drop_connections();
    rig.until_reason("refuses the login").await;
    rig.say(DEMO, "still said").await;
    assert_eq!(rig.seen(DEMO), ["still said"]);
    rig.stop().await;
}

#[tokio::test]
async fn what_waits_when_the_gateway_stops_is_given_back_at_once() {
    // One is said, one waits for the limit, and the others behind it.
    const ASKED: usize = 18;
    let variables = vec![("TWITCH_MESSAGES_PER_30S", "1".to_owned())];
    let mut rig = Rig::ready(Plan { variables, ..Plan::default() }).await;
    let mut channel = None;
    for n in 0..ASKED {
        if n == 1 {
            assert!(matches!(rig.outcome().await.body, OutcomeBody::Sent { .. }));
        }
        let lives = Duration::from_secs(600);
        channel =
            Some(rig.ask_with(QUIET, send(format!("n {n}")), Delivery::AtMostOnce, lives).await.channel);
    }
    rig.until_counted("actions_total", 18.0).await;
    let bus = rig.nats.bus("next").await;
    rig.end().await;
    let partition = subject::partition(&channel.unwrap());
    let mut left = bus.take_over(Queue::Actions(Platform::Twitch), partition, ASKED, || true).await.unwrap();
    let all = async {
        let mut taken = HashMap::new();
        while taken.len() < ASKED - 1 {
            let delivery = left.next().await;
            taken.insert(delivery.decode::<Action>().unwrap().id, delivery);
        }
    };
    timeout(AT_ONCE, all).await.unwrap();
    assert_eq!(rig.seen(QUIET), ["n 0"]);
}

#[tokio::test]
async fn nothing_is_said_for_a_while_when_it_is_not_known_what_was() {
    let mut rig = Rig::ready(Plan::default()).await;
    let session = rig.bus.bucket(BucketName::Session).await.unwrap();
    let key = "twitch.vigie_bot.messages";
    testkit::eventually(SOON, || async {
        session.get::<serde_json::Value>(key).await.unwrap().ok_or("no page yet")
    })
    .await;
    session.put(key, &"nonsense").await.unwrap();
    rig.kill_and_start().await;
    let action = rig.ask_with(DEMO, send("too soon"), Delivery::AtMostOnce, Duration::from_secs(5)).await;
    assert!(matches!(rig.outcome_of(&action).await, OutcomeBody::Queued { .. }));
    assert_eq!(dropped(&rig.outcome_of(&action).await).0, DropReason::RateLimited);
    assert_eq!(rig.sandbox.counters().get("twitch.privmsg.in"), 0);
    rig.stop().await;
}
