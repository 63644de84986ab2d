//! The form of a message: for sending, editing, answering and following up.
//! Source: <https://docs.discord.com/developers/resources/message#create-message>.

use serde_json::{Map, Value};

use super::{Fields, components, embeds, read_id};
use crate::discord::{
    error::{ApiError, Problems},
    snowflake::Id,
    world::{
        mentions::{Allowed, Only},
        message::{COMPONENTS_V2, EPHEMERAL, SUPPRESS_EMBEDS, SUPPRESS_NOTIFICATIONS},
    },
};

/// Characters of a message.
pub const MAX_CONTENT: usize = 2000;
/// Characters of a nonce.
const MAX_NONCE: usize = 25;
/// Files of a message.
const MAX_FILES: usize = 10;
/// Ids in `allowed_mentions`.
const MAX_ALLOWED: usize = 100;

/// Which flags can be set where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A message in a channel.
    Channel,
    /// An answer or follow-up to an interaction.
    Answer,
    /// An edit of a message.
    Edit,
}

impl Purpose {
    const fn flags(self) -> u64 {
        match self {
            Self::Channel => SUPPRESS_EMBEDS | SUPPRESS_NOTIFICATIONS | COMPONENTS_V2,
            Self::Answer => SUPPRESS_EMBEDS | SUPPRESS_NOTIFICATIONS | COMPONENTS_V2 | EPHEMERAL,
            Self::Edit => SUPPRESS_EMBEDS | COMPONENTS_V2,
        }
    }
}

/// The message that a new one answers.
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    /// Its id.
    pub message: Id,
    /// Its channel, when it was given.
    pub channel: Option<Id>,
    /// Whether an unknown message is an error.
    pub must_exist: bool,
}

/// A checked message. What was not given is none, which matters for edits.
#[derive(Debug, Default)]
pub struct Form {
    /// The text; null counts as empty.
    pub content: Option<String>,
    /// In the shape in which Discord gives them back.
    pub embeds: Option<Vec<Value>>,
    /// In the shape in which Discord gives them back.
    pub components: Option<Vec<Value>>,
    /// In the shape in which Discord gives them back.
    pub attachments: Option<Vec<Value>>,
    /// Only those that can be set.
    pub flags: Option<u64>,
    /// Read aloud.
    pub tts: bool,
    /// Whom it may mention.
    pub allowed: Option<Allowed>,
    /// What it answers.
    pub reference: Option<Reference>,
    /// To know it again.
    pub nonce: Option<Value>,
    /// A message with the same nonce is not sent again.
    pub enforce_nonce: bool,
}

impl Form {
    /// Checks a form.
    ///
    /// # Errors
    /// Error 50035 with everything that is wrong.
    pub fn read(body: &Value, purpose: Purpose) -> Result<Self, ApiError> {
        Self::read_at(body, "", purpose)
    }

    /// Checks a form that is at `path` of a larger one.
    ///
    /// # Errors
    /// Error 50035 with everything that is wrong.
    pub fn read_at(body: &Value, path: &str, purpose: Purpose) -> Result<Self, ApiError> {
        let Some(map) = body.as_object() else {
            return Err(ApiError::field(
                path,
                "DICT_TYPE_CONVERT",
                "Only dictionaries may be used in a DictType",
            ));
        };
        let mut problems = Problems::default();
        let form = Self::read_fields(map, path, purpose, &mut problems);
        problems.finish()?;
        Ok(form)
    }

