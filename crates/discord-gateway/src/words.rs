//! The few sentences that the gateway says by itself, when no worker can.

/// A sentence in the languages of the bot.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    en: &'static str,
    fr: &'static str,
}

/// No worker runs.
pub const NOBODY: Words = Words {
    en: "Nobody is on watch right now. Please try again in a moment.",
    fr: "Personne n’est de quart pour le moment. Réessayez dans un instant.",
};
/// A worker runs, and did not answer.
pub const NO_ANSWER: Words = Words {
    en: "Sorry, that took too long and I gave up. Please try again.",
    fr: "Désolé, cela a pris trop de temps et j’ai renoncé. Réessayez.",
};
/// The gateway stops while somebody waits.
pub const STOPPING: Words = Words {
    en: "I am being restarted and lost my thread. Please try again in a moment.",
    fr: "On me redémarre et j’ai perdu le fil. Réessayez dans un instant.",
};

impl Words {
    /// The sentence in the language of a locale such as `fr` or `en-GB`.
    #[must_use]
    pub fn in_language(self, locale: Option<&str>) -> &'static str {
        match locale.and_then(|locale| locale.split('-').next()) {
            Some("fr") => self.fr,
            _ => self.en,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_follows_the_locale() {
        assert!(NOBODY.in_language(Some("fr")).starts_with("Personne"));
        for other in [None, Some("en-US"), Some("de"), Some("")] {
            assert!(NOBODY.in_language(other).starts_with("Nobody"));
        }
    }
}
