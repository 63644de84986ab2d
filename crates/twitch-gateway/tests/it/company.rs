//! Several gateways of one account: what they read, say and are allowed to, together.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bus::{Bus, Queue, Stream};
use protocol::{Batch, Delivery, Event, EventBody, OutcomeBody};
use sandbox::people::Person;
use testkit::Everything;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::rig::{DEMO, Gateway, Plan, QUIET, Rig, SOON, send};

/// Another takes over within that time.
const TAKE_OVER: Duration = Duration::from_secs(5);
/// Between two commands that are said.
const PAUSE: Duration = Duration::from_millis(5);

/// Hears all that the gateways give, for ever, and how often.
struct Ear {
    heard: watch::Receiver<BTreeMap<String, u32>>,
    hearing: JoinHandle<()>,
}

impl Ear {
    fn start(stream: Stream, mut taken: Everything) -> Self {
        let (hear, heard) = watch::channel(BTreeMap::new());
        let hearing = tokio::spawn(async move {
            loop {
                let delivery = taken.next().await;
                delivery.ack_sync().await.unwrap();
                let events = match stream {
                    Stream::Chatter => delivery.decode::<Batch>().unwrap().events,
                    _ => vec![delivery.decode::<Event>().unwrap()],
                };
                for event in events {
                    let text = match event.body {
                        EventBody::Message(message) => message.text,
                        EventBody::Command(command) => command.message.text,
                        other => panic!("{other:?}"),
                    };
                    hear.send_modify(|heard| *heard.entry(text).or_insert(0) += 1);
                }
            }
        });
        Self { heard, hearing }
    }

    /// What was heard, once all that was said is, or when it does not come any more.
    async fn end<'a>(mut self, said: impl Iterator<Item = &'a String> + Clone) -> BTreeMap<String, u32> {
        let all = self.heard.wait_for(|heard| said.clone().all(|text| heard.contains_key(text)));
        // What did not come is told by who judges.
        let _ = timeout(SOON, all).await;
        self.hearing.abort();
        self.heard.borrow().clone()
    }
}

/// Hears commands and chatter, and judges what was lost or told twice.
struct Ears {
    commands: Ear,
    chatter: Ear,
}

impl Ears {
    async fn start(bus: &Bus) -> Self {
        Self {
            commands: Ear::start(Stream::Events, Everything::of(bus, Queue::Commands, 64).await),
            chatter: Ear::start(
                Stream::Chatter,
                Everything::shared(bus, Stream::Chatter, "chatter", 64).await,
            ),
        }
    }

    async fn judge(self, said: &[(String, String)]) {
        let (commands, lines) = (said.iter().map(|said| &said.0), said.iter().map(|said| &said.1));
        let heard = self.commands.end(commands.clone()).await;
        assert_eq!(judge(commands, &heard), (vec![], 0));
        let heard = self.chatter.end(lines.clone()).await;
        let (lost, doubled) = judge(lines, &heard);
        assert_eq!(lost, Vec::<&String>::new());
        // None was seen; what the dead one told right before may come late on a busy machine.
        assert!(doubled < 50, "{doubled} of {}", said.len());
    }
}

/// Says a command and a line in both channels, again and again, until the time is over.
async fn talk(rig: &Rig, part: &str, time: Duration) -> Vec<(String, String)> {
    talk_in(rig, &[DEMO, QUIET], part, time).await
}

/// Says a command and a line in some channels, again and again, until the time is over.
async fn talk_in(rig: &Rig, channels: &[&str], part: &str, time: Duration) -> Vec<(String, String)> {
    let (mut said, begun, mut tick) = (Vec::new(), Instant::now(), interval(PAUSE * channels.len() as u32));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while begun.elapsed() < time {
        tick.tick().await;
        for channel in channels {
            let (command, line) =
                (format!("!{part} {channel} {}", said.len()), format!("{part} {channel} {}", said.len()));
            rig.sandbox.twitch().say(Person::Ines, channel, &command).unwrap();
            rig.sandbox.twitch().say(Person::Noor, channel, &line).unwrap();
            said.push((command, line));
        }
    }
    said
}

/// What is said of what was heard: lost, and told more than once.
fn judge<'a>(
    said: impl Iterator<Item = &'a String>,
    heard: &BTreeMap<String, u32>,
) -> (Vec<&'a String>, usize) {
    let lost = said.filter(|text| !heard.contains_key(*text)).collect();
    (lost, heard.values().filter(|count| **count > 1).count())
}

/// Two gateways that read both channels.
async fn two(plan: Plan) -> (Rig, Gateway) {
    let rig = Rig::ready(plan).await;
    let other = rig.another("two").await;
    (rig, other)
}

