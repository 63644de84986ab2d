//! Discord's frames in the words of the protocol.

use std::collections::BTreeMap;

use protocol::{
    Author, Batch, ChannelId, ChatMessage, Command, CommunityId, Event, EventBody, EventId, Interaction,
    InteractionBody, MessageId, OptionValue, Platform, Rank, UserId, VERSION,
};
use serde_json::Value;

use crate::{
    facts::rank_of,
    frame::{self, InteractionOption, Snowflake},
};

/// A reply, as opposed to a forward, in a message reference.
const REFERENCE_REPLY: u16 = 0;
/// Of the component types, the one that is used.
const COMPONENT_BUTTON: u8 = 2;

/// The community that a guild is; without a guild it is a direct message.
#[must_use]
pub fn community(guild: Option<Snowflake>) -> CommunityId {
    guild.map_or_else(CommunityId::direct, |guild| guild.0.into())
}

/// Whether a text asks the bot for something: the prefix, then at once a letter.
#[must_use]
pub fn is_command(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).and_then(|line| line.chars().next()).is_some_and(char::is_alphabetic)
}

/// A chat message as an event. `prefix` is given when it is a command.
#[must_use]
pub fn message(
    message: &frame::Message<'_>,
    rank: Rank,
    prefix: Option<&str>,
    received_us: u64,
) -> Option<Event> {
    let nick = message.member.as_ref().and_then(|member| member.nick.as_deref());
    let reference = message.message_reference.as_ref().filter(|other| other.kind == REFERENCE_REPLY);
    let chat = ChatMessage {
        id: MessageId::from(message.id.0),
        channel: ChannelId::from(message.channel_id.0),
        author: author(&message.author, nick, rank, message.webhook_id.is_some()),
        text: message.content.clone().into_owned(),
        reply_to: reference.and_then(|other| other.message_id).map(|id| MessageId::from(id.0)),
    };
    Some(Event {
        v: VERSION,
        id: EventId::of_platform(Platform::Discord, &message.id.to_string()).ok()?,
        platform: Platform::Discord,
        community: community(message.guild_id),
        at_ms: message.id.at_ms(),
        received_us,
        body: match prefix {
            Some(prefix) => EventBody::Command(Command { message: chat, prefix: prefix.to_owned() }),
            None => EventBody::Message(chat),
        },
    })
}

/// Many chat messages in one.
#[must_use]
pub fn batch(events: Vec<Event>) -> Batch {
    Batch { v: VERSION, platform: Platform::Discord, events }
}

/// What somebody asks. `None` for kinds of interactions that this bot never offers.
#[must_use]
pub fn interaction(asked: &frame::Interaction<'_>, received_us: u64) -> Option<Interaction> {
    let data = asked.data.as_ref()?;
    let name = || data.name.clone().into_owned();
    let body = match (asked.kind, data.kind) {
        (2, 0 | 1) => InteractionBody::Command { name: name(), options: options(&data.options) },
        (3, _) if data.component_type == COMPONENT_BUTTON => {
            InteractionBody::Button { button: data.custom_id.clone().into_owned() }
        }
        (4, _) => {
            let focused = data.options.iter().find(|option| option.focused)?;
            let partial = match &focused.value {
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
                None => String::new(),
            };
            InteractionBody::Autocomplete { name: name(), option: focused.name.clone(), partial }
        }
        _ => return None,
    };
    let user = match (&asked.member, &asked.user) {
        (Some(member), _) => author(&member.user, member.nick.as_deref(), rank_of(member.permissions), false),
        (None, Some(user)) => author(user, None, Rank::Everyone, false),
        (None, None) => return None,
    };
    Some(Interaction {
        v: VERSION,
        id: EventId::of_platform(Platform::Discord, &asked.id.to_string()).ok()?,
        platform: Platform::Discord,
        community: community(asked.guild_id),
        channel: asked.channel_id?.0.into(),
        user,
        locale: asked.locale.clone(),
        at_ms: asked.id.at_ms(),
        received_us,
        body,
    })
}

fn author(user: &frame::User<'_>, nick: Option<&str>, rank: Rank, webhook: bool) -> Author {
    let name = nick.or(user.global_name.as_deref()).unwrap_or(&user.username);
    Author { id: UserId::from(user.id.0), name: name.to_owned(), rank, bot: user.bot || webhook }
}

fn options(options: &[InteractionOption]) -> BTreeMap<String, OptionValue> {
    let read = |option: &InteractionOption| {
        let value = match option.value.as_ref()? {
            Value::Bool(yes) => OptionValue::Bool(*yes),
            Value::Number(number) => match number.as_i64() {
                Some(whole) => OptionValue::Integer(whole),
                None => OptionValue::Text(number.to_string()),
            },
            Value::String(text) => OptionValue::Text(text.clone()),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        Some((option.name.clone(), value))
    };
    options.iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_the_prefix_and_then_a_letter() {
        for (text, expected) in [
            ("!ping", true),
            ("!été", true),
            ("! ping", false),
            ("!!", false),
            ("!", false),
            ("ping!", false),
            ("!1", false),
        ] {
            assert_eq!(is_command(text, "!"), expected, "{text}");
        }
        assert!(is_command("v/ping", "v/"));
    }
}
