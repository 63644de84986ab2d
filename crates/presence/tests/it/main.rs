//! A service with a real server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use bus::User;
use presence::Connection;
use protocol::{VERSION, control::Restart};
use service::{Context, NatsLogin};
use testkit::{Nats, eventually};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    task::JoinHandle,
    time::timeout,
};

/// Longer than anything takes.
const SOON: Duration = Duration::from_secs(60);
const NAME: &str = "backup";

fn context(instance: &str) -> Context {
    Context { instance: instance.to_owned(), ..Context::new(NAME) }
}

fn login(nats: &Nats) -> NatsLogin {
    NatsLogin { url: nats.url(), ..NatsLogin::default() }
}

/// The connection is held until the service ends.
async fn stop(context: &Context, mut connection: Connection) {
    context.shutdown.cancel();
    let ended = async { while connection.changed().await.is_ok() {} };
    timeout(SOON, ended).await.expect("it ends");
}

/// A server that lets nobody in.
async fn refuse(url: &str) -> JoinHandle<()> {
    const INFO: &[u8] = b"INFO {\"server_id\":\"a\",\"server_name\":\"a\",\"host\":\"127.0.0.1\",\"port\":1,\
        \"version\":\"2.15.0\",\"go\":\"a\",\"proto\":1,\"headers\":true,\"max_payload\":1048576,\
        \"auth_required\":true,\"nonce\":\"abc\"}\r\n";
    let listener = TcpListener::bind(url.strip_prefix("nats://").unwrap()).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(INFO).await;
            let _ = BufReader::new(&mut stream).read_line(&mut String::new()).await;
            let _ = stream.write_all(b"-ERR 'Authorization Violation'\r\n").await;
        }
    })
}

#[tokio::test]
async fn a_service_that_starts_before_nats_is_found_when_nats_is_there() {
    let mut nats = Nats::start().await;
    nats.kill();
    let context = context("early");
    let mut connection = presence::connecting(&context, User::Backup, &login(&nats));
    assert_eq!(connection.borrow().as_ref().unwrap_err(), "NATS has not answered yet");
    nats.resume().await;
    let bus = timeout(SOON, connection.wait_for(Result::is_ok)).await.unwrap().unwrap().clone().unwrap();
    let _announcement = presence::announce(&context, &bus).await.unwrap();
    let other = nats.bus("other").await;
    eventually(SOON, || async {
        let found = other.stats(Duration::from_secs(1)).await;
        if found.iter().any(|one| one.instance == "early") { Ok(()) } else { Err(found) }
    })
    .await;
    stop(&context, connection).await;
}

/// A key that NATS learns of later is no reason to end.
#[tokio::test]
async fn a_service_that_is_refused_says_why_and_tries_again() {
    let mut nats = Nats::start().await;
    nats.kill();
    let refusing = refuse(&nats.url()).await;
    let context = context("refused");
    let mut connection = presence::connecting(&context, User::Backup, &login(&nats));
    timeout(SOON, connection.changed()).await.unwrap().unwrap();
    let reason = connection.borrow_and_update().clone().unwrap_err();
    assert!(reason.contains("lets nobody in without a key"), "{reason}");
    refusing.abort();
    assert!(refusing.await.unwrap_err().is_cancelled());
    nats.resume().await;
    timeout(SOON, connection.wait_for(Result::is_ok)).await.unwrap().unwrap();
    stop(&context, connection).await;
}

#[tokio::test]
async fn a_service_that_is_asked_to_stop_does_not_wait_for_nats() {
    let mut nats = Nats::start().await;
    nats.kill();
    let context = context("stopped");
    let connection = presence::connecting(&context, User::Backup, &login(&nats));
    let once = tokio::spawn({
        let (context, login) = (context.clone(), login(&nats));
        async move { presence::connect(&context, User::Backup, &login).await }
    });
    stop(&context, connection).await;
    assert!(timeout(SOON, once).await.unwrap().unwrap().unwrap().is_none());
}

/// `service::main` then gives the exit code of one that is to be started again.
#[tokio::test]
async fn the_instance_that_is_told_to_starts_again_and_no_other() {
    let nats = Nats::start().await;
    let (one, other) = (context("one"), context("other"));
    let mut held = Vec::new();
    for context in [&one, &other] {
        let bus = presence::connect(context, User::Backup, &login(&nats)).await.unwrap().unwrap();
        bus.round_trip().await;
        held.push(bus);
    }
    let operator = nats.bus("operator").await;
    let instance = Some("one".to_owned());
    let order = Restart { v: VERSION, by: "cli".to_owned(), reason: "a test".to_owned(), instance };
    assert_eq!(operator.command_restart(NAME, &order, SOON).await.unwrap().instance, "one");
    timeout(SOON, one.shutdown.cancelled()).await.unwrap();
    assert!(one.again.is_cancelled());
    operator.round_trip().await;
    assert!(!other.shutdown.is_cancelled() && !other.again.is_cancelled());
}

#[tokio::test]
async fn it_is_counted_with_what_its_context_says() {
    let mut nats = Nats::start().await;
    let context = context("counted");
    let bus = presence::connect(&context, User::Backup, &login(&nats)).await.unwrap().unwrap();
    presence::follow_link(&context, context.health.component("nats"), &bus, "NATS is away");
    context.health.component("disk").down("full");
    context.metrics.counter("saved", "a test").inc_by(3);
    let _announcement = presence::announce(&context, &bus).await.unwrap();
    let other = nats.bus("other").await;
    let stats = eventually(SOON, || async {
        let mut found = other.stats(Duration::from_secs(1)).await;
        if found.len() == 1 { Ok(found.remove(0)) } else { Err(found) }
    })
    .await;
    assert_eq!((stats.service.as_str(), stats.instance.as_str()), (NAME, "counted"));
    assert_eq!((stats.ready, stats.reason.as_str()), (false, "disk: full"));
    assert_eq!((stats.v, stats.build.as_str()), (VERSION, service::BUILD));
    assert_eq!(stats.metrics["saved_total"], 3.0);
    assert!(stats.resident_bytes > 0 && stats.uptime_s <= context.started.elapsed().as_secs());
    nats.kill();
    eventually(SOON, || async {
        let reason = context.health.readiness().reason;
        if reason == "disk: full; nats: NATS is away" { Ok(()) } else { Err(reason) }
    })
    .await;
}
