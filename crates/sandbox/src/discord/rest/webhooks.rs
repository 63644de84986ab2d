//! What follows the first answer to an interaction: edits, deletions and follow-ups.

use std::{sync::Arc, time::Instant};

use axum::extract::{Path, State};

use super::{
    Answer, Body, Shared, id, interactions::Asked, messages::must_stay_visible, no_content, ok_text,
};
use crate::discord::{
    Inner,
    error::ApiError,
    payload::message::View,
    snowflake::Id,
    validate::message::{Form, Purpose},
    world::{
        APPLICATION, World,
        message::{EPHEMERAL, Message},
    },
};

/// Messages of one interaction.
const MAX_FOLLOW_UPS: usize = 100;

type Three = Path<(String, String, String)>;

/// `POST /webhooks/{application.id}/{token}`.
pub async fn follow_up(
    State(inner): State<Shared>,
    Path((application, token)): Path<(String, String)>,
    Body(body): Body,
) -> Answer {
    let began = Instant::now();
    let mut world = inner.world();
    let form = Form::read(&body, Purpose::Answer)?;
    form.must_show_something()?;
    let found = inner.answered(&mut world, &application, &token)?;
    if found.sent >= MAX_FOLLOW_UPS {
        return Err(ApiError::plain(axum::http::StatusCode::FORBIDDEN));
    }
    let original = found.original.and_then(|id| world.message(found.channel, id)).cloned();
    let message = match original {
        // The first follow-up after a defer is the answer that people wait for.
        Some(loading) if loading.loading() => {
            let form = Form { flags: Some(loading.flags & EPHEMERAL), ..form };
            inner.change(&mut world, &loading, form)
        }
        original => {
            let origin = found.asked.origin(original.map(|original| original.id), began);
            let message = inner.post(&mut world, found.channel, form, origin);
            if let Some(asked) = world.interactions.get_mut(found.asked.id) {
                asked.messages.push(message.id);
            }
            message
        }
    };
    inner.counters.add("discord.interaction.follow_up");
    ok_text(world.message_text(&message, View::Rest))
}

/// `GET /webhooks/{application.id}/{token}/messages/{message.id}`.
pub async fn get(State(inner): State<Shared>, Path((application, token, message)): Three) -> Answer {
    let mut world = inner.world();
    let message = inner.message_of(&mut world, &application, &token, &message)?;
    ok_text(world.message_text(&message, View::Rest))
}

/// `PATCH /webhooks/{application.id}/{token}/messages/{message.id}`.
pub async fn edit(
    State(inner): State<Shared>,
    Path((application, token, message)): Three,
    Body(body): Body,
) -> Answer {
    let mut world = inner.world();
    let before = inner.message_of(&mut world, &application, &token, &message)?;
    let form = Form::read(&body, Purpose::Edit)?;
    must_stay_visible(&before, &form)?;
    // What was ephemeral stays so.
    let flags = form.flags.map(|flags| flags | (before.flags & EPHEMERAL));
    let message = inner.change(&mut world, &before, Form { flags, ..form });
    inner.counters.add("discord.interaction.edit");
    ok_text(world.message_text(&message, View::Rest))
}

/// `DELETE /webhooks/{application.id}/{token}/messages/{message.id}`.
pub async fn delete(State(inner): State<Shared>, Path((application, token, message)): Three) -> Answer {
    let mut world = inner.world();
    let message = inner.message_of(&mut world, &application, &token, &message)?;
    inner.remove(&mut world, &message);
    no_content()
}

struct Found {
    asked: Asked,
    channel: Id,
    original: Option<Id>,
    messages: Vec<Id>,
    sent: usize,
}

impl Inner {
    /// The interaction that a webhook token opens.
    fn answered(&self, world: &mut World, application: &str, token: &str) -> Result<Found, ApiError> {
        if id("application_id", application)? != APPLICATION {
            return Err(ApiError::UNKNOWN_WEBHOOK);
        }
        let found = world.interactions.webhook(token, self.options.interaction_token_life)?;
        Ok(Found {
            asked: Asked::of(found),
            channel: found.channel,
            original: found.original,
            messages: found.messages.clone(),
            sent: found.messages.len(),
        })
    }

    /// One of the interaction's own messages; `@original` is the first answer.
    fn message_of(
        &self,
        world: &mut World,
        application: &str,
        token: &str,
        message: &str,
    ) -> Result<Arc<Message>, ApiError> {
        let found = self.answered(world, application, token)?;
        let wanted = match message {
            "@original" => found.original.ok_or(ApiError::UNKNOWN_MESSAGE)?,
            other => id("message_id", other)?,
        };
        let own = found.original == Some(wanted) || found.messages.contains(&wanted);
        let known = world.message(found.channel, wanted).filter(|_| own);
        known.cloned().ok_or(ApiError::UNKNOWN_MESSAGE)
    }
}
