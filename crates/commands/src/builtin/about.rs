//! `about`: which build of the bot answers, and since when.

use std::time::Duration;

use protocol::{Card, Content, Platform, Rank};

use crate::{Answer, Ask, Definition, Failure, units};

pub(super) static COMMAND: Definition = Definition {
    name: "about",
    options: &[],
    rank: Rank::Everyone,
    cooldown: Duration::from_secs(5),
    platforms: &Platform::ALL,
    run: |ask| Box::pin(run(ask)),
};

async fn run(ask: &Ask) -> Result<Answer, Failure> {
    let me = ask.facts.me();
    let uptime = units::duration(ask.language, me.uptime);
    if !ask.shows_cards() {
        let values =
            [("build", me.build.into()), ("instance", me.instance.into()), ("uptime", uptime.into())];
        return Ok(Answer::text(ask.say("about-line", &values)));
    }
    let fields = vec![
        ask.field("about-build", me.build),
        ask.field("about-instance", me.instance),
        ask.field("about-uptime", uptime),
    ];
    let card =
        Card { title: "Vigie".to_owned(), body: ask.say("about-body", &[]), fields, footer: String::new() };
    Ok(Answer::from(Content { card: Some(card), ..Content::default() }))
}

#[cfg(test)]
mod tests {
    use crate::fixture::both_languages;

    #[tokio::test]
    async fn tells_the_build() {
        insta::assert_snapshot!(both_languages("about").await);
    }
}
