//! Actions are carried out once, in order, under the limits, and each has an outcome.

use std::{sync::Arc, time::Duration};

use actions::Carried;
use axum::{Json, Router, http::StatusCode, routing::post};
use bus::{Message, Queue, Subscription};
use discord_gateway::{
    execute::Executor,
    rest::{Counts, Rest, silently},
};
use protocol::{
    Action, ActionBody, Button, ButtonStyle, Card, ChannelId, CommunityId, Content, Delivery, DropReason,
    EventId, MessageId, Outcome, OutcomeBody, Platform, VERSION, subject,
};
use sandbox::{discord::RestFault, people::Person};
use serde_json::{Value, json};
use service::clock::{unix_ms, unix_us};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::rig::{Gateway, LONG, Rig};

fn action(rig: &Rig, event: &str, n: u32, body: ActionBody) -> Action {
    let cause = EventId::of_platform(Platform::Discord, event).unwrap();
    Action {
        v: VERSION,
        id: cause.action(n),
        platform: Platform::Discord,
        community: CommunityId::new(rig.guild()).unwrap(),
        channel: ChannelId::new(rig.general()).unwrap(),
        cause,
        cause_received_us: unix_us(),
        expires_at_ms: unix_ms() + 30_000,
        delivery: Delivery::AtMostOnce,
        body,
    }
}

/// `copy` makes the bus take the same action again, as after a lost acknowledgement.
async fn publish(rig: &Rig, action: &Action, copy: u32) {
    let subject = subject::action(Platform::Discord, &action.channel, &action.community);
    rig.bus.store(&Message::new(subject, format!("{}#{copy}", action.id), action).unwrap()).await.unwrap();
}

async fn outcome(outcomes: &mut Subscription) -> Outcome {
    let incoming = timeout(LONG, outcomes.next()).await.expect("an outcome comes").unwrap();
    incoming.decode().unwrap()
}

fn say(text: &str) -> ActionBody {
    ActionBody::Send { content: Content::text(text) }
}

