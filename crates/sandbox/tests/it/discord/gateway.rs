//! Connecting, identifying, heartbeats, shards, and how connections end.

use std::time::Duration;

use sandbox::discord::{Options, ids};
use serde_json::{Value, json};

use super::bot::{Bot, Got, Harbour, INTENTS, SOON, identify};

#[tokio::test]
async fn identify_is_answered_by_ready_and_every_guild() {
    let harbour = Harbour::open().await;
    let mut bot = harbour.connect().await;
    bot.identify(INTENTS).await;
    let ready = bot.dispatch("READY").await;
    assert_eq!(ready["v"], 10);
    assert_eq!(ready["user"]["id"], ids::APPLICATION.to_string());
    assert_eq!(ready["user"]["bot"], true);
    assert_eq!(ready["application"]["id"], ids::APPLICATION.to_string());
    assert_eq!(ready["guilds"], json!([{ "id": ids::GUILD.to_string(), "unavailable": true }]));
    assert_eq!(ready["resume_gateway_url"], format!("{}/gateway", harbour.base.replacen("http", "ws", 1)));
    let guild = bot.dispatch("GUILD_CREATE").await;
    assert_eq!(guild["name"], "Vigie Harbour");
    assert_eq!(guild["unavailable"], false);
    let names: Vec<&Value> = guild["channels"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["general", "bots", "announcements", "staff", "Harbour"]);
    assert_eq!(guild["members"].as_array().unwrap().len(), 1, "only the bot without the presence intent");
    assert_eq!(guild["member_count"], 5);
    assert_eq!(bot.seq, 2);
}

#[tokio::test]
async fn heartbeats_are_acknowledged_also_before_identify_and_unless_muted() {
    let harbour = Harbour::open().await;
    let mut bot = harbour.connect().await;
    bot.send(json!({ "op": 1, "d": null })).await;
    bot.op(11).await;
    harbour.discord.faults().update(|knobs| knobs.mute_heartbeat_acks = true);
    bot.send(json!({ "op": 1, "d": null })).await;
    harbour.counters.wait("discord.gateway.heartbeat", 2, SOON).await.unwrap();
    bot.identify(0).await;
    bot.dispatch("READY").await;
}

#[tokio::test]
async fn a_client_that_never_beats_is_timed_out() {
    let harbour = Harbour::with(Options { heartbeat_interval_ms: 50, ..Options::default() }).await;
    let mut bot = harbour.identified(INTENTS).await;
    assert_eq!(bot.closed().await, Some(4009));
}

#[tokio::test]
async fn the_server_can_ask_for_a_heartbeat() {
    let harbour = Harbour::open().await;
    let mut bot = harbour.identified(INTENTS).await;
    harbour.discord.request_heartbeats();
    bot.op(1).await;
    bot.send(json!({ "op": 1, "d": bot.seq })).await;
    bot.op(11).await;
}

async fn closes(harbour: &Harbour, payloads: Vec<String>, code: u16) {
    let mut bot = harbour.connect().await;
    for payload in payloads {
        bot.send_text(payload).await;
    }
    loop {
        match bot.next().await {
            Got::Closed(closed) => return assert_eq!(closed, Some(code)),
            Got::Payload(_) | Got::Binary(_) => {}
        }
    }
}

