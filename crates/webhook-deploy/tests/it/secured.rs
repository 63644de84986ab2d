//! With no more rights than it is granted.

use bus::User;
use protocol::{
    VERSION,
    control::{DeployReply, Restart},
};
use testkit::{Nats, eventually};

use crate::world::{COMMIT, Deployer, SECRET, SOON, World, github, push};

#[tokio::test]
async fn it_reaches_the_deployer_and_is_told_to_start_again() {
    let nats = Nats::start_secured().await;
    let bus = nats.bus("provision").await;
    let world = World::of(nats, bus);
    let at_deployer = world.nats.bus_as(User::Deployer, "deployer").await;
    let operator = world.nats.bus_as(User::Operator, "operator").await;
    let accept = |_: &_| Some(DeployReply::Accepted { job: "job-1".to_owned() });
    let deployer = Deployer::start(&at_deployer, accept).await;
    let mut config = world.config(&[]);
    config.nats.nkey = world.nats.login(User::WebhookDeploy).nkey;
    let serving = world.serve_with(config).await;
    assert_eq!(serving.send(&github("github", SECRET, "push", &push(COMMIT), &[])).await.status, 202);
    assert_eq!(deployer.heard(), [("hook:github".to_owned(), Some(COMMIT.to_owned()))]);
    eventually(SOON, || async {
        let trail = operator.trail(1).await.unwrap();
        trail.into_iter().find(|entry| entry.object == COMMIT).ok_or("nothing")
    })
    .await;
    let order = Restart { v: VERSION, by: "cli".to_owned(), reason: "a test".to_owned(), instance: None };
    let restarting = operator.command_restart("webhook-deploy", &order, SOON).await.unwrap();
    assert_eq!(restarting.instance, "webhook-1");
    assert!(serving.context.again.is_cancelled());
    serving.ended().await;
}
