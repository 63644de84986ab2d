//! Who runs the bot: accounts, each on its platform.

use std::str::FromStr;

use protocol::{Platform, UserId};

/// A Discord id is the time it was made at in its upper bits, so that each has at least 17 digits; Twitch counts, and is
/// at ten.
const DISCORD_DIGITS: usize = 16;
/// The longest number of an account, in digits: that of 64 bits.
const MAX_DIGITS: usize = 20;
/// The most accounts.
const MAX_ACCOUNTS: usize = 16;

/// The accounts that may do everything everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners(Vec<(Platform, String)>);

/// A text that does not name accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAccount {
    /// Something else than digits.
    #[error("a name is not enough: names can change")]
    Name,
    /// Before the colon stands no platform.
    #[error("before the number may stand discord: or twitch:")]
    Platform,
    /// More of them than anybody has.
    #[error("at most {MAX_ACCOUNTS} accounts")]
    Many,
}

impl Owners {
    /// Whether this is one of them. The same number on the other platform is somebody else.
    #[must_use]
    pub fn have(&self, platform: Platform, user: &UserId) -> bool {
        self.0.iter().any(|(of, id)| *of == platform && user.is(id))
    }
}

impl FromStr for Owners {
    type Err = NotAnAccount;

    /// Numbers with commas between them: `discord:80351110224678912,twitch:141981764`. A number alone is an account on
    /// Discord when it is as long as those are, or else one on Twitch.
    fn from_str(text: &str) -> Result<Self, NotAnAccount> {
        let accounts = text.split(',').map(|one| account(one.trim())).collect::<Result<Vec<_>, _>>()?;
        if accounts.len() > MAX_ACCOUNTS { Err(NotAnAccount::Many) } else { Ok(Self(accounts)) }
    }
}

fn account(text: &str) -> Result<(Platform, String), NotAnAccount> {
    let (platform, id) = match text.split_once(':') {
        Some((name, id)) => {
            let platform = Platform::ALL.into_iter().find(|platform| platform.as_str() == name);
            (platform.ok_or(NotAnAccount::Platform)?, id)
        }
        None if text.len() >= DISCORD_DIGITS => (Platform::Discord, text),
        None => (Platform::Twitch, text),
    };
    let fits = (1..=MAX_DIGITS).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit());
    if fits { Ok((platform, id.to_owned())) } else { Err(NotAnAccount::Name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(text: &str, platform: Platform, id: &str) -> bool {
        text.parse::<Owners>().unwrap().have(platform, &UserId::new(id).unwrap())
    }

    #[test]
    fn an_account_is_one_on_its_platform() {
        let discord = "80351110224678912";
        assert!(has(discord, Platform::Discord, discord));
        assert!(!has(discord, Platform::Twitch, discord));
        assert!(has("141981764", Platform::Twitch, "141981764"));
        assert!(!has("141981764", Platform::Discord, "141981764"));
        let both = "discord:5, twitch:141981764";
        assert!(has(both, Platform::Discord, "5") && has(both, Platform::Twitch, "141981764"));
        assert!(!has(both, Platform::Twitch, "5"));
    }

    #[test]
    fn a_name_is_none() {
        let wrong = |text: &str| text.parse::<Owners>().unwrap_err();
        for name in ["", "ines", "discord:ines", "1,", "discord:", "123456789012345678901"] {
            assert_eq!(wrong(name), NotAnAccount::Name, "{name:?}");
        }
        assert_eq!(wrong("irc:5"), NotAnAccount::Platform);
        assert_eq!(wrong(&["5"; 17].join(",")), NotAnAccount::Many);
    }
}
