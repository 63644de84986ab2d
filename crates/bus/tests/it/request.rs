//! Questions: answered, unanswered, and asked of nobody.

use std::time::Duration;

use bus::{RequestError, Requests};
use protocol::Catalogue;
use testkit::{Nats, eventually};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn nobody_is_known_at_once_and_somebody_answers() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let ask = async || {
        let subject = "interaction.discord.1".to_owned();
        let trace = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
        bus.request::<_, Catalogue>(subject, &crate::payload(), Duration::from_secs(60), trace).await
    };
    assert!(matches!(ask().await, Err(RequestError::NoResponders { .. })));

    let mut requests = bus.serve("interaction", "workers").await.unwrap();
    let answer = async {
        let request = requests.next().await.unwrap();
        assert!(request.trace().is_some());
        let question: Catalogue = request.decode().unwrap();
        request.respond(&question).await.unwrap();
    };
    let (answered, ()) = tokio::join!(ask(), answer);
    assert_eq!(answered.unwrap(), crate::payload());
}

#[tokio::test]
async fn one_who_takes_the_question_and_says_nothing_times_out() {
    let nats = Nats::start().await;
    let bus = nats.bus("test").await;
    let _silent = bus.serve("interaction", "workers").await.unwrap();
    let within = Duration::from_millis(50);
    let subject = "interaction.discord.1".to_owned();
    let answer = bus.request::<_, Catalogue>(subject, &crate::payload(), within, None).await;
    assert!(matches!(answer, Err(RequestError::TimedOut { .. })), "{answer:?}");
}

#[tokio::test]
async fn one_of_several_stops_and_no_question_is_lost() {
    const ROUNDS: usize = 100;
    let nats = Nats::start().await;
    let (bus, gateway) = (nats.bus("test").await, nats.bus("gateway").await);
    let staying = bus.serve("interaction", "workers").await.unwrap();
    bus.round_trip().await;
    tokio::spawn(answer(staying, None));
    let stop = CancellationToken::new();
    let asking = tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        loop {
            let ask = async |n: usize| {
                let (subject, within) = (format!("interaction.discord.{n}"), Duration::from_secs(5));
                gateway.request::<_, Catalogue>(subject, &crate::payload(), within, None).await.unwrap()
            };
            futures_util::future::join_all((0..32).map(ask)).await;
        }
    }));
    for _ in 0..ROUNDS {
        let leaving = bus.serve("interaction", "workers").await.unwrap();
        let answered = timeout(Duration::from_secs(10), answer(leaving, Some(fastrand::usize(0..20))));
        answered.await.expect("it is asked");
    }
    assert!(!asking.is_finished(), "every question was answered");
    stop.cancel();
    asking.await.unwrap();
}

#[tokio::test]
async fn who_stops_is_asked_no_more_also_when_the_connection_was_lost_before() {
    const BEFORE: usize = 200;
    let mut nats = Nats::start().await;
    let (bus, gateway) = (nats.bus("worker").await, nats.bus("gateway").await);
    let mut requests = bus.serve("interaction", "workers").await.unwrap();
    bus.round_trip().await;
    let ask = async || {
        let (subject, within) = ("interaction.discord.1".to_owned(), Duration::from_secs(5));
        gateway.request::<_, Catalogue>(subject, &crate::payload(), within, None).await
    };
    for _ in 0..BEFORE {
        let answer = async {
            let request = requests.next().await.unwrap();
            request.respond(&crate::payload()).await.unwrap();
        };
        tokio::join!(ask(), answer).0.unwrap();
    }
    nats.kill();
    nats.resume().await;
    bus.round_trip().await;
    let nobody = || async {
        match ask().await {
            Err(RequestError::NoResponders { .. }) => Ok(()),
            other => Err(other),
        }
    };
    assert!(requests.stop().await.is_empty());
    eventually(Duration::from_secs(10), nobody).await;
}

/// Answers so many questions and stops, or answers for ever.
async fn answer(mut requests: Requests, count: Option<usize>) {
    for _ in 0..count.unwrap_or(usize::MAX) {
        let request = requests.next().await.unwrap();
        request.respond(&crate::payload()).await.unwrap();
    }
    for request in requests.stop().await {
        request.respond(&crate::payload()).await.unwrap();
    }
}
