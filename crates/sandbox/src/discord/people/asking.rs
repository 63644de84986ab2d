//! Slash commands, autocomplete, buttons, selects and forms: everything that becomes an interaction.

use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::{open, options::Reader, parse};
use crate::{
    discord::{
        Discord, Inner, Refusal,
        gateway::Event,
        payload::{MemberJson, UserJson, message::View},
        permissions::{USE_APPLICATION_COMMANDS, VIEW_CHANNEL},
        snowflake::Id,
        world::{
            APPLICATION, World,
            channel::DM,
            interactions::{Interaction, Stage, kind},
            message::Message,
            user_id,
        },
    },
    people::Person,
};

/// Bytes of a file that a bot may send.
const ATTACHMENT_LIMIT: u64 = 10 * 1024 * 1024;

/// What becomes an interaction.
struct Question {
    kind: u8,
    person: Person,
    channel: Id,
    name: String,
    data: Value,
    source: Option<Arc<Message>>,
    choices: Option<oneshot::Sender<Vec<Value>>>,
}

impl Discord {
    /// Uses a slash command; returns the interaction's id. `name` may hold subcommands (`stats shards`);
    /// `options` is an object by name, or a list in Discord's shape.
    ///
    /// # Errors
    /// When there is no such command or channel, or an option is missing or wrong.
    #[expect(clippy::needless_pass_by_value, reason = "callers have just made the options")]
    pub fn slash(
        &self,
        person: Person,
        channel_id: &str,
        name: &str,
        options: Value,
    ) -> Result<String, Refusal> {
        let mut world = self.0.world();
        let (channel, data) = command_data(&world, person, channel_id, name, &options, None)?;
        let name = name.to_owned();
        let kind = kind::COMMAND;
        let question = Question { kind, person, channel, name, data, source: None, choices: None };
        Ok(self.0.ask(&mut world, question))
    }

    /// Asks the bot to complete an option that is being typed; returns its choices.
    ///
    /// # Errors
    /// When there is no such command, or the bot does not answer in time.
    pub async fn autocomplete(
        &self,
        person: Person,
        channel_id: &str,
        name: &str,
        option: &str,
        value: &str,
    ) -> Result<Vec<Value>, Refusal> {
        let (send, choices) = oneshot::channel();
        {
            let mut world = self.0.world();
            let given = json!({ option: value });
            let (channel, data) = command_data(&world, person, channel_id, name, &given, Some(option))?;
            let (kind, name) = (kind::AUTOCOMPLETE, name.to_owned());
            let choices = Some(send);
            self.0.ask(&mut world, Question { kind, person, channel, name, data, source: None, choices });
        }
        match tokio::time::timeout(self.0.options.interaction_deadline, choices).await {
            Ok(Ok(choices)) => Ok(choices),
            Ok(Err(_)) | Err(_) => {
                Err(Refusal::new("loading options failed: the bot did not answer in time"))
            }
        }
    }

    /// Presses a button; returns the interaction's id.
    ///
    /// # Errors
    /// When there is no such button, or it is disabled.
    pub fn press(
        &self,
        person: Person,
        channel_id: &str,
        message_id: &str,
        custom_id: &str,
    ) -> Result<String, Refusal> {
        self.0.use_component(person, channel_id, message_id, custom_id, None)
    }

    /// Chooses values of a select; returns the interaction's id.
    ///
    /// # Errors
    /// When there is no such select, or it is disabled.
    pub fn select(
        &self,
        person: Person,
        channel_id: &str,
        message_id: &str,
        custom_id: &str,
        values: &[&str],
    ) -> Result<String, Refusal> {
        self.0.use_component(person, channel_id, message_id, custom_id, Some(json!(values)))
    }

