//! What somebody asks by a slash command, a button or while typing. It must be answered within
//! seconds, so it is a request on the bus, never queued.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::Choice,
    content::Content,
    event::Author,
    id::{ChannelId, CommunityId, EventId, Platform},
    wire::versioned,
};

/// A question to a worker. The secret token that answers it stays in the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Interaction {
    /// The version of this payload.
    pub v: u16,
    /// The same for every delivery of the same interaction.
    pub id: EventId,
    /// Where.
    pub platform: Platform,
    /// The community, or `dm`.
    pub community: CommunityId,
    /// The channel.
    pub channel: ChannelId,
    /// Who asks.
    pub user: Author,
    /// The language of the person's client, as BCP 47 (`fr`, `en-GB`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// When the platform says it happened, in Unix milliseconds.
    pub at_ms: u64,
    /// When the gateway read it, in Unix microseconds.
    pub received_us: u64,
    /// What is asked.
    pub body: InteractionBody,
}
versioned!(Interaction, "interaction");

/// The kinds of interactions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InteractionBody {
    /// A slash command.
    Command {
        /// Its name.
        name: String,
        /// What was given, by option name.
        options: BTreeMap<String, OptionValue>,
    },
    /// Somebody types an option that completes.
    Autocomplete {
        /// The command.
        name: String,
        /// The option that has the cursor.
        option: String,
        /// What is typed so far.
        partial: String,
    },
    /// A button was pressed.
    Button {
        /// [`Button::id`](crate::Button::id).
        button: String,
    },
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OptionValue {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A text, or the id of a user, channel or role.
    Text(String),
}

/// A worker's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InteractionResponse {
    /// The version of this payload.
    pub v: u16,
    /// The answer.
    pub body: ResponseBody,
}
versioned!(InteractionResponse, "interaction-response");

/// The kinds of answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResponseBody {
    /// A message.
    Reply {
        /// What it says.
        content: Content,
        /// Only the person who asked sees it.
        ephemeral: bool,
    },
    /// A new content for the message whose button was pressed.
    Update {
        /// What it says from now on.
        content: Content,
    },
    /// What an option could be, at most 25.
    Choices {
        /// The proposals, best first.
        choices: Vec<Choice>,
    },
}
