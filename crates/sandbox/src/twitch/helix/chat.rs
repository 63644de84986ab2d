//! `POST /helix/chat/messages`.
//! Source: Helix reference, "Send Chat Message"; dev.twitch.tv/docs/chat/send-receive-messages.

use std::{collections::HashMap, sync::Arc, time::Instant};

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State as Shared},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Caller, Refusal};
use crate::twitch::{
    Inner,
    irc::notice::Notice,
    people::Standing,
    post::{Attempt, MAX_CHARS, Rejected},
};

#[derive(Debug, Deserialize)]
struct Body {
    #[serde(default)]
    broadcaster_id: String,
    #[serde(default)]
    sender_id: String,
    #[serde(default)]
    message: String,
    reply_parent_message_id: Option<String>,
    for_source_only: Option<bool>,
}

pub(super) async fn send(
    Shared(twitch): Shared<Arc<Inner>>,
    caller: Caller,
    Query(query): Query<HashMap<String, String>>,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let started = Instant::now();
    let mut body: Body = serde_json::from_slice(&body)
        .map_err(|error| Refusal::bad(format!("The request body is not valid JSON: {error}")))?;
    // The reference has the ids in the body only, but Twitch takes them from the query as well:
    // twurple sends them there.
    for (name, field) in [("broadcaster_id", &mut body.broadcaster_id), ("sender_id", &mut body.sender_id)] {
        if field.is_empty()
            && let Some(value) = query.get(name)
        {
            field.clone_from(value);
        }
    }
    for (name, value) in
        [("broadcaster_id", &body.broadcaster_id), ("sender_id", &body.sender_id), ("message", &body.message)]
    {
        if value.trim().is_empty() {
            return Err(Refusal::bad(format!("Missing required parameter \"{name}\"")));
        }
    }
    let by_app = caller.account.is_none();
    if body.for_source_only.is_some() && !by_app {
        return Err(Refusal::bad(
            "The parameter \"for_source_only\" can only be used with an app access token.",
        ));
    }
    if let Some(account) = &caller.account {
        caller.needs("user:write:chat")?;
        if account.id != body.sender_id {
            return Err(Refusal::unauthorized(
                "The ID in sender_id must match the user ID found in the request's OAuth token.",
            ));
        }
    }
    if body.message.chars().count() > MAX_CHARS {
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "The message is too large."));
    }
    if let Some(code) = twitch.faults.take_drop_reason() {
        return Ok(dropped(&twitch, &Notice::Other(code), ""));
    }
    let mut state = twitch.state();
    let account = state.account_by_id(&body.sender_id);
    let account = account.ok_or_else(|| Refusal::bad("The user specified in sender_id does not exist."))?;
    let channel = state
        .channel_by_id(&body.broadcaster_id)
        .ok_or_else(|| Refusal::bad("The user specified in broadcaster_id does not exist."))?;
    let login = channel.login.clone();
    let standing = channel.standing(&account.id);
    if by_app {
        // A bot may talk as an app where its account agreed (`user:bot`) and the channel did
        // (`channel:bot`, or by making it a moderator).
        let welcome = standing == Standing::Moderator || twitch.options.channel_bot.contains(&login);
        if !account.bot || !welcome {
            return Err(Refusal::forbidden(
                "The sender is not permitted to send chat messages to the broadcaster's chat room.",
            ));
        }
    }
    let said = twitch.bot_says(
        &mut state,
        &Attempt {
            account: &account,
            channel: &login,
            text: &body.message,
            reply_to: body.reply_parent_message_id.as_deref(),
            nonce: "",
            except: None,
            chat_bot: by_app && standing != Standing::Broadcaster,
            started,
        },
    );
    drop(state);
    twitch.counters.add("twitch.privmsg.in");
    twitch.counters.add("twitch.privmsg.in.helix");
    match said {
        Ok(said) => Ok(Json(json!({"data": [
            {"message_id": said.id, "is_sent": true, "drop_reason": null},
        ]}))),
        Err(Rejected::Told(notice)) => Ok(dropped(&twitch, &notice, &login)),
        Err(Rejected::Silently(_)) => Ok(dropped(&twitch, &Notice::TooFast, &login)),
        Err(Rejected::Disconnect) => {
            Ok(dropped(&twitch, &Notice::UnrecognizedCommand("/disconnect".to_owned()), &login))
        }
    }
}

fn dropped(twitch: &Inner, notice: &Notice, channel: &str) -> Json<Value> {
    let code = notice.drop_code();
    twitch.counters.add(&format!("twitch.privmsg.refused.{code}"));
    // Helix does not say how long a time-out lasts (twitchdev/issues#1002).
    let message = match notice {
        Notice::TimedOut(_) => "You are timed out from talking in the room.".to_owned(),
        other => other.text(channel),
    };
    let reason = json!({"code": code, "message": message});
    Json(json!({"data": [{"message_id": "", "is_sent": false, "drop_reason": reason}]}))
}
