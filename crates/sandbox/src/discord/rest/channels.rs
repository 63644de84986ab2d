//! Channels: looking at them, typing, pins.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde_json::json;

use super::{Answer, Shared, id, no_content, ok};
use crate::discord::{
    error::ApiError,
    gateway::{Event, intents},
    permissions::{MANAGE_MESSAGES, SEND_MESSAGES},
    snowflake::now_ms,
    world::APPLICATION,
};

/// `GET /channels/{channel.id}`.
pub async fn get(State(inner): State<Shared>, Path(channel): Path<String>) -> Answer {
    let world = inner.world();
    let channel = world.channel_for_bot(id("channel_id", &channel)?, 0)?;
    ok(&world.channel_value(channel, false))
}

/// `POST /channels/{channel.id}/typing`.
pub async fn typing(State(inner): State<Shared>, Path(channel): Path<String>) -> Answer {
    let world = inner.world();
    let channel = world.channel_for_bot(id("channel_id", &channel)?, SEND_MESSAGES)?;
    let mut data = json!({
        "channel_id": channel.id, "user_id": APPLICATION, "timestamp": now_ms() / 1000,
    });
    if let Some(guild) = channel.guild.and_then(|guild| world.guilds.get(&guild)) {
        data["guild_id"] = json!(guild.id);
        data["member"] = world.member_value(guild, APPLICATION);
    }
    let wanted = intents::typing(channel.guild.is_some());
    inner.dispatch(&Event::new("TYPING_START", channel.guild, wanted, &data));
    inner.notice(channel.id, "Vigie is typing…");
    no_content()
}

/// `PUT /channels/{channel.id}/messages/pins/{message.id}`.
pub async fn pin(State(inner): State<Shared>, Path((channel, message)): Path<(String, String)>) -> Answer {
    set_pinned(&inner, &channel, &message, true)
}

/// `DELETE /channels/{channel.id}/messages/pins/{message.id}`.
pub async fn unpin(State(inner): State<Shared>, Path((channel, message)): Path<(String, String)>) -> Answer {
    set_pinned(&inner, &channel, &message, false)
}

fn set_pinned(inner: &Shared, channel: &str, message: &str, pinned: bool) -> Answer {
    let mut world = inner.world();
    let channel = world.channel_for_bot(id("channel_id", channel)?, MANAGE_MESSAGES)?;
    let (channel, guild) = (channel.id, channel.guild);
    let before = world.message(channel, id("message_id", message)?).ok_or(ApiError::UNKNOWN_MESSAGE)?;
    let mut after = before.as_ref().clone();
    after.pinned = pinned;
    inner.replace(&mut world, &Arc::new(after));
    let mut data = json!({ "channel_id": channel, "last_pin_timestamp": null });
    if let Some(guild) = guild {
        data["guild_id"] = json!(guild);
    }
    inner.dispatch(&Event::new("CHANNEL_PINS_UPDATE", guild, intents::GUILDS, &data));
    no_content()
}