#[tokio::test]
async fn a_reply_is_sent_once_even_when_it_is_delivered_twice() {
    let rig = Rig::start().await;
    let mut outcomes = rig.bus.subscribe("outcome.>").await.unwrap();
    rig.bus.round_trip().await;
    let gateway = rig.gateway().await;
    let asked = rig.sandbox.discord().say(Person::Ines, &rig.general(), "!ping").unwrap();
    let content = Content {
        text: "pong @everyone".to_owned(),
        card: Some(Card { title: "Legs".to_owned(), ..Card::default() }),
        buttons: vec![Button {
            id: "ping:again".to_owned(),
            label: "Again".to_owned(),
            style: ButtonStyle::Primary,
        }],
    };
    let to = MessageId::new(&asked).unwrap();
    let reply = action(&rig, &asked, 0, ActionBody::Reply { to, content });
    publish(&rig, &reply, 0).await;
    let OutcomeBody::Sent { message: Some(message), platform_us, total_us } =
        outcome(&mut outcomes).await.body
    else {
        panic!("not sent")
    };
    assert!(platform_us > 0 && total_us >= platform_us);
    gateway.counted("outcomes_total.sent", 1.0).await;
    gateway.counted("last_platform_us", 1.0).await;
    // This process remembers it; the next one has only the nonce.
    publish(&rig, &reply, 1).await;
    gateway.stop().await.unwrap();
    let gateway = rig.gateway().await;
    publish(&rig, &reply, 2).await;
    let OutcomeBody::Sent { message: Some(same), .. } = outcome(&mut outcomes).await.body else {
        panic!("not sent")
    };
    assert_eq!(message, same);
    let lines = rig.sandbox.discord().history(&rig.general());
    let answers: Vec<_> =
        lines.iter().filter(|line| line.reply_to.as_deref() == Some(asked.as_str())).collect();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].id, message.as_str());
    assert_eq!(answers[0].embeds[0]["title"], "Legs");
    assert_eq!(answers[0].components[0]["components"][0]["custom_id"], "ping:again");
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn every_kind_of_action_is_done_in_the_order_of_its_channel() {
    let rig = Rig::start().await;
    let mut outcomes = rig.bus.subscribe("outcome.>").await.unwrap();
    rig.bus.round_trip().await;
    let gateway = rig.gateway().await;
    for n in 0..8 {
        publish(&rig, &action(&rig, "1", n, say(&format!("line {n}"))), 0).await;
    }
    let mut sent = Vec::new();
    for _ in 0..8 {
        let outcome = outcome(&mut outcomes).await;
        match outcome.body {
            OutcomeBody::Sent { message, .. } => sent.push(message.unwrap()),
            OutcomeBody::Queued { wait_ms } => assert!(wait_ms >= 1000),
            body @ OutcomeBody::Dropped { .. } => panic!("{body:?}"),
        }
    }
    while sent.len() < 8 {
        if let OutcomeBody::Sent { message, .. } = outcome(&mut outcomes).await.body {
            sent.push(message.unwrap());
        }
    }
    let lines: Vec<_> =
        rig.sandbox.discord().history(&rig.general()).into_iter().map(|line| line.text).collect();
    assert_eq!(lines, (0..8).map(|n| format!("line {n}")).collect::<Vec<_>>());
    assert_eq!(rig.sandbox.counters().get("discord.rest.429"), 0, "the limits were learned, not run into");

    let bodies = [
        ActionBody::Edit { message: sent[0].clone(), content: Content::text("edited") },
        ActionBody::React { message: sent[0].clone(), emoji: "👍".to_owned() },
        ActionBody::Delete { message: sent[1].clone() },
        ActionBody::Reply { to: sent[1].clone(), content: Content::text("to nobody") },
    ];
    for (n, body) in (8..).zip(bodies) {
        publish(&rig, &action(&rig, "1", n, body), 0).await;
    }
    let mut done = 0;
    while done < 4 {
        match outcome(&mut outcomes).await.body {
            OutcomeBody::Sent { .. } => done += 1,
            OutcomeBody::Queued { .. } => {}
            body @ OutcomeBody::Dropped { .. } => panic!("{body:?}"),
        }
    }
    let lines = rig.sandbox.discord().history(&rig.general());
    assert_eq!(lines[0].text, "edited");
    assert!(lines.iter().all(|line| line.id != sent[1].as_str()));
    assert_eq!(lines.last().unwrap().text, "to nobody");
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_done_is_dropped_with_a_reason() {
    let rig = Rig::start().await;
    let mut outcomes = rig.bus.subscribe("outcome.>").await.unwrap();
    rig.bus.round_trip().await;
    let gateway = rig.gateway().await;
    let expired = Action { expires_at_ms: unix_ms() - 1, ..action(&rig, "2", 0, say("late")) };
    let nowhere = Action { channel: ChannelId::from(1), ..action(&rig, "2", 1, say("where?")) };
    let unreadable = Action { channel: ChannelId::new("abc").unwrap(), ..action(&rig, "2", 2, say("what?")) };
    for (action, expected) in
        [(expired, DropReason::Expired), (nowhere, DropReason::NotFound), (unreadable, DropReason::Invalid)]
    {
        publish(&rig, &action, 0).await;
        let OutcomeBody::Dropped { reason, detail } = outcome(&mut outcomes).await.body else { panic!() };
        assert_eq!(reason, expected, "{detail}");
    }
    let fault = RestFault {
        status: 500,
        count: 1000,
        retry_after_ms: 0,
        global: false,
        route: "/messages".to_owned(),
    };
    rig.sandbox.discord().faults().update(|knobs| knobs.rest_status = Some(fault));
    let hopeless = Action { expires_at_ms: unix_ms() + 1500, ..action(&rig, "2", 3, say("hello?")) };
    publish(&rig, &hopeless, 0).await;
    let OutcomeBody::Dropped { reason, .. } = outcome(&mut outcomes).await.body else { panic!() };
    assert_eq!(reason, DropReason::Unreachable);
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn failures_of_discord_are_survived() {
    let rig = Rig::start().await;
    let mut outcomes = rig.bus.subscribe("outcome.>").await.unwrap();
    rig.bus.round_trip().await;
    let gateway = rig.gateway().await;
    for (n, status) in [(0, 500), (1, 502), (2, 429)] {
        let fault = RestFault {
            status,
            count: 2,
            retry_after_ms: 300,
            global: status == 429,
            route: "/messages".to_owned(),
        };
        rig.sandbox.discord().faults().update(|knobs| knobs.rest_status = Some(fault));
        publish(&rig, &action(&rig, "3", n, say(&format!("after {status}"))), 0).await;
        let outcome = outcome(&mut outcomes).await;
        assert!(matches!(outcome.body, OutcomeBody::Sent { .. }), "{status}: {outcome:?}");
    }
    assert_eq!(rig.sandbox.discord().history(&rig.general()).len(), 3);
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn a_token_that_rest_refuses_stops_all_requests() {
    let rig = Rig::start().await;
    let mut outcomes = rig.bus.subscribe("outcome.>").await.unwrap();
    rig.bus.round_trip().await;
    let gateway = rig.gateway().await;
    let route = "/messages".to_owned();
    let fault = RestFault { status: 401, count: 100, retry_after_ms: 0, global: false, route };
    rig.sandbox.discord().faults().update(|knobs| knobs.rest_status = Some(fault));
    for n in 0..3 {
        publish(&rig, &action(&rig, "6", n, say("hello?")), 0).await;
        let OutcomeBody::Dropped { reason, detail } = outcome(&mut outcomes).await.body else { panic!() };
        assert_eq!(reason, DropReason::Unreachable);
        assert!(detail.contains("DISCORD_TOKEN"), "{detail}");
    }
    gateway.says("no request is sent any more").await;
    assert_eq!(rig.sandbox.counters().get("discord.rest.401"), 1);
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn a_channel_that_refuses_is_left_alone_for_a_while() {
    let rig = Rig::start().await;
    let mut outcomes = rig.bus.subscribe("outcome.>").await.unwrap();
    rig.bus.round_trip().await;
    let gateway = rig.gateway().await;
    let route = "/messages".to_owned();
    let fault = RestFault { status: 403, count: 100, retry_after_ms: 0, global: false, route };
    rig.sandbox.discord().faults().update(|knobs| knobs.rest_status = Some(fault));
    for n in 0..20 {
        publish(&rig, &action(&rig, "7", n, say("hello?")), 0).await;
        let OutcomeBody::Dropped { reason, .. } = outcome(&mut outcomes).await.body else { panic!() };
        assert_eq!(reason, DropReason::Forbidden);
    }
    assert_eq!(rig.sandbox.counters().get("discord.rest.403"), 1);
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn without_the_right_to_read_the_history_answers_are_plain_messages() {
    service::install_crypto();
    let (note, mut asked) = mpsc::channel(8);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let take = move |Json(body): Json<Value>| {
        let note = note.clone();
        async move {
            let reply = body.get("message_reference").is_some();
            note.send(reply).await.unwrap();
            if reply {
                (StatusCode::FORBIDDEN, Json(json!({ "code": 160_002, "message": "no history" })))
            } else {
                (StatusCode::OK, Json(json!({ "id": "5" })))
            }
        }
    };
    let router = Router::new().route("/api/v10/{*path}", post(take));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let rest = Rest::new(&url, &"secret".into(), 50, Counts::new(&service::Metrics::default())).unwrap();
    let builder = twilight_http::Client::builder().ratelimiter(None).build();
    let executor = Executor::new(Arc::new(rest), Arc::new(builder));
    let cause = EventId::of_platform(Platform::Discord, "9").unwrap();
    for n in 0..2 {
        let action = Action {
            v: VERSION,
            id: cause.action(n),
            platform: Platform::Discord,
            community: CommunityId::from(1),
            channel: ChannelId::from(2),
            cause: cause.clone(),
            cause_received_us: unix_us(),
            expires_at_ms: unix_ms() + 30_000,
            delivery: Delivery::AtMostOnce,
            body: ActionBody::Reply { to: MessageId::from(3), content: Content::text("pong") },
        };
        let carried = executor.execute(&action, Instant::now() + LONG, &silently).await;
        assert!(matches!(carried, Carried::Done(_)), "{carried:?}");
    }
    // The second one does not try to reply: a refusal costs.
    let tries: Vec<bool> = std::iter::from_fn(|| asked.try_recv().ok()).collect();
    assert_eq!(tries, [true, false, false]);
}

#[tokio::test]
async fn at_a_stop_each_action_that_is_not_done_goes_to_the_next_process_once() {
    let rig = Rig::start().await;
    let mut outcomes = rig.bus.subscribe("outcome.>").await.unwrap();
    rig.bus.round_trip().await;
    let gateway = rig.gateway().await;
    let route = "/messages".to_owned();
    let fault = RestFault { status: 500, count: 1_000_000, retry_after_ms: 0, global: false, route };
    rig.sandbox.discord().faults().update(|knobs| knobs.rest_status = Some(fault));
    for n in 0..20 {
        publish(&rig, &action(&rig, "8", n, say("hello?")), 0).await;
    }
    // One is being sent, 16 wait, and for the others there is no room.
    for n in 17..20 {
        let outcome = outcome(&mut outcomes).await;
        assert!(outcome.action.as_str().ends_with(&format!(":{n}")), "{outcome:?}");
        assert!(matches!(outcome.body, OutcomeBody::Dropped { reason: DropReason::RateLimited, .. }));
    }
    gateway.stop().await.unwrap();
    let partition = subject::partition(&ChannelId::new(rig.general()).unwrap());
    let queue = Queue::Actions(Platform::Discord);
    let mut consumer = rig.bus.take_over(queue, partition, 64, || true).await.unwrap();
    for _ in 0..17 {
        let back = timeout(Duration::from_secs(30), consumer.next()).await.expect("they are given back");
        assert_eq!(back.attempt, 1);
        back.ack_sync().await.unwrap();
    }
}

#[tokio::test]
async fn a_stop_is_quick_even_while_nats_is_away() {
    let mut rig = Rig::start().await;
    let gateway = rig.gateway().await;
    rig.sandbox.discord().say(Person::Ines, &rig.general(), "!ping").unwrap();
    gateway.counted("commands_total", 1.0).await;
    rig.nats.kill();
    for n in 0..2000 {
        rig.sandbox.discord().say(Person::Ines, &rig.general(), &format!("!ping {n}")).unwrap();
    }
    gateway.says("nats: NATS is away").await;
    timeout(Duration::from_secs(5), gateway.stop()).await.expect("it stops in time").unwrap();
    let never = Gateway::start(rig.settings());
    never.says("nats: starting").await;
    timeout(Duration::from_secs(5), never.stop()).await.expect("it stops in time").unwrap();
}

#[tokio::test]
async fn a_slow_channel_does_not_hold_up_another() {
    let rig = Rig::start().await;
    let channels = rig.sandbox.discord().channels();
    let mut outcomes = rig.bus.subscribe("outcome.>").await.unwrap();
    rig.bus.round_trip().await;
    let gateway = rig.gateway().await;
    // More than one window of the bucket of the first channel, then one line for the second.
    for n in 0..12 {
        publish(&rig, &action(&rig, "4", n, say("slow")), 0).await;
    }
    let other = ChannelId::new(&channels[1].id).unwrap();
    let quick = Action { channel: other.clone(), ..action(&rig, "5", 0, say("quick")) };
    publish(&rig, &quick, 0).await;
    let mut before = 0;
    loop {
        let outcome = outcome(&mut outcomes).await;
        if let OutcomeBody::Sent { .. } = outcome.body {
            if outcome.action == quick.id {
                break;
            }
            before += 1;
        }
    }
    assert!(before < 12, "the quick channel was last");
    timeout(Duration::from_secs(8), gateway.stop()).await.unwrap().unwrap();
}
