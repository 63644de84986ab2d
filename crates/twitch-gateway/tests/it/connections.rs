//! Connections that end, in all the ways they do.

use std::time::Duration;

use sandbox::people::Person;
use twitch_gateway::Timing;

use crate::rig::{DEMO, Plan, QUIET, Rig, send};

fn watchful() -> Plan {
    let plan = Plan::default();
    let (ping_every, pong_within) = (Duration::from_millis(100), Duration::from_millis(200));
    Plan { timing: Timing { ping_every, pong_within, ..plan.timing }, ..plan }
}

/// Speaks, and waits until it was heard: everything before it was, too.
async fn is_heard(rig: &Rig, text: &str) {
    rig.sandbox.twitch().say(Person::Noor, QUIET, text).unwrap();
    assert_eq!(rig.chatter(1).await, [text]);
}

#[tokio::test]
async fn a_lost_connection_comes_back_with_all_its_channels() {
    let rig = Rig::ready(Plan::default()).await;
    for n in 1..=3 {
        rig.sandbox.twitch().drop_connections();
        rig.count("twitch.irc.joined", 2 * (n + 1)).await;
        rig.until_ready().await;
        is_heard(&rig, &format!("back {n}")).await;
    }
    rig.until_counted("disconnects_total.by_twitch", 3.0).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_new_connection_has_joined_before_the_old_one_ends() {
    let mut plan = Plan::default();
    plan.sandbox.twitch.reconnect_grace = Duration::from_millis(700);
    let mut rig = Rig::ready(plan).await;
    let twitch = rig.sandbox.twitch().clone();
    let talk = tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        for n in 0..300 {
            pace.tick().await;
            twitch.say(Person::Noor, QUIET, &format!("n {n}")).unwrap();
        }
    });
    rig.sandbox.twitch().reconnect_all();
    rig.count("twitch.irc.joined", 4).await;
    assert_eq!(rig.sandbox.counters().get("twitch.irc.disconnect"), 0, "joined before the old one ended");
    assert!(rig.ctx.health.readiness().ready, "{:?}", rig.ctx.health.readiness());
    let action = rig.ask(DEMO, send("I am still here")).await;
    rig.outcome_of(&action).await;
    talk.await.unwrap();
    rig.count("twitch.irc.disconnect", 1).await;
    assert_eq!(rig.chatter(300).await, (0..300).map(|n| format!("n {n}")).collect::<Vec<_>>());
    rig.until_counted("lines_passed_total.duplicate", 1.0).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_connection_that_ends_at_once_is_replaced_without_a_pause() {
    let mut plan = Plan::default();
    plan.sandbox.twitch.reconnect_grace = Duration::ZERO;
    plan.timing.retry_first = Duration::from_secs(3600);
    let rig = Rig::ready(plan).await;
    rig.sandbox.twitch().reconnect_all();
    rig.count("twitch.irc.joined", 4).await;
    rig.until_ready().await;
    is_heard(&rig, "at once").await;
    rig.stop().await;
}

#[tokio::test]
async fn a_connection_that_is_only_half_open_is_found() {
    let rig = Rig::ready(watchful()).await;
    rig.sandbox.twitch().faults().set_silent(true);
    rig.until_counted("disconnects_total.silent", 1.0).await;
    rig.until_reason("twitch: ").await;
    rig.sandbox.twitch().faults().set_silent(false);
    // A login that was not answered is given up after 10 s.
    rig.sandbox.twitch().drop_connections();
    rig.until_ready().await;
    is_heard(&rig, "there you are").await;
    rig.stop().await;
}

#[tokio::test]
async fn a_twitch_that_does_not_answer_pings_is_left() {
    let rig = Rig::ready(watchful()).await;
    rig.count("twitch.irc.pong", 3).await;
    assert_eq!(rig.sandbox.counters().get("twitch.irc.connect"), 1);
    rig.sandbox.twitch().faults().set_mute_pong(true);
    rig.count("twitch.irc.connect", 2).await;
    rig.sandbox.twitch().faults().set_mute_pong(false);
    rig.until_ready().await;
    is_heard(&rig, "hello").await;
    rig.stop().await;
}

#[tokio::test]
async fn pings_of_twitch_are_answered() {
    let mut plan = Plan::default();
    plan.sandbox.twitch.ping_every = Duration::from_millis(50);
    plan.sandbox.twitch.pong_within = Duration::from_millis(500);
    let rig = Rig::ready(plan).await;
    rig.count("twitch.irc.pong_received", 3).await;
    assert_eq!(rig.sandbox.counters().get("twitch.irc.connect"), 1);
    rig.stop().await;
}

#[tokio::test]
async fn a_channel_that_lets_nobody_in_keeps_nobody_out() {
    let variables = vec![("TWITCH_CHANNELS", format!("nobody_here,{QUIET}"))];
    let rig = Rig::ready(Plan { variables, ..Plan::default() }).await;
    assert_eq!(rig.counted("channels_joined"), 1.0);
    is_heard(&rig, "hello").await;
    rig.stop().await;
}

#[tokio::test]
async fn more_channels_than_a_connection_takes_get_several() {
    let mut plan = Plan::default();
    // The tempo of joins is what `limits` proves; here it would only cost time.
    plan.channels(91);
    let rig = Rig::start(plan).await;
    rig.count("twitch.irc.login", 2).await;
    rig.count("twitch.irc.joined", 18).await;
    assert_eq!(rig.sandbox.counters().get("twitch.irc.join_refused"), 0);
    assert!(rig.until_reason("twitch: ").await.contains("joining channels"));
    rig.stop().await;
}
