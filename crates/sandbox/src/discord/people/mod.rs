//! What people do in the local Discord: write, use commands, press buttons, react, come and go.

mod asking;
mod options;

use std::time::Instant;

use serde_json::json;

use super::{
    Discord, Inner, Refusal,
    gateway::{Event, intents},
    payload::MemberJson,
    permissions::{ADD_REACTIONS, SEND_MESSAGES, VIEW_CHANNEL},
    posting::Origin,
    snowflake::{Id, now_ms},
    validate::message::{Form, MAX_CONTENT},
    world::{
        World,
        channel::{CATEGORY, Channel},
        guild::Member,
        message::{DEFAULT, REPLY},
        user_id,
    },
};
use crate::people::Person;

impl Discord {
    /// Writes a line as a person; returns the message's id.
    ///
    /// # Errors
    /// When there is no such channel, the person may not write there, or the text is empty or too long.
    pub fn say(&self, person: Person, channel_id: &str, text: &str) -> Result<String, Refusal> {
        self.0.write(person, channel_id, text, None)
    }

    /// Answers a message as a person; returns the new message's id.
    ///
    /// # Errors
    /// As [`Self::say`], and when there is no such message.
    pub fn reply(
        &self,
        person: Person,
        channel_id: &str,
        message_id: &str,
        text: &str,
    ) -> Result<String, Refusal> {
        self.0.write(person, channel_id, text, Some(message_id))
    }

    /// Changes a line that the person wrote.
    ///
    /// # Errors
    /// When it is not theirs, is gone, or the new text is empty or too long.
    pub fn edit(
        &self,
        person: Person,
        channel_id: &str,
        message_id: &str,
        text: &str,
    ) -> Result<(), Refusal> {
        check_text(text)?;
        let mut world = self.0.world();
        let channel = open(&world, person, channel_id, VIEW_CHANNEL)?.id;
        let message =
            world.message(channel, parse(message_id)?).filter(|m| m.author == user_id(person)).cloned();
        let message = message.ok_or_else(|| Refusal::new("you can only edit your own messages"))?;
        self.0.change(&mut world, &message, Form { content: Some(text.to_owned()), ..Form::default() });
        Ok(())
    }

    /// Deletes a line that the person wrote.
    ///
    /// # Errors
    /// When it is not theirs or is gone.
    pub fn delete(&self, person: Person, channel_id: &str, message_id: &str) -> Result<(), Refusal> {
        let mut world = self.0.world();
        let channel = open(&world, person, channel_id, VIEW_CHANNEL)?.id;
        let message =
            world.message(channel, parse(message_id)?).filter(|m| m.author == user_id(person)).cloned();
        let message = message.ok_or_else(|| Refusal::new("you can only delete your own messages"))?;
        self.0.remove(&mut world, &message);
        Ok(())
    }

    /// Reacts to a message with a Unicode emoji.
    ///
    /// # Errors
    /// When there is no such message, or this is no emoji.
    pub fn react(
        &self,
        person: Person,
        channel_id: &str,
        message_id: &str,
        emoji: &str,
    ) -> Result<(), Refusal> {
        let mut world = self.0.world();
        let channel = open(&world, person, channel_id, ADD_REACTIONS)?.id;
        let message = world.message(channel, parse(message_id)?).cloned();
        let message = message.ok_or_else(|| Refusal::new("that message is gone"))?;
        super::rest::check_emoji(emoji).map_err(|_| Refusal::new("expected an emoji, such as 👍"))?;
        self.0.react(&mut world, &message, user_id(person), emoji);
        Ok(())
    }

    /// The direct messages between a person and the bot, where [`Self::say`] writes to the bot alone.
    #[must_use]
    pub fn direct_messages(&self, person: Person) -> String {
        self.0.world().direct_messages(user_id(person)).to_string()
    }

