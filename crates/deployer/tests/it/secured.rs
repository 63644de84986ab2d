//! With no more rights than it is granted, across the accounts of NATS.

use std::time::Duration;

use bus::User;
use protocol::{
    VERSION,
    control::{AuditResult, DeployOrder, DeployReply, DeployRequest},
};
use testkit::{Nats, eventually};

use crate::world::{SOON, World};

#[tokio::test]
async fn it_obeys_the_operator_and_no_gateway_and_notes_what_it_did() {
    let nats = Nats::start_secured().await;
    nats.bus("provision").await.drain().await;
    let operator = nats.bus_as(User::Operator, "operator").await;
    let gateway = nats.bus_as(User::DiscordGateway, "gateway").await;
    let worker = nats.bus_as(User::CommandWorker, "worker").await;
    let world = World::of(nats, operator);
    let mut config = world.config();
    config.nats.nkey = world.nats.login(User::Deployer).nkey;
    let _running = world.run(config);
    let order = DeployOrder::Request { commit: None, force: false };
    // There is no release yet.
    let id = world.accepted(order.clone()).await;
    assert!(world.end(&id).await.words.starts_with("resolve: "));
    let trail = eventually(SOON, || async {
        let trail = world.bus.trail(10).await.unwrap();
        if trail.is_empty() { Err(trail) } else { Ok(trail) }
    })
    .await;
    assert_eq!((trail[0].result, trail[0].service.as_str()), (AuditResult::Refused, "deployer"));
    let request = DeployRequest { v: VERSION, by: "discord:1".to_owned(), order };
    let refused = gateway.command("deploy", &request, Duration::from_millis(500)).await;
    assert!(refused.is_err() && gateway.refused() > 0);
    // A worker asks what whoever runs the bot asks in chat.
    let status = DeployRequest { order: DeployOrder::Status, ..request.clone() };
    let answer = worker.command("deploy", &status, SOON).await.unwrap();
    assert!(matches!(answer.reply, DeployReply::Status(_)), "{answer:?}");
    // What says one thing on the subject of another is not taken.
    let subject = protocol::subject::control("deploy", "status");
    let answer: protocol::control::DeployAnswer =
        world.bus.request(subject, &request, Duration::from_secs(5), None).await.unwrap();
    assert!(matches!(answer.reply, DeployReply::Refused { .. }), "{answer:?}");
    assert_eq!(world.history().await.len(), 1);
    let force = DeployRequest { order: DeployOrder::Request { commit: None, force: true }, ..request };
    whoever_hears_of_pushes_does_not_insist(&world, &force).await;
    assert_eq!(world.history().await.len(), 1);
}

/// Not on the subject of those who may, and not in what is said on its own.
async fn whoever_hears_of_pushes_does_not_insist(world: &World, force: &DeployRequest) {
    let webhook = world.nats.bus_as(User::WebhookDeploy, "webhook").await;
    let refused = webhook.command("deploy", force, Duration::from_millis(500)).await;
    assert!(refused.is_err() && webhook.refused() > 0);
    let subject = protocol::subject::control("deploy", "request");
    let answer: protocol::control::DeployAnswer =
        webhook.request(subject, force, Duration::from_secs(5), None).await.unwrap();
    assert!(matches!(answer.reply, DeployReply::Refused { .. }), "{answer:?}");
}
