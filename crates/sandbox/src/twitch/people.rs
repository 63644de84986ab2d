//! Twitch accounts: those of the people of the sandbox, of the bots, and of passers-by that only
//! exist because somebody wrote a line in their name.
//!
//! Olive is the broadcaster of every channel: her login and id are the channel's own, as on Twitch,
//! and her name is shown as a localized display name would be.

use std::{hash::Hasher as _, sync::Arc};

use crate::people::Person;

/// An account, the same in every channel.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) login: String,
    pub(crate) name: String,
    /// `#RRGGBB`, or empty when the account never chose one.
    pub(crate) color: &'static str,
    /// Months of subscription, to every channel; 0 for none.
    pub(crate) months: u16,
    /// Whether it is one of the bots, which the limits are for.
    pub(crate) bot: bool,
}

/// What an account is in one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing special.
    Viewer,
    /// VIP: the higher message limit, no moderation.
    Vip,
    /// Moderator.
    Moderator,
    /// The channel's own account.
    Broadcaster,
}

impl Standing {
    /// Broadcaster, moderators and VIPs have the higher limits and may repeat themselves.
    #[must_use]
    pub fn is_elevated(self) -> bool {
        self != Self::Viewer
    }

    pub(crate) fn is_moderator(self) -> bool {
        matches!(self, Self::Moderator)
    }

    fn badge(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Viewer => None,
            Self::Vip => Some(("vip", "1")),
            Self::Moderator => Some(("moderator", "1")),
            Self::Broadcaster => Some(("broadcaster", "1")),
        }
    }

    pub(crate) fn role(self, bot: bool) -> &'static str {
        match self {
            _ if bot => "bot",
            Self::Broadcaster => "owner",
            Self::Moderator => "moderator",
            Self::Viewer | Self::Vip => "viewer",
        }
    }
}

/// A badge: set, version, and the months of a subscription where it is one.
pub(crate) struct Badge {
    pub(crate) set: &'static str,
    pub(crate) version: String,
    pub(crate) info: String,
}

impl Account {
    /// The badges shown beside the name, in Twitch's order.
    pub(crate) fn badges(&self, standing: Standing, chat_bot: bool) -> Vec<Badge> {
        let mut badges = Vec::new();
        if let Some((set, version)) = standing.badge() {
            badges.push(Badge { set, version: version.to_owned(), info: String::new() });
        }
        if self.months > 0 {
            badges.push(Badge {
                set: "subscriber",
                version: tier_of(self.months).to_string(),
                info: self.months.to_string(),
            });
        }
        if chat_bot {
            badges.push(Badge { set: "bot-badge", version: "1".to_owned(), info: String::new() });
        }
        badges
    }
}

/// Badge versions go by the month reached: 0, 3, 6, 12.
fn tier_of(months: u16) -> u16 {
    [12, 6, 3].into_iter().find(|at| months >= *at).unwrap_or(0)
}

/// `moderator/1,subscriber/3` for the `badges` tag.
pub(crate) fn badge_tag(badges: &[Badge]) -> String {
    badges.iter().map(|badge| format!("{}/{}", badge.set, badge.version)).collect::<Vec<_>>().join(",")
}

/// `subscriber/4` for the `badge-info` tag.
pub(crate) fn badge_info_tag(badges: &[Badge]) -> String {
    badges
        .iter()
        .filter(|badge| !badge.info.is_empty())
        .map(|badge| format!("{}/{}", badge.set, badge.info))
        .collect::<Vec<_>>()
        .join(",")
}

/// The account of a person who is no broadcaster.
pub(crate) fn person(person: Person) -> Account {
    let (id, color, months) = match person {
        Person::Olive => ("600100200", "#008000", 0),
        Person::Max => ("600100300", "#1E90FF", 14),
        Person::Ines => ("600100400", "#FF69B4", 4),
        Person::Noor => ("600100500", "", 0),
    };
    Account {
        id: id.to_owned(),
        login: person.name().to_ascii_lowercase(),
        name: person.name().to_owned(),
        color,
        months,
        bot: false,
    }
}

/// The account that owns a channel.
pub(crate) fn broadcaster(login: &str, id: String) -> Account {
    Account { login: login.to_owned(), id, ..person(Person::Olive) }
}

/// A bot's account.
pub(crate) fn bot(login: &str, id: String) -> Account {
    Account { id, login: login.to_owned(), name: login.to_owned(), color: "#8A2BE2", months: 0, bot: true }
}

/// Somebody who passes by, always the same for the same login.
pub(crate) fn passer_by(login: &str) -> Arc<Account> {
    const COLORS: [&str; 8] =
        ["#FF0000", "#0000FF", "#B22222", "#FF7F50", "#9ACD32", "#2E8B57", "#D2691E", "#5F9EA0"];
    // Fixed keys: the id must not change between two lines.
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(login.as_bytes());
    let hash = hasher.finish();
    Arc::new(Account {
        id: (10_000_000 + hash % 500_000_000).to_string(),
        login: login.to_ascii_lowercase(),
        name: login.to_owned(),
        color: COLORS[usize::try_from(hash % 8).unwrap_or(0)],
        months: u16::try_from(hash >> 8 & 7).unwrap_or(0),
        bot: false,
    })
}