    /// A person joins a guild.
    ///
    /// # Errors
    /// When there is no such guild, or the person is in it or banned.
    pub fn join(&self, person: Person, guild_id: &str) -> Result<(), Refusal> {
        let user = user_id(person);
        let mut world = self.0.world();
        let guild = world.guilds.get_mut(&parse(guild_id)?).ok_or_else(|| Refusal::new("no such guild"))?;
        if guild.members.contains_key(&user) || guild.bans.contains_key(&user) {
            return Err(Refusal::new(format!("{} is already in the guild, or banned", person.name())));
        }
        let member = Member { roles: Vec::new(), nick: None, joined_ms: now_ms(), timeout_until: None };
        let id = guild.id;
        guild.members.insert(user, member.clone());
        if let Some(who) = world.users.get(&user) {
            let data = MemberJson::full(who, &member).in_guild(id);
            self.0.dispatch(&Event::new("GUILD_MEMBER_ADD", Some(id), intents::GUILD_MEMBERS, &data));
        }
        Ok(())
    }

    /// A person leaves a guild.
    ///
    /// # Errors
    /// When the person is not in it, or owns it.
    pub fn leave(&self, person: Person, guild_id: &str) -> Result<(), Refusal> {
        let user = user_id(person);
        let mut world = self.0.world();
        let guild = world.guilds.get(&parse(guild_id)?).filter(|guild| guild.members.contains_key(&user));
        let guild = guild.ok_or_else(|| Refusal::new(format!("{} is not in that guild", person.name())))?;
        if guild.owner == user {
            return Err(Refusal::new("the owner cannot leave"));
        }
        let guild = guild.id;
        self.0.member_leaves(&mut world, guild, user);
        Ok(())
    }

    /// A person begins to type.
    ///
    /// # Errors
    /// When there is no such channel, or the person may not write there.
    pub fn type_in(&self, person: Person, channel_id: &str) -> Result<(), Refusal> {
        let world = self.0.world();
        let channel = open(&world, person, channel_id, SEND_MESSAGES)?;
        if !world.bot_sees(channel.id) {
            return Ok(());
        }
        let user = user_id(person);
        let mut data = json!({ "channel_id": channel.id, "user_id": user, "timestamp": now_ms() / 1000 });
        if let Some(guild) = channel.guild.and_then(|guild| world.guilds.get(&guild)) {
            data["guild_id"] = json!(guild.id);
            data["member"] = world.member_value(guild, user);
        }
        let wanted = intents::typing(channel.guild.is_some());
        self.0.dispatch(&Event::new("TYPING_START", channel.guild, wanted, &data));
        Ok(())
    }
}

impl Inner {
    fn write(
        &self,
        person: Person,
        channel: &str,
        text: &str,
        answers: Option<&str>,
    ) -> Result<String, Refusal> {
        let began = Instant::now();
        check_text(text)?;
        let mut world = self.world();
        let channel = open(&world, person, channel, SEND_MESSAGES)?.id;
        let reference = answers.map(parse).transpose()?;
        if reference.is_some_and(|id| world.message(channel, id).is_none()) {
            return Err(Refusal::new("the message that this answers is gone"));
        }
        let kind = if reference.is_some() { REPLY } else { DEFAULT };
        let form = Form { content: Some(text.to_owned()), ..Form::default() };
        let origin = Origin { author: user_id(person), kind, reference, cause: None, asked: None, began };
        Ok(self.post(&mut world, channel, form, origin).id.to_string())
    }
}

/// A channel in which the person may do what is needed.
fn open<'a>(world: &'a World, person: Person, channel: &str, needed: u64) -> Result<&'a Channel, Refusal> {
    let found = world.channels.get(&parse(channel)?).filter(|channel| channel.kind != CATEGORY);
    let channel = found.ok_or_else(|| Refusal::new("no such channel"))?;
    let wanted = needed | VIEW_CHANNEL;
    if world.permissions_in(user_id(person), channel) & wanted != wanted {
        return Err(Refusal::new(format!("{} may not do that in #{}", person.name(), channel.name)));
    }
    Ok(channel)
}

fn parse(id: &str) -> Result<Id, Refusal> {
    id.parse().map_err(|_| Refusal::new(format!("expected an id, such as 1191168000000000000, not \"{id}\"")))
}

fn check_text(text: &str) -> Result<(), Refusal> {
    if text.trim().is_empty() {
        return Err(Refusal::new("expected a text; this one is empty"));
    }
    if text.chars().count() > MAX_CONTENT {
        return Err(Refusal::new(format!("expected at most {MAX_CONTENT} characters")));
    }
    Ok(())
}
