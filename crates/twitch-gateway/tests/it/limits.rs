//! The account's limits, at a clock that tests move.

use std::{collections::HashMap, sync::Arc, time::Duration};

use proptest::prelude::*;
use protocol::{ChannelId, subject};
use tokio::{sync::Mutex, time::Instant};
use twitch_gateway::limiter::{
    CHANNEL_PAUSE, ELEVATED, Exceeded, Limiter, SENT_WITHIN, Standing, WINDOW, Window,
};

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug)]
struct Wish {
    channel: u8,
    after_ms: u16,
}

/// Channels 0 to 2 are ordinary, 3 and 4 elevated.
fn standing(channel: u8) -> Standing {
    if channel < 3 { Standing::Normal } else { Standing::Elevated }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_window_ever_holds_more_than_twitch_grants(
        wishes in prop::collection::vec((0_u8..5, 0_u16..3000).prop_map(|(channel, after_ms)| Wish { channel, after_ms }), 1..260),
        per_30s in 1_usize..40,
    ) {
        let sent = paused(speak(wishes.clone(), per_30s));
        prop_assert_eq!(sent.len(), wishes.len());
        for (index, (at, channel)) in sent.iter().enumerate() {
            let in_window = sent[..=index].iter().filter(|(other, _)| *other + WINDOW > *at).count();
            let limit = if standing(*channel) == Standing::Normal { per_30s } else { per_30s.max(ELEVATED) };
            prop_assert!(in_window <= limit, "{} messages in the window of message {}", in_window, index);
        }
        let mut last = HashMap::new();
        for (at, channel) in sent.iter().filter(|(_, channel)| standing(*channel) == Standing::Normal) {
            if let Some(before) = last.insert(channel, *at) {
                prop_assert!(*at - before >= CHANNEL_PAUSE);
            }
        }
    }
}

fn paused<T>(work: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(work)
}

async fn speak(wishes: Vec<Wish>, per_30s: usize) -> Vec<(Instant, u8)> {
    let (limiter, sent) = (Arc::new(Limiter::new(per_30s)), Arc::new(Mutex::new(Vec::new())));
    let (mut speakers, mut next) = (Vec::new(), Instant::now());
    for Wish { channel, after_ms } in wishes {
        next += Duration::from_millis(after_ms.into());
        tokio::time::sleep_until(next).await;
        let (limiter, sent) = (limiter.clone(), sent.clone());
        speakers.push(tokio::spawn(async move {
            let until = Instant::now() + 100 * HOUR;
            limiter.acquire(&channel.to_string(), standing(channel), until).await.unwrap();
            sent.lock().await.push((Instant::now(), channel));
        }));
    }
    for speaker in speakers {
        speaker.await.unwrap();
    }
    Arc::into_inner(sent).unwrap().into_inner()
}

#[tokio::test(start_paused = true)]
async fn who_cannot_speak_in_time_is_told_at_once() {
    let limiter = Limiter::new(2);
    let begun = Instant::now();
    for channel in ["a", "b"] {
        limiter.acquire(channel, Standing::Normal, begun + HOUR).await.unwrap();
    }
    assert_eq!(limiter.estimate("c", Standing::Normal), WINDOW);
    assert_eq!(limiter.estimate("c", Standing::Elevated), Duration::ZERO);
    assert_eq!(limiter.acquire("c", Standing::Normal, begun + WINDOW / 2).await, Err(Exceeded));
    assert_eq!(Instant::now(), begun);
    limiter.acquire("c", Standing::Elevated, begun + HOUR).await.unwrap();
    assert_eq!(Instant::now(), begun);
    limiter.acquire("c", Standing::Normal, begun + HOUR).await.unwrap();
    assert_eq!(Instant::now() - begun, WINDOW);
}

/// A request may be under way for as long as it may take, and Twitch counts it only then.
#[tokio::test(start_paused = true)]
async fn what_twitch_takes_late_exceeds_its_window_neither() {
    const TWITCHS: Duration = Duration::from_secs(30);
    let (limiter, mut taken) = (Limiter::new(20), Vec::new());
    for n in 0..80 {
        let channel = n.to_string();
        let place = limiter.acquire(&channel, Standing::Normal, Instant::now() + HOUR).await.unwrap();
        // Those of the first window as late as can be, the next ones at once.
        if n < 20 {
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(place.is_fresh());
        taken.push(
            Instant::now() + if n < 20 { Duration::from_secs(1) + SENT_WITHIN } else { Duration::ZERO },
        );
    }
    taken.sort_unstable();
    for window in taken.windows(21) {
        assert!(window[20] - window[0] > TWITCHS, "{:?}", window[20] - window[0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_in_one_channel_holds_up_no_other() {
    let limiter = Arc::new(Limiter::new(20));
    let until = Instant::now() + HOUR;
    limiter.acquire("a", Standing::Normal, until).await.unwrap();
    let begun = Instant::now();
    let slow = {
        let limiter = limiter.clone();
        tokio::spawn(async move { limiter.acquire("a", Standing::Normal, until).await })
    };
    tokio::task::yield_now().await;
    limiter.acquire("b", Standing::Normal, until).await.unwrap();
    assert_eq!(Instant::now(), begun);
    slow.await.unwrap().unwrap();
    assert_eq!(Instant::now() - begun, CHANNEL_PAUSE);
}

#[tokio::test(start_paused = true)]
async fn who_takes_over_a_channel_waits_only_where_others_may_have_just_spoken() {
    let limiter = Arc::new(Limiter::new(20));
    let channel = ChannelId::new("600100200").unwrap();
    let speak = || async {
        let (limiter, channel, begun) = (limiter.clone(), channel.clone(), Instant::now());
        limiter.acquire(channel.as_str(), Standing::Normal, begun + HOUR).await.unwrap();
        begun.elapsed()
    };
    tokio::time::advance(HOUR).await;
    limiter.begin(subject::partition(&channel));
    assert!(limiter.is_behind());
    assert_eq!(speak().await, CHANNEL_PAUSE, "nobody knows");
    for (ago, wait) in
        [(Duration::from_millis(200), CHANNEL_PAUSE - Duration::from_millis(200)), (HOUR, Duration::ZERO)]
    {
        tokio::time::advance(HOUR).await;
        limiter.begin(subject::partition(&channel));
        let waiting = speak();
        let learning = async { limiter.learn(vec![Instant::now() - ago], Instant::now()) };
        assert_eq!(tokio::join!(waiting, learning).0, wait);
        assert!(!limiter.is_behind());
    }
}

#[tokio::test(start_paused = true)]
async fn joins_go_in_a_sliding_window() {
    let window = Window::new(18, Duration::from_secs(11));
    let begun = Instant::now();
    let mut at = Vec::new();
    for _ in 0..60 {
        window.take().await;
        at.push(Instant::now() - begun);
    }
    assert!(at.windows(19).all(|part| part[18] - part[0] >= Duration::from_secs(11)), "{at:?}");
    assert_eq!(at[59], Duration::from_secs(33));
}
