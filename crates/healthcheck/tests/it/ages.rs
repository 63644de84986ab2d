//! Certificates that run out, and backups that get old.

use std::{sync::Arc, time::Duration};

use protocol::{
    VERSION,
    control::{BackupAnswer, BackupReply, BackupRequest, BackupStatus, Job, JobEnd},
};
use rcgen::{CertificateParams, KeyPair};
use service::clock::unix_ms;
use time::OffsetDateTime;
use tokio::{io::AsyncReadExt as _, net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use crate::world::World;

const DAY: Duration = Duration::from_secs(86400);
const HOUR_MS: u64 = 3_600_000;

/// A server with a certificate of its own that is valid for so long, on a free port.
async fn server(valid_for: Duration) -> (u16, JoinHandle<()>) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = OffsetDateTime::now_utc() + valid_for;
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let key = key.serialize_der().try_into().unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate], key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                // Until the other side has seen enough.
                let _ = stream.read(&mut [0]).await;
            }
        }
    });
    (port, task)
}

#[tokio::test]
async fn a_certificate_that_runs_out_is_told_of_in_time() {
    let world = World::start().await;
    let _services = world.services().await;
    let mut config = world.config();
    let (fine, _one) = server(60 * DAY).await;
    let (soon, _two) = server(13 * DAY).await;
    let of = |port| healthcheck::Server { host: "127.0.0.1".to_owned().try_into().unwrap(), port };
    config.certificates = vec![of(fine), of(soon)];
    let watching = world.watch(config.clone());
    let line = watching.is("degraded").await;
    assert_eq!(line, format!("degraded: 127.0.0.1:{soon}: certificate runs out\n"));
    assert!(watching.page("/health/detailed").body.contains("valid for 12 d 23 h more"));
    watching.stop().await;

    let (very_soon, _three) = server(2 * DAY).await;
    config.certificates = vec![of(very_soon)];
    let watching = world.watch(config);
    let line = watching.is("unhealthy").await;
    assert!(line.contains(&format!("127.0.0.1:{very_soon}: certificate runs out")), "{line}");
    watching.stop().await;
}

/// The service `backup`, of which only this is there: what it says of its backups.
async fn backup(world: &World, status: BackupStatus) -> JoinHandle<()> {
    let mut orders = world.bus.obey::<BackupRequest>("backup").await.unwrap();
    tokio::spawn(async move {
        while let Some(ordered) = orders.next().await {
            let reply = BackupReply::Status(Box::new(status.clone()));
            ordered.answer(&BackupAnswer { v: VERSION, reply }).await.unwrap();
        }
    })
}

#[tokio::test]
async fn backups_that_get_old_and_drills_that_fail_are_told_of() {
    let world = World::start().await;
    let _services = world.services().await;
    let watching = world.watch(world.config());
    assert_eq!(watching.is("healthy").await, "healthy\n", "without such a service there is nothing to say");
    let _announced = world.service("backup").await;
    let hours_ago =
        |hours| BackupStatus { good_ms: Some(unix_ms() - hours * HOUR_MS), ..BackupStatus::default() };
    let telling = backup(&world, hours_ago(25)).await;
    watching.counts("vigie_service_instances{service=\"backup\"} 1").await;
    watching.has_line("✓ backup: 1 d 1 h old").await;
    telling.abort();
    let telling = backup(&world, hours_ago(27)).await;
    assert_eq!(watching.is("degraded").await, "degraded: no good backup\n");
    telling.abort();
    let telling = backup(&world, hours_ago(52)).await;
    assert_eq!(watching.is("unhealthy").await, "unhealthy: no good backup\n");
    telling.abort();
    // A try that failed is not over because of what was done after it.
    let failed = JobEnd { at_ms: unix_ms(), good: false, words: "no room".to_owned() };
    let job = |verb: &str, end: &JobEnd| Job {
        id: format!("{verb}-1"),
        verb: verb.to_owned(),
        by: "schedule".to_owned(),
        step: String::new(),
        done: 0,
        total: None,
        began_ms: end.at_ms,
        end: Some(end.clone()),
    };
    let telling = backup(&world, BackupStatus { job: Some(job("create", &failed)), ..hours_ago(1) }).await;
    watching.has_line("the last good one is 1 h 0 min old; the last try failed: no room").await;
    telling.abort();
    let good = JobEnd { good: true, ..failed };
    let drilled = BackupStatus { job: Some(job("drill", &good)), drill: Some(good), ..hours_ago(2) };
    let telling = backup(&world, drilled).await;
    watching.has_line("the last good one is 2 h 0 min old; the last try failed: no room").await;
    telling.abort();
    let drill = JobEnd { at_ms: unix_ms(), good: false, words: "the database has no tables".to_owned() };
    let _telling = backup(&world, BackupStatus { drill: Some(drill), ..hours_ago(0) }).await;
    let line = "unhealthy: the last backup could not be restored\n";
    watching.is(line).await;
    assert!(watching.page("/health/detailed").body.contains("the database has no tables"));
    watching.stop().await;
}
