//! A gateway that misbehaves is not stormed. Unguarded, twilight comes back some 5,000 times a second
//! in each of these cases.

use std::time::Duration;

use discord_gateway::cursor::Cursor;
use testkit::{Nats, eventually};
use tokio::time::{interval, timeout};

use crate::{
    fake::{Behave, Fake},
    rig::{Gateway, LONG},
};

/// How long a storm is watched.
const WATCHED: Duration = Duration::from_secs(6);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

struct Storm {
    _nats: Nats,
    fake: Fake,
    gateway: Gateway,
}

impl Storm {
    /// `resuming`: an earlier process left a session.
    async fn start(identify: Behave, resume: Behave, resuming: bool) -> Self {
        Self::with_starts(identify, resume, resuming, 1000).await
    }

    async fn with_starts(identify: Behave, resume: Behave, resuming: bool, starts: u32) -> Self {
        let nats = Nats::start().await;
        let bus = nats.bus("test").await;
        let fake = Fake::start(identify, resume, starts).await;
        if resuming {
            let cursor = Cursor {
                session: "old".to_owned(),
                resume_url: fake.api_url().replace("http", "ws"),
                sequence: 42,
                user: 2,
                guilds: 0,
            };
            let kv = bus.bucket(bus::BucketName::Session).await.unwrap();
            kv.put("discord.1.0.1", &cursor).await.unwrap();
        }
        let gateway = Gateway::start(vec![
            ("NATS_URL", nats.url()),
            ("DISCORD_API_URL", fake.api_url()),
            ("DISCORD_TOKEN", "token".to_owned()),
        ]);
        Self { _nats: nats, fake, gateway }
    }

    async fn live(&self) {
        self.gateway.ready().await;
    }

    /// Watches a storm in which there may not be more connects, identifies and resumes than these; how many
    /// there were.
    async fn watch(&self, most: (u32, u32, u32)) -> (u32, u32, u32) {
        let exceeded = async {
            let mut looks = interval(LOOK_EVERY);
            loop {
                looks.tick().await;
                let (connects, identifies, resumes) = self.fake.counts();
                if connects > most.0 || identifies > most.1 || resumes > most.2 {
                    return (connects, identifies, resumes);
                }
            }
        };
        if let Ok(found) = timeout(WATCHED, exceeded).await {
            panic!("connects, identifies, resumes: {found:?}, more than {most:?}");
        }
        self.fake.counts()
    }
}

#[tokio::test]
async fn a_session_refused_with_4007_or_4009_is_replaced() {
    for code in [4007, 4009] {
        let storm = Storm::start(Behave::Well, Behave::Close(code), true).await;
        storm.live().await;
        assert_eq!(storm.fake.counts(), (2, 1, 1), "{code}");
        storm.gateway.stop().await.unwrap();
    }
}

#[tokio::test]
async fn an_invalid_session_is_waited_for() {
    let storm = Storm::start(Behave::InvalidSession(false), Behave::InvalidSession(false), true).await;
    let (connects, _, resumes) = storm.watch((4, 2, 1)).await;
    assert!(connects >= 2 && resumes == 1, "{connects} connects, {resumes} resumes");
    storm.gateway.stop().await.unwrap();
}

#[tokio::test]
async fn a_session_that_never_resumes_is_given_up() {
    let storm = Storm::start(Behave::Well, Behave::Close(4000), true).await;
    storm.live().await;
    let (_, identifies, resumes) = storm.fake.counts();
    assert_eq!((identifies, resumes), (1, 3));
    storm.gateway.stop().await.unwrap();
}

#[tokio::test]
async fn closes_right_after_ready_are_answered_more_and_more_slowly() {
    let storm = Storm::start(Behave::ReadyThenClose(4000), Behave::ReadyThenClose(4000), false).await;
    let (connects, ..) = storm.watch((6, 6, 6)).await;
    assert!(connects >= 2, "{connects} connects");
    storm.gateway.stop().await.unwrap();
}

