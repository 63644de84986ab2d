//! Guilds, members, roles, time-outs and bans.

use sandbox::{
    discord::{Options, ids},
    people::Person,
};
use serde_json::{Value, json};

use super::bot::{Bot, Harbour, INTENTS};

const GUILD_MEMBERS: u64 = 2;

async fn ready() -> (Harbour, Bot) {
    let harbour = Harbour::with(Options { bucket_scale: 100, ..Options::default() }).await;
    let bot = harbour.identified(INTENTS | GUILD_MEMBERS).await;
    (harbour, bot)
}

fn member(person: Person) -> String {
    format!("/guilds/{}/members/{}", ids::GUILD, ids::of_person(person))
}

async fn role(harbour: &Harbour, name: &str) -> String {
    let roles = harbour.get(&format!("/guilds/{}/roles", ids::GUILD)).await.body;
    let role = roles.as_array().unwrap().iter().find(|role| role["name"] == name).unwrap();
    role["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn guilds_channels_users_and_the_application_are_shown() {
    let (harbour, _bot) = ready().await;
    let guild = harbour.get(&format!("/guilds/{}?with_counts=true", ids::GUILD)).await.body;
    assert_eq!(guild["owner_id"], ids::of_person(Person::Olive).to_string());
    assert_eq!(guild["approximate_member_count"], 5);
    let channels = harbour.get(&format!("/guilds/{}/channels", ids::GUILD)).await.body;
    assert_eq!(channels[0]["guild_id"], ids::GUILD.to_string());
    assert_eq!(harbour.get("/guilds/1").await.refusal(), (404, 10004));
    assert_eq!(harbour.get("/users/@me").await.body["id"], ids::APPLICATION.to_string());
    assert_eq!(harbour.get("/users/@me/guilds").await.body[0]["id"], ids::GUILD.to_string());
    assert_eq!(harbour.get("/users/1").await.refusal(), (404, 10013));
    for path in ["/applications/@me", "/oauth2/applications/@me"] {
        let application = harbour.get(path).await.body;
        assert_eq!(application["owner"]["username"], "olive");
        assert_eq!(application["bot"]["id"], application["id"]);
    }
    let listed = harbour.get(&format!("/guilds/{}/members?limit=2", ids::GUILD)).await.body;
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let found = harbour.get(&format!("/guilds/{}/members/search?query=no", ids::GUILD)).await.body;
    assert_eq!(found[0]["user"]["username"], "noor");
}

#[tokio::test]
async fn roles_are_given_and_taken_below_the_bots_own() {
    let (harbour, mut bot) = ready().await;
    let regulars = role(&harbour, "Regulars").await;
    let path = format!("{}/roles/{regulars}", member(Person::Ines));
    assert_eq!(harbour.put(&path, json!({})).await.status, 204);
    assert_eq!(bot.dispatch("GUILD_MEMBER_UPDATE").await["roles"], json!([regulars]));
    assert_eq!(harbour.get(&member(Person::Ines)).await.body["roles"], json!([regulars]));
    assert_eq!(harbour.delete(&path).await.status, 204);
    assert_eq!(bot.dispatch("GUILD_MEMBER_UPDATE").await["roles"], json!([]));
    let masters = role(&harbour, "Harbour Masters").await;
    let above = harbour.put(&format!("{}/roles/{masters}", member(Person::Ines)), json!({})).await;
    assert_eq!(above.refusal(), (403, 50013), "that role stands above the bot's");
    let unknown = harbour.put(&format!("{}/roles/1", member(Person::Ines)), json!({})).await;
    assert_eq!(unknown.refusal(), (404, 10011));
}

#[tokio::test]
async fn time_outs_kicks_and_bans_respect_the_order_of_roles() {
    let (harbour, mut bot) = ready().await;
    let until = json!({ "communication_disabled_until": "2099-01-01T00:00:00.000000+00:00" });
    assert_eq!(harbour.patch(&member(Person::Noor), until.clone()).await.status, 200);
    let update = bot.dispatch("GUILD_MEMBER_UPDATE").await;
    assert_eq!(update["communication_disabled_until"], until["communication_disabled_until"]);
    let free = json!({ "communication_disabled_until": null });
    let freed = harbour.patch(&member(Person::Noor), free).await.body;
    assert_eq!(freed["communication_disabled_until"], Value::Null);
    bot.dispatch("GUILD_MEMBER_UPDATE").await;
    assert_eq!(harbour.patch(&member(Person::Max), until.clone()).await.refusal(), (403, 50013));
    assert_eq!(harbour.patch(&member(Person::Olive), until).await.refusal(), (403, 50013));

    assert_eq!(harbour.delete(&member(Person::Noor)).await.status, 204);
    assert_eq!(bot.dispatch("GUILD_MEMBER_REMOVE").await["user"]["username"], "noor");
    assert_eq!(harbour.get(&member(Person::Noor)).await.refusal(), (404, 10007));
    harbour.discord.join(Person::Noor, &ids::GUILD.to_string()).unwrap();
    assert_eq!(bot.dispatch("GUILD_MEMBER_ADD").await["user"]["username"], "noor");

    let ban = format!("/guilds/{}/bans/{}", ids::GUILD, ids::of_person(Person::Noor));
    assert_eq!(harbour.put(&ban, json!({})).await.status, 204);
    bot.dispatch("GUILD_BAN_ADD").await;
    bot.dispatch("GUILD_MEMBER_REMOVE").await;
    assert_eq!(harbour.get(&ban).await.body["user"]["username"], "noor");
    assert!(harbour.discord.join(Person::Noor, &ids::GUILD.to_string()).is_err());
    assert_eq!(harbour.delete(&ban).await.status, 204);
    bot.dispatch("GUILD_BAN_REMOVE").await;
    assert_eq!(harbour.get(&ban).await.refusal(), (404, 10026));
    harbour.discord.join(Person::Noor, &ids::GUILD.to_string()).unwrap();
    bot.dispatch("GUILD_MEMBER_ADD").await;
    harbour.discord.leave(Person::Noor, &ids::GUILD.to_string()).unwrap();
    bot.dispatch("GUILD_MEMBER_REMOVE").await;
}
