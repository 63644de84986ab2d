//! The people who live in the sandbox, the same on both platforms.

use serde::{Deserialize, Serialize};

/// Somebody who can type in both chats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Person {
    /// Owner of the Discord guild, broadcaster on Twitch.
    Olive,
    /// Moderator on both.
    Max,
    /// Viewer on both.
    Ines,
    /// A second viewer, so that cooldowns per person can be seen.
    Noor,
}

impl Person {
    /// Everyone, in the order of their rights.
    pub const ALL: [Self; 4] = [Self::Olive, Self::Max, Self::Ines, Self::Noor];

    /// The name that is shown in chat.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Olive => "Olive",
            Self::Max => "Max",
            Self::Ines => "Ines",
            Self::Noor => "Noor",
        }
    }

    /// The role that is shown beside the name: `owner`, `moderator` or `viewer`.
    #[must_use]
    pub const fn role(self) -> &'static str {
        match self {
            Self::Olive => "owner",
            Self::Max => "moderator",
            Self::Ines | Self::Noor => "viewer",
        }
    }
}
