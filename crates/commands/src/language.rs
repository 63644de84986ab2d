//! The languages that the bot speaks, and their texts. The texts are Fluent files under `locales/`,
//! built into the program; every id is in every language, which a test holds.

use std::{fmt, str::FromStr, sync::LazyLock};

use fluent_bundle::{FluentArgs, FluentResource, FluentValue, concurrent::FluentBundle};
use unic_langid::LanguageIdentifier;

/// A language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Language {
    /// English.
    #[default]
    En,
    /// French.
    Fr,
}

/// A language that the bot does not speak.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected en or fr")]
pub struct UnknownLanguage;

type Bundle = FluentBundle<FluentResource>;

static EN: LazyLock<Bundle> = LazyLock::new(|| bundle(Language::En));
static FR: LazyLock<Bundle> = LazyLock::new(|| bundle(Language::Fr));

impl Language {
    /// Every language; the first is the one that the others fall back to.
    pub const ALL: [Self; 2] = [Self::En, Self::Fr];

    /// The tag used in settings and in the catalogue.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Fr => "fr",
        }
    }

    /// The language of a BCP 47 tag such as `fr-CA`, if the bot speaks it.
    #[must_use]
    pub fn of_locale(tag: &str) -> Option<Self> {
        tag.split(['-', '_']).next()?.to_ascii_lowercase().parse().ok()
    }

    /// A text with its values filled in. A missing text shows as its id.
    #[must_use]
    pub fn say(self, id: &str, values: &[(&str, FluentValue<'_>)]) -> String {
        self.find(id, values).or_else(|| Self::En.find(id, values)).unwrap_or_else(|| id.to_owned())
    }

    fn find(self, id: &str, values: &[(&str, FluentValue<'_>)]) -> Option<String> {
        let bundle = match self {
            Self::En => &EN,
            Self::Fr => &FR,
        };
        let pattern = bundle.get_message(id)?.value()?;
        let arguments: FluentArgs<'_> = values.iter().map(|(name, value)| (*name, value.clone())).collect();
        // A value that is missing shows as `{$name}`, which says all that the list of errors would.
        Some(bundle.format_pattern(pattern, Some(&arguments), &mut Vec::new()).into_owned())
    }

    const fn sources(self) -> [&'static str; 2] {
        match self {
            Self::En => {
                [include_str!("../locales/en/commands.ftl"), include_str!("../locales/en/common.ftl")]
            }
            Self::Fr => {
                [include_str!("../locales/fr/commands.ftl"), include_str!("../locales/fr/common.ftl")]
            }
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(text: &str) -> Result<Self, UnknownLanguage> {
        Self::ALL.into_iter().find(|language| language.tag() == text).ok_or(UnknownLanguage)
    }
}

fn bundle(language: Language) -> Bundle {
    let tag: LanguageIdentifier = language.tag().parse().unwrap_or_default();
    let mut bundle = Bundle::new_concurrent(vec![tag]);
    // The marks that isolate values would show as boxes in some chat clients.
    bundle.set_use_isolating(false);
    for source in language.sources() {
        // Whatever parses is kept; a test holds that all of it does.
        let resource = FluentResource::try_new(source.to_owned()).unwrap_or_else(|(partial, _)| partial);
        bundle.add_resource_overriding(resource);
    }
    bundle
}

#[cfg(test)]
#[path = "language_tests.rs"]
mod tests;
