//! A version of the bot that can run here, and where its services stood before it came.

use serde::{Deserialize, Serialize};

/// The longest name of a version, in characters.
pub const NAME_MAX: usize = 64;
/// What the tag of a second image ends with.
pub const OPERATIONS: &str = "-operations";

/// A version of the bot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// What people call it, and the tag by which its image is kept: at most [`NAME_MAX`] of `A-Z a-z 0-9 . _ -`.
    pub name: String,
    /// What it was made of, and what is quarantined when it fails: `sha256:…` of a signed image, or a commit.
    pub source: String,
    /// The commit, when that is known.
    #[serde(default)]
    pub commit: Option<String>,
    /// How the registry is asked for its image; empty where it is built here.
    #[serde(default)]
    pub pull: String,
    /// The id of its image on this machine; empty until it is there.
    #[serde(default)]
    pub image: String,
    /// Its second image, with the programs that `backup` and `deployer` call; `None` when there is none, or when what
    /// runs from it is not replaced here.
    #[serde(default)]
    pub operations: Option<Operations>,
    /// The folder with its compose file.
    pub folder: String,
}

/// The second image of a version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operations {
    /// How the registry is asked for it; empty where it is built here.
    #[serde(default)]
    pub pull: String,
    /// Its id on this machine; empty until it is there.
    #[serde(default)]
    pub image: String,
}

/// How a service is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Makes the streams, before anybody needs them.
    Provision,
    /// A worker: new ones begin beside the old.
    Worker,
    /// A gateway: the old one hands over to the new.
    Gateway,
    /// One that cannot run twice: it ends, and begins anew.
    Rest,
}

/// One service of the bot, when a deploy began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crew {
    /// Its name in the compose file.
    pub service: String,
    /// The name under which it answers on NATS; `None` for what does not.
    #[serde(default)]
    pub answers_as: Option<String>,
    /// How it is replaced.
    pub role: Role,
    /// Whether it runs the second image.
    #[serde(default)]
    pub operations: bool,
    /// The ids of its containers then.
    pub old: Vec<String>,
    /// How many ran before, which is how many run again after going back.
    pub before: u32,
    /// How many are to run after.
    pub after: u32,
}

impl Release {
    /// The id of the image that a service runs in this version.
    #[must_use]
    pub fn image_of(&self, crew: &Crew) -> &str {
        match &self.operations {
            Some(operations) if crew.operations => &operations.image,
            _ => &self.image,
        }
    }
}

/// Whether a text can be the name of a version: it becomes a tag and an argument. None is called like the second image of
/// another.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=NAME_MAX).contains(&text.len())
        && text.bytes().all(sign)
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && !text.ends_with(OPERATIONS)
}

/// Whether a text is a digest as registries and engines write it.
#[must_use]
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && is_hex(hex))
}

/// Whether a text is the full id of a commit.
#[must_use]
pub fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_an_argument_is_no_option_and_no_path() {
        assert!(is_name("1.2.3") && is_name("c-0123abc"));
        for text in ["", "-rf", ".hidden", "a/b", "a b", "a;b", "$(id)", "1.2.3-operations", &"a".repeat(65)]
        {
            assert!(!is_name(text), "{text}");
        }
        let hex = "0a".repeat(32);
        assert!(is_digest(&format!("sha256:{hex}")) && is_commit(&hex) && is_commit(&hex[..40]));
        assert!(!is_digest(&hex) && !is_digest("sha256:0a") && !is_commit("HEAD") && !is_commit(&hex[..41]));
    }
}
