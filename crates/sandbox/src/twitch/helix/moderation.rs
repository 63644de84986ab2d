//! `DELETE /helix/moderation/chat`: one message, or all of a channel.
//! Source: Helix reference, "Delete Chat Messages".

use std::{collections::HashMap, sync::Arc};

use axum::{
    extract::{Query, State as Shared},
    http::StatusCode,
};

use super::{Caller, Refusal};
use crate::twitch::{self, Inner, Twitch, oauth::DELETE_SCOPE, people::Standing, world::Channel};

pub(super) async fn delete(
    Shared(twitch): Shared<Arc<Inner>>,
    caller: Caller,
    Query(query): Query<HashMap<String, String>>,
) -> Result<StatusCode, Refusal> {
    caller.needs(DELETE_SCOPE)?;
    let broadcaster = required(&query, "broadcaster_id")?;
    let moderator = required(&query, "moderator_id")?;
    if caller.account.is_none_or(|account| account.id != *moderator) {
        return Err(Refusal::unauthorized(
            "The ID in moderator_id must match the user ID found in the request's OAuth token.",
        ));
    }
    let message = query.get("message_id").filter(|id| !id.is_empty());
    let channel = {
        let state = twitch.state();
        let channel = state
            .channel_by_id(broadcaster)
            .ok_or_else(|| Refusal::bad("The user specified in broadcaster_id does not exist."))?;
        if !matches!(channel.standing(moderator), Standing::Moderator | Standing::Broadcaster) {
            return Err(Refusal::forbidden(
                "The user in moderator_id is not one of the broadcaster's moderators.",
            ));
        }
        if let Some(id) = message {
            may_go(&twitch, channel, moderator, id)?;
        }
        channel.login.clone()
    };
    let twitch = Twitch(twitch);
    let gone = match message {
        Some(id) => twitch.delete(&channel, id),
        None => twitch.clear_chat(&channel),
    };
    match gone {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        // Somebody else was quicker.
        Err(twitch::Refusal::NoSuchMessage) => Err(not_found()),
        Err(other) => Err(Refusal::bad(other.to_string())),
    }
}

fn required<'a>(query: &'a HashMap<String, String>, name: &str) -> Result<&'a String, Refusal> {
    let given = query.get(name).filter(|id| !id.is_empty());
    given.ok_or_else(|| Refusal::bad(format!("Missing required parameter \"{name}\"")))
}

fn may_go(twitch: &Inner, channel: &Channel, moderator: &str, id: &str) -> Result<(), Refusal> {
    let message = channel.message(id).ok_or_else(not_found)?;
    if message.at.elapsed() > twitch.options.deletable_for {
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "The specified message was created more than 6 hours ago.",
        ));
    }
    let author = &message.author.id;
    match channel.standing(author) {
        Standing::Broadcaster => Err(Refusal::bad("You may not delete the broadcaster's messages.")),
        Standing::Moderator if author != moderator => {
            Err(Refusal::bad("You may not delete another moderator's messages."))
        }
        _ => Ok(()),
    }
}

fn not_found() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "The ID in message_id was not found.")
}
