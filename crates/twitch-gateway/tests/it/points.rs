//! One of two gateways that read a channel dies at each point of publishing what was said there: the other
//! has heard it too, and it comes once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bus::Subscription;
use protocol::{Batch, Event, EventBody};
use sandbox::people::Person;
use testkit::{Point, Wire, eventually};
use tokio::{task::JoinSet, time::timeout};
use twitch_gateway::Config;

use crate::rig::{DEMO, Gateway, Plan, QUIET, Rig, SOON};

/// What is said, and where one of those who read it dies. Of the two, one publishes the chatter of a
/// channel, and of each of the channels another one: in both something is said.
fn points() -> [(&'static str, &'static str, Point); 6] {
    [
        ("!command", "event.>", Point::before("PUB event.>")),
        ("!command", "event.>", Point::after("PUB event.>")),
        ("!command", "event.>", Point::after("MSG _INBOX_twitch-gateway.>").holding(r#""stream":"EVENTS""#)),
        ("chatter", "chatter.*", Point::before("PUB chatter.>")),
        ("chatter", "chatter.*", Point::after("PUB chatter.>")),
        (
            "chatter",
            "chatter.*",
            Point::after("MSG _INBOX_twitch-gateway.>").holding(r#""stream":"CHATTER""#),
        ),
    ]
}

#[tokio::test]
async fn what_two_read_comes_once_wherever_one_of_them_is_killed() {
    all(points().map(|(text, subject, point)| (text, subject, point, false))).await;
}

#[tokio::test]
async fn what_two_read_comes_once_wherever_one_of_them_stands_still_and_goes_on_later() {
    all(points().map(|(text, subject, point)| (text, subject, point.frozen(), true))).await;
}

async fn all(cases: impl IntoIterator<Item = (&'static str, &'static str, Point, bool)>) {
    let mut running = JoinSet::new();
    for (text, subject, point, thaws) in cases {
        running.spawn(Box::pin(die(text, subject, point, thaws)));
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
}

async fn die(text: &str, subject: &str, point: Point, thaws: bool) {
    let name = format!("{text}: {point:?}");
    let mut rig = Rig::ready(Plan::default()).await;
    let wire = Wire::start(&rig.nats).await;
    let config = Config { nats: service::NatsLogin::at(wire.url()), ..rig.config().clone() };
    let mut other = Gateway::start(&config, "two");
    other.until_ready().await;
    for ctx in [&rig.ctx, &other.ctx] {
        eventually(SOON, || async {
            let joined = ctx.metrics.snapshot().get("channels_joined").copied();
            if joined == Some(2.0) { Ok(()) } else { Err(joined) }
        })
        .await;
    }
    let mut ear = rig.bus.subscribe(subject).await.unwrap();
    rig.bus.round_trip().await;

    wire.die(point);
    let said = [DEMO, QUIET].map(|channel| format!("{text} in {channel}"));
    for (channel, text) in [DEMO, QUIET].iter().zip(&said) {
        rig.sandbox.twitch().say(Person::Ines, channel, text).unwrap();
    }
    wire.died(SOON).await;
    let mut heard = BTreeMap::new();
    if !thaws {
        drop(other);
        listen(&mut ear, &mut heard, said.len()).await;
    } else {
        listen(&mut ear, &mut heard, said.len()).await;
        wire.thaw();
        other.end().await;
    }
    rig.end().await;
    listen(&mut ear, &mut heard, 0).await;

    let texts: BTreeSet<_> = heard.values().flatten().cloned().collect();
    assert_eq!(texts, said.into(), "{name}");
    if subject == "chatter.*" {
        // A line is in one batch alone.
        assert_eq!(heard.values().flatten().count(), texts.len(), "{name}: {heard:?}");
    } else {
        let backlogs = bus::backlogs(&rig.bus).await;
        let events = backlogs.iter().find(|backlog| backlog.stream == "EVENTS").map(|it| it.messages);
        assert_eq!(events, Some(2), "{name}: {heard:?}");
    }
}

/// Hears what is published until there are so many texts, and then what is there already; by message, of
/// which one that is published again is the same.
async fn listen(ear: &mut Subscription, heard: &mut BTreeMap<String, Vec<String>>, wanted: usize) {
    loop {
        let so_far = heard.values().flatten().collect::<BTreeSet<_>>().len();
        let patience = if so_far < wanted { SOON } else { Duration::from_millis(100) };
        let Ok(incoming) = timeout(patience, ear.next()).await else {
            assert!(so_far >= wanted, "only {heard:?}");
            return;
        };
        let incoming = incoming.expect("the connection lasts");
        let events = match incoming.decode::<Batch>() {
            Ok(batch) => batch.events,
            Err(_) => vec![incoming.decode::<Event>().unwrap()],
        };
        let id = events.iter().map(|event| event.id.as_str()).collect::<Vec<_>>().join(" ");
        let texts = events.into_iter().map(|event| match event.body {
            EventBody::Message(message) => message.text,
            EventBody::Command(command) => command.message.text,
            other => panic!("{other:?}"),
        });
        heard.insert(id, texts.collect());
    }
}
