//! What somebody asks of a command, with all that the command may use to answer.

use std::{sync::Arc, time::Duration};

use fluent_bundle::FluentValue;
use protocol::{Author, CardField, ChannelId, CommunityId, EventId, MessageId, Platform};

use crate::{arguments::Arguments, definition::Definition, facts::Facts, language::Language, units};

/// A question to a command.
#[derive(Clone)]
pub struct Ask {
    /// The event or interaction.
    pub event: EventId,
    /// Where.
    pub platform: Platform,
    /// The community it concerns.
    pub community: CommunityId,
    /// The channel.
    pub channel: ChannelId,
    /// Who asks. Whoever runs the bot has the highest rank everywhere.
    pub user: Author,
    /// The language to answer in.
    pub language: Language,
    /// When the platform says it happened, in Unix milliseconds.
    pub at_ms: u64,
    /// When the gateway read it, in Unix microseconds.
    pub received_us: u64,
    /// How it was asked.
    pub form: Form,
    /// What was given with it.
    pub arguments: Arguments,
    /// What is known of the world.
    pub facts: Arc<dyn Facts>,
    /// All commands, sorted by name.
    pub commands: &'static [&'static Definition],
}

/// How a command is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// By a chat message.
    Chat {
        /// What it started with.
        prefix: String,
        /// The message.
        message: MessageId,
    },
    /// By a slash command, or while typing one.
    Slash,
    /// By a button; the answer takes the place of the message that shows it.
    Button {
        /// What follows `<command>:` in the button's id.
        argument: String,
    },
}

impl Ask {
    /// A text in the language of the person. Every id is in `locales/en` and `locales/fr`.
    #[must_use]
    pub fn say(&self, id: &str, values: &[(&str, FluentValue<'_>)]) -> String {
        self.language.say(id, values)
    }

    /// What a command starts with, the way it was asked: `!`, `/`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        match &self.form {
            Form::Chat { prefix, .. } => prefix,
            Form::Slash | Form::Button { .. } => "/",
        }
    }

    /// Whether the platform shows cards and buttons. Where it does not, answer in one line.
    #[must_use]
    pub fn shows_cards(&self) -> bool {
        match self.platform {
            Platform::Discord => true,
            Platform::Twitch => false,
        }
    }

    /// A field of a card, named by a text.
    #[must_use]
    pub fn field(&self, id: &str, value: impl Into<String>) -> CardField {
        CardField { name: self.say(id, &[]), value: value.into(), inline: true }
    }

    /// How long ago that was, for a person: `3 h ago`. The time is in Unix milliseconds.
    #[must_use]
    pub fn ago(&self, at_ms: u64) -> String {
        let since = Duration::from_micros(self.facts.now_us()).saturating_sub(Duration::from_millis(at_ms));
        self.say("unit-ago", &[("time", units::duration(self.language, since).into())])
    }

    /// What people call the platform.
    #[must_use]
    pub fn platform_name(&self) -> &'static str {
        match self.platform {
            Platform::Discord => "Discord",
            Platform::Twitch => "Twitch",
        }
    }
}
