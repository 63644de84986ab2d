//! What the bot can do, as the workers tell it to the gateways, which register slash commands from it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{event::Rank, wire::versioned};

/// All commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Catalogue {
    /// The version of this payload.
    pub v: u16,
    /// The commands, sorted by name: the same commands give the same bytes.
    pub commands: Vec<CommandSpec>,
}
versioned!(Catalogue, "catalogue");

/// A text in the default language (English), and in others by BCP 47 tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Localized {
    /// In English.
    pub default: String,
    /// In other languages, such as `fr`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other: BTreeMap<String, String>,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandSpec {
    /// 1 to 32 characters of a-z, 0-9, `-`, `_`.
    pub name: String,
    /// 1 to 100 characters in each language.
    pub description: Localized,
    /// Who may use it.
    #[serde(default)]
    pub rank: Rank,
    /// What it takes, required ones first; at most 25.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<OptionSpec>,
}

/// One option of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OptionSpec {
    /// 1 to 32 characters of a-z, 0-9, `-`, `_`.
    pub name: String,
    /// 1 to 100 characters in each language.
    pub description: Localized,
    /// What it takes.
    pub kind: OptionKind,
    /// Whether it must be given.
    #[serde(default)]
    pub required: bool,
    /// Whether a worker proposes values while somebody types.
    #[serde(default)]
    pub autocomplete: bool,
}

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OptionKind {
    /// A text. As the last option of a chat command it takes the rest of the line.
    Text,
    /// A whole number.
    Integer,
    /// Yes or no.
    Bool,
    /// An account.
    User,
}

/// A proposed value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Choice {
    /// What is shown, at most 100 characters.
    pub name: String,
    /// What is sent, at most 100 characters.
    pub value: String,
}
