//! What a message says, in a form that each platform renders as well as it can.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The content of a message. Discord shows all of it; Twitch shows one line made of the text and the
/// card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Content {
    /// Plain text, at most 2000 characters on Discord; Twitch splits what is over 500.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// A titled block: an embed on Discord.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<Card>,
    /// One row of buttons, at most 5; not shown on Twitch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<Button>,
}

impl Content {
    /// A content of text alone.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// A titled block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Card {
    /// At most 256 characters.
    pub title: String,
    /// At most 4096 characters; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// At most 25.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<CardField>,
    /// At most 2048 characters; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub footer: String,
}

/// A name with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardField {
    /// At most 256 characters.
    pub name: String,
    /// At most 1024 characters.
    pub value: String,
    /// Whether it may stand beside others.
    #[serde(default)]
    pub inline: bool,
}

/// Something to press.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Button {
    /// Comes back when it is pressed: `<command>:<argument>`, at most 100 characters.
    pub id: String,
    /// At most 80 characters.
    pub label: String,
    /// How it looks.
    #[serde(default)]
    pub style: ButtonStyle,
}

/// How a button looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ButtonStyle {
    /// The one to press.
    Primary,
    /// One of several.
    #[default]
    Secondary,
    /// It destroys something.
    Danger,
}
