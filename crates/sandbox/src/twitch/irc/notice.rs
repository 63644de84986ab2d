//! NOTICE lines: what Twitch says when it does not do what was asked.
//! Source of ids and words: dev.twitch.tv/docs/irc/msg-id.

use super::{caps, line::Shared, tags::Tags};
use crate::twitch::world::Ban;

/// Why something was refused in a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    TooFast,
    Duplicate,
    Banned,
    TimedOut(u64),
    ChannelSuspended,
    /// A moderator's tool in the hand of somebody else.
    NoPermission,
    UnrecognizedCommand(String),
    /// Said by the fault knob.
    Other(String),
}

impl From<Ban> for Notice {
    fn from(ban: Ban) -> Self {
        match ban {
            Ban::Permanent => Self::Banned,
            Ban::TimedOut(seconds) => Self::TimedOut(seconds),
        }
    }
}

impl Notice {
    /// The `msg-id` tag.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::TooFast => "msg_ratelimit",
            Self::Duplicate => "msg_duplicate",
            Self::Banned => "msg_banned",
            Self::TimedOut(_) => "msg_timedout",
            Self::ChannelSuspended => "msg_channel_suspended",
            Self::NoPermission => "no_permission",
            Self::UnrecognizedCommand(_) => "unrecognized_cmd",
            Self::Other(id) => id,
        }
    }

    /// The code of the same refusal in `drop_reason` of a Helix answer. Twitch leaves them
    /// undocumented on purpose (twitchdev/issues#962); `user_timed_out` is on record in #1002 there,
    /// the others are taken to be the ids of the NOTICE they mirror.
    pub(crate) fn drop_code(&self) -> &str {
        match self {
            Self::TimedOut(_) => "user_timed_out",
            other => other.id(),
        }
    }

    /// The words that go with it over IRC.
    pub(crate) fn text(&self, channel: &str) -> String {
        match self {
            Self::TooFast => {
                "Your message was not sent because you are sending messages too quickly.".to_owned()
            }
            Self::Duplicate => "Your message was not sent because it is identical to the previous one you \
                                sent, less than 30 seconds ago."
                .to_owned(),
            Self::Banned => format!("You are permanently banned from talking in {channel}."),
            Self::TimedOut(seconds) => format!("You are timed out for {seconds} more seconds."),
            Self::ChannelSuspended => "This channel does not exist or has been suspended.".to_owned(),
            Self::NoPermission => "You don't have permission to perform that action.".to_owned(),
            Self::UnrecognizedCommand(name) => format!("Unrecognized command: {name}"),
            Self::Other(_) => "Your message was not sent.".to_owned(),
        }
    }

    /// The line that says so.
    pub(crate) fn line(&self, channel: &str) -> Shared {
        Shared::new(
            &Tags::new().plain("msg-id", self.id()),
            &format!(":tmi.twitch.tv NOTICE #{channel} :{}", self.text(channel)),
            caps::COMMANDS,
        )
    }
}

/// A NOTICE to a client that is not logged in.
pub(crate) fn before_login(text: &str) -> Shared {
    Shared::untagged(&format!(":tmi.twitch.tv NOTICE * :{text}"), 0)
}
