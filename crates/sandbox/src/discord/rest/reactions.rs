//! Reactions under messages.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::{Answer, Shared, id, messages::find, no_content, ok};
use crate::discord::{
    Inner,
    error::ApiError,
    gateway::{Event, intents},
    payload::{UserJson, message::EmojiJson},
    permissions::{ADD_REACTIONS, MANAGE_MESSAGES, READ_MESSAGE_HISTORY},
    posting::of_message,
    snowflake::Id,
    world::{
        APPLICATION, World,
        message::{Message, Reaction},
    },
};

/// `PUT …/reactions/{emoji}/@me`.
pub async fn add(
    State(inner): State<Shared>,
    Path((channel, message, emoji)): Path<(String, String, String)>,
) -> Answer {
    let mut world = inner.world();
    let channel = world.channel_for_bot(id("channel_id", &channel)?, READ_MESSAGE_HISTORY)?.id;
    let message = find(&world, channel, &message)?.clone();
    check_emoji(&emoji)?;
    if !message.reactions.iter().any(|reaction| reaction.emoji == emoji) {
        world.channel_for_bot(channel, ADD_REACTIONS)?;
    }
    inner.react(&mut world, &message, APPLICATION, &emoji);
    no_content()
}

/// `DELETE …/reactions/{emoji}/@me`.
pub async fn take_own(
    State(inner): State<Shared>,
    Path((channel, message, emoji)): Path<(String, String, String)>,
) -> Answer {
    let mut world = inner.world();
    let channel = world.channel_for_bot(id("channel_id", &channel)?, 0)?.id;
    let message = find(&world, channel, &message)?.clone();
    inner.unreact(&mut world, &message, APPLICATION, &emoji)
}

/// `DELETE …/reactions/{emoji}/{user.id}`.
pub async fn take(
    State(inner): State<Shared>,
    Path((channel, message, emoji, user)): Path<(String, String, String, String)>,
) -> Answer {
    let mut world = inner.world();
    let channel = world.channel_for_bot(id("channel_id", &channel)?, MANAGE_MESSAGES)?.id;
    let message = find(&world, channel, &message)?.clone();
    inner.unreact(&mut world, &message, id("user_id", &user)?, &emoji)
}

/// `GET …/reactions/{emoji}`.
pub async fn users(
    State(inner): State<Shared>,
    Path((channel, message, emoji)): Path<(String, String, String)>,
) -> Answer {
    let world = inner.world();
    let channel = world.channel_for_bot(id("channel_id", &channel)?, READ_MESSAGE_HISTORY)?.id;
    let message = find(&world, channel, &message)?;
    let reaction = message.reactions.iter().find(|reaction| reaction.emoji == emoji);
    let users = reaction.into_iter().flat_map(|reaction| &reaction.users);
    ok(&users.filter_map(|id| world.users.get(id)).map(UserJson::new).collect::<Vec<_>>())
}

/// `DELETE …/reactions`.
pub async fn clear(State(inner): State<Shared>, Path((channel, message)): Path<(String, String)>) -> Answer {
    let mut world = inner.world();
    let channel = world.channel_for_bot(id("channel_id", &channel)?, MANAGE_MESSAGES)?.id;
    let message = find(&world, channel, &message)?.clone();
    let data = about(&message, None);
    inner.set_reactions(&mut world, &message, Vec::new(), ("MESSAGE_REACTION_REMOVE_ALL", &data));
    no_content()
}

/// `DELETE …/reactions/{emoji}`.
pub async fn clear_emoji(
    State(inner): State<Shared>,
    Path((channel, message, emoji)): Path<(String, String, String)>,
) -> Answer {
    let mut world = inner.world();
    let channel = world.channel_for_bot(id("channel_id", &channel)?, MANAGE_MESSAGES)?.id;
    let message = find(&world, channel, &message)?.clone();
    let mut reactions = message.reactions.clone();
    reactions.retain(|reaction| reaction.emoji != emoji);
    let data = about(&message, Some(&emoji));
    inner.set_reactions(&mut world, &message, reactions, ("MESSAGE_REACTION_REMOVE_EMOJI", &data));
    no_content()
}

impl Inner {
    /// Adds somebody's reaction.
    pub fn react(&self, world: &mut World, message: &Message, user: Id, emoji: &str) {
        let mut reactions = message.reactions.clone();
        match reactions.iter_mut().find(|reaction| reaction.emoji == emoji) {
            Some(reaction) if reaction.users.contains(&user) => return,
            Some(reaction) => reaction.users.push(user),
            None => reactions.push(Reaction { emoji: emoji.to_owned(), users: vec![user] }),
        }
        let mut data = about(message, Some(emoji));
        data["user_id"] = json!(user);
        data["message_author_id"] = json!(message.author);
        data["type"] = json!(0);
        data["burst"] = json!(false);
        if let Some(guild) = message.guild.and_then(|guild| world.guilds.get(&guild)) {
            data["member"] = world.member_value(guild, user);
        }
        self.set_reactions(world, message, reactions, ("MESSAGE_REACTION_ADD", &data));
        self.feed.show(crate::feed::Item::Reaction {
            platform: crate::feed::Platform::Discord,
            channel: message.channel.to_string(),
            id: message.id.to_string(),
            emoji: emoji.to_owned(),
        });
    }

    fn unreact(&self, world: &mut World, message: &Message, user: Id, emoji: &str) -> Answer {
        check_emoji(emoji)?;
        let mut reactions = message.reactions.clone();
        for reaction in reactions.iter_mut().filter(|reaction| reaction.emoji == emoji) {
            reaction.users.retain(|other| *other != user);
        }
        reactions.retain(|reaction| !reaction.users.is_empty());
        let mut data = about(message, Some(emoji));
        data["user_id"] = json!(user);
        data["type"] = json!(0);
        data["burst"] = json!(false);
        self.set_reactions(world, message, reactions, ("MESSAGE_REACTION_REMOVE", &data));
        no_content()
    }

    fn set_reactions(
        &self,
        world: &mut World,
        message: &Message,
        reactions: Vec<Reaction>,
        (name, data): (&'static str, &Value),
    ) {
        self.replace(world, &Arc::new(Message { reactions, ..message.clone() }));
        if !world.bot_hears_of(message) {
            return;
        }
        let wanted = intents::reactions(message.guild.is_some());
        self.dispatch(&Event::new(name, message.guild, wanted, data));
    }
}

/// Only Unicode emojis are known: no guild here has its own.
pub fn check_emoji(emoji: &str) -> Result<(), ApiError> {
    let symbol = !emoji.is_ascii() && !emoji.chars().any(char::is_alphabetic);
    if symbol && emoji.chars().count() <= 16 { Ok(()) } else { Err(ApiError::UNKNOWN_EMOJI) }
}

fn about(message: &Message, emoji: Option<&str>) -> Value {
    let mut data = of_message(message);
    if let Some(map) = data.as_object_mut()
        && let Some(id) = map.remove("id")
    {
        map.insert("message_id".to_owned(), id);
    }
    if let Some(emoji) = emoji {
        data["emoji"] = json!(EmojiJson::unicode(emoji));
    }
    data
}
