//! Discord by the bot itself, and by the webhook when the bot is the patient.

use bus::{Bus, Queue};
use protocol::{
    Action, ActionBody, ChannelId, DropReason, MessageId, Outcome, OutcomeBody, Platform, VERSION, subject,
};
use testkit::Everything;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{receiver::Receiver, world::World};

/// The part of the gateway: does every action, or refuses it.
fn gateway(bus: Bus, works: bool) -> (mpsc::Receiver<Action>, JoinHandle<()>) {
    let (sender, actions) = mpsc::channel(64);
    let task = tokio::spawn(async move {
        let mut queue = Everything::of(&bus, Queue::Actions(Platform::Discord), 8).await;
        loop {
            let delivery = queue.next().await;
            let action: Action = delivery.decode().unwrap();
            let body = if works {
                OutcomeBody::Sent { message: Some(MessageId::from(77)), platform_us: 1, total_us: 1 }
            } else {
                OutcomeBody::Dropped { reason: DropReason::Forbidden, detail: "Missing Access".to_owned() }
            };
            let outcome = Outcome {
                v: VERSION,
                action: action.id.clone(),
                platform: Platform::Discord,
                community: action.community.clone(),
                at_ms: 1,
                body,
            };
            let subject = subject::outcome(Platform::Discord, &action.community);
            bus.notify(subject, &outcome, None).await.unwrap();
            delivery.ack_sync().await.unwrap();
            sender.send(action).await.unwrap();
        }
    });
    (actions, task)
}

#[tokio::test]
async fn the_bot_itself_says_what_is_wrong() {
    let world = World::start().await;
    let mut services = world.services().await;
    let (mut actions, task) = gateway(world.bus.clone(), true);
    let webhook = Receiver::start().await;
    let mut config = world.config();
    config.discord_channel = Some(ChannelId::from(4711));
    config.discord_webhook = webhook.address("/api/webhooks/1/secret");
    let watching = world.watch(config);
    // The test is taken back at once.
    let test = actions.recv().await.unwrap();
    assert_eq!((test.channel.as_str(), test.community.as_str()), ("4711", "alerts"));
    assert!(matches!(&test.body, ActionBody::Send { content } if content.text.contains("daily test")));
    let taken_back = actions.recv().await.unwrap().body;
    assert_eq!(taken_back, ActionBody::Delete { message: MessageId::from(77) });
    services[1].vanish();
    let ActionBody::Send { content } = actions.recv().await.unwrap().body else {
        panic!("something is said")
    };
    let mut lines = content.text.lines();
    assert_eq!(lines.next(), Some("**Vigie: 1 thing wrong**"), "{}", content.text);
    assert!(lines.next().unwrap().starts_with("🔴 twitch-gateway: does not answer"), "{}", content.text);
    watching.counts("vigie_health_told_total{channel=\"discord\"} 1").await;
    assert!(webhook.all().iter().all(|one| one.method == "GET"), "it was only looked up");
    watching.stop().await;
    task.abort();
}

#[tokio::test]
async fn when_the_bot_is_the_patient_the_webhook_says_it() {
    let world = World::start().await;
    let mut services = world.services().await;
    let (mut actions, task) = gateway(world.bus.clone(), false);
    let webhook = Receiver::start().await;
    let mut config = world.config();
    config.discord_channel = Some(ChannelId::from(4711));
    config.discord_webhook = webhook.address("/api/webhooks/1/secret");
    let watching = world.watch(config);
    assert!(actions.recv().await.is_some(), "it is tried");
    services[1].vanish();
    let said = webhook.gets(|one| one.body.contains("twitch-gateway: does not answer")).await;
    let json: serde_json::Value = serde_json::from_str(&said.body).unwrap();
    assert_eq!(json["allowed_mentions"]["parse"], serde_json::json!([]));
    watching.stop().await;
    task.abort();
}

/// It once did: nothing was told any more, by neither, until the next start.
#[tokio::test]
async fn a_webhook_that_is_gone_does_not_silence_the_bot() {
    let world = World::start().await;
    let mut services = world.services().await;
    let (mut actions, task) = gateway(world.bus.clone(), true);
    let webhook = Receiver::start().await;
    webhook.answer(404);
    let mut config = world.config();
    config.discord_channel = Some(ChannelId::from(4711));
    config.discord_webhook = webhook.address("/api/webhooks/1/secret");
    let watching = world.watch(config);
    assert_eq!(watching.is("degraded").await, "degraded: discord: people cannot be told\n");
    services[1].vanish();
    let ActionBody::Send { content } = actions.recv().await.unwrap().body else {
        panic!("something is said")
    };
    assert!(content.text.contains("twitch-gateway: does not answer"), "{}", content.text);
    assert_eq!(webhook.all().len(), 1, "Discord asks not to try again");
    watching.stop().await;
    task.abort();
}

#[tokio::test]
async fn without_nats_the_webhook_says_it_at_once() {
    let mut world = World::start().await;
    let _services = world.services().await;
    let webhook = Receiver::start().await;
    let mut config = world.config();
    config.discord_channel = Some(ChannelId::from(4711));
    config.discord_webhook = webhook.address("/api/webhooks/1/secret");
    let watching = world.watch(config);
    watching.is("healthy").await;
    world.nats.kill();
    webhook.gets(|one| one.body.contains("NATS cannot be reached")).await;
    watching.stop().await;
}
