//! The first answer to an interaction.
//! Source: <https://docs.discord.com/developers/interactions/receiving-and-responding>.

use std::{collections::HashMap, sync::Arc, time::Instant};

use axum::extract::{Path, Query, State};
use serde_json::{Value, json};

use super::{Answer, Body, Shared, flag, id, no_content, ok};
use crate::discord::{
    Inner,
    error::{ApiError, Problems},
    payload::message::View,
    posting::Origin,
    snowflake::Id,
    validate::{
        components::read_modal,
        message::{Form, Purpose},
    },
    world::{
        APPLICATION, World,
        interactions::{Interaction, Stage, kind},
        message::{COMMAND, Cause, LOADING, Message, REPLY},
    },
};

const MESSAGE: u64 = 4;
const DEFERRED_MESSAGE: u64 = 5;
const DEFERRED_UPDATE: u64 = 6;
const UPDATE: u64 = 7;
const CHOICES: u64 = 8;
const MODAL: u64 = 9;
/// Choices of one autocomplete answer.
const MAX_CHOICES: usize = 25;

/// `POST /interactions/{id}/{token}/callback`.
pub async fn callback(
    State(inner): State<Shared>,
    Path((interaction, token)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
    Body(body): Body,
) -> Answer {
    let began = Instant::now();
    let interaction = id("interaction_id", &interaction)?;
    let mut world = inner.world();
    let asked = world.interactions.waiting(interaction, &token, inner.options.interaction_deadline)?;
    let asked = Asked::of(asked);
    let answer = body.get("type").and_then(Value::as_u64);
    let answer = answer.filter(|answer| asked.allows(*answer)).ok_or_else(|| {
        ApiError::field("type", "BASE_TYPE_CHOICES", format!("Value must be one of ({}).", asked.choices()))
    })?;
    let data = body.get("data").cloned().unwrap_or_else(|| json!({}));
    let message = inner.answer(&mut world, &asked, answer, &data, began)?;
    if let Some(asked) = world.interactions.get_mut(interaction) {
        asked.stage = Stage::Answered;
        asked.original = message.as_ref().map(|message| message.id).or(asked.source);
        asked.messages.extend(message.as_ref().map(|message| message.id));
    }
    inner.counters.add(&format!("discord.interaction.callback.{answer}"));
    if !flag(&query, "with_response") {
        return no_content();
    }
    ok(&response(&world, &asked, answer, message.as_deref()))
}

/// What an answer needs to know of its question.
pub struct Asked {
    /// The interaction.
    pub id: Id,
    kind: u8,
    channel: Id,
    user: Id,
    name: String,
    at: Instant,
    source: Option<Id>,
}

impl Asked {
    /// Of an interaction.
    pub fn of(interaction: &Interaction) -> Self {
        Self {
            id: interaction.id,
            kind: interaction.kind,
            channel: interaction.channel,
            user: interaction.user,
            name: interaction.name.clone(),
            at: interaction.at,
            source: interaction.source,
        }
    }

    fn allows(&self, answer: u64) -> bool {
        match self.kind {
            kind::AUTOCOMPLETE => answer == CHOICES,
            kind::COMMAND => matches!(answer, MESSAGE | DEFERRED_MESSAGE | MODAL),
            kind::MODAL if self.source.is_none() => matches!(answer, MESSAGE | DEFERRED_MESSAGE),
            kind::MODAL => (MESSAGE..=UPDATE).contains(&answer),
            _ => (MESSAGE..=UPDATE).contains(&answer) || answer == MODAL,
        }
    }

    const fn choices(&self) -> &'static str {
        match self.kind {
            kind::AUTOCOMPLETE => "8",
            kind::COMMAND => "4, 5, 9",
            kind::MODAL if self.source.is_none() => "4, 5",
            kind::MODAL => "4, 5, 6, 7",
            _ => "4, 5, 6, 7, 9",
        }
    }

    /// Where a message of this answer comes from; follow-ups answer the first one.
    pub fn origin(&self, original: Option<Id>, began: Instant) -> Origin {
        let command = self.kind == kind::COMMAND && original.is_none();
        let cause = Cause {
            interaction: self.id,
            kind: self.kind,
            name: self.name.clone(),
            user: self.user,
            original,
        };
        Origin {
            author: APPLICATION,
            kind: if command { COMMAND } else { REPLY },
            reference: original.or(self.source),
            cause: Some(cause),
            asked: Some(self.at),
            began,
        }
    }
}

