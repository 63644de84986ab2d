//! Registration of slash commands.

use sandbox::discord::{Options, ids};
use serde_json::{Value, json};

use super::bot::Harbour;

fn command(name: &str) -> Value {
    json!({ "name": name, "description": "does something" })
}

#[tokio::test]
async fn commands_are_registered_changed_and_removed() {
    let harbour = Harbour::open().await;
    let base = format!("/applications/{}/guilds/{}/commands", ids::APPLICATION, ids::GUILD);
    let made = harbour.post(&base, command("ping")).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.body["guild_id"], ids::GUILD.to_string());
    assert_eq!(made.body["default_member_permissions"], Value::Null);
    let (id, version) = (made.body["id"].clone(), made.body["version"].clone());

    let same = harbour.post(&base, command("ping")).await;
    assert_eq!((same.status.as_u16(), &same.body["id"], &same.body["version"]), (200, &id, &version));
    let one = format!("{base}/{}", id.as_str().unwrap());
    let changed = harbour.patch(&one, json!({ "description": "answers" })).await;
    assert_eq!((&changed.body["description"], &changed.body["name"]), (&json!("answers"), &json!("ping")));
    assert_ne!(changed.body["version"], version);

    let all = harbour.put(&base, json!([command("ping"), command("echo")])).await;
    assert_eq!(all.body.as_array().unwrap().len(), 2);
    assert_eq!(all.body[0]["id"], id, "known by its name");
    assert_eq!(harbour.delete(&one).await.status, 204);
    assert_eq!(harbour.get(&one).await.refusal(), (404, 10063));
    assert_eq!(harbour.get(&base).await.body.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn guild_commands_are_seen_beside_global_ones() {
    let harbour = Harbour::with(Options { extra_guilds: 1, ..Options::default() }).await;
    let global = format!("/applications/{}/commands", ids::APPLICATION);
    harbour.put(&global, json!([command("everywhere")])).await;
    harbour.register(json!([command("here")])).await;
    let names = |channel: &str| -> Vec<String> {
        let commands = harbour.discord.commands(channel);
        commands.iter().map(|command| command["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&ids::GENERAL.to_string()), ["here", "everywhere"]);
    let quiet = harbour.discord.channels().pop().unwrap();
    assert_eq!(names(&quiet.id), ["everywhere"]);
}

#[tokio::test]
async fn bad_definitions_are_refused_field_by_field() {
    let harbour = Harbour::with(Options { bucket_scale: 100, ..Options::default() }).await;
    let problem = async |commands: Value, path: &str, code: &str| {
        let reply = harbour.register(commands).await;
        assert_eq!(reply.problem(path), code, "{}", reply.body);
    };
    problem(json!([command("Has Space")]), "0.name", "APPLICATION_COMMAND_INVALID_NAME").await;
    problem(json!([command("Upper")]), "0.name", "APPLICATION_COMMAND_INVALID_NAME").await;
    problem(json!([command(&"x".repeat(33))]), "0.name", "BASE_TYPE_BAD_LENGTH").await;
    problem(json!([{ "name": "x" }]), "0.description", "BASE_TYPE_REQUIRED").await;
    let twice = json!([command("x"), command("x")]);
    problem(twice, "1", "APPLICATION_COMMANDS_DUPLICATE_NAME").await;

    let with = |options: Value| json!([{ "name": "x", "description": "d", "options": options }]);
    let option = |name: &str, required: bool| json!({ "type": 3, "name": name, "description": "d", "required": required });
    let order = with(json!([option("a", false), option("b", true)]));
    problem(order, "0.options.1", "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID").await;
    let same = with(json!([option("a", false), option("a", false)]));
    problem(same, "0.options.1", "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS").await;
    problem(with(vec![option("a", false); 26].into()), "0.options", "BASE_TYPE_MAX_LENGTH").await;
    let odd = with(json!([{ "type": 99, "name": "a", "description": "d" }]));
    problem(odd, "0.options.0.type", "BASE_TYPE_CHOICES").await;
    let choices = json!([{ "type": 3, "name": "a", "description": "d", "choices": [{ "name": "n" }] }]);
    problem(with(choices), "0.options.0.choices.0.value", "BASE_TYPE_REQUIRED").await;

    let many: Vec<Value> = (0..101).map(|n| command(&format!("c{n}"))).collect();
    assert_eq!(harbour.register(many.into()).await.refusal(), (400, 30032));
    let other = format!("/applications/1/guilds/{}/commands", ids::GUILD);
    assert_eq!(harbour.put(&other, json!([])).await.refusal(), (403, 50001));
    let choices: Vec<Value> =
        (0..25).map(|n| json!({ "name": format!("{n}"), "value": "v".repeat(98) })).collect();
    let options: Vec<Value> = (0..4)
        .map(|n| json!({ "type": 3, "name": format!("o{n}"), "description": "d", "choices": choices }))
        .collect();
    problem(with(options.into()), "0", "APPLICATION_COMMAND_TOO_LARGE").await;
    assert_eq!(harbour.discord.commands(&ids::GENERAL.to_string()).len(), 0, "nothing was stored");
}
