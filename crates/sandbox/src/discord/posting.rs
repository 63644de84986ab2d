//! Messages come, change and go: in the world, on the gateway and on the page, in this order and
//! under one lock, so that everybody sees the same order.

use std::{sync::Arc, time::Instant};

use serde_json::{Value, json};

use super::{
    Inner,
    gateway::{Event, intents},
    payload::message::View,
    snowflake::{Id, now_ms},
    validate::message::Form,
    world::{
        APPLICATION, World,
        mentions::Allowed,
        message::{COMMAND, Cause, LOADING, Message},
    },
};
use crate::feed::{Author, Item, Line, Platform};

/// Who sends a message and why.
pub struct Origin {
    /// The author.
    pub author: Id,
    /// `type` of the message.
    pub kind: u8,
    /// The message that it answers.
    pub reference: Option<Id>,
    /// The interaction that it answers.
    pub cause: Option<Cause>,
    /// When what it answers was asked, if that is not its reference.
    pub asked: Option<Instant>,
    /// When sending began.
    pub began: Instant,
}

impl Inner {
    /// Adds a message that was checked before, and tells everybody.
    pub fn post(&self, world: &mut World, channel: Id, form: Form, origin: Origin) -> Arc<Message> {
        let id = world.ids.next();
        let place = world.channels.get(&channel);
        let guild = place.and_then(|channel| channel.guild);
        let may = place.map_or(0, |channel| world.permissions_in(origin.author, channel));
        let allowed = form.allowed.unwrap_or_default();
        let content = form.content.unwrap_or_default();
        let mut mentions = world.mentions(&content, &allowed, guild, may);
        let answered = origin.reference.and_then(|id| world.message(channel, id));
        if let Some(answered) = answered
            && allowed.replied_user
            && !mentions.users.contains(&answered.author)
        {
            mentions.users.push(answered.author);
        }
        let asked = origin.asked.or(answered.map(|answered| answered.at));
        let message = Arc::new(Message {
            id,
            channel,
            guild,
            author: origin.author,
            kind: origin.kind,
            content,
            embeds: form.embeds.unwrap_or_default(),
            components: form.components.unwrap_or_default(),
            attachments: form.attachments.unwrap_or_default(),
            flags: form.flags.unwrap_or_default(),
            tts: form.tts,
            pinned: false,
            mentions: mentions.users,
            mention_roles: mentions.roles,
            mention_everyone: mentions.everyone,
            reference: origin.reference,
            nonce: form.nonce,
            cause: origin.cause,
            reactions: Vec::new(),
            edited_ms: None,
            at: origin.began,
            latency_us: asked.map(microseconds_since),
        });
        world.keep(message.clone());
        self.tell(world, "MESSAGE_CREATE", &message);
        self.show(world, &message, false);
        let whose =
            if origin.author == APPLICATION { "discord.message.bot" } else { "discord.message.person" };
        self.counters.add(whose);
        message
    }

    /// Changes a message; only what the form names changes.
    pub fn change(&self, world: &mut World, before: &Message, form: Form) -> Arc<Message> {
        let mut message = before.clone();
        if form.content.is_some() || form.allowed.is_some() {
            let content = form.content.unwrap_or_else(|| before.content.clone());
            let allowed =
                form.allowed.unwrap_or_else(|| Allowed { replied_user: false, ..Allowed::default() });
            let channel = world.channels.get(&message.channel);
            let may = channel.map_or(0, |channel| world.permissions_in(message.author, channel));
            let mentions = world.mentions(&content, &allowed, message.guild, may);
            (message.mentions, message.mention_roles) = (mentions.users, mentions.roles);
            (message.mention_everyone, message.content) = (mentions.everyone, content);
        }
        message.embeds = form.embeds.unwrap_or(message.embeds);
        message.components = form.components.unwrap_or(message.components);
        message.attachments = form.attachments.unwrap_or(message.attachments);
        message.flags = form.flags.unwrap_or(message.flags);
        let finished = before.loading();
        message.flags &= !LOADING;
        if finished {
            let asked = message.cause.as_ref().and_then(|cause| world.interactions.get(cause.interaction));
            message.latency_us = asked.map(|asked| microseconds_since(asked.at));
        } else {
            message.edited_ms = Some(now_ms());
        }
        let message = Arc::new(message);
        self.replace(world, &message);
        self.tell(world, "MESSAGE_UPDATE", &message);
        self.show(world, &message, !finished);
        message
    }

