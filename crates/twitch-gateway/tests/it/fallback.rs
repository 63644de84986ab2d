//! Messages go by chat while Twitch's API fails, and by the API again when it works.

use std::time::{Duration, Instant};

use protocol::{DropReason, OutcomeBody};
use sandbox::{people::Person, twitch::Change};
use testkit::Proxy;
use tokio::time::interval;

use crate::rig::{DEMO, Plan, QUIET, Rig, SOON, dropped, reply, send, with_app};

/// Channels in which is spoken at the same time: so many messages can be on their way when a fault begins.
const CHANNELS: usize = 4;
/// Between two messages, so that the account's limit does not matter.
const PAUSE: Duration = Duration::from_millis(200);
/// Messages that are asked for while the API fails.
const REPLIES: usize = 20;

fn channel(number: usize) -> String {
    format!("channel_{number:04}")
}

/// A bot that may speak by the API in all channels, and is moderator there.
fn plan() -> Plan {
    let mut plan = Plan { variables: with_app(), ..Plan::default() };
    let names = plan.channels(CHANNELS);
    plan.sandbox.twitch.moderators = names.into_iter().map(|name| (name, "vigie_bot".to_owned())).collect();
    plan
}

/// What became of the replies of a stretch.
struct Stretch {
    sent: usize,
    /// Dropped, because nobody knows whether they were sent.
    uncertain: usize,
    seen: Vec<String>,
}

/// Asks for replies in all channels at once.
async fn replies(rig: &mut Rig, part: &str) -> Stretch {
    for n in 0..REPLIES {
        let channel = channel(n % CHANNELS);
        let asked = rig.sandbox.twitch().say(Person::Ines, &channel, "!ping").unwrap();
        rig.ask(&channel, reply(&asked, format!("{part} {n}"))).await;
    }
    let mut stretch = Stretch { sent: 0, uncertain: 0, seen: Vec::new() };
    for _ in 0..REPLIES {
        match rig.outcome().await.body {
            OutcomeBody::Sent { .. } => stretch.sent += 1,
            OutcomeBody::Dropped { reason: DropReason::Uncertain, .. } => stretch.uncertain += 1,
            other => panic!("{other:?}"),
        }
    }
    let lines = (0..CHANNELS).flat_map(|n| rig.sandbox.twitch().history(&channel(n)));
    let answers = lines.filter(|line| line.text.starts_with(part));
    stretch.seen = answers
        .inspect(|line| assert!(line.reply_to.is_some(), "it stands below its question: {line:?}"))
        .map(|line| line.text)
        .collect();
    stretch
}

/// Speaks until a message has gone by the API.
async fn until_by_the_api(rig: &mut Rig) {
    let (begun, mut pace) = (Instant::now(), interval(PAUSE));
    let by_api = |rig: &Rig| rig.counted("messages_sent_total.helix");
    let before = by_api(rig);
    for n in 0.. {
        pace.tick().await;
        rig.say(&channel(0), format!("back {n}")).await;
        if by_api(rig) > before {
            break;
        }
        assert!(begun.elapsed() < SOON, "the API is not used again");
    }
    assert!(rig.ctx.health.readiness().reason.is_empty());
}

/// How many replies may be lost, and how many lines seen although nobody knew.
async fn fails(rig: &mut Rig, uncertain: std::ops::RangeInclusive<usize>, done: bool) {
    let stretch = replies(rig, "failing").await;
    assert_eq!(stretch.sent + stretch.uncertain, REPLIES);
    assert!(uncertain.contains(&stretch.uncertain), "{}", stretch.uncertain);
    let mut once = stretch.seen.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), stretch.seen.len(), "none twice: {:?}", stretch.seen);
    let seen = if done { REPLIES } else { stretch.sent };
    assert_eq!(stretch.seen.len(), seen);
    let readiness = rig.ctx.health.readiness();
    assert!(readiness.ready && readiness.reason.contains("api: messages go by chat"), "{readiness:?}");
    assert_eq!(rig.counted("api_failures_total"), 1.0);
}

async fn works(rig: &mut Rig) {
    let stretch = replies(rig, "well").await;
    assert_eq!((stretch.sent, stretch.seen.len()), (REPLIES, REPLIES));
    assert_eq!(rig.counted("messages_sent_total.helix"), REPLIES as f64);
}

