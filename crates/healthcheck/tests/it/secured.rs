//! With no more rights than it is granted, across the accounts of NATS.

use bus::{Queue, RequestError, User};
use protocol::{
    Action, ActionBody, ChannelId, MessageId, Outcome, OutcomeBody, Platform, VERSION, control::Restart,
    subject,
};
use testkit::{Nats, eventually};

use crate::world::{SOON, World};

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
    config.nats.nkey = world.nats.login(User::Healthcheck).nkey;
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
    // What the deployer did is read and asked for, and nothing of that is refused.
    let deployer = world.nats.bus_as(User::Deployer, "deployer").await;
    let _telling = crate::news::rolled_out(&deployer, "1.2.0").await;
    let delivery = actions.next().await;
    let action: Action = delivery.decode().unwrap();
    let ActionBody::Send { content } = action.body else { panic!("{action:?}") };
    assert!(content.text.contains("updated to 1.2.0 – in 41 s, asked by hook:site"), "{}", content.text);
    drop(gateway);
    assert_eq!(watching.is("unhealthy").await, "unhealthy: discord-gateway: does not answer\n");
    watching.stop().await;
}

#[tokio::test]
async fn it_tells_what_hangs_to_start_again_and_knows_what_is_not_there() {
    let nats = Nats::start_secured().await;
    nats.bus("provision").await.drain().await;
    let bus = nats.bus_as(User::DiscordGateway, "gateway").await;
    let world = World::of(nats, bus);
    let gateway = world.service("discord-gateway").await;
    let mut orders = world.bus.obey_restart("discord-gateway", "discord-gateway-1").await.unwrap();
    world.bus.round_trip().await;
    let mut config = world.config();
    config.nats.nkey = world.nats.login(User::Healthcheck).nkey;
    config.expected = vec!["discord-gateway".to_owned()];
    let watching = world.watch(config);
    watching.is("healthy").await;
    drop(gateway);
    assert_eq!(orders.next().await.unwrap().by, "healthcheck");
    watching.counts("vigie_health_restarts_total{result=\"obeyed\"} 1").await;
    let operator = world.nats.bus_as(User::Operator, "operator").await;
    let noted =
        eventually(SOON, || async { operator.trail(1).await.unwrap().pop().ok_or("nothing is noted") }).await;
    assert_eq!((noted.verb.as_str(), noted.object.as_str()), ("restart", "discord-gateway-1"));
    watching.stop().await;

    let healthcheck = world.nats.bus_as(User::Healthcheck, "healthcheck").await;
    let (by, reason) = ("healthcheck".to_owned(), String::new());
    let order = Restart { v: VERSION, by, reason, instance: None };
    for service in ["twitch-gateway", "deployer"] {
        let refused = healthcheck.command_restart(service, &order, SOON).await;
        assert!(matches!(refused, Err(RequestError::NoResponders { .. })), "{service}: {refused:?}");
    }
    assert_eq!(healthcheck.refused(), 0);
}
