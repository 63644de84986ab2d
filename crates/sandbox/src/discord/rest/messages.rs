//! Messages: reading, sending, editing, deleting.

use std::{collections::HashMap, time::Instant};

use axum::extract::{Path, Query, State};
use serde_json::{Value, json};

use super::{Answer, Body, Shared, id, no_content, ok, ok_text};
use crate::discord::{
    error::ApiError,
    gateway::{Event, intents},
    payload::message::View,
    permissions::{MANAGE_MESSAGES, READ_MESSAGE_HISTORY, SEND_MESSAGES},
    posting::Origin,
    snowflake::Id,
    validate::{
        message::{Form, Purpose},
        read_id,
    },
    world::{
        APPLICATION, World,
        channel::CATEGORY,
        message::{DEFAULT, Message, REPLY},
    },
};

/// The most messages one request lists.
const MAX_LISTED: usize = 100;
/// What it lists when it does not say.
const LISTED: usize = 50;

/// `GET /channels/{channel.id}/messages`.
pub async fn list(
    State(inner): State<Shared>,
    Path(channel): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let number = |name: &str| query.get(name).and_then(|value| value.parse::<u64>().ok());
    let limit = number("limit").unwrap_or(LISTED as u64);
    if limit == 0 || limit > MAX_LISTED as u64 {
        let message = format!("Value should be between 1 and {MAX_LISTED}.");
        return Err(ApiError::field("limit", "NUMBER_TYPE_MAX", message));
    }
    let limit = usize::try_from(limit).unwrap_or(MAX_LISTED);
    let world = inner.world();
    let channel = world.channel_for_bot(id("channel_id", &channel)?, READ_MESSAGE_HISTORY)?;
    let all: Vec<&Message> = channel.messages.iter().map(AsRef::as_ref).filter(|m| !m.ephemeral()).collect();
    let split = |at: u64| all.partition_point(|message| message.id.0 < at);
    let (from, to) = match (number("before"), number("after"), number("around")) {
        (Some(before), ..) => (split(before).saturating_sub(limit), split(before)),
        (_, Some(after), _) => (split(after + 1), (split(after + 1) + limit).min(all.len())),
        (.., Some(around)) => {
            let from = split(around).saturating_sub(limit / 2);
            (from, (from + limit).min(all.len()))
        }
        _ => (all.len().saturating_sub(limit), all.len()),
    };
    let found = all.get(from..to).unwrap_or_default();
    ok(&found.iter().rev().map(|message| world.message_value(message, View::Rest)).collect::<Vec<_>>())
}

/// `GET /channels/{channel.id}/messages/{message.id}`.
pub async fn get(State(inner): State<Shared>, Path((channel, message)): Path<(String, String)>) -> Answer {
    let world = inner.world();
    let channel = world.channel_for_bot(id("channel_id", &channel)?, READ_MESSAGE_HISTORY)?.id;
    let message = find(&world, channel, &message)?;
    ok_text(world.message_text(message, View::Rest))
}

/// `POST /channels/{channel.id}/messages`.
pub async fn create(State(inner): State<Shared>, Path(channel): Path<String>, Body(body): Body) -> Answer {
    let began = Instant::now();
    let channel = id("channel_id", &channel)?;
    let mut world = inner.world();
    let place = world.channel_for_bot(channel, SEND_MESSAGES)?;
    if place.kind == CATEGORY {
        return Err(ApiError::NOT_TEXT);
    }
    let form = Form::read(&body, Purpose::Channel)?;
    form.must_show_something()?;
    let nonce = form.nonce.as_ref().filter(|_| form.enforce_nonce).map(nonce_text);
    if let Some(sent) = nonce.as_ref().and_then(|nonce| world.by_nonce(channel, nonce)) {
        inner.counters.add("discord.message.same_nonce");
        return ok_text(world.message_text(&sent, View::Rest));
    }
    let reference = match form.reference {
        Some(reference) => {
            let here = reference.channel.is_none_or(|at| at == channel);
            let known = here && world.message(channel, reference.message).is_some_and(|m| !m.ephemeral());
            if !known && reference.must_exist {
                let code = "REPLIES_UNKNOWN_MESSAGE";
                return Err(ApiError::field("message_reference", code, "Unknown message"));
            }
            known.then_some(reference.message)
        }
        None => None,
    };
    let kind = if reference.is_some() { REPLY } else { DEFAULT };
    let origin = Origin { author: APPLICATION, kind, reference, cause: None, asked: None, began };
    let message = inner.post(&mut world, channel, form, origin);
    if let Some(nonce) = nonce {
        world.remember_nonce(nonce, message.clone());
    }
    ok_text(world.message_text(&message, View::Rest))
}

