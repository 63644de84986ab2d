//! What a person who looks at both chats would see, as one stream: the chat page shows it, `--say`
//! and tests wait on it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use tokio::sync::broadcast;

/// How many items a slow watcher may lag behind before it misses some.
const BACKLOG: usize = 4096;
/// How many bots are remembered by name; the sandbox serves a few.
const MOST_BOTS: usize = 64;

/// Which of the two local platforms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
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

/// A bot that was here at least once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Presence {
    /// Where.
    pub platform: Platform,
    /// Its name.
    pub name: String,
    /// Whether it is connected now.
    pub online: bool,
}

/// The stream of [`Item`]s; cheap to clone.
#[derive(Clone, Debug)]
pub struct Feed {
    items: broadcast::Sender<Item>,
    bots: Arc<Mutex<BTreeMap<(Platform, String), bool>>>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { items: broadcast::channel(BACKLOG).0, bots: Arc::default() }
    }
}

impl Feed {
    /// Shows an item to all who watch now.
    pub fn show(&self, item: Item) {
        if let Item::Bot { platform, name, online } = &item {
            let mut bots = self.bots.lock().unwrap_or_else(PoisonError::into_inner);
            if bots.len() >= MOST_BOTS {
                bots.retain(|_, online| *online);
            }
            bots.insert((*platform, name.clone()), *online);
        }
        // An error only says that nobody watches.
        let _ = self.items.send(item);
    }

    /// Watches from now on.
    pub fn watch(&self) -> broadcast::Receiver<Item> {
        self.items.subscribe()
    }

    /// Every bot that was ever connected, and whether it is now.
    #[must_use]
    pub fn bots(&self) -> Vec<Presence> {
        let bots = self.bots.lock().unwrap_or_else(PoisonError::into_inner);
        let presence = |(key, online): (&(Platform, String), &bool)| Presence {
            platform: key.0,
            name: key.1.clone(),
            online: *online,
        };
        bots.iter().map(presence).collect()
    }
}