impl Inner {
    fn answer(
        &self,
        world: &mut World,
        asked: &Asked,
        answer: u64,
        data: &Value,
        began: Instant,
    ) -> Result<Option<Arc<Message>>, ApiError> {
        match answer {
            MESSAGE => {
                let form = Form::read_at(data, "data", Purpose::Answer)?;
                form.must_show_something()?;
                Ok(Some(self.post(world, asked.channel, form, asked.origin(None, began))))
            }
            DEFERRED_MESSAGE => {
                let mut form = Form::read_at(data, "data", Purpose::Answer)?;
                // Of all it could say, only the flags count.
                form = Form { flags: Some(form.flags.unwrap_or_default() | LOADING), ..Form::default() };
                Ok(Some(self.post(world, asked.channel, form, asked.origin(None, began))))
            }
            UPDATE => {
                let form = Form::read_at(data, "data", Purpose::Edit)?;
                let source = asked.source.and_then(|id| world.message(asked.channel, id)).cloned();
                let source = source.ok_or(ApiError::UNKNOWN_MESSAGE)?;
                super::messages::must_stay_visible(&source, &form)?;
                Ok(Some(self.change(world, &source, form)))
            }
            CHOICES => {
                let choices = choices(data)?;
                let waits = world.interactions.get_mut(asked.id).and_then(|asked| asked.choices.take());
                if let Some(waits) = waits {
                    // Whoever typed may have given up.
                    let _ = waits.send(choices);
                }
                Ok(None)
            }
            MODAL => {
                let modal = modal(data)?;
                let title = modal["title"].as_str().unwrap_or_default().to_owned();
                if let Some(asked) = world.interactions.get_mut(asked.id) {
                    asked.modal = Some(modal);
                }
                self.notice(asked.channel, format!("Vigie opened the form \"{title}\""));
                Ok(None)
            }
            // DEFERRED_UPDATE: the source stays as it is for now.
            _ => Ok(None),
        }
    }
}

fn choices(data: &Value) -> Result<Vec<Value>, ApiError> {
    let mut problems = Problems::default();
    let list = data.get("choices").and_then(Value::as_array).cloned().unwrap_or_default();
    if data.get("choices").is_none() {
        problems.required("data.choices");
    }
    if list.len() > MAX_CHOICES {
        problems.too_long("data.choices", MAX_CHOICES);
    }
    for (place, choice) in list.iter().enumerate() {
        let length = choice["name"].as_str().map_or(0, |name| name.chars().count());
        if !(1..=100).contains(&length) {
            problems.bad_length(&format!("data.choices.{place}.name"), 1, 100);
        }
        if choice.get("value").is_none() {
            problems.required(&format!("data.choices.{place}.value"));
        }
    }
    problems.finish()?;
    Ok(list)
}

fn modal(data: &Value) -> Result<Value, ApiError> {
    let mut problems = Problems::default();
    for (name, max) in [("title", 45), ("custom_id", 100)] {
        match data.get(name).and_then(Value::as_str).map(|text| text.chars().count()) {
            Some(length) if (1..=max).contains(&length) => {}
            Some(_) => problems.bad_length(&format!("data.{name}"), 1, max),
            None => problems.required(&format!("data.{name}")),
        }
    }
    let list = data.get("components").and_then(Value::as_array).cloned().unwrap_or_default();
    if !(1..=5).contains(&list.len()) {
        problems.bad_length("data.components", 1, 5);
    }
    let components = read_modal(&list, "data.components", &mut problems);
    problems.finish()?;
    let mut modal = data.clone();
    modal["components"] = Value::Array(components);
    Ok(modal)
}

fn response(world: &World, asked: &Asked, answer: u64, message: Option<&Message>) -> Value {
    let mut interaction = json!({ "id": asked.id, "type": asked.kind });
    let mut resource = json!({ "type": answer });
    if let Some(message) = message {
        interaction["response_message_id"] = json!(message.id);
        interaction["response_message_loading"] = json!(message.loading());
        interaction["response_message_ephemeral"] = json!(message.ephemeral());
        resource["message"] = world.message_value(message, View::Rest);
    }
    match answer {
        CHOICES | MODAL | DEFERRED_UPDATE => json!({ "interaction": interaction }),
        _ => json!({ "interaction": interaction, "resource": resource }),
    }
}
