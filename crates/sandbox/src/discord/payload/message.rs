//! A message on the wire.

use serde::Serialize;
use serde_json::Value;

use super::{MemberJson, UserJson};
use crate::discord::{
    snowflake::{Id, Timestamp},
    world::{
        APPLICATION, World,
        message::{COMMAND, Cause, Message, Reaction},
    },
};

/// For whom a message is written down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// An answer of the REST API.
    Rest,
    /// A dispatch, with the guild and member.
    Gateway,
    /// A dispatch to a session that may not read content.
    Stripped,
}

#[derive(Serialize)]
struct MessageJson<'a> {
    id: Id,
    channel_id: Id,
    #[serde(skip_serializing_if = "Option::is_none")]
    guild_id: Option<Id>,
    #[serde(rename = "type")]
    kind: u8,
    author: UserJson<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<MemberJson<'a>>,
    content: &'a str,
    timestamp: Timestamp,
    edited_timestamp: Option<Timestamp>,
    tts: bool,
    pinned: bool,
    mention_everyone: bool,
    mentions: Vec<UserJson<'a>>,
    mention_roles: &'a [Id],
    attachments: &'a [Value],
    embeds: &'a [Value],
    components: &'a [Value],
    flags: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reactions: Vec<ReactionJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_id: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_id: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interaction: Option<InteractionJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interaction_metadata: Option<MetadataJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_reference: Option<ReferenceJson>,
    /// Missing: it answers nothing. Null: what it answers is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    referenced_message: Option<Option<Box<MessageJson<'a>>>>,
}

#[derive(Serialize)]
struct ReferenceJson {
    #[serde(rename = "type")]
    kind: u8,
    message_id: Id,
    channel_id: Id,
    #[serde(skip_serializing_if = "Option::is_none")]
    guild_id: Option<Id>,
}

#[derive(Serialize)]
struct ReactionJson<'a> {
    emoji: EmojiJson<'a>,
    count: usize,
    count_details: CountJson,
    me: bool,
    me_burst: bool,
    burst_colors: [(); 0],
}

#[derive(Serialize)]
struct CountJson {
    normal: usize,
    burst: usize,
}

/// An emoji of Unicode.
#[derive(Serialize)]
pub struct EmojiJson<'a> {
    id: Option<Id>,
    name: &'a str,
}

impl<'a> EmojiJson<'a> {
    /// By itself.
    pub const fn unicode(name: &'a str) -> Self {
        Self { id: None, name }
    }
}

#[derive(Serialize)]
struct InteractionJson<'a> {
    id: Id,
    #[serde(rename = "type")]
    kind: u8,
    name: &'a str,
    user: UserJson<'a>,
}

#[derive(Serialize)]
struct MetadataJson<'a> {
    id: Id,
    #[serde(rename = "type")]
    kind: u8,
    user: UserJson<'a>,
    authorizing_integration_owners: OwnersJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_response_message_id: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct OwnersJson {
    #[serde(rename = "0", skip_serializing_if = "Option::is_none")]
    guild: Option<Id>,
}

impl World {
    /// A message as text.
    pub fn message_text(&self, message: &Message, view: View) -> String {
        self.view(message, view, true).and_then(|json| serde_json::to_string(&json).ok()).unwrap_or_default()
    }

    /// A message as a value.
    pub fn message_value(&self, message: &Message, view: View) -> Value {
        self.view(message, view, true).and_then(|json| serde_json::to_value(&json).ok()).unwrap_or_default()
    }

    /// None only when the author is unknown, which never happens: accounts are not removed.
    fn view<'a>(&'a self, message: &'a Message, view: View, with_answered: bool) -> Option<MessageJson<'a>> {
        let author = self.users.get(&message.author)?;
        let gateway = view != View::Rest;
        let guild = message.guild.and_then(|id| self.guilds.get(&id));
        let members = if gateway { guild.map(|guild| &guild.members) } else { None };
        let hidden = view == View::Stripped;
        let mentioned = message.mentions.iter().filter_map(|id| self.users.get(id));
        let cause = message.cause.as_ref();
        let answered = || self.message(message.channel, message.reference?).filter(|_| with_answered);
        let answered = || answered().and_then(|answered| self.view(answered, view, false)).map(Box::new);
        Some(MessageJson {
            id: message.id,
            channel_id: message.channel,
            guild_id: message.guild.filter(|_| gateway),
            kind: message.kind,
            author: UserJson::new(author),
            member: members.and_then(|members| members.get(&author.id)).map(MemberJson::partial),
            content: if hidden { "" } else { &message.content },
            timestamp: Timestamp(message.id.created_ms()),
            edited_timestamp: message.edited_ms.map(Timestamp),
            tts: message.tts,
            pinned: message.pinned,
            mention_everyone: message.mention_everyone,
            mentions: mentioned
                .map(|user| UserJson::mention(user, members.and_then(|members| members.get(&user.id))))
                .collect(),
            mention_roles: &message.mention_roles,
            attachments: if hidden { &[] } else { &message.attachments },
            embeds: if hidden { &[] } else { &message.embeds },
            components: if hidden { &[] } else { &message.components },
            flags: message.flags,
            reactions: reactions(message),
            nonce: message.nonce.as_ref(),
            application_id: cause.map(|_| APPLICATION),
            webhook_id: cause.map(|_| APPLICATION),
            interaction: cause.filter(|_| message.kind == COMMAND).and_then(|c| self.interaction(c)),
            interaction_metadata: cause.and_then(|c| self.metadata(c, message.guild)),
            message_reference: message.reference.map(|answered| ReferenceJson {
                kind: 0,
                message_id: answered,
                channel_id: message.channel,
                guild_id: message.guild,
            }),
            referenced_message: message.reference.filter(|_| with_answered).map(|_| answered()),
        })
    }

    fn interaction<'a>(&'a self, cause: &'a Cause) -> Option<InteractionJson<'a>> {
        let user = UserJson::new(self.users.get(&cause.user)?);
        Some(InteractionJson { id: cause.interaction, kind: cause.kind, name: &cause.name, user })
    }

    fn metadata<'a>(&'a self, cause: &'a Cause, guild: Option<Id>) -> Option<MetadataJson<'a>> {
        Some(MetadataJson {
            id: cause.interaction,
            kind: cause.kind,
            user: UserJson::new(self.users.get(&cause.user)?),
            authorizing_integration_owners: OwnersJson { guild },
            original_response_message_id: cause.original,
            name: (cause.kind == 2).then_some(cause.name.as_str()),
        })
    }
}

fn reactions(message: &Message) -> Vec<ReactionJson<'_>> {
    message.reactions.iter().map(ReactionJson::new).collect()
}

impl<'a> ReactionJson<'a> {
    fn new(reaction: &'a Reaction) -> Self {
        let count = reaction.users.len();
        Self {
            emoji: EmojiJson::unicode(&reaction.emoji),
            count,
            count_details: CountJson { normal: count, burst: 0 },
            me: reaction.users.contains(&APPLICATION),
            me_burst: false,
            burst_colors: [],
        }
    }
}
