//! Coming back: resume with replay, op 7, op 9, cut connections.

use std::time::Duration;

use sandbox::discord::{Options, ids};
use serde_json::json;

use super::bot::{Bot, Harbour, INTENTS, SOON};

#[tokio::test]
async fn a_resume_replays_exactly_what_was_missed_and_then_says_resumed() {
    let harbour = Harbour::open().await;
    let mut bot = harbour.identified(INTENTS).await;
    harbour.say("seen");
    bot.dispatch("MESSAGE_CREATE").await;
    let url = bot.resume_url.clone();
    let (session, seq) = bot.vanish();
    harbour.counters.wait("discord.gateway.disconnect", 1, SOON).await.unwrap();
    let missed = [harbour.say("one"), harbour.say("two"), harbour.say("three")];

    let mut bot = Bot::connect(&format!("{url}/?v=10&encoding=json")).await;
    bot.resume(&session, seq).await;
    for (place, id) in missed.iter().enumerate() {
        assert_eq!(bot.dispatch("MESSAGE_CREATE").await["id"], *id);
        assert_eq!(bot.seq, seq + 1 + place as u64);
    }
    bot.dispatch("RESUMED").await;
    harbour.say("live again");
    assert_eq!(bot.dispatch("MESSAGE_CREATE").await["content"], "live again");
    assert_eq!(harbour.counters.get("discord.gateway.resumed_replayed"), 3);
    assert_eq!(harbour.counters.get("discord.gateway.identify"), 1);
}

#[tokio::test]
async fn what_was_written_but_perhaps_not_read_is_replayed_too() {
    let harbour = Harbour::open().await;
    let bot = harbour.identified(INTENTS).await;
    let (session, seq) = bot.vanish();
    let mut bot = harbour.connect().await;
    bot.resume(&session, seq - 1).await;
    bot.dispatch("GUILD_CREATE").await;
    bot.dispatch("RESUMED").await;
    let seq = bot.seq;
    // A second resume from before the first RESUMED does not repeat that one.
    let mut again = harbour.connect().await;
    again.resume(&session, seq - 2).await;
    again.dispatch("GUILD_CREATE").await;
    again.dispatch("RESUMED").await;
    assert_eq!(again.seq, seq + 1);
    assert_eq!(bot.closed().await, Some(4000), "the older connection is displaced");
}

#[tokio::test]
async fn op_7_asks_to_reconnect_and_keeps_the_session() {
    let harbour = Harbour::open().await;
    let mut bot = harbour.identified(INTENTS).await;
    harbour.discord.reconnect_all();
    bot.op(7).await;
    let (session, seq) = (bot.session.clone(), bot.seq);
    bot.close(4000).await;
    let mut bot = harbour.connect().await;
    bot.resume(&session, seq).await;
    bot.dispatch("RESUMED").await;
}

#[tokio::test]
async fn op_9_says_whether_the_session_lives() {
    let harbour = Harbour::open().await;
    let mut bot = harbour.identified(INTENTS).await;
    harbour.discord.invalidate_sessions(true);
    assert_eq!(bot.op(9).await, true);
    let (session, seq) = bot.vanish();
    let mut bot = harbour.connect().await;
    bot.resume(&session, seq).await;
    bot.dispatch("RESUMED").await;

    harbour.discord.invalidate_sessions(false);
    assert_eq!(bot.op(9).await, false);
    let mut late = harbour.connect().await;
    late.resume(&session, seq).await;
    assert_eq!(late.op(9).await, false, "that session is gone");
    late.identify(INTENTS).await;
    late.dispatch("READY").await;
}

#[tokio::test]
async fn codes_1000_and_1001_end_a_session_and_others_do_not() {
    let harbour = Harbour::open().await;
    for (code, lives) in [(1000, false), (1001, false), (4000, true), (4999, true)] {
        let bot = harbour.identified(INTENTS).await;
        let (session, seq) = (bot.session.clone(), bot.seq);
        bot.close(code).await;
        let mut bot = harbour.connect().await;
        bot.resume(&session, seq).await;
        let answer = bot.payload().await;
        assert_eq!(answer["t"] == "RESUMED", lives, "after {code}: {answer}");
    }
}

#[tokio::test]
async fn a_sequence_from_the_future_closes_with_4007() {
    let harbour = Harbour::open().await;
    let (session, seq) = harbour.identified(INTENTS).await.vanish();
    let mut bot = harbour.connect().await;
    bot.resume(&session, seq + 100).await;
    assert_eq!(bot.closed().await, Some(4007));
}

#[tokio::test]
async fn too_many_missed_events_cannot_be_replayed() {
    let harbour = Harbour::open().await;
    let (session, seq) = harbour.identified(INTENTS).await.vanish();
    harbour.counters.wait("discord.gateway.disconnect", 1, SOON).await.unwrap();
    for n in 0..101 {
        harbour.say(&format!("line {n}"));
    }
    let mut bot = harbour.connect().await;
    bot.resume(&session, seq).await;
    assert_eq!(bot.op(9).await, false);
}

#[tokio::test]
async fn a_session_waits_only_so_long() {
    let options =
        Options { session_grace: Duration::ZERO, identify_window: Duration::ZERO, ..Options::default() };
    let harbour = Harbour::with(options).await;
    let (session, seq) = harbour.identified(INTENTS).await.vanish();
    harbour.counters.wait("discord.gateway.disconnect", 1, SOON).await.unwrap();
    let mut bot = harbour.connect().await;
    bot.resume(&session, seq).await;
    assert_eq!(bot.op(9).await, false);
}

#[tokio::test]
async fn connections_can_be_cut_or_closed_with_a_code() {
    let harbour = Harbour::open().await;
    let mut bot = harbour.identified(INTENTS).await;
    harbour.discord.drop_connections();
    assert_eq!(bot.closed().await, None, "cut without a word");
    let mut bot = harbour.identified(INTENTS).await;
    harbour.discord.close_all(4000);
    assert_eq!(bot.closed().await, Some(4000));
    assert_eq!(harbour.counters.get("discord.gateway.close.4000"), 1);
}

#[tokio::test]
async fn a_burst_far_beyond_the_resume_buffer_reaches_a_connected_client() {
    let harbour = Harbour::open().await;
    let mut bot = harbour.identified(INTENTS).await;
    for n in 0..2000 {
        harbour.say(&n.to_string());
    }
    for n in 0..2000 {
        assert_eq!(bot.dispatch("MESSAGE_CREATE").await["content"], n.to_string());
    }
    assert_eq!(harbour.discord.history(&ids::GENERAL.to_string()).len(), 200);
    bot.send(json!({ "op": 1, "d": bot.seq })).await;
    bot.op(11).await;
}