#[tokio::test]
async fn an_api_that_fails_costs_the_messages_on_their_way() {
    for done in [false, true] {
        let mut rig = Rig::ready(plan()).await;
        works(&mut rig).await;
        let failing = Change {
            helix_status: Some(500),
            helix_failures: Some(u32::MAX),
            helix_done: Some(done),
            ..Change::default()
        };
        rig.sandbox.twitch().faults().set(failing);
        fails(&mut rig, 1..=CHANNELS, done).await;
        rig.sandbox.twitch().faults().clear();
        until_by_the_api(&mut rig).await;
        rig.stop().await;
    }
}

#[tokio::test]
async fn an_api_that_does_not_answer_costs_the_messages_on_their_way() {
    let mut rig = Rig::ready(plan()).await;
    works(&mut rig).await;
    rig.sandbox.twitch().faults().set(Change {
        helix_slow_ms: Some(60_000),
        helix_done: Some(true),
        ..Change::default()
    });
    fails(&mut rig, 1..=CHANNELS, true).await;
    rig.sandbox.twitch().faults().clear();
    until_by_the_api(&mut rig).await;
    rig.stop().await;
}

#[tokio::test]
async fn an_api_that_closes_its_connections_costs_the_messages_on_their_way() {
    let mut rig = Rig::ready(Plan { proxied: true, ..plan() }).await;
    works(&mut rig).await;
    rig.links.as_ref().unwrap().http.cut();
    fails(&mut rig, 1..=CHANNELS, false).await;
    rig.links.as_ref().unwrap().http.resume();
    until_by_the_api(&mut rig).await;
    rig.stop().await;
}

#[tokio::test]
async fn an_api_that_cannot_be_reached_costs_nothing() {
    let nobody = testkit::free_port();
    // It accepts connections, and ends them at the first word.
    let no_tls = Proxy::start(format!("127.0.0.1:{nobody}")).await;
    for url in [format!("http://127.0.0.1:{nobody}"), format!("https://{}", no_tls.address())] {
        let mut plan = plan();
        plan.variables.push(("TWITCH_API_URL", url));
        let mut rig = Rig::ready(plan).await;
        fails(&mut rig, 0..=0, false).await;
        rig.stop().await;
    }
}

#[tokio::test]
async fn an_api_that_is_used_up_costs_nothing() {
    let mut rig = Rig::ready(plan()).await;
    works(&mut rig).await;
    // Its bucket is full again in a minute, which is what Twitch tells, and too late for any reply.
    rig.sandbox.twitch().faults().fail_helix(429, u32::MAX);
    fails(&mut rig, 0..=0, false).await;
    rig.sandbox.twitch().faults().clear();
    until_by_the_api(&mut rig).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_message_that_changes_its_way_is_counted_once() {
    let mut plan = Plan { variables: with_app(), ..Plan::default() };
    plan.sandbox.twitch.channel_bot.push(QUIET.to_owned());
    plan.variables.push(("TWITCH_MESSAGES_PER_30S", "1".to_owned()));
    plan.variables.push(("TWITCH_API_URL", format!("http://127.0.0.1:{}", testkit::free_port())));
    let mut rig = Rig::ready(plan).await;
    rig.say(QUIET, "at once").await;
    assert_eq!(rig.seen(QUIET), ["at once"]);
    rig.stop().await;
}

#[tokio::test]
async fn where_chat_is_away_too_what_comes_back_first_is_used() {
    let mut rig = Rig::ready(Plan { variables: with_app(), ..Plan::default() }).await;
    rig.sandbox.twitch().faults().fail_helix(500, 1);
    let action = rig.ask(DEMO, send("lost")).await;
    assert_eq!(dropped(&rig.outcome_of(&action).await).0, DropReason::Uncertain);
    rig.sandbox.twitch().faults().refuse_logins(u32::MAX);
    rig.sandbox.twitch().drop_connections();
    rig.until_reason("refuses the login").await;
    rig.say(DEMO, "by the API").await;
    assert_eq!(rig.sandbox.counters().get("twitch.privmsg.in.helix"), 1);
    rig.stop().await;
}
