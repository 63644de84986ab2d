//! The key by which NATS knows a user. Who has the seed is the user; the server has only the public half.

use std::{fmt, str::FromStr};

use nkeys::{KeyPair, KeyPairType};
use secrecy::{ExposeSecret, SecretString};

/// A user's key.
#[derive(Clone)]
pub struct Nkey {
    seed: SecretString,
    public: String,
}

/// What was given is no key of a user.
#[derive(Debug, thiserror::Error)]
#[error(
    "expected the seed of a NATS user (58 letters and digits that begin with SU), as `vigie keys` writes it"
)]
pub struct NkeyError;

impl Nkey {
    /// A new one, from the randomness of the operating system.
    ///
    /// # Errors
    /// When it cannot be written as a seed.
    pub fn generate() -> Result<Self, NkeyError> {
        Self::of(&KeyPair::new_user())
    }

    /// The half that everybody may know.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The half that is the key.
    #[must_use]
    pub const fn seed(&self) -> &SecretString {
        &self.seed
    }

    pub(crate) fn expose(&self) -> &str {
        self.seed.expose_secret()
    }

    fn of(pair: &KeyPair) -> Result<Self, NkeyError> {
        if pair.key_pair_type() != KeyPairType::User {
            return Err(NkeyError);
        }
        let seed = pair.seed().map_err(|_| NkeyError)?.into();
        Ok(Self { seed, public: pair.public_key() })
    }
}

impl FromStr for Nkey {
    type Err = NkeyError;

    fn from_str(seed: &str) -> Result<Self, NkeyError> {
        // What is wrong with it could tell what it is.
        Self::of(&KeyPair::from_seed(seed.trim()).map_err(|_| NkeyError)?)
    }
}

impl fmt::Debug for Nkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Nkey").field(&self.public).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_read_as_it_was_written_and_never_shown() {
        let key = Nkey::generate().unwrap();
        let again: Nkey = format!("{}\n", key.expose()).parse().unwrap();
        assert_eq!(again.public(), key.public());
        assert!(key.public().starts_with('U') && key.expose().starts_with("SU"));
        assert!(!format!("{key:?}").contains(key.expose()));
    }

    #[test]
    fn what_is_no_seed_of_a_user_is_refused() {
        let account = KeyPair::new_account().seed().unwrap();
        for text in ["", "hunter2", "SUAAAA", &account, Nkey::generate().unwrap().public()] {
            assert!(text.parse::<Nkey>().is_err(), "{text}");
        }
    }
}
