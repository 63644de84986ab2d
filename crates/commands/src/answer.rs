//! What a command answers, and the actions that carry the answer to a chat.

use std::error::Error;

use protocol::{Action, ActionBody, ChannelId, Content, Delivery, Event, MessageId, VERSION};

use crate::{language::Language, order::Order};

/// How many fields a card has at most: Discord's bound
/// (<https://discord.com/developers/docs/resources/message#embed-object-embed-limits>).
pub const MAX_FIELDS: usize = 25;

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What it says.
    pub content: Content,
    /// Only the person who asked sees it. A chat message has no such thing: there everybody does.
    pub ephemeral: bool,
    /// What a service that operates the bot is told to do first; what comes of that takes the place of `content`.
    pub order: Option<Order>,
}

impl Answer {
    /// An answer of plain text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::from(Content::text(text))
    }

    /// An answer that only the person sees, where the platform can do that.
    #[must_use]
    pub fn note(text: impl Into<String>) -> Self {
        Self { content: Content::text(text), ephemeral: true, order: None }
    }

    /// Has something done; whoever asked is told how it goes until it is over.
    #[must_use]
    pub fn order(order: Order) -> Self {
        Self { order: Some(order), ..Self::default() }
    }
}

impl From<Content> for Answer {
    fn from(content: Content) -> Self {
        Self { content, ..Self::default() }
    }
}

/// A command that could not answer. The person gets an apology with an id, the log gets this.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    what: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure in words for the operator.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None }
    }

    /// A failure that another error caused.
    #[must_use]
    pub fn caused_by(what: impl Into<String>, source: impl Error + Send + Sync + 'static) -> Self {
        Self { what: what.into(), source: Some(Box::new(source)) }
    }
}

/// What is said when a command failed. `id` finds the trace and the log line.
#[must_use]
pub fn apology(language: Language, id: &str) -> Answer {
    Answer::note(language.say("command-failed", &[("id", id.into())]))
}

/// The actions that answer a chat message, numbered from 0 by their order. A handler that runs again
/// for the same event gives the same ids, so nothing is said twice.
#[must_use]
pub fn chat_actions(
    event: &Event,
    channel: &ChannelId,
    message: &MessageId,
    contents: Vec<Content>,
    expires_at_ms: u64,
) -> Vec<Action> {
    let action = |(n, content)| Action {
        v: VERSION,
        id: event.id.action(n),
        platform: event.platform,
        community: event.community.clone(),
        channel: channel.clone(),
        cause: event.id.clone(),
        cause_received_us: event.received_us,
        expires_at_ms,
        delivery: Delivery::AtMostOnce,
        body: ActionBody::Reply { to: message.clone(), content },
    };
    (0..).zip(contents).map(action).collect()
}
