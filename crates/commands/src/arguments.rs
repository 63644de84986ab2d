//! What is given with a command: words of a chat line or options of a slash command, as the same typed
//! values.

use std::collections::BTreeMap;

use protocol::{OptionKind, OptionValue};

use crate::{definition::Param, harmless::harmless, language::Language};

/// The longest part of a wrong argument that an answer repeats, in characters.
const SHOWN: usize = 40;

/// The values that were given, by option name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments(BTreeMap<String, OptionValue>);

/// Arguments that do not fit the command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// A required option was not given.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A value that is not of the option's kind.
    #[error("{option} does not take {given:?}")]
    Kind {
        /// The option.
        option: &'static str,
        /// What it takes.
        kind: OptionKind,
        /// What was given.
        given: String,
    },
    /// More words than options, or an option that the command does not have.
    #[error("{0:?} is too much")]
    TooMany(String),
    /// A quote that does not end.
    #[error("a quote does not end")]
    OpenQuote,
}

impl Arguments {
    /// A text, or the id of an account.
    #[must_use]
    pub fn text(&self, option: &str) -> Option<&str> {
        match self.0.get(option) {
            Some(OptionValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A whole number.
    #[must_use]
    pub fn integer(&self, option: &str) -> Option<i64> {
        match self.0.get(option) {
            Some(OptionValue::Integer(number)) => Some(*number),
            _ => None,
        }
    }

    /// Yes or no.
    #[must_use]
    pub fn flag(&self, option: &str) -> Option<bool> {
        match self.0.get(option) {
            Some(OptionValue::Bool(flag)) => Some(*flag),
            _ => None,
        }
    }

    /// Reads what follows the name of a chat command. Words are split at spaces, `"two words"` are
    /// one; a text as the last option takes the rest of the line as it is.
    ///
    /// # Errors
    /// [`ArgumentError`] for the first argument that does not fit.
    pub fn of_line(line: &str, options: &[Param]) -> Result<Self, ArgumentError> {
        let mut values = BTreeMap::new();
        let mut rest = line.trim();
        for (n, option) in options.iter().enumerate() {
            if rest.is_empty() {
                if option.required {
                    return Err(ArgumentError::Missing(option.name));
                }
                break;
            }
            let takes_rest = option.kind == OptionKind::Text && n + 1 == options.len();
            let word = if takes_rest { std::mem::take(&mut rest) } else { next_word(&mut rest)? };
            values.insert(option.name.to_owned(), typed(option, word)?);
        }
        if rest.is_empty() { Ok(Self(values)) } else { Err(ArgumentError::TooMany(rest.to_owned())) }
    }

    /// Takes the options of a slash command. The platform has checked them against the registered
    /// command, which may be one of another version.
    ///
    /// # Errors
    /// [`ArgumentError`] for the first option that does not fit.
    pub fn of_options(
        given: &BTreeMap<String, OptionValue>,
        options: &[Param],
    ) -> Result<Self, ArgumentError> {
        let known = |name: &str| options.iter().any(|option| option.name == name);
        if let Some(name) = given.keys().find(|name| !known(name)) {
            return Err(ArgumentError::TooMany(name.clone()));
        }
        let mut values = BTreeMap::new();
        for option in options {
            match given.get(option.name) {
                None if option.required => return Err(ArgumentError::Missing(option.name)),
                None => {}
                Some(value) if fits(value, option.kind) => {
                    values.insert(option.name.to_owned(), value.clone());
                }
                Some(value) => return Err(wrong(option, &shown(value))),
            }
        }
        Ok(Self(values))
    }
}

impl ArgumentError {
    /// What is wrong, in words for the person who typed it.
    #[must_use]
    pub fn explain(&self, language: Language) -> String {
        match self {
            Self::Missing(option) => language.say("argument-missing", &[("option", (*option).into())]),
            Self::OpenQuote => language.say("argument-open-quote", &[]),
            Self::TooMany(given) => {
                language.say("argument-too-many", &[("given", harmless(given, SHOWN).into())])
            }
            Self::Kind { option, kind, given } => {
                let values = [("option", (*option).into()), ("given", harmless(given, SHOWN).into())];
                match kind {
                    OptionKind::Text => language.say("argument-text", &values),
                    OptionKind::Integer => language.say("argument-integer", &values),
                    OptionKind::Bool => language.say("argument-bool", &values),
                    OptionKind::User => language.say("argument-user", &values),
                }
            }
        }
    }
}

/// Takes the next word off a line that is not empty and starts with no space.
fn next_word<'a>(rest: &mut &'a str) -> Result<&'a str, ArgumentError> {
    // Phones type the curly ones.
    let quoted = match (rest.strip_prefix('"'), rest.strip_prefix('“')) {
        (Some(inside), _) => Some((inside, '"')),
        (_, Some(inside)) => Some((inside, '”')),
        _ => None,
    };
    let (word, after) = match quoted {
        Some((inside, closing)) => inside.split_once(closing).ok_or(ArgumentError::OpenQuote)?,
        None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
    };
    *rest = after.trim_start();
    Ok(word)
}

fn typed(option: &Param, word: &str) -> Result<OptionValue, ArgumentError> {
    let value = match option.kind {
        OptionKind::Text => Some(OptionValue::Text(word.to_owned())),
        OptionKind::Integer => word.parse().ok().map(OptionValue::Integer),
        // `!update force` says yes to it.
        OptionKind::Bool if word.eq_ignore_ascii_case(option.name) => Some(OptionValue::Bool(true)),
        OptionKind::Bool => yes_or_no(word).map(OptionValue::Bool),
        OptionKind::User => account(word).map(|id| OptionValue::Text(id.to_owned())),
    };
    value.ok_or_else(|| wrong(option, word))
}

fn yes_or_no(word: &str) -> Option<bool> {
    match word.to_lowercase().as_str() {
        "yes" | "y" | "true" | "on" | "1" | "oui" | "o" | "vrai" => Some(true),
        "no" | "n" | "false" | "off" | "0" | "non" | "faux" => Some(false),
        _ => None,
    }
}

/// An account as chat names it: `<@123>` and `<@!123>` on Discord, `@name` on Twitch, or the id alone.
fn account(word: &str) -> Option<&str> {
    let inside = word.strip_prefix("<@").and_then(|word| word.strip_suffix('>'));
    let id = match inside {
        Some(inside) => inside.strip_prefix('!').unwrap_or(inside),
        None => word.strip_prefix('@').unwrap_or(word),
    };
    let fits = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    fits.then_some(id)
}

const fn fits(value: &OptionValue, kind: OptionKind) -> bool {
    matches!(
        (value, kind),
        (OptionValue::Text(_), OptionKind::Text | OptionKind::User)
            | (OptionValue::Integer(_), OptionKind::Integer)
            | (OptionValue::Bool(_), OptionKind::Bool)
    )
}

fn wrong(option: &Param, given: &str) -> ArgumentError {
    ArgumentError::Kind { option: option.name, kind: option.kind, given: given.to_owned() }
}

fn shown(value: &OptionValue) -> String {
    match value {
        OptionValue::Text(text) => text.clone(),
        OptionValue::Integer(number) => number.to_string(),
        OptionValue::Bool(flag) => flag.to_string(),
    }
}

#[cfg(test)]
#[path = "arguments_tests.rs"]
mod tests;
