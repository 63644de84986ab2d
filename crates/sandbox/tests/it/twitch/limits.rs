//! What Twitch refuses: too much, too fast, the same again, too long, where one may not talk.

use super::client::{Irc, start, start_with, tag, without_limits};

async fn refusal(irc: &mut Irc, channel: &str, text: &str) -> (String, String) {
    irc.send(&format!("PRIVMSG #{channel} :{text}")).await;
    let line = irc.expect(&format!("NOTICE #{channel}")).await;
    let words = line.split_once(&format!("#{channel} :")).unwrap().1.to_owned();
    (tag(&line, "msg-id").unwrap(), words)
}

#[tokio::test]
async fn a_viewer_may_not_be_too_fast_in_one_channel() {
    let sandbox = start().await;
    let mut irc = Irc::bot_in(&sandbox, "quiet_corner").await;
    irc.send("PRIVMSG #quiet_corner :one").await;
    irc.expect("USERSTATE").await;
    let (id, words) = refusal(&mut irc, "quiet_corner", "two").await;
    assert_eq!(id, "msg_ratelimit");
    assert_eq!(words, "Your message was not sent because you are sending messages too quickly.");
    assert_eq!(sandbox.twitch().history("quiet_corner").len(), 1);
}

#[tokio::test]
async fn a_viewer_may_not_repeat_itself() {
    let mut options = without_limits();
    options.limits.duplicate = std::time::Duration::from_secs(30);
    let sandbox = start_with(options).await;
    let mut irc = Irc::bot_in(&sandbox, "quiet_corner").await;
    irc.send("PRIVMSG #quiet_corner :the same").await;
    irc.expect("USERSTATE").await;
    let (id, words) = refusal(&mut irc, "quiet_corner", " the  same ").await;
    assert_eq!(id, "msg_duplicate");
    assert!(words.ends_with("identical to the previous one you sent, less than 30 seconds ago."), "{words}");
    irc.send("PRIVMSG #quiet_corner :another").await;
    irc.expect("USERSTATE").await;

    irc.join("vigie_demo").await;
    for _ in 0..2 {
        irc.send("PRIVMSG #vigie_demo :moderators may").await;
        irc.expect("USERSTATE #vigie_demo").await;
    }
}

#[tokio::test]
async fn a_viewer_who_goes_over_is_ignored() {
    let mut options = without_limits();
    options.limits.messages = 3;
    options.limits.elevated_messages = 6;
    let sandbox = start_with(options).await;
    let mut irc = Irc::bot_in(&sandbox, "quiet_corner").await;
    for n in 0..3 {
        irc.send(&format!("PRIVMSG #quiet_corner :{n}")).await;
        irc.expect("USERSTATE").await;
    }
    assert_eq!(refusal(&mut irc, "quiet_corner", "3").await.0, "msg_ratelimit");
    irc.send("PRIVMSG #quiet_corner :4").await;
    assert_eq!(irc.so_far().await, Vec::<String>::new(), "Twitch says nothing any more");
    assert_eq!(sandbox.counters().get("twitch.privmsg.refused.ignored"), 1);

    // As a moderator it goes on until the larger limit, which the others counted towards.
    irc.send("PRIVMSG #vigie_demo :5").await;
    irc.expect("USERSTATE #vigie_demo").await;
    assert_eq!(refusal(&mut irc, "vigie_demo", "6").await.0, "msg_ratelimit");
}

#[tokio::test]
async fn five_hundred_characters_and_no_more() {
    let sandbox = start_with(without_limits()).await;
    let mut irc = Irc::bot_in(&sandbox, "vigie_demo").await;
    irc.send(&format!("PRIVMSG #vigie_demo :{}", "é".repeat(500))).await;
    irc.expect("USERSTATE").await;
    irc.send(&format!("PRIVMSG #vigie_demo :{}", "é".repeat(501))).await;
    assert_eq!(irc.so_far().await, Vec::<String>::new());
    assert_eq!(sandbox.counters().get("twitch.privmsg.refused.too_long"), 1);
    assert_eq!(sandbox.twitch().history("vigie_demo").len(), 1);
}