    /// Puts a changed message in its place without telling anybody.
    pub fn replace(&self, world: &mut World, message: &Arc<Message>) {
        if let Some(channel) = world.channels.get_mut(&message.channel) {
            channel.replace(message.clone());
        }
    }

    /// Takes a message away.
    pub fn remove(&self, world: &mut World, message: &Message) {
        let Some(channel) = world.channels.get_mut(&message.channel) else { return };
        channel.forget(message.id);
        if world.bot_hears_of(message) {
            let data = of_message(message);
            let wanted = intents::messages(message.guild.is_some());
            self.dispatch(&Event::new("MESSAGE_DELETE", message.guild, wanted, &data));
        }
        self.feed.show(Item::Deleted {
            platform: Platform::Discord,
            channel: message.channel.to_string(),
            id: message.id.to_string(),
        });
    }

    /// Gives a message to the sessions.
    fn tell(&self, world: &World, name: &'static str, message: &Message) {
        if !world.bot_hears_of(message) {
            return;
        }
        let data = world.message_text(message, View::Gateway);
        let open = message.guild.is_none()
            || message.author == APPLICATION
            || message.mentions.contains(&APPLICATION);
        let stripped = (!open).then(|| world.message_text(message, View::Stripped).into());
        self.dispatch(&Event {
            name: name.into(),
            guild: message.guild,
            intents: intents::messages(message.guild.is_some()),
            data: data.into(),
            stripped,
        });
    }

    fn show(&self, world: &World, message: &Message, edited: bool) {
        let platform = Platform::Discord;
        if message.loading() {
            let text = "Vigie is thinking…".to_owned();
            self.feed.show(Item::Notice { platform, channel: message.channel.to_string(), text });
            return;
        }
        let line = world.line(message);
        self.feed.show(if edited {
            Item::Edited { platform, line }
        } else {
            Item::Message { platform, line }
        });
    }

    /// Says something to those who look at a channel.
    pub fn notice(&self, channel: Id, text: impl Into<String>) {
        let (platform, channel) = (Platform::Discord, channel.to_string());
        self.feed.show(Item::Notice { platform, channel, text: text.into() });
    }
}

impl World {
    /// No session hears of ephemeral messages, nor of channels that the bot cannot see.
    pub fn bot_hears_of(&self, message: &Message) -> bool {
        !message.ephemeral() && self.bot_sees(message.channel)
    }

    /// A message as the page shows it.
    pub fn line(&self, message: &Message) -> Line {
        let author = self.users.get(&message.author);
        let name = author.map(|user| user.global_name.as_ref().unwrap_or(&user.username).clone());
        let person = author.and_then(|user| user.person);
        let answers = message.cause.as_ref().map(|cause| cause.interaction).or(message.reference);
        Line {
            id: message.id.to_string(),
            channel: message.channel.to_string(),
            author: Author {
                id: message.author.to_string(),
                name: name.unwrap_or_default(),
                role: person.map_or("bot", crate::people::Person::role),
            },
            text: message.content.clone(),
            reply_to: answers.map(|id| id.to_string()),
            latency_us: message.latency_us,
            ephemeral: message.ephemeral(),
            embeds: Value::Array(message.embeds.clone()),
            components: Value::Array(message.components.clone()),
            heading: message.cause.as_ref().filter(|_| message.kind == COMMAND).and_then(|c| self.heading(c)),
            at_ms: message.id.created_ms(),
        }
    }

    fn heading(&self, cause: &Cause) -> Option<String> {
        let user = self.users.get(&cause.user)?;
        let name = user.global_name.as_ref().unwrap_or(&user.username);
        Some(format!("/{} by {name}", cause.name))
    }
}

/// The ids that every event about a message carries.
pub fn of_message(message: &Message) -> Value {
    let mut data = json!({ "id": message.id, "channel_id": message.channel });
    if let Some(guild) = message.guild {
        data["guild_id"] = json!(guild);
    }
    data
}

fn microseconds_since(at: Instant) -> u64 {
    u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX)
}