    fn read_fields(map: &Map<String, Value>, path: &str, purpose: Purpose, problems: &mut Problems) -> Self {
        let mut fields = Fields::new(map, path, problems);
        let content = match map.get("content") {
            Some(Value::Null) => Some(String::new()),
            _ => fields.text("content", MAX_CONTENT),
        };
        let flags = fields.number("flags").map(|flags| flags & purpose.flags());
        let v2 = flags.is_some_and(|flags| flags & COMPONENTS_V2 != 0);
        let mut form = Self {
            content,
            flags,
            tts: fields.flag("tts"),
            enforce_nonce: fields.flag("enforce_nonce"),
            allowed: fields.object("allowed_mentions").map(|map| allowed(map, fields.problems)),
            reference: fields.object("message_reference").and_then(|map| reference(map, fields.problems)),
            nonce: nonce(&mut fields),
            attachments: attachments(&mut fields),
            embeds: None,
            components: None,
        };
        let empty = || Some(Vec::new());
        form.embeds = match fields.list("embeds", embeds::MAX_EMBEDS) {
            Some(list) => Some(embeds::read(list, &fields.at("embeds"), fields.problems)),
            None if map.contains_key("embeds") => empty(),
            None => None,
        };
        form.components = match fields.list("components", components::most(v2)) {
            Some(list) => Some(components::read(list, &fields.at("components"), v2, fields.problems)),
            None if map.contains_key("components") => empty(),
            None => None,
        };
        if v2 && (form.content.as_ref().is_some_and(|text| !text.is_empty()) || form.embeds.is_some()) {
            let message =
                "The 'content' and 'embeds' fields cannot be used when using MessageFlags.IS_COMPONENTS_V2";
            problems.add(path, "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", message);
        }
        form
    }

    /// Whether a new message of this form would show nothing.
    ///
    /// # Errors
    /// Error 50006 when it would.
    pub fn must_show_something(&self) -> Result<(), ApiError> {
        let text = self.content.as_ref().is_some_and(|text| !text.trim().is_empty());
        let lists = [&self.embeds, &self.components, &self.attachments];
        let any = lists.into_iter().flatten().any(|list| !list.is_empty());
        if text || any { Ok(()) } else { Err(ApiError::EMPTY_MESSAGE) }
    }
}

/// `nonce` is a number or a short text.
fn nonce(fields: &mut Fields<'_, '_>) -> Option<Value> {
    let given = fields.get("nonce")?.clone();
    fields.text("nonce", MAX_NONCE).map(|_| given)
}

fn reference(map: &Map<String, Value>, problems: &mut Problems) -> Option<Reference> {
    let mut fields = Fields::new(map, "message_reference", problems);
    if fields.number("type").is_some_and(|kind| kind != 0) {
        // Forwarding is not something that this Discord does.
        problems.not_one_of("message_reference.type", "0");
        return None;
    }
    let must_exist = map.get("fail_if_not_exists").is_none_or(|value| value != &Value::Bool(false));
    let channel = fields.id("channel_id");
    fields.id("guild_id");
    if fields.get("message_id").is_none() {
        problems.required("message_reference.message_id");
        return None;
    }
    fields.id("message_id").map(|message| Reference { message, channel, must_exist })
}

fn allowed(map: &Map<String, Value>, problems: &mut Problems) -> Allowed {
    let mut fields = Fields::new(map, "allowed_mentions", problems);
    let parse: Option<Vec<&str>> = fields
        .list("parse", 3)
        .map(|list| list.iter().map(|kind| kind.as_str().unwrap_or_default()).collect());
    for (place, kind) in parse.iter().flatten().enumerate() {
        if !matches!(*kind, "users" | "roles" | "everyone") {
            let path = format!("allowed_mentions.parse.{place}");
            fields.problems.not_one_of(&path, "'users', 'everyone', 'roles'");
        }
    }
    let has = |kind: &str| parse.as_ref().is_some_and(|parse| parse.contains(&kind));
    let mut only = |name: &str| {
        let these: Vec<Id> =
            fields.list(name, MAX_ALLOWED).unwrap_or_default().iter().filter_map(read_id).collect();
        if has(name) && !these.is_empty() {
            let message = format!("parse:[\"{name}\"] and {name}: [ids...] are mutually exclusive.");
            fields.problems.add("allowed_mentions", "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", message);
        }
        if has(name) { Only::All } else { Only::These(these) }
    };
    let (users, roles) = (only("users"), only("roles"));
    Allowed { everyone: has("everyone"), users, roles, replied_user: fields.flag("replied_user") }
}

/// Files are taken by name and size; their bytes are not kept.
fn attachments(fields: &mut Fields<'_, '_>) -> Option<Vec<Value>> {
    let list = fields.list("attachments", MAX_FILES)?;
    Some(list.iter().filter(|file| file.is_object()).cloned().collect())
}
