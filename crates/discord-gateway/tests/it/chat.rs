//! What people write becomes events.

use protocol::{EventBody, Rank};
use sandbox::people::Person;
use serde_json::json;

use crate::rig::{LONG, Rig, next_batch, next_command};

#[tokio::test]
async fn a_line_becomes_an_event_with_the_rank_of_its_author() {
    let rig = Rig::start().await;
    let gateway = rig.gateway().await;
    let discord = rig.sandbox.discord();
    let (mut commands, mut chatter) = (rig.commands().await, rig.chatter().await);

    for (person, rank) in
        [(Person::Olive, Rank::Owner), (Person::Max, Rank::Moderator), (Person::Ines, Rank::Everyone)]
    {
        let id = discord.say(person, &rig.general(), "!ping now").unwrap();
        let event = next_command(&mut commands).await;
        assert_eq!(event.id.as_str(), format!("discord:{id}"));
        assert_eq!(event.community.as_str(), rig.guild());
        let EventBody::Command(command) = event.body else { panic!("{event:?}") };
        assert_eq!((command.line(), command.prefix.as_str()), ("ping now", "!"));
        assert_eq!(command.message.author.name, person.name());
        assert_eq!(command.message.author.rank, rank, "{person:?}");
        assert!(!command.message.author.bot);
    }

    let said: Vec<_> = (0..3)
        .map(|n| discord.say(Person::Noor, &rig.general(), &format!("hello \"{n}\" é")).unwrap())
        .collect();
    let mut heard = Vec::new();
    while heard.len() < said.len() {
        heard.extend(next_batch(&mut chatter).await.events);
    }
    let ids: Vec<_> = heard.iter().map(|event| event.id.as_str().to_owned()).collect();
    assert_eq!(ids, said.iter().map(|id| format!("discord:{id}")).collect::<Vec<_>>());
    let EventBody::Message(message) = &heard[0].body else { panic!() };
    assert_eq!(message.text, "hello \"0\" é");
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn chatter_travels_in_batches_and_a_command_does_not_wait_for_them() {
    const LINES: usize = 300;
    let rig = Rig::start().await;
    let gateway = rig.gateway().await;
    let (mut commands, mut chatter) = (rig.commands().await, rig.chatter().await);
    let discord = rig.sandbox.discord();
    let general = rig.general();
    for n in 0..LINES {
        discord.say(Person::Ines, &general, &format!("line {n}")).unwrap();
        if n == LINES / 2 {
            discord.say(Person::Max, &general, "!now").unwrap();
        }
    }
    next_command(&mut commands).await;
    let (mut heard, mut batches) = (0, 0);
    while heard < LINES {
        let batch = next_batch(&mut chatter).await;
        assert!(batch.events.len() <= discord_gateway::publish::MAX_EVENTS);
        heard += batch.events.len();
        batches += 1;
    }
    assert_eq!(heard, LINES);
    assert!(batches <= LINES / 10, "{batches} batches");
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn direct_messages_are_heard_and_bots_cannot_command() {
    let rig = Rig::start().await;
    let gateway = rig.gateway().await;
    let (mut commands, mut chatter) = (rig.commands().await, rig.chatter().await);
    let discord = rig.sandbox.discord();
    for (id, extra) in [("11", json!({ "bot": true })), ("12", json!({}))] {
        let mut author = json!({ "id": "77", "username": "other" });
        author.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let message = json!({
            "id": id, "channel_id": rig.general(), "guild_id": rig.guild(), "type": 0, "content": "!ping",
            "author": author, "webhook_id": if id == "12" { json!("5") } else { json!(null) },
        });
        discord.dispatch_raw("MESSAGE_CREATE", &message);
        let batch = next_batch(&mut chatter).await;
        let EventBody::Message(message) = &batch.events[0].body else { panic!() };
        assert!(message.author.bot);
    }
    let direct = discord.direct_messages(Person::Olive);
    discord.say(Person::Olive, &direct, "!ping").unwrap();
    let event = next_command(&mut commands).await;
    assert_eq!(event.community.as_str(), "dm");
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn unknown_and_malformed_frames_are_counted_and_passed_by() {
    let rig = Rig::start().await;
    let gateway = rig.gateway().await;
    let mut commands = rig.commands().await;
    let discord = rig.sandbox.discord();
    discord.send_raw("{\"op\":42,\"d\":null}");
    discord.send_raw("this is not JSON");
    discord.send_raw("{\"op\":0,\"s\":null,\"t\":null,\"d\":{}}");
    discord.dispatch_raw("SOMETHING_NEW", &json!({ "x": [1, 2, 3] }));
    discord.dispatch_raw("MESSAGE_CREATE", &json!({ "id": "not a number" }));
    discord.dispatch_raw("GUILD_CREATE", &json!([]));
    discord.dispatch_raw("INTERACTION_CREATE", &json!({ "type": 9 }));
    discord.dispatch_raw("CHANNEL_UPDATE", &json!({ "topic": "x".repeat(1 << 20) }));
    discord.say(Person::Ines, &rig.general(), "!still here").unwrap();
    next_command(&mut commands).await;
    gateway.counted("discord_dispatch_total.unknown", 1.0).await;
    gateway.counted("discord_malformed_total", 3.0).await;
    gateway.stop().await.unwrap();
    let identified = rig.sandbox.counters().get("discord.gateway.identify");
    assert_eq!(identified, 1, "nothing of this ended the session");
}

#[tokio::test]
async fn nats_goes_away_and_comes_back_and_nothing_is_lost() {
    let mut rig = Rig::start().await;
    let gateway = rig.gateway().await;
    let discord = rig.sandbox.discord().clone();
    let general = rig.general();
    rig.nats.kill();
    gateway.says("NATS is away").await;
    let said: Vec<_> =
        (0..20).map(|n| discord.say(Person::Ines, &general, &format!("!while away {n}")).unwrap()).collect();
    gateway.counted("events_total", 20.0).await;
    rig.nats.resume().await;
    gateway.ready().await;
    let mut commands = rig.commands().await;
    for id in said {
        assert_eq!(next_command(&mut commands).await.id.as_str(), format!("discord:{id}"));
    }
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn more_than_fits_while_nats_is_away_is_read_after_a_resume() {
    const MANY: usize = 2500;
    let options = sandbox::discord::Options { extra_guilds: 60, ..Default::default() };
    let mut rig = Rig::with(options).await;
    let gateway = rig.gateway().await;
    let discord = rig.sandbox.discord().clone();
    let general = rig.general();
    rig.nats.kill();
    gateway.says("NATS is away").await;
    let said: Vec<_> =
        (0..MANY).map(|n| discord.say(Person::Ines, &general, &format!("!many {n}")).unwrap()).collect();
    gateway.says("reading stops").await;
    rig.nats.resume().await;
    let mut commands = rig.commands().await;
    let mut heard = std::collections::BTreeSet::new();
    while heard.len() < MANY {
        heard.insert(next_command(&mut commands).await.id.as_str().to_owned());
    }
    assert!(said.iter().all(|id| heard.contains(&format!("discord:{id}"))));
    rig.sandbox.counters().wait("discord.gateway.resume", 1, LONG).await.unwrap();
    assert_eq!(rig.sandbox.counters().get("discord.gateway.identify"), 1);
    gateway.stop().await.unwrap();
}
