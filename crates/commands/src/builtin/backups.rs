//! `backups`: how backups stand, and the newest of them. For who runs the bot alone.

use std::time::Duration;

use protocol::{Card, Content, Platform, Rank, control::Backup};

use crate::{Answer, Ask, Backups, Definition, Failure, Office, harmless, progress::silence_of, units};

/// How many of the newest are shown.
const SHOWN: usize = 5;
/// The longest name of a backup that is shown, in characters.
const NAMED: usize = 60;

pub(super) static COMMAND: Definition = Definition {
    name: "backups",
    options: &[],
    rank: Rank::Operator,
    cooldown: Duration::ZERO,
    platforms: &Platform::ALL,
    run: |ask| Box::pin(run(ask)),
};

async fn run(ask: &Ask) -> Result<Answer, Failure> {
    Ok(match ask.facts.backups().await {
        Err(silence) => Answer::note(silence_of(ask.language, Office::Backup, &silence)),
        Ok(backups) if ask.shows_cards() => card(ask, &backups),
        Ok(backups) => Answer::text(match backups.list.first() {
            Some(newest) => format!("{} · {}", last_good(ask, &backups), one(ask, newest)),
            None => last_good(ask, &backups),
        }),
    })
}

fn card(ask: &Ask, backups: &Backups) -> Answer {
    let list: Vec<String> = backups.list.iter().take(SHOWN).map(|backup| one(ask, backup)).collect();
    let body = [last_good(ask, backups)].into_iter().chain(list).collect::<Vec<_>>().join("\n");
    let drill = match &backups.status.drill {
        Some(drill) => format!("{} {}", if drill.good { "✅" } else { "❌" }, ask.ago(drill.at_ms)),
        None => ask.say("backups-never", &[]),
    };
    let fields = vec![ask.field("backups-drill", drill)];
    let card = Card { title: ask.say("backups-title", &[]), body, fields, footer: String::new() };
    Answer::from(Content { card: Some(card), ..Content::default() })
}

fn last_good(ask: &Ask, backups: &Backups) -> String {
    match backups.status.good_ms {
        Some(at_ms) => ask.say("backups-good", &[("ago", ask.ago(at_ms).into())]),
        None => ask.say("backups-none", &[("command", format!("{}backup", ask.prefix()).into())]),
    }
}

fn one(ask: &Ask, backup: &Backup) -> String {
    let size = backup.bytes.map(|bytes| format!(" · {}", units::memory(ask.language, bytes)));
    let proved = if backup.proved_ms.is_some() {
        format!(" · {}", ask.say("backups-proved", &[]))
    } else {
        String::new()
    };
    format!("{}{}{proved}", harmless(&backup.id, NAMED), size.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use crate::fixture::{both_languages_of, owner};

    #[tokio::test]
    async fn tells_how_backups_stand() {
        insta::assert_snapshot!(both_languages_of(owner, "backups").await);
    }
}