    /// Sends the form that an interaction opened, with a value per `custom_id` of its inputs;
    /// returns the new interaction's id.
    ///
    /// # Errors
    /// When that interaction has opened no form for this person.
    pub fn submit(
        &self,
        person: Person,
        interaction_id: &str,
        values: &Map<String, Value>,
    ) -> Result<String, Refusal> {
        let mut world = self.0.world();
        let asked = world.interactions.get_mut(parse(interaction_id)?);
        let asked = asked.filter(|asked| asked.user == user_id(person));
        let opened = asked.and_then(|asked| Some((asked.modal.take()?, asked.channel, asked.source)));
        let (modal, channel, source) = opened.ok_or_else(|| Refusal::new("no form is open there"))?;
        let name = modal["custom_id"].as_str().unwrap_or_default().to_owned();
        let mut components = modal["components"].clone();
        fill(&mut components, values);
        let data = json!({ "custom_id": name, "components": components });
        let source = source.and_then(|id| world.message(channel, id)).cloned();
        let kind = kind::MODAL;
        let question = Question { kind, person, channel, name, data, source, choices: None };
        Ok(self.0.ask(&mut world, question))
    }
}

impl Inner {
    fn use_component(
        &self,
        person: Person,
        channel: &str,
        message: &str,
        custom_id: &str,
        values: Option<Value>,
    ) -> Result<String, Refusal> {
        let mut world = self.world();
        let channel = open(&world, person, channel, VIEW_CHANNEL)?.id;
        let message = world.message(channel, parse(message)?).cloned();
        let theirs = |message: &Arc<Message>| {
            !message.ephemeral() || message.cause.as_ref().is_some_and(|cause| cause.user == user_id(person))
        };
        let message = message.filter(theirs).ok_or_else(|| Refusal::new("that message is gone"))?;
        let found = message.components.iter().find_map(|component| find(component, custom_id));
        let found = found.ok_or_else(|| Refusal::new("there is no such button under that message"))?;
        if found["disabled"] == true {
            return Err(Refusal::new("that button is disabled"));
        }
        let mut data = json!({ "custom_id": custom_id, "component_type": found["type"], "id": found["id"] });
        if let Some(values) = values {
            data["values"] = values;
        }
        let (kind, name) = (kind::COMPONENT, custom_id.to_owned());
        let source = Some(message);
        Ok(self.ask(&mut world, Question { kind, person, channel, name, data, source, choices: None }))
    }

    /// Makes an interaction and gives it to the bot.
    fn ask(&self, world: &mut World, question: Question) -> String {
        let id = world.ids.next();
        let secret = format!("interaction:{id}:{:032x}{:032x}", fastrand::u128(..), fastrand::u128(..));
        let token = URL_SAFE_NO_PAD.encode(secret);
        let data = payload(world, &question, id, &token);
        let guild = world.channels.get(&question.channel).and_then(|channel| channel.guild);
        let channel = question.channel;
        world.interactions.add(Interaction {
            id,
            token,
            kind: question.kind,
            channel,
            user: user_id(question.person),
            name: question.name,
            at: Instant::now(),
            stage: Stage::Waiting,
            original: None,
            source: question.source.map(|message| message.id),
            messages: Vec::new(),
            choices: question.choices,
            modal: None,
        });
        self.dispatch(&Event::new("INTERACTION_CREATE", guild, 0, &data));
        self.counters.add(&format!("discord.interaction.{}", question.kind));
        if question.kind != kind::AUTOCOMPLETE {
            self.watch(id, channel);
        }
        id.to_string()
    }

    /// Says so when the bot does not answer in time.
    fn watch(&self, interaction: Id, channel: Id) {
        let (inner, deadline) = (Weak::clone(&self.myself), self.options.interaction_deadline);
        // Outside of a runtime nobody can answer, and nobody watches either.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            tokio::time::sleep(deadline).await;
            let Some(inner) = inner.upgrade() else { return };
            let stage = inner.world().interactions.get(interaction).map(|asked| asked.stage);
            if stage == Some(Stage::Waiting) {
                inner.counters.add("discord.interaction.unanswered");
                inner.notice(channel, "The application did not respond");
            }
        });
    }
}