/// What a proxy or a load balancer does when it is restarted; twilight takes it for no end of a connection.
#[tokio::test]
async fn hang_ups_without_a_close_frame_are_answered_more_and_more_slowly() {
    for resuming in [false, true] {
        let storm = Storm::start(Behave::HangUp, Behave::HangUp, resuming).await;
        let (connects, identifies, resumes) = storm.watch((6, 6, 6)).await;
        assert!(connects >= 1, "it never came");
        assert!(identifies + resumes <= connects, "{identifies} identifies, {resumes} resumes");
        storm.gateway.stop().await.unwrap();
    }
}

#[tokio::test]
async fn hang_ups_instead_of_a_hello_are_answered_more_and_more_slowly() {
    let storm = Storm::start(Behave::HangUpAtOnce, Behave::Well, false).await;
    // Some are made before it is noticed that one was not the first.
    let (connects, ..) = storm.watch((250, 0, 0)).await;
    assert!(connects >= 2, "{connects} connects");
    storm.gateway.stop().await.unwrap();
}

/// Nobody was asked whether the session goes on.
#[tokio::test]
async fn hang_ups_instead_of_a_hello_cost_no_session() {
    let storm = Storm::start(Behave::HangUpAtFirst, Behave::Well, true).await;
    storm.live().await;
    let (connects, identifies, resumes) = storm.fake.counts();
    assert!(connects > 3, "{connects} connects");
    assert_eq!((identifies, resumes), (0, 1));
    storm.gateway.stop().await.unwrap();
}

#[tokio::test]
async fn what_a_person_must_mend_is_said_and_not_retried_at_once() {
    for (code, words) in [(4014, "Message Content Intent"), (4013, "intents"), (4011, "DISCORD_SHARDS")] {
        let storm = Storm::start(Behave::Close(code), Behave::Well, false).await;
        storm.gateway.says(words).await;
        assert_eq!(storm.fake.counts().0, 1, "{code}");
        storm.gateway.stop().await.unwrap();
    }
}

#[tokio::test]
async fn what_a_person_must_mend_costs_one_session_start_for_all_shards() {
    let nats = Nats::start().await;
    nats.bus("test").await;
    let fake = Fake::start(Behave::Close(4014), Behave::Well, 1000).await;
    let gateway = Gateway::start(vec![
        ("NATS_URL", nats.url()),
        ("DISCORD_API_URL", fake.api_url()),
        ("DISCORD_TOKEN", "token".to_owned()),
        ("DISCORD_SHARDS", "3".to_owned()),
    ]);
    gateway.says("Message Content Intent").await;
    let storm = Storm { _nats: nats, fake, gateway };
    assert_eq!(storm.watch((1, 1, 0)).await, (1, 1, 0));
    storm.gateway.stop().await.unwrap();
}

#[tokio::test]
async fn a_refused_token_ends_the_process_with_words() {
    let storm = Storm::start(Behave::Close(4004), Behave::Well, false).await;
    let error = storm.gateway.ended().await.unwrap_err().to_string();
    assert!(error.contains("DISCORD_TOKEN"), "{error}");
}

#[tokio::test]
async fn the_last_session_starts_of_the_day_are_not_burned() {
    let storm = Storm::with_starts(Behave::Well, Behave::Well, false, 50).await;
    storm.gateway.says("50 of 1000 daily session starts").await;
    assert_eq!(storm.fake.counts().0, 0);
    storm.gateway.stop().await.unwrap();

    // One above the reserve is used, and the ledger that is kept knows.
    let storm = Storm::with_starts(Behave::Well, Behave::Well, false, 51).await;
    storm.live().await;
    let bus = storm._nats.bus("look").await;
    let kv = bus.bucket(bus::BucketName::Session).await.unwrap();
    let kept = eventually(LONG, || async {
        kv.get::<serde_json::Value>("discord.1.identify").await.ok().flatten().ok_or("nothing kept")
    })
    .await;
    assert_eq!(kept["remaining"], 50);
    storm.gateway.stop().await.unwrap();
}
