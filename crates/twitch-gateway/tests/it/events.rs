//! Lines that become events.

use protocol::{EventBody, Rank};
use sandbox::people::Person;

use crate::rig::{DEMO, Plan, QUIET, Rig};

async fn a_command_becomes_one_event(plan: Plan) {
    let rig = Rig::ready(plan).await;
    let said = rig.sandbox.twitch().say(Person::Max, DEMO, "!echo hello").unwrap();
    let event = rig.commands(1).await.remove(0);
    assert_eq!(event.id.as_str(), format!("twitch:{said}"));
    assert_eq!(event.community.as_str(), rig.channel(DEMO).as_str());
    assert!(event.received_us / 1000 + 60_000 > event.at_ms, "{event:?}");
    let EventBody::Command(command) = event.body else { panic!("{event:?}") };
    assert_eq!((command.line(), command.prefix.as_str()), ("echo hello", "!"));
    assert_eq!((command.message.author.name.as_str(), command.message.author.rank), ("Max", Rank::Moderator));
    assert_eq!(command.message.channel, rig.channel(DEMO));
    rig.stop().await;
}

#[tokio::test]
async fn a_command_becomes_one_event_over_tcp() {
    a_command_becomes_one_event(Plan::default()).await;
}

#[tokio::test]
async fn a_command_becomes_one_event_over_websocket() {
    a_command_becomes_one_event(Plan { websocket: true, ..Plan::default() }).await;
}

#[tokio::test]
async fn chatter_travels_in_batches_and_commands_alone() {
    let rig = Rig::ready(Plan::default()).await;
    let twitch = rig.sandbox.twitch();
    for n in 0..300 {
        twitch.say(Person::Ines, QUIET, &format!("line {n}")).unwrap();
    }
    twitch.say(Person::Olive, QUIET, "!ping").unwrap();
    let command = rig.commands(1).await.remove(0);
    let EventBody::Command(command) = command.body else { panic!("{command:?}") };
    assert_eq!(command.message.author.rank, Rank::Owner);
    assert_eq!(rig.chatter(300).await, (0..300).map(|n| format!("line {n}")).collect::<Vec<_>>());
    rig.stop().await;
}

#[tokio::test]
async fn a_mass_gift_is_one_event() {
    let rig = Rig::ready(Plan::default()).await;
    let twitch = rig.sandbox.twitch();
    twitch.gift_many(DEMO, Person::Ines, 5).unwrap();
    twitch.gift(DEMO, Person::Ines, Person::Noor).unwrap();
    twitch.subscribe(DEMO, Person::Noor).unwrap();
    twitch.raid(DEMO, 42).unwrap();
    let events = rig.community(4).await;
    let EventBody::Gift(gift) = &events[0].body else { panic!("{events:?}") };
    assert_eq!((gift.count, gift.from.as_ref().unwrap().name.as_str()), (5, "Ines"));
    let EventBody::Subscription(given) = &events[1].body else { panic!("{events:?}") };
    assert_eq!((given.user.name.as_str(), given.gifted_by.as_ref().unwrap().name.as_str()), ("Noor", "Ines"));
    let EventBody::Subscription(own) = &events[2].body else { panic!("{events:?}") };
    assert_eq!((own.gifted_by.as_ref(), own.user.name.as_str()), (None, "Noor"));
    let EventBody::Raid(raid) = &events[3].body else { panic!("{events:?}") };
    assert_eq!(raid.viewers, 42);
    rig.until_counted("lines_passed_total.folded_gift", 5.0).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_line_of_another_channel_in_a_shared_chat_is_passed_by() {
    let rig = Rig::ready(Plan::default()).await;
    let room = rig.channel(DEMO);
    let shared = format!(
        "@badges=;display-name=X;id=shared-1;room-id={room};source-room-id=1;source-id=s;tmi-sent-ts=1;user-id=7 \
         :x!x@x.tmi.twitch.tv PRIVMSG #{DEMO} :!ping"
    );
    let here =
        shared.replace("source-room-id=1", &format!("source-room-id={room}")).replace("shared-1", "here-1");
    rig.sandbox.twitch().inject_raw(Some(DEMO), shared.as_bytes()).unwrap();
    rig.sandbox.twitch().inject_raw(Some(DEMO), here.as_bytes()).unwrap();
    let event = rig.commands(1).await.remove(0);
    assert_eq!(event.id.as_str(), "twitch:here-1");
    rig.until_counted("lines_passed_total.shared_chat", 1.0).await;
    rig.stop().await;
}

#[tokio::test]
async fn hostile_lines_are_survived_and_counted() {
    let rig = Rig::ready(Plan::default()).await;
    let twitch = rig.sandbox.twitch();
    let long = format!(":x!x@x PRIVMSG #{DEMO} :{}", "x".repeat(1 << 20));
    let tags = format!("@{} :x!x@x PRIVMSG #{DEMO} :hi", vec!["a=b"; 200].join(";"));
    twitch.inject_raw(Some(DEMO), long.as_bytes()).unwrap();
    twitch.inject_raw(Some(DEMO), tags.as_bytes()).unwrap();
    twitch.inject_raw(Some(DEMO), b"@id=1").unwrap();
    twitch.inject_raw(Some(DEMO), b"@a;b;c :x FROBNICATE #vigie_demo").unwrap();
    let room = rig.channel(DEMO);
    let mut bad =
        format!("@badges=;display-name=X;id=bad-1;room-id={room};user-id=7 :x!x@x PRIVMSG #{DEMO} :!a")
            .into_bytes();
    bad.extend_from_slice(b"\xff\xfe");
    twitch.inject_raw(Some(DEMO), &bad).unwrap();
    let event = rig.commands(1).await.remove(0);
    let EventBody::Command(command) = event.body else { panic!("{event:?}") };
    assert_eq!(command.line(), "a\u{fffd}\u{fffd}");
    rig.until_counted("lines_rejected_total.line_too_long", 1.0).await;
    rig.until_counted("lines_rejected_total.too_many_tags", 1.0).await;
    rig.until_counted("lines_rejected_total.shape", 1.0).await;
    assert_eq!(rig.sandbox.counters().get("twitch.irc.connect"), 1, "the connection was kept");
    rig.stop().await;
}

#[tokio::test]
async fn what_is_said_while_nats_is_away_is_stored_when_it_is_back() {
    let mut rig = Rig::ready(Plan::default()).await;
    rig.nats.kill();
    rig.until_reason("nats: ").await;
    for n in 0..1500 {
        rig.sandbox.twitch().say(Person::Noor, QUIET, &format!("away {n}")).unwrap();
    }
    rig.sandbox.twitch().say(Person::Noor, QUIET, "!ping").unwrap();
    rig.nats.resume().await;
    rig.until_ready().await;
    assert_eq!(rig.commands(1).await.len(), 1);
    assert_eq!(rig.chatter(1500).await.len(), 1500);
    rig.stop().await;
}

#[tokio::test]
async fn the_last_events_reach_nats_before_the_gateway_ends() {
    let mut rig = Rig::ready(Plan::default()).await;
    rig.sandbox.twitch().say(Person::Noor, QUIET, "the last word").unwrap();
    rig.until_counted("events_total", 1.0).await;
    rig.end().await;
    rig.count("twitch.irc.disconnect", 1).await;
    assert_eq!(rig.chatter(1).await, ["the last word"]);
}