/// The channel and `data` of a command.
fn command_data(
    world: &World,
    person: Person,
    channel: &str,
    name: &str,
    options: &Value,
    focused: Option<&str>,
) -> Result<(Id, Value), Refusal> {
    let channel = open(world, person, channel, USE_APPLICATION_COMMANDS)?;
    let words: Vec<&str> = name.trim_start_matches('/').split_whitespace().collect();
    let (first, path) = words.split_first().ok_or_else(|| Refusal::new("expected the name of a command"))?;
    let command = world.commands.visible(channel.guild).find(|known| known.kind == 1 && known.name == *first);
    let command = command.ok_or_else(|| Refusal::new(format!("there is no command /{first}")))?;
    let guild = channel.guild.and_then(|guild| world.guilds.get(&guild));
    let needed = command.body.get("default_member_permissions").and_then(Value::as_str);
    if let (Some(needed), Some(_)) = (needed.and_then(|bits| bits.parse::<u64>().ok()), guild) {
        let may = world.permissions_in(user_id(person), channel);
        // Nothing allowed means administrators only, who may everything.
        let needed = if needed == 0 { crate::discord::permissions::ADMINISTRATOR } else { needed };
        if may & needed != needed {
            return Err(Refusal::new(format!("{} may not use /{first}", person.name())));
        }
    }
    let declared = command.body.get("options").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut reader = Reader { world, guild, focused, resolved: Map::new() };
    let read = reader.read(declared, options, path)?;
    let mut data = json!({ "id": command.id, "name": command.name, "type": 1 });
    if !read.is_empty() {
        data["options"] = Value::Array(read);
    }
    if !reader.resolved.is_empty() {
        data["resolved"] = Value::Object(reader.resolved);
    }
    if let Some(guild) = command.body.get("guild_id") {
        data["guild_id"] = guild.clone();
    }
    Ok((channel.id, data))
}

/// INTERACTION_CREATE.
fn payload(world: &World, question: &Question, id: Id, token: &str) -> Value {
    let channel = world.channels.get(&question.channel);
    let guild = channel.and_then(|channel| world.guilds.get(&channel.guild?));
    let direct = channel.is_some_and(|channel| channel.kind == DM);
    let may = |user| channel.map_or(0, |channel| world.permissions_in(user, channel));
    let user = user_id(question.person);
    let mut json = json!({
        "id": id, "application_id": APPLICATION, "type": question.kind, "token": token, "version": 1,
        "locale": "en-US", "entitlements": [], "entitlement_sku_ids": [], "data": question.data,
        "attachment_size_limit": ATTACHMENT_LIMIT, "context": u8::from(direct),
        "app_permissions": may(APPLICATION).to_string(),
        "authorizing_integration_owners": { "0": guild.map_or_else(|| "0".to_owned(), |g| g.id.to_string()) },
        "channel_id": question.channel,
        "channel": channel.map(|channel| world.channel_value(channel, false)),
    });
    json["channel"]["permissions"] = json!(may(user).to_string());
    let who = world.users.get(&user);
    match (guild, who) {
        (Some(guild), Some(who)) => {
            let member = guild.members.get(&user);
            json["guild_id"] = json!(guild.id);
            json["guild_locale"] = json!("en-US");
            json["guild"] = json!({ "id": guild.id, "locale": "en-US", "features": [] });
            json["member"] =
                json!(member.map(|member| MemberJson::full(who, member).with_permissions(may(user))));
        }
        (None, Some(who)) => json["user"] = json!(UserJson::new(who)),
        (_, None) => {}
    }
    if let Some(source) = &question.source {
        json["message"] = world.message_value(source, View::Rest);
    }
    json
}

/// The component with this custom id, however deep.
fn find<'a>(component: &'a Value, custom_id: &str) -> Option<&'a Value> {
    if component["custom_id"] == custom_id {
        return Some(component);
    }
    let below = component["components"].as_array().into_iter().flatten();
    below.chain(component.get("accessory")).find_map(|component| find(component, custom_id))
}

/// Puts what was typed into the inputs of a form, and leaves out how they looked.
fn fill(component: &mut Value, values: &Map<String, Value>) {
    match component {
        Value::Array(list) => list.iter_mut().for_each(|one| fill(one, values)),
        Value::Object(map) => {
            if let Some(id) = map.get("custom_id").and_then(Value::as_str) {
                let value = values.get(id).cloned().unwrap_or_else(|| json!(""));
                map.retain(|name, _| matches!(name.as_str(), "type" | "id" | "custom_id"));
                map.insert("value".to_owned(), value);
            }
            for name in ["components", "component"] {
                if let Some(below) = map.get_mut(name) {
                    fill(below, values);
                }
            }
        }
        _ => {}
    }
}