/// `PATCH /channels/{channel.id}/messages/{message.id}`.
pub async fn edit(
    State(inner): State<Shared>,
    Path((channel, message)): Path<(String, String)>,
    Body(body): Body,
) -> Answer {
    let mut world = inner.world();
    let channel = world.channel_for_bot(id("channel_id", &channel)?, 0)?.id;
    let before = find(&world, channel, &message)?.clone();
    if before.author != APPLICATION {
        return Err(ApiError::NOT_YOUR_MESSAGE);
    }
    let form = Form::read(&body, Purpose::Edit)?;
    must_stay_visible(&before, &form)?;
    let message = inner.change(&mut world, &before, form);
    ok_text(world.message_text(&message, View::Rest))
}

/// `DELETE /channels/{channel.id}/messages/{message.id}`.
pub async fn delete(State(inner): State<Shared>, Path((channel, message)): Path<(String, String)>) -> Answer {
    let mut world = inner.world();
    let channel = world.channel_for_bot(id("channel_id", &channel)?, 0)?.id;
    let message = find(&world, channel, &message)?.clone();
    if message.author != APPLICATION {
        world.channel_for_bot(channel, MANAGE_MESSAGES)?;
    }
    inner.remove(&mut world, &message);
    no_content()
}

/// `POST /channels/{channel.id}/messages/bulk-delete`.
pub async fn bulk_delete(
    State(inner): State<Shared>,
    Path(channel): Path<String>,
    Body(body): Body,
) -> Answer {
    let mut world = inner.world();
    let channel = world.channel_for_bot(id("channel_id", &channel)?, MANAGE_MESSAGES)?;
    let (channel, guild) = (channel.id, channel.guild);
    let named = body.get("messages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if !(2..=MAX_LISTED).contains(&named.len()) {
        return Err(ApiError::TOO_FEW_OR_MANY_TO_DELETE);
    }
    let known = named.iter().filter_map(read_id).filter_map(|id| world.message(channel, id)).cloned();
    let known: Vec<_> = known.collect();
    let ids: Vec<Id> = known.iter().map(|message| message.id).collect();
    for message in known {
        if let Some(channel) = world.channels.get_mut(&channel) {
            channel.forget(message.id);
        }
        inner.feed.show(crate::feed::Item::Deleted {
            platform: crate::feed::Platform::Discord,
            channel: channel.to_string(),
            id: message.id.to_string(),
        });
    }
    let data = json!({ "ids": ids, "channel_id": channel, "guild_id": guild });
    inner.dispatch(&Event::new("MESSAGE_DELETE_BULK", guild, intents::messages(true), &data));
    no_content()
}

/// A message that everybody in the channel can see.
pub fn find<'a>(
    world: &'a World,
    channel: Id,
    message: &str,
) -> Result<&'a std::sync::Arc<Message>, ApiError> {
    let found = world.message(channel, id("message_id", message)?);
    found.filter(|message| !message.ephemeral()).ok_or(ApiError::UNKNOWN_MESSAGE)
}

/// An edit cannot leave nothing to see.
pub fn must_stay_visible(before: &Message, form: &Form) -> Result<(), ApiError> {
    let text = form.content.as_ref().unwrap_or(&before.content);
    let lists = [
        form.embeds.as_ref().unwrap_or(&before.embeds),
        form.components.as_ref().unwrap_or(&before.components),
        form.attachments.as_ref().unwrap_or(&before.attachments),
    ];
    if text.trim().is_empty() && lists.iter().all(|list| list.is_empty()) {
        return Err(ApiError::EMPTY_MESSAGE);
    }
    Ok(())
}

fn nonce_text(nonce: &Value) -> String {
    nonce.as_str().map_or_else(|| nonce.to_string(), str::to_owned)
}
