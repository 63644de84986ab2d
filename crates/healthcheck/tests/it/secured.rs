//! With no more rights than it is granted, across the accounts of NATS.

use bus::{Queue, User};
use protocol::{Action, ActionBody, ChannelId, MessageId, Outcome, OutcomeBody, Platform, VERSION, subject};
use service::NatsLogin;
use testkit::Nats;

use crate::world::World;

#[tokio::test]
async fn it_sees_everything_and_speaks_through_the_bot() {
    let nats = Nats::start_secured().await;
    nats.bus("provision").await.drain().await;
    let bus = nats.bus_as(User::DiscordGateway, "gateway").await;
    let world = World::of(nats, bus);
    let gateway = world.service("discord-gateway").await;
    let worker = world.nats.bus_as(User::CommandWorker, "worker").await;
    let mut fake = world.service("command-worker").await;
    fake.resume(&worker).await;
    let mut config = world.config();
    config.nats_login = NatsLogin { nkey: world.nats.login(User::Healthcheck).nkey, ca_file: None };
    config.expected = ["discord-gateway", "command-worker"].map(str::to_owned).into();
    config.discord_channel = Some(ChannelId::from(4711));
    let partition = subject::partition(&ChannelId::from(4711));
    let queue = Queue::Actions(Platform::Discord);
    let mut actions = world.bus.take_over(queue, partition, 1, || true).await.unwrap();
    let watching = world.watch(config);
    watching.is("healthy").await;
    watching.counts("vigie_service_instances{service=\"healthcheck\"} 1").await;
    watching.counts("vigie_nats_consumers{queue=\"actions_discord\"} 1").await;
    for _ in 0..2 {
        let delivery = actions.next().await;
        let action: Action = delivery.decode().unwrap();
        assert!(matches!(action.body, ActionBody::Send { .. } | ActionBody::Delete { .. }), "{action:?}");
        let outcome = Outcome {
            v: VERSION,
            action: action.id,
            platform: Platform::Discord,
            community: action.community.clone(),
            at_ms: 1,
            body: OutcomeBody::Sent { message: Some(MessageId::from(7)), platform_us: 1, total_us: 1 },
        };
        let subject = subject::outcome(Platform::Discord, &action.community);
        world.bus.notify(subject, &outcome, None).await.unwrap();
        delivery.ack_sync().await.unwrap();
    }
    world.keeps("\"tested_ms\":1").await;
    drop(gateway);
    assert_eq!(watching.is("unhealthy").await, "unhealthy: discord-gateway: does not answer\n");
    watching.stop().await;
}
