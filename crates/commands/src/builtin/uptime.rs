//! `uptime`: how long the worker that answers and every service run.

use std::time::Duration;

use protocol::{Card, CardField, Content, Platform, Rank};

use crate::{Answer, Ask, Definition, Failure, answer::MAX_FIELDS, fleet, units};

pub(super) static COMMAND: Definition = Definition {
    name: "uptime",
    options: &[],
    rank: Rank::Everyone,
    cooldown: Duration::from_secs(5),
    platforms: &Platform::ALL,
    run: |ask| Box::pin(run(ask)),
};

async fn run(ask: &Ask) -> Result<Answer, Failure> {
    let own = units::duration(ask.language, ask.facts.me().uptime);
    let own = ask.say("uptime-own", &[("uptime", own.into())]);
    let services = fleet::groups(&ask.facts.services().await);
    let uptimes = services.iter().map(|group| (group.label(), units::duration(ask.language, group.uptime)));
    if !ask.shows_cards() {
        let each = uptimes.map(|(service, uptime)| format!("{service} {uptime}"));
        return Ok(Answer::text(std::iter::once(own).chain(each).collect::<Vec<_>>().join(" · ")));
    }
    let several = services.iter().any(|group| group.count > 1);
    let field = |(name, value)| CardField { name, value, inline: true };
    let card = Card {
        title: ask.say("uptime-title", &[]),
        body: own,
        fields: uptimes.map(field).take(MAX_FIELDS).collect(),
        footer: if several { ask.say("uptime-youngest", &[]) } else { String::new() },
    };
    Ok(Answer::from(Content { card: Some(card), ..Content::default() }))
}

#[cfg(test)]
mod tests {
    use crate::fixture::both_languages;

    #[tokio::test]
    async fn tells_how_long_each_service_runs() {
        insta::assert_snapshot!(both_languages("uptime").await);
    }
}
