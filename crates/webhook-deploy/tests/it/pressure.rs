//! Too much, too slow, too often, too many.

use std::time::{Duration, Instant};

use testkit::eventually;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::world::{COMMIT, SECRET, SOON, World, fresh_commit, github, push, read, request};

const JSON: (&str, &str) = ("Content-Type", "application/json");

#[tokio::test]
async fn what_is_too_long_is_refused_before_it_is_read() {
    let world = World::start().await;
    let serving = world.serve().await;
    // Only the head of it is sent.
    let head = "POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9999999999\r\n\r\n";
    assert_eq!(serving.send(head.as_bytes()).await.status, 413);
    // All of it is sent, and the answer is seen all the same.
    let large = vec![b' '; 3 * 1024 * 1024];
    assert_eq!(serving.send(&request("POST", "/hooks/github", &[JSON], &large)).await.status, 413);
    let chunked = "POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n";
    assert_eq!(serving.send(chunked.as_bytes()).await.status, 411);
    let long = "x".repeat(64 * 1024);
    assert_eq!(
        serving.send(&request("POST", "/hooks/github", &[JSON, ("X-Long", &long)], b"{}")).await.status,
        431
    );
    assert!(matches!(
        serving.send(&request("POST", &format!("/hooks/{long}"), &[JSON], b"{}")).await.status,
        414 | 431
    ));
    let many = vec![("X-Many", "1"); 200];
    assert_eq!(serving.send(&request("POST", "/hooks/github", &many, b"{}")).await.status, 431);
    assert_eq!(
        serving.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no HTTP\r\n\r\n").await.status,
        400
    );
    // A push with two megabytes, nearly, is fine.
    let _deployer = world.deployer().await;
    let body = push(COMMIT).replacen('{', &format!("{{\"x\":\"{}\",", "x".repeat(2_000_000)), 1);
    assert_eq!(serving.send(&github("github", SECRET, "push", &body, &[])).await.status, 202);
    serving.stop().await;
}

#[tokio::test]
async fn who_is_slow_is_not_waited_for() {
    let world = World::start().await;
    let serving = world.serve().await;
    let mut head = TcpStream::connect(serving.address).await.unwrap();
    head.write_all(b"POST /hooks/github HTTP/1.1\r\nHost:").await.unwrap();
    let mut body = TcpStream::connect(serving.address).await.unwrap();
    let request = github("github", SECRET, "push", &push(COMMIT), &[]);
    body.write_all(&request[..request.len() - 10]).await.unwrap();
    let started = Instant::now();
    let (head, body) = tokio::join!(read(&mut head), read(&mut body));
    assert!(matches!(head.status, 0 | 408), "{head:?}");
    assert_eq!(body.status, 408);
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert!(serving.number("webhook_closed_total.slow") > 0.5);
    serving.stop().await;
}

#[tokio::test]
async fn who_is_slow_does_not_keep_it_from_ending() {
    let world = World::start().await;
    let serving = world.serve().await;
    let mut body = TcpStream::connect(serving.address).await.unwrap();
    let request = github("github", SECRET, "push", &push(COMMIT), &[]);
    body.write_all(&request[..request.len() - 10]).await.unwrap();
    eventually(SOON, || async {
        let came = serving.number("webhook_connections_total");
        if came > 0.5 { Ok(()) } else { Err(came) }
    })
    .await;
    let started = Instant::now();
    serving.stop().await;
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

#[tokio::test]
async fn one_source_has_few_connections_and_cannot_keep_the_others_out() {
    let world = World::start().await;
    let serving = world.serve().await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(serving.address).await.unwrap());
    }
    eventually(SOON, || async {
        let closed = serving.number("webhook_closed_total.crowded");
        if closed > 191.5 { Ok(()) } else { Err(closed) }
    })
    .await;
    // Another source, 127.0.0.2, is let in.
    let deployer = world.deployer().await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(serving.address).await.unwrap();
    other.write_all(&github("github", SECRET, "push", &push(COMMIT), &[])).await.unwrap();
    assert_eq!(read(&mut other).await.status, 202);
    assert_eq!(deployer.heard().len(), 1);
    drop(idle);
    eventually(SOON, || async {
        let replied = serving.send(&github("github", SECRET, "ping", "{}", &[])).await;
        if replied.status == 200 { Ok(()) } else { Err(replied) }
    })
    .await;
    serving.stop().await;
}

#[tokio::test]
async fn behind_a_proxy_there_are_so_many_connections_and_no_more() {
    let world = World::start().await;
    let serving = world.serve_with(world.config(&[("WEBHOOK_PROXIES", "127.0.0.1")])).await;
    let mut idle = Vec::new();
    for _ in 0..140 {
        idle.push(TcpStream::connect(serving.address).await.unwrap());
    }
    eventually(SOON, || async {
        let closed = serving.number("webhook_closed_total.crowded");
        if closed > 11.5 { Ok(()) } else { Err(closed) }
    })
    .await;
    // Whoever sends nothing goes after five seconds, and others come in again.
    let mut first = idle.swap_remove(0);
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(SOON, first.read_to_end(&mut rest)).await.expect("it is closed");
    eventually(SOON, || async {
        let from = [("X-Forwarded-For", "192.0.2.1")];
        let replied = serving.send(&github("github", SECRET, "ping", "{}", &from)).await;
        if replied.status == 200 { Ok(()) } else { Err(replied) }
    })
    .await;
    serving.stop().await;
}

#[tokio::test]
async fn a_source_that_asks_too_often_is_told_so_and_no_other() {
    let world = World::start().await;
    let serving = world.serve_with(world.config(&[("WEBHOOK_PROXIES", "127.0.0.1")])).await;
    let guess = |from: &str| request("POST", "/hooks/github", &[JSON, ("X-Forwarded-For", from)], b"{}");
    let mut refused = 0;
    for _ in 0..80 {
        refused += u32::from(serving.send(&guess("192.0.2.1")).await.status == 429);
    }
    assert!((1..=20).contains(&refused), "{refused}");
    // It cannot pretend to be others to go on.
    assert_eq!(serving.send(&guess("203.0.113.5, 192.0.2.1")).await.status, 429);
    assert_eq!(serving.send(&guess("192.0.2.2")).await.status, 401);
    serving.stop().await;
}

#[tokio::test]
async fn a_forge_gone_mad_does_not_drive_the_deployer_mad() {
    let world = World::start().await;
    let (serving, deployer) = (world.serve().await, world.deployer().await);
    let mut refused = 0;
    for _ in 0..40 {
        let replied = serving.send(&github("github", SECRET, "push", &push(&fresh_commit()), &[])).await;
        assert!(matches!(replied.status, 202 | 429), "{replied:?}");
        refused += usize::from(replied.status == 429);
    }
    assert!(refused >= 1, "{refused}");
    assert_eq!(deployer.heard().len() + refused, 40);
    serving.stop().await;
}