/// Speaks in both channels and gives the time until the last was answered.
async fn all_answer(rig: &mut Rig) -> Duration {
    let begun = Instant::now();
    for channel in [DEMO, QUIET] {
        let action = rig.ask(channel, send(format!("at {begun:?}"))).await;
        let outcome = timeout(TAKE_OVER * 2, rig.outcome_of(&action)).await.unwrap();
        assert!(matches!(outcome, OutcomeBody::Sent { .. }), "{outcome:?}");
    }
    begun.elapsed()
}

#[tokio::test]
async fn nothing_is_lost_or_told_twice_when_either_of_two_is_killed() {
    let (mut rig, other) = two(Plan::default()).await;
    let ears = Ears::start(&rig.bus).await;
    let mut said = talk(&rig, "both", Duration::from_secs(1)).await;
    rig.kill().await;
    said.extend(talk(&rig, "one killed", TAKE_OVER).await);
    let took = all_answer(&mut rig).await;
    assert!(took < Duration::from_secs(3), "{took:?}");

    let mut again = rig.another("one").await;
    said.extend(talk(&rig, "both again", Duration::from_secs(1)).await);
    drop(other);
    let killed = Instant::now();
    said.extend(talk(&rig, "two killed", Duration::from_millis(200)).await);
    all_answer(&mut rig).await;
    // With a second for a busy machine.
    assert!(killed.elapsed() < TAKE_OVER + Duration::from_secs(1), "{:?}", killed.elapsed());
    said.extend(talk(&rig, "two dead", TAKE_OVER).await);
    again.end().await;

    ears.judge(&said).await;
    rig.sandbox.stop().await;
}

#[tokio::test]
async fn a_planned_stop_hands_over_without_a_missed_line() {
    let (mut rig, mut other) = two(Plan::default()).await;
    let ears = Ears::start(&rig.bus).await;
    let mut said = talk(&rig, "both", Duration::from_secs(1)).await;
    rig.ctx.shutdown.cancel();
    said.extend(talk(&rig, "one stops", Duration::from_millis(200)).await);
    let took = all_answer(&mut rig).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    rig.ended().await.unwrap();
    said.extend(talk(&rig, "one stopped", Duration::from_secs(2)).await);
    // Another comes, and before it has said that it is there the last one of the others goes.
    let mut next = Gateway::start(rig.config(), "three");
    rig.count("twitch.irc.login", 3).await;
    other.ctx.shutdown.cancel();
    said.extend(talk(&rig, "two stops", Duration::from_secs(3)).await);
    other.ended().await.unwrap();
    next.until_ready().await;
    next.end().await;

    ears.judge(&said).await;
    rig.sandbox.stop().await;
}

#[tokio::test]
async fn the_limit_of_the_account_is_kept_by_all_together() {
    const CHANNELS: usize = 8;
    let mut plan = Plan::default();
    let names = plan.channels(CHANNELS);
    let (mut rig, mut other) = two(plan).await;
    for n in 0..40 {
        let channel = names[n % CHANNELS].clone();
        rig.ask_with(&channel, send(format!("n {n}")), Delivery::AtMostOnce, Duration::from_secs(120)).await;
    }
    let mut sent = 0;
    while sent < 20 {
        sent += u32::from(matches!(rig.outcome().await.body, OutcomeBody::Sent { .. }));
    }
    rig.until_counted("actions_total", 1.0).await;
    assert!(other.counted("actions_total") > 0.0, "both had something to say");
    // One dies; the other takes what it had, and knows what it has said.
    rig.kill().await;
    let killed = Instant::now();
    testkit::eventually(SOON, || async {
        let taken = other.counted("actions_total");
        if taken >= 40.0 - 20.0 && killed.elapsed() > TAKE_OVER { Ok(()) } else { Err(taken) }
    })
    .await;
    let counters = rig.sandbox.counters();
    assert_eq!(counters.get("twitch.privmsg.in"), 20, "{:?}", counters.all());
    let mut again = rig.another("one").await;
    let begun = Instant::now();
    // The next come when the first ones are out of the window.
    while sent < 28 {
        let outcome = timeout(Duration::from_secs(40), rig.any_outcome()).await.unwrap();
        sent += u32::from(matches!(outcome.body, OutcomeBody::Sent { .. }));
    }
    assert!(begun.elapsed() > Duration::from_secs(10), "{:?}", begun.elapsed());
    let refused: Vec<_> =
        rig.sandbox.counters().all().into_iter().filter(|(name, _)| name.contains("refused")).collect();
    assert_eq!(refused.iter().map(|(_, count)| count).sum::<u64>(), 0, "{refused:?}");
    again.end().await;
    other.end().await;
    rig.sandbox.stop().await;
}