#[tokio::test]
async fn each_mistake_closes_with_its_documented_code() {
    let harbour = Harbour::open().await;
    let good = identify("sandbox-token", 1, None).to_string();
    let resume =
        |seq: u64| json!({ "op": 6, "d": { "token": "wrong", "session_id": "x", "seq": seq } }).to_string();
    closes(&harbour, vec![json!({ "op": 99, "d": null }).to_string()], 4001).await;
    closes(&harbour, vec!["not json".to_owned()], 4002).await;
    closes(&harbour, vec![json!({ "op": 2, "d": { "token": "sandbox-token" } }).to_string()], 4002).await;
    let padded = format!(r#"{{"op":1,"d":null,"pad":"{}"}}"#, "x".repeat(4096));
    closes(&harbour, vec![padded], 4002).await;
    closes(&harbour, vec![json!({ "op": 3, "d": {} }).to_string()], 4003).await;
    closes(&harbour, vec![identify("wrong", 1, None).to_string()], 4004).await;
    closes(&harbour, vec![resume(1)], 4004).await;
    closes(&harbour, vec![good.clone(), good.clone()], 4005).await;
    closes(&harbour, vec![identify("sandbox-token", 1, Some((2, 2))).to_string()], 4010).await;
    closes(&harbour, vec![identify("sandbox-token", 1 << 40, None).to_string()], 4013).await;
}

#[tokio::test]
async fn more_than_120_sends_in_a_minute_close_with_4008() {
    let harbour = Harbour::open().await;
    let beats = vec![json!({ "op": 1, "d": null }).to_string(); 121];
    closes(&harbour, beats, 4008).await;
    assert_eq!(harbour.counters.get("discord.gateway.heartbeat"), 120);
}

#[tokio::test]
async fn an_old_version_and_a_privileged_intent_that_was_not_granted_are_refused() {
    let granted = 1 << 15;
    let harbour = Harbour::with(Options { privileged_intents: granted, ..Options::default() }).await;
    let mut bot = harbour.connect_with("?v=1&encoding=json").await;
    assert_eq!(bot.closed().await, Some(4012));
    closes(&harbour, vec![identify("sandbox-token", 1 << 1, None).to_string()], 4014).await;
    harbour.identified(1 | granted).await;
}

#[tokio::test]
async fn guilds_are_spread_over_shards_and_so_are_their_events() {
    let options = Options { extra_guilds: 5, shards: 2, max_concurrency: 2, ..Options::default() };
    let harbour = Harbour::with(options).await;
    assert_eq!(harbour.get("/gateway/bot").await.body["shards"], 2);
    let mut bots = Vec::new();
    for shard in 0..2 {
        let mut bot = harbour.connect().await;
        bot.send(identify("sandbox-token", INTENTS, Some((shard, 2)))).await;
        let ready = bot.dispatch("READY").await;
        assert_eq!(ready["shard"], json!([shard, 2]));
        assert_eq!(ready["guilds"].as_array().unwrap().len(), 3);
        for _ in 0..3 {
            let guild = bot.dispatch("GUILD_CREATE").await;
            let id: u64 = guild["id"].as_str().unwrap().parse().unwrap();
            assert_eq!((id >> 22) % 2, u64::from(shard));
        }
        bots.push(bot);
    }
    for channel in harbour.discord.channels().iter().filter(|channel| channel.name == "general") {
        let id = harbour.discord.say(sandbox::people::Person::Max, &channel.id, "hello").unwrap();
        let shard = (channel.guild_id.parse::<u64>().unwrap() >> 22) % 2;
        let heard = bots[usize::try_from(shard).unwrap()].dispatch("MESSAGE_CREATE").await;
        assert_eq!(heard["id"], id);
    }
}

#[tokio::test]
async fn identifies_are_limited_per_key_and_day() {
    let options = Options { identify_total: 2, max_concurrency: 2, ..Options::default() };
    let harbour = Harbour::with(options).await;
    let limit = async || harbour.get("/gateway/bot").await.body["session_start_limit"].clone();
    assert_eq!(limit().await, json!({ "total": 2, "remaining": 2, "reset_after": 0, "max_concurrency": 2 }));

    let start = async |shard: u32| {
        let mut bot = harbour.connect().await;
        bot.send(identify("sandbox-token", 0, Some((shard, 4)))).await;
        bot
    };
    start(0).await.dispatch("READY").await;
    assert_eq!(start(2).await.op(9).await, false, "shard 2 has the key of shard 0");
    assert_eq!(limit().await["remaining"], 1);
    let mut second = start(1).await;
    second.dispatch("READY").await;

    let harbour2 =
        Harbour::with(Options { identify_total: 1, identify_window: Duration::ZERO, ..Options::default() })
            .await;
    let mut bot = harbour2.identified(1).await;
    let mut late = harbour2.connect().await;
    late.identify(1).await;
    assert_eq!(late.closed().await, Some(4004));
    assert_eq!(bot.closed().await, Some(4004), "all sessions end");
    assert_eq!(harbour2.get("/users/@me").await.refusal(), (401, 0), "the token was reset");
}

#[tokio::test]
async fn members_can_be_asked_for() {
    let harbour = Harbour::open().await;
    let mut bot = harbour.identified(INTENTS | 2).await;
    let all = json!({ "op": 8, "d": { "guild_id": ids::GUILD.to_string(), "query": "", "limit": 0, "nonce": "n" } });
    bot.send(all.clone()).await;
    let chunk = bot.dispatch("GUILD_MEMBERS_CHUNK").await;
    assert_eq!(chunk["members"].as_array().unwrap().len(), 5);
    assert_eq!((&chunk["chunk_index"], &chunk["chunk_count"]), (&json!(0), &json!(1)));
    assert_eq!(chunk["nonce"], "n");
    bot.send(all).await;
    let limited = bot.dispatch("RATE_LIMITED").await;
    assert_eq!(limited["opcode"], 8);
    assert!(limited["retry_after"].as_f64().unwrap() > 20.0);

    let ines = ids::of_person(sandbox::people::Person::Ines).to_string();
    let some = json!({ "guild_id": ids::GUILD.to_string(), "user_ids": [ines, "1"], "limit": 0 });
    bot.send(json!({ "op": 8, "d": some })).await;
    let chunk = bot.dispatch("GUILD_MEMBERS_CHUNK").await;
    assert_eq!(chunk["members"][0]["user"]["username"], "ines");
    assert_eq!(chunk["not_found"], json!(["1"]));
}

#[tokio::test]
async fn presence_and_voice_updates_are_taken() {
    let harbour = Harbour::open().await;
    let mut bot = harbour.identified(INTENTS).await;
    let presence = json!({ "since": null, "activities": [], "status": "online", "afk": false });
    bot.send(json!({ "op": 3, "d": presence })).await;
    bot.send(json!({ "op": 4, "d": { "guild_id": ids::GUILD.to_string() } })).await;
    harbour.counters.wait("discord.gateway.presence", 1, SOON).await.unwrap();
    harbour.counters.wait("discord.gateway.voice", 1, SOON).await.unwrap();
    harbour.say("still here");
    bot.dispatch("MESSAGE_CREATE").await;
}

#[tokio::test]
async fn faults_refuse_connections_identifies_and_resumes() {
    let harbour = Harbour::open().await;
    harbour.discord.faults().update(|knobs| knobs.refuse_identify = Some(4013));
    closes(&harbour, vec![identify("sandbox-token", 1, None).to_string()], 4013).await;
    harbour.discord.faults().update(|knobs| knobs.refuse_resume = Some(4009));
    let resume = json!({ "op": 6, "d": { "token": "sandbox-token", "session_id": "x", "seq": 1 } });
    closes(&harbour, vec![resume.to_string()], 4009).await;
    harbour.discord.faults().update(|knobs| knobs.refuse_connections = true);
    let url = format!("{}/gateway/?v=10", harbour.base.replacen("http", "ws", 1));
    assert!(tokio_tungstenite::connect_async(url).await.is_err());
    harbour.discord.faults().set(sandbox::discord::Knobs::default());
    harbour.identified(INTENTS).await;
}

#[tokio::test]
async fn malformed_and_unknown_payloads_can_be_sent() {
    let harbour = Harbour::open().await;
    let mut bot = harbour.identified(INTENTS).await;
    harbour.discord.send_raw(r#"{"op":77,"d":{"x":1}}"#);
    bot.op(77).await;
    harbour.discord.dispatch_raw("SOMETHING_NEW", &json!({ "guild_id": ids::GUILD.to_string(), "y": 2 }));
    assert_eq!(bot.dispatch("SOMETHING_NEW").await["y"], 2);
    assert_eq!(bot.seq, 3);
}

#[tokio::test]
async fn the_bot_is_seen_to_come_and_go() {
    use sandbox::feed::Item;
    let harbour = Harbour::open().await;
    let mut shown = harbour.feed.watch();
    let bot = harbour.identified(INTENTS).await;
    assert!(matches!(shown.recv().await, Ok(Item::Bot { online: true, .. })));
    Bot::close(bot, 1000).await;
    assert!(matches!(shown.recv().await, Ok(Item::Bot { online: false, .. })));
}
