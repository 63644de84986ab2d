//! The knobs: reconnect, cut, silence, delay, refused logins, raw lines, a client that does not read.

use std::time::{Duration, Instant};

use sandbox::twitch::Change;

use super::client::{Irc, SOON, say, start, start_with, without_limits};

#[tokio::test]
async fn reconnect_is_announced_and_then_done() {
    let mut options = without_limits();
    options.reconnect_grace = Duration::from_millis(50);
    let sandbox = start_with(options).await;
    let mut irc = Irc::bot_in(&sandbox, "vigie_demo").await;
    sandbox.twitch().reconnect_all();
    assert_eq!(irc.expect("RECONNECT").await, ":tmi.twitch.tv RECONNECT");
    assert_eq!(irc.until_end().await, Vec::<String>::new());
    let mut again = Irc::bot_in(&sandbox, "vigie_demo").await;
    say(&sandbox, "vigie_demo", "back");
    again.expect("back").await;
}

#[tokio::test]
async fn a_cut_connection_ends_at_once() {
    let sandbox = start().await;
    let mut irc = Irc::bot_in(&sandbox, "vigie_demo").await;
    irc.so_far().await;
    sandbox.twitch().drop_connections();
    assert_eq!(irc.until_end().await, Vec::<String>::new());
    sandbox.counters().wait("twitch.irc.disconnect", 1, SOON).await.unwrap();
}

#[tokio::test]
async fn a_silent_connection_stays_open() {
    let sandbox = start().await;
    let mut irc = Irc::bot_in(&sandbox, "vigie_demo").await;
    irc.so_far().await;
    sandbox.twitch().faults().set_silent(true);
    irc.send("PING :1").await;
    sandbox.counters().wait("twitch.irc.pong", 2, SOON).await.unwrap();
    say(&sandbox, "vigie_demo", "unheard");
    irc.send("PING :2").await;
    sandbox.counters().wait("twitch.irc.pong", 3, SOON).await.unwrap();
    sandbox.twitch().faults().set_silent(false);
    let mut heard = irc.so_far().await;
    // The last one may still have been on its way when the silence ended.
    heard.retain(|line| !line.contains("PONG"));
    assert_eq!(heard.len(), 0, "{heard:#?}");
}

#[tokio::test]
async fn pongs_can_be_muted() {
    let sandbox = start().await;
    let mut irc = Irc::bot_in(&sandbox, "vigie_demo").await;
    sandbox.twitch().faults().set_mute_pong(true);
    irc.send("PING :1").await;
    sandbox.counters().wait("twitch.irc.ping", 1, SOON).await.unwrap();
    say(&sandbox, "vigie_demo", "chat goes on");
    irc.expect("chat goes on").await;
    assert_eq!(sandbox.counters().get("twitch.irc.pong"), 0);
}

#[tokio::test]
async fn a_delay_holds_back_every_line_but_no_order() {
    let sandbox = start().await;
    let mut irc = Irc::bot_in(&sandbox, "vigie_demo").await;
    irc.so_far().await;
    let changed = sandbox.twitch().faults().set(Change { delay_ms: Some(200), ..Change::default() });
    assert_eq!(changed.delay_ms, 200);
    let since = Instant::now();
    for n in 0..10 {
        say(&sandbox, "vigie_demo", &format!("line {n}"));
    }
    for n in 0..10 {
        assert!(irc.line().await.unwrap().ends_with(&format!("line {n}")));
    }
    let took = since.elapsed();
    assert!(took >= Duration::from_millis(200), "{took:?}");
    assert!(took < Duration::from_millis(1500), "each line waits on its own: {took:?}");
}

#[tokio::test]
async fn logins_can_be_refused() {
    let sandbox = start().await;
    sandbox.twitch().faults().refuse_logins(1);
    let mut irc = Irc::connect(sandbox.irc_addr()).await;
    irc.send("PASS oauth:sandbox-token").await;
    irc.send("NICK vigie_bot").await;
    assert_eq!(irc.until_end().await, [":tmi.twitch.tv NOTICE * :Login authentication failed"]);
    Irc::bot(&sandbox).await;
}

#[tokio::test]
async fn raw_lines_arrive_as_they_are() {
    let sandbox = start().await;
    let mut irc = Irc::bot_in(&sandbox, "vigie_demo").await;
    irc.so_far().await;
    let many_tags: Vec<String> = (0..200).map(|n| format!("tag-{n}={n}")).collect();
    let line = format!("@{} :tmi.twitch.tv USERNOTICE #vigie_demo", many_tags.join(";"));
    assert_eq!(sandbox.twitch().inject_raw(None, line.as_bytes()).unwrap(), 1);
    assert_eq!(irc.line().await.unwrap(), line);
    assert_eq!(sandbox.twitch().inject_raw(Some("quiet_corner"), b"@ :x").unwrap(), 0);
    assert!(sandbox.twitch().inject_raw(Some("nowhere"), b"x").is_err());
    sandbox.twitch().send_notice("vigie_demo", "no_permission").unwrap();
    let notice = irc.line().await.unwrap();
    assert_eq!(
        notice,
        "@msg-id=no_permission :tmi.twitch.tv NOTICE #vigie_demo :You don't have permission to perform that action."
    );
}

#[tokio::test]
async fn a_client_that_does_not_answer_a_ping_is_dropped() {
    let mut options = without_limits();
    options.ping_every = Duration::from_millis(50);
    options.pong_within = Duration::from_millis(50);
    let sandbox = start_with(options).await;
    let mut irc = Irc::bot(&sandbox).await;
    irc.expect("PING :tmi.twitch.tv").await;
    irc.send("PONG :tmi.twitch.tv").await;
    irc.expect("PING :tmi.twitch.tv").await;
    irc.until_end().await;
    assert_eq!(sandbox.counters().get("twitch.irc.timed_out"), 1);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_and_others_are_not() {
    let sandbox = start().await;
    let slow = Irc::bot_in(&sandbox, "vigie_demo").await;
    let mut quick = Irc::connect(sandbox.irc_addr()).await;
    quick.login("justinfan5", "x").await;
    quick.join("vigie_demo").await;
    let reading = tokio::spawn(async move {
        loop {
            let line = quick.line().await.expect("the quick client was dropped");
            if line.ends_with("the end") {
                return;
            }
        }
    });
    let text = "x".repeat(400);
    // Enough to fill both socket buffers and the queue of the one who does not read.
    for n in 0..60_000 {
        sandbox.twitch().say_as("chatty", "vigie_demo", &text).unwrap();
        if n % 100 == 0 {
            tokio::task::yield_now().await;
        }
        if sandbox.counters().get("twitch.irc.disconnect") == 1 {
            break;
        }
    }
    sandbox.counters().wait("twitch.irc.disconnect", 1, SOON).await.unwrap();
    say(&sandbox, "vigie_demo", "the end");
    tokio::time::timeout(SOON, reading).await.unwrap().unwrap();
    drop(slow);
}
