//! E-mail, to a real SMTP receiver.

use healthcheck::{Addresses, Pace};

use crate::{mailbox::Mailbox, receiver::Receiver, world::World};

fn addresses(mailbox: &Mailbox, account: &str, to: &[&str]) -> Option<Addresses> {
    Some(Addresses {
        server: format!("smtp://{account}127.0.0.1:{}", mailbox.port).into(),
        from: "bot@example.org".parse().unwrap(),
        to: to.iter().map(|to| to.parse().unwrap()).collect(),
    })
}

#[tokio::test]
async fn an_email_says_what_is_wrong() {
    let world = World::start().await;
    let mut services = world.services().await;
    let mailbox = Mailbox::start().await;
    let mut config = world.config();
    // One of them is gone, which once silenced all of them for good.
    config.email = addresses(&mailbox, "", &["ines@example.org", "nobody@example.org", "leo@example.org"]);
    let watching = world.watch(config);
    watching.is("healthy").await;
    // The test sends nothing.
    world.keeps("\"tested_ms\":1").await;
    assert!(mailbox.lines().iter().any(|line| line == "NOOP"), "{:?}", mailbox.lines());
    services[0].vanish();
    mailbox.is_told(".", 2).await;
    let lines = mailbox.lines();
    let has = |wanted: &str| lines.iter().any(|line| line.contains(wanted));
    assert!(has("MAIL FROM:<bot@example.org>") && has("RCPT TO:<ines@example.org>"), "{lines:?}");
    assert!(has("RCPT TO:<leo@example.org>"), "{lines:?}");
    assert!(has("Subject: Vigie: 1 thing wrong"), "{lines:?}");
    watching.counts("vigie_health_told_total{channel=\"email\"} 1").await;
    watching.stop().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_of() {
    let world = World::start().await;
    let _services = world.services().await;
    let mut config = world.config();
    config.email = Some(Addresses {
        server: format!("smtp://127.0.0.1:{}", testkit::free_port()).into(),
        from: "bot@example.org".parse().unwrap(),
        to: vec!["ines@example.org".parse().unwrap()],
    });
    let watching = world.watch(config);
    assert_eq!(watching.is("degraded").await, "degraded: email: people cannot be told\n");
    watching.stop().await;
}

/// It was once given up until the next start, and nobody heard of anything any more.
#[tokio::test]
async fn a_mailbox_that_is_full_gets_what_is_wrong_when_there_is_room() {
    let world = World::start().await;
    let mut services = world.services().await;
    let mailbox = Mailbox::start().await;
    let mut config = world.config();
    // Ten minutes are ten seconds.
    config.pace = Pace(60);
    config.email = addresses(&mailbox, "", &["ines@example.org"]);
    let watching = world.watch(config);
    world.keeps("\"tested_ms\":1").await;
    mailbox.is_full(true);
    services[0].vanish();
    mailbox.is_told("RCPT", 1).await;
    mailbox.is_full(false);
    mailbox.is_told(".", 1).await;
    watching.stop().await;
}

#[tokio::test]
async fn a_wrong_password_is_not_tried_again_which_would_lock_the_account() {
    let world = World::start().await;
    let mut services = world.services().await;
    let (mailbox, phone) = (Mailbox::start().await, Receiver::start().await);
    mailbox.lets_nobody_in();
    let mut config = world.config();
    config.email = addresses(&mailbox, "bot:wrong@", &["ines@example.org"]);
    config.ntfy = phone.address("/my-topic");
    let watching = world.watch(config);
    phone.gets(|one| one.body.contains("email: people cannot be told")).await;
    services[2].vanish();
    phone.gets(|one| one.body.contains("command-worker: does not answer")).await;
    assert_eq!(mailbox.count("AUTH"), 1, "{:?}", mailbox.lines());
    watching.stop().await;
}
