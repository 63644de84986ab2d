//! What concerns the bot on every platform: its prefix and its language.

use std::env;

use super::{End, Session, plan::Plan};

/// As the gateways demand it.
const MAX_PREFIX: usize = 8;
const PREFIX: &str = "!";
const LOCALES: [&str; 2] = ["en", "fr"];

/// Flags for it.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub(super) struct Options {
    /// What a chat command starts with
    #[arg(long, value_name = "TEXT", value_parser = prefix)]
    prefix: Option<String>,
    /// The language where the platform does not tell the person's: en or fr
    #[arg(long, value_name = "LANGUAGE", value_parser = locale)]
    locale: Option<String>,
}

pub(super) async fn ask(session: &mut Session<'_>, options: Options, plan: &mut Plan<'_>) -> Result<(), End> {
    if options.prefix.is_none() || options.locale.is_none() {
        session.talk.part(4, "How it behaves")?;
    }
    let there = session.before.value("PREFIX").unwrap_or(PREFIX).to_owned();
    let prefix = match options.prefix {
        Some(prefix) => prefix,
        None if session.talk.person() => {
            session.talk.ask("what chat commands start with, as in !ping", &there, prefix).await?
        }
        None => there,
    };
    let there = session.before.value("LOCALE").unwrap_or_else(|| own_locale()).to_owned();
    let locale = match options.locale {
        Some(locale) => locale,
        None if session.talk.person() => session.talk.ask("its language, en or fr", &there, locale).await?,
        None => there,
    };
    plan.set("PREFIX", &prefix, PREFIX);
    plan.set("LOCALE", &locale, LOCALES[0]);
    Ok(())
}

fn prefix(text: &str) -> Result<String, String> {
    let fits = (1..=MAX_PREFIX).contains(&text.chars().count());
    let quotes = text.contains('\'') && text.contains(['"', '$']);
    if fits && !quotes && !text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        Ok(text.to_owned())
    } else {
        Err(format!("expected 1 to {MAX_PREFIX} characters without spaces, such as ! or v!"))
    }
}

fn locale(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    if LOCALES.contains(&lower.as_str()) { Ok(lower) } else { Err("expected en or fr".to_owned()) }
}

/// The language of the person at this terminal, if the bot speaks it.
fn own_locale() -> &'static str {
    let set = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(|name| env::var(name).ok());
    let first = set.into_iter().find(|value| !value.is_empty()).unwrap_or_default();
    LOCALES.into_iter().find(|locale| first.starts_with(locale)).unwrap_or(LOCALES[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_short_and_can_be_written_down() {
        assert!(["!", "v!", "'", "$", "é"].iter().all(|text| prefix(text).is_ok()));
        assert!(["", "a b", "123456789", "'\""].iter().all(|text| prefix(text).is_err()));
    }
}
