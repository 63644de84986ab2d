//! E-mail, to a real SMTP receiver.

use std::{path::Path, sync::Arc};

use healthcheck::{Addresses, Pace};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use testkit::{Nats, eventually};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};

use crate::{
    mailbox::Mailbox,
    program::Program,
    receiver::Receiver,
    world::{SOON, World},
};

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

/// Writes the certificate of an authority there; what a server of its shows.
fn authority(path: &Path) -> TlsAcceptor {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(path, issuer.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).unwrap()))
}

/// As providers want it: TLS from the first byte, and a login, which nobody else may read.
#[tokio::test]
async fn the_password_is_told_over_tls_to_a_server_that_the_machine_trusts() {
    service::install_crypto();
    let nats = Nats::start().await;
    nats.bus("test").await.drain().await;
    let folder = tempfile::tempdir().unwrap();
    let [ours, others] = ["ours.pem", "others.pem"].map(|name| folder.path().join(name));
    let mailbox = Mailbox::start_with(Some(authority(&ours))).await;
    authority(&others);
    let (url, server) = (nats.url(), format!("smtps://bot:secret@localhost:{}", mailbox.port));
    let start = |trusted: &Path| {
        let data = folder.path().join(trusted.file_stem().unwrap());
        Program::start(&[
            ("NATS_URL", &url),
            ("HEALTHCHECK_SERVICES", "healthcheck"),
            ("HEALTHCHECK_DATA", data.to_str().unwrap()),
            ("SSL_CERT_FILE", trusted.to_str().unwrap()),
            ("ALERT_EMAIL", "ines@example.org"),
            ("ALERT_EMAIL_FROM", "bot@example.org"),
            ("ALERT_SMTP_URL", &server),
        ])
    };
    let distrusting = start(&others);
    eventually(2 * SOON, || async {
        match distrusting.get("/status").await {
            Ok((_, body)) if body.contains("email: people cannot be told") => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let lines = mailbox.lines();
    assert!(lines.iter().all(|line| line.starts_with("no TLS")), "nothing is said to a stranger: {lines:?}");
    drop(distrusting);
    let _trusting = start(&ours);
    mailbox.is_told("AUTH PLAIN", 1).await;
    mailbox.is_told("NOOP", 1).await;
}
