//! `deploys`: what runs, what could run again, and what was rolled out. For who runs the bot alone.

use std::time::Duration;

use protocol::{Card, Content, Platform, Rank, control::Deploy, control::DeployState};

use crate::{
    Answer, Ask, Definition, Deploys, Failure, Look, Office, Order, Words,
    progress::{silence_of, version},
};

/// How many of the last deploys are shown.
const SHOWN: usize = 5;

pub(super) static COMMAND: Definition = Definition {
    name: "deploys",
    options: &[],
    rank: Rank::Operator,
    cooldown: Duration::ZERO,
    platforms: &Platform::ALL,
    run: |ask| Box::pin(run(ask)),
};

async fn run(ask: &Ask) -> Result<Answer, Failure> {
    Ok(match ask.facts.deploys().await {
        Err(silence) => Answer::note(silence_of(ask.language, Office::Deploy, &silence)),
        Ok(deploys) if ask.shows_cards() => card(ask, &deploys),
        Ok(deploys) => line(ask, &deploys),
    })
}

fn line(ask: &Ask, deploys: &Deploys) -> Answer {
    let runs = ask.say("deploys-line", &[("version", current(deploys).into())]);
    let last = deploys.history.first().map(|last| one(ask, last));
    Answer::text(
        [Some(runs), goes_on(ask, deploys), last].into_iter().flatten().collect::<Vec<_>>().join(" · "),
    )
}

fn card(ask: &Ask, deploys: &Deploys) -> Answer {
    let list = |names: &[String]| names.iter().map(|name| version(name)).collect::<Vec<_>>().join(", ");
    let mut fields = vec![ask.field("deploys-current", current(deploys))];
    if !deploys.status.kept.is_empty() {
        fields.push(ask.field("deploys-kept", list(&deploys.status.kept)));
    }
    if !deploys.status.quarantined.is_empty() {
        fields.push(ask.field("deploys-failed", list(&deploys.status.quarantined)));
    }
    let past: Vec<String> = deploys.history.iter().take(SHOWN).map(|deploy| one(ask, deploy)).collect();
    let past = if past.is_empty() { ask.say("deploys-none", &[]) } else { past.join("\n") };
    let body = goes_on(ask, deploys).into_iter().chain([past]).collect::<Vec<_>>().join("\n");
    let card = Card { title: ask.say("deploys-title", &[]), body, fields, footer: String::new() };
    Answer::from(Content { card: Some(card), ..Content::default() })
}

fn current(deploys: &Deploys) -> String {
    deploys.status.current.as_deref().map_or_else(|| "?".to_owned(), version)
}

fn goes_on(ask: &Ask, deploys: &Deploys) -> Option<String> {
    let job = deploys.status.job.as_ref().filter(|job| job.end.is_none())?;
    let order =
        if job.verb == "rollback" { Order::Rollback { to: None } } else { Order::Update { force: false } };
    let words = Words { language: ask.language, order: &order, prefix: ask.prefix() };
    Some(words.look(&job.id, Look::GoesOn(job)))
}

fn one(ask: &Ask, deploy: &Deploy) -> String {
    let (sign, id) = match deploy.state {
        DeployState::RolledOut => ("✅", "deploys-rolled-out"),
        DeployState::RolledBackTo => ("↩️", "deploys-rolled-back"),
        DeployState::NeverStarted => ("⚠️", "deploys-never-started"),
        DeployState::RollbackFailed => ("❌", "deploys-rollback-failed"),
    };
    format!("{sign} {} {} · {}", version(&deploy.to), ask.say(id, &[]), ask.ago(deploy.ended_ms))
}

#[cfg(test)]
mod tests {
    use crate::fixture::{both_languages_of, owner};

    #[tokio::test]
    async fn tells_what_runs_and_what_was_rolled_out() {
        insta::assert_snapshot!(both_languages_of(owner, "deploys").await);
    }
}