#[tokio::test]
async fn joins_beyond_the_limits_are_not_answered() {
    let mut options = without_limits();
    options.limits.joins = 3;
    options.extra_channels = 5;
    let sandbox = start_with(options).await;
    let mut irc = Irc::bot(&sandbox).await;
    irc.send("JOIN #channel_0000,#channel_0001,#channel_0002,#channel_0003").await;
    let heard = irc.so_far().await;
    let rooms = heard.iter().filter(|line| line.contains("ROOMSTATE")).count();
    assert_eq!((rooms, sandbox.counters().get("twitch.irc.join_refused")), (3, 1));
}

#[tokio::test]
async fn only_so_many_channels_at_once() {
    let mut options = without_limits();
    options.limits.channels = 2;
    options.extra_channels = 5;
    let sandbox = start_with(options).await;
    let mut irc = Irc::bot(&sandbox).await;
    irc.send("JOIN #channel_0000,#channel_0001,#channel_0002").await;
    let heard = irc.so_far().await;
    assert_eq!(heard.iter().filter(|line| line.contains("ROOMSTATE")).count(), 2);
    // Where it is a moderator it does not count.
    irc.join("vigie_demo").await;
    irc.send("PART #channel_0000").await;
    irc.join("channel_0002").await;
}

#[tokio::test]
async fn a_channel_that_is_not_there() {
    let sandbox = start().await;
    let mut irc = Irc::bot(&sandbox).await;
    irc.send("JOIN #nowhere").await;
    let line = irc.expect("NOTICE #nowhere").await;
    assert_eq!(tag(&line, "msg-id").as_deref(), Some("msg_channel_suspended"));
    sandbox.twitch().suspend("quiet_corner", true).unwrap();
    assert_eq!(refusal(&mut irc, "quiet_corner", "hi").await.0, "msg_channel_suspended");
}

#[tokio::test]
async fn a_bot_that_is_timed_out_or_banned() {
    let sandbox = start_with(without_limits()).await;
    let mut irc = Irc::bot_in(&sandbox, "quiet_corner").await;
    sandbox.twitch().timeout("quiet_corner", "vigie_bot", 90).unwrap();
    let (id, words) = refusal(&mut irc, "quiet_corner", "hi").await;
    assert_eq!((id.as_str(), words.as_str()), ("msg_timedout", "You are timed out for 90 more seconds."));
    sandbox.twitch().timeout("quiet_corner", "vigie_bot", 0).unwrap();
    let (id, words) = refusal(&mut irc, "quiet_corner", "hi").await;
    assert_eq!(id, "msg_banned");
    assert_eq!(words, "You are permanently banned from talking in quiet_corner.");
    irc.send("PART #quiet_corner").await;
    irc.send("JOIN #quiet_corner").await;
    assert_eq!(tag(&irc.expect("NOTICE").await, "msg-id").as_deref(), Some("msg_banned"));
    sandbox.twitch().unban("quiet_corner", "vigie_bot").unwrap();
    irc.join("quiet_corner").await;
}

#[tokio::test]
async fn a_line_without_end_ends_the_connection() {
    let sandbox = start().await;
    let mut irc = Irc::bot(&sandbox).await;
    irc.so_far().await;
    irc.send_bytes(&[b'x'; 9 * 1024]).await;
    assert_eq!(irc.until_end().await, Vec::<String>::new());
    assert_eq!(sandbox.counters().get("twitch.irc.line_too_long"), 1);
}

#[tokio::test]
async fn bytes_that_are_no_utf8_do_no_harm() {
    let sandbox = start().await;
    let mut irc = Irc::bot_in(&sandbox, "vigie_demo").await;
    irc.send_bytes(b"PRIVMSG #vigie_demo :caf\xe9 au lait\r\n").await;
    irc.expect("USERSTATE").await;
    assert_eq!(sandbox.twitch().history("vigie_demo")[0].text, "caf\u{fffd} au lait");
}
