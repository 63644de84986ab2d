//! Typed ids. Each is a non-empty token that is safe inside a NATS subject and a log line.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest id, in bytes: a Twitch message id has 36, an event id adds a prefix.
const MAX_BYTES: usize = 96;

/// A platform that a gateway knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    /// discord.com
    Discord,
    /// twitch.tv
    Twitch,
}

impl Platform {
    /// Every platform.
    pub const ALL: [Self; 2] = [Self::Discord, Self::Twitch];

    /// The token used in subjects, settings and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Discord => "discord",
            Self::Twitch => "twitch",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that cannot be an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id has 1 to {MAX_BYTES} characters of A-Z a-z 0-9 _ - : and this is not one: {0:?}")]
pub struct InvalidId(String);

fn checked(text: &str) -> Result<Box<str>, InvalidId> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':');
    if text.is_empty() || text.len() > MAX_BYTES || !text.bytes().all(token) {
        return Err(InvalidId(text.chars().take(MAX_BYTES).collect()));
    }
    Ok(text.into())
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(Box<str>);

        impl $name {
            /// Takes a text as an id.
            ///
            /// # Errors
            /// [`InvalidId`] when it is empty, too long, or has a character that a subject may not have.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
                checked(text.as_ref()).map(Self)
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<u64> for $name {
            fn from(number: u64) -> Self {
                Self(number.to_string().into())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    )* };
}

ids! {
    /// Something that happened. It comes from the platform (`discord:<message id>`), so that the same
    /// happening has the same id however often it is delivered.
    EventId
    /// Something to do: `<event id>:<n>` for the n-th action that an event caused.
    ActionId
    /// A Discord guild id, a Twitch broadcaster id, or `dm` for direct messages.
    CommunityId
    /// A Discord channel id, or a Twitch broadcaster id: a Twitch channel is its broadcaster.
    ChannelId
    /// An account on the platform.
    UserId
    /// A chat message on the platform.
    MessageId
}

impl CommunityId {
    /// The community of direct messages.
    #[must_use]
    pub fn direct() -> Self {
        Self("dm".into())
    }
}

impl EventId {
    /// The id of what the platform itself gave an id to.
    ///
    /// # Errors
    /// [`InvalidId`] when the platform's id has characters that no platform is known to use.
    pub fn of_platform(platform: Platform, id: &str) -> Result<Self, InvalidId> {
        Self::new(format!("{platform}:{id}"))
    }

    /// The id of the `n`-th action that this event causes. A handler that runs again gives the same
    /// actions the same numbers.
    #[must_use]
    pub fn action(&self, n: u32) -> ActionId {
        ActionId(format!("{self}:{n}").into())
    }
}

impl UserId {
    /// Whether this is the account called `id`.
    #[must_use]
    pub fn is(&self, id: &str) -> bool {
        &*self.0 == id
    }
}
