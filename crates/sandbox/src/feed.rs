//! What a person who looks at both chats would see, as one stream: the chat page shows it, `--say`
//! and tests wait on it.

use serde::Serialize;
use tokio::sync::broadcast;

/// How many items a slow watcher may lag behind before it misses some.
const BACKLOG: usize = 4096;

/// Which of the two local platforms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    /// The local Discord.
    Discord,
    /// The local Twitch.
    Twitch,
}

/// Who wrote something.
#[derive(Clone, Debug, Serialize)]
pub struct Author {
    /// The platform's id of the account.
    pub id: String,
    /// The name that is shown.
    pub name: String,
    /// `owner`, `moderator`, `viewer` or `bot`.
    pub role: &'static str,
}

/// A chat message as it is now.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The platform's message id.
    pub id: String,
    /// Discord channel id or Twitch login of the channel.
    pub channel: String,
    /// Who wrote it.
    pub author: Author,
    /// The text, as sent.
    pub text: String,
    /// The message this one answers, if any.
    pub reply_to: Option<String>,
    /// Microseconds from the answered line (or interaction) until this one arrived.
    pub latency_us: Option<u64>,
    /// Only the person who asked sees it (Discord interactions).
    pub ephemeral: bool,
    /// Discord embeds, in Discord's shape; empty on Twitch.
    pub embeds: serde_json::Value,
    /// Discord components (rows of buttons), in Discord's shape; empty on Twitch.
    pub components: serde_json::Value,
    /// `/ping by Olive` above an answer to a slash command.
    pub heading: Option<String>,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
}

/// One thing that became visible.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Item {
    /// A new message.
    Message {
        /// Where.
        platform: Platform,
        /// What.
        line: Line,
    },
    /// A message that changed; the whole message as it is now.
    Edited {
        /// Where.
        platform: Platform,
        /// What.
        line: Line,
    },
    /// A message that is gone.
    Deleted {
        /// Where.
        platform: Platform,
        /// Its channel.
        channel: String,
        /// Its id.
        id: String,
    },
    /// A reaction was put under a message.
    Reaction {
        /// Where.
        platform: Platform,
        /// Its channel.
        channel: String,
        /// The message.
        id: String,
        /// The emoji.
        emoji: String,
    },
    /// Something the platform says to those who look: "Vigie is thinking…", a refusal, a raid.
    Notice {
        /// Where.
        platform: Platform,
        /// Its channel.
        channel: String,
        /// What is said.
        text: String,
    },
    /// A bot came online or went away.
    Bot {
        /// Where.
        platform: Platform,
        /// Its name.
        name: String,
        /// Whether it is connected now.
        online: bool,
    },
}

/// The stream of [`Item`]s; cheap to clone.
#[derive(Clone, Debug)]
pub struct Feed(broadcast::Sender<Item>);

impl Default for Feed {
    fn default() -> Self {
        Self(broadcast::channel(BACKLOG).0)
    }
}

impl Feed {
    /// Shows an item to all who watch now.
    pub fn show(&self, item: Item) {
        // An error only says that nobody watches.
        let _ = self.0.send(item);
    }

    /// Watches from now on.
    pub fn watch(&self) -> broadcast::Receiver<Item> {
        self.0.subscribe()
    }
}