#[tokio::test]
async fn of_three_two_read_a_channel_and_all_can_speak() {
    // As many as three gateways may join at once.
    const CHANNELS: usize = 6;
    let mut plan = Plan::default();
    let names = plan.channels(CHANNELS);
    plan.timing.part_after = Duration::from_millis(200);
    plan.sandbox.twitch.limits = sandbox::twitch::Limits::none();
    let mut rig = Rig::ready(plan).await;
    let (mut two, three) = (rig.another("two").await, rig.another("three").await);
    rig.count("twitch.irc.part", 1).await;
    for (n, channel) in names.iter().enumerate() {
        rig.sandbox.twitch().say(Person::Ines, channel, &format!("!n {n}")).unwrap();
        rig.say(channel, format!("answer {n}")).await;
    }
    assert_eq!(rig.commands(CHANNELS).await.len(), CHANNELS);
    let joined = |gateway: &Gateway| gateway.counted("channels_joined");
    testkit::eventually(SOON, || async {
        let joined = [&rig, &two, &three].map(joined);
        // Two read each; some are joined by the third, to speak.
        let all: f64 = joined.iter().sum();
        if (2.0 * CHANNELS as f64..3.0 * CHANNELS as f64).contains(&all) { Ok(()) } else { Err(joined) }
    })
    .await;
    drop(three);
    // The two that are left read everything.
    testkit::eventually(SOON * 2, || async {
        let joined = [&rig, &two].map(joined);
        if joined.iter().all(|joined| *joined == CHANNELS as f64) { Ok(()) } else { Err(joined) }
    })
    .await;
    two.end().await;
    rig.stop().await;
}

#[tokio::test]
async fn nothing_is_lost_while_those_who_take_over_still_join() {
    // The second and the third may join only some at once, and the rest 11 s later.
    const CHANNELS: usize = 12;
    let mut plan = Plan::default();
    let names = plan.channels(CHANNELS);
    plan.timing.part_after = Duration::from_millis(200);
    let mut rig = Rig::ready(plan).await;
    let ears = Ears::start(&rig.bus).await;
    let (mut two, mut three) = (Gateway::start(rig.config(), "two"), Gateway::start(rig.config(), "three"));
    let channels: Vec<_> = names.iter().map(String::as_str).collect();
    let mut said = talk_in(&rig, &channels, "they come", Duration::from_secs(4)).await;
    assert_eq!(rig.sandbox.counters().get("twitch.irc.part"), 0, "nobody leaves before others have joined");
    two.until_ready().await;
    three.until_ready().await;
    rig.count("twitch.irc.part", 1).await;
    said.extend(talk_in(&rig, &channels, "they are here", Duration::from_millis(500)).await);
    rig.end().await;
    two.end().await;
    three.end().await;
    ears.judge(&said).await;
}

#[tokio::test]
async fn one_that_is_started_again_under_its_name_goes_on_at_once() {
    let (mut rig, mut other) = two(Plan::default()).await;
    all_answer(&mut rig).await;
    rig.kill_and_start().await;
    let took = all_answer(&mut rig).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    other.end().await;
    rig.stop().await;
}

#[tokio::test]
async fn what_another_gateway_has_just_said_is_said_all_the_same() {
    let mut rig = Rig::ready(Plan::default()).await;
    for _ in 0..2 {
        rig.say(QUIET, "hello").await;
        rig.kill_and_start().await;
    }
    let seen = rig.seen(QUIET);
    assert_eq!((seen.len(), seen[0].as_str()), (2, "hello"));
    assert!(seen[1].starts_with("hello") && seen[1] != seen[0]);
    assert_eq!(rig.sandbox.counters().get("twitch.privmsg.refused.msg_duplicate"), 1);
    rig.stop().await;
}

#[tokio::test]
async fn of_two_processes_with_one_name_the_first_ends() {
    let mut rig = Rig::ready(Plan::default()).await;
    let mut other = rig.another("one").await;
    assert!(rig.ended().await.unwrap_err().to_string().contains("VIGIE_INSTANCE"));
    other.end().await;
    rig.sandbox.stop().await;
}

#[tokio::test]
async fn without_nats_all_channels_are_kept_and_nothing_is_done() {
    let (mut rig, mut other) = two(Plan::default()).await;
    rig.nats.kill();
    rig.until_reason("lease: NATS has not confirmed").await;
    rig.nats.resume().await;
    rig.until_ready().await;
    other.until_ready().await;
    all_answer(&mut rig).await;
    assert_eq!(rig.sandbox.counters().get("twitch.irc.part"), 0);
    assert_eq!(rig.sandbox.counters().get("twitch.irc.joined"), 4);
    other.end().await;
    rig.stop().await;
}
