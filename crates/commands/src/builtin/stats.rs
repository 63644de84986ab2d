//! `stats`: the figures of the whole bot, gathered from every service.

use std::time::Duration;

use protocol::{Button, ButtonStyle, Card, CardField, Content, Platform, Rank, ServiceStats};

use crate::{
    Answer, Ask, Definition, Failure,
    answer::MAX_FIELDS,
    fleet::{self, Group},
    units,
};

/// The figures that are summed up over the services that count them; see `docs/metrics.md`.
const SHARDS: &str = "shards";
const COMMUNITIES: &str = "communities";
const EVENTS_PER_SECOND: &str = "events_per_second";

pub(super) static COMMAND: Definition = Definition {
    name: "stats",
    options: &[],
    rank: Rank::Everyone,
    cooldown: Duration::from_secs(5),
    platforms: &Platform::ALL,
    run: |ask| Box::pin(run(ask)),
};

async fn run(ask: &Ask) -> Result<Answer, Failure> {
    let services = ask.facts.services().await;
    if services.is_empty() {
        return Ok(Answer::note(ask.say("stats-nobody", &[])));
    }
    let groups = fleet::groups(&services);
    Ok(if ask.shows_cards() { card(ask, &services, &groups) } else { line(ask, &services, &groups) })
}

fn line(ask: &Ask, services: &[ServiceStats], groups: &[Group]) -> Answer {
    let memory = |bytes| units::memory(ask.language, bytes);
    let each = groups.iter().map(|group| format!("{} {}", group.label(), memory(group.resident_bytes)));
    let values = [
        ("shards", whole(services, SHARDS).into()),
        ("communities", whole(services, COMMUNITIES).into()),
        ("rate", rate(ask, services).into()),
        ("memory", memory(groups.iter().map(|group| group.resident_bytes).sum()).into()),
        ("services", each.collect::<Vec<_>>().join(", ").into()),
    ];
    Answer::text(ask.say("stats-line", &values))
}

fn card(ask: &Ask, services: &[ServiceStats], groups: &[Group]) -> Answer {
    let total = groups.iter().map(|group| group.resident_bytes).sum();
    let mut fields = vec![
        ask.field("stats-shards", whole(services, SHARDS)),
        ask.field("stats-communities", whole(services, COMMUNITIES)),
        ask.field("stats-rate", rate(ask, services)),
        ask.field("stats-memory", units::memory(ask.language, total)),
    ];
    let left = MAX_FIELDS.saturating_sub(fields.len());
    fields.extend(groups.iter().take(left).map(|group| service(ask, group)));
    let title = ask.say("stats-title", &[]);
    let card = Card { title, fields, ..Card::default() };
    let refresh = Button {
        id: "stats:refresh".to_owned(),
        label: ask.say("stats-refresh", &[]),
        style: ButtonStyle::Secondary,
    };
    Answer::from(Content { card: Some(card), buttons: vec![refresh], ..Content::default() })
}

fn service(ask: &Ask, group: &Group) -> CardField {
    let memory = units::memory(ask.language, group.resident_bytes);
    let ready = if group.ready == group.count { "stats-ready" } else { "stats-not-ready" };
    let value = format!("{memory} · {}", ask.say(ready, &[]));
    CardField { name: group.label(), value, inline: true }
}

fn whole(services: &[ServiceStats], metric: &str) -> String {
    format!("{:.0}", fleet::sum(services, metric))
}

/// Gateways count what they send, workers what they take: only the workers' rate is each event once.
fn rate(ask: &Ask, services: &[ServiceStats]) -> String {
    let workers: Vec<_> =
        services.iter().filter(|service| service.service == "command-worker").cloned().collect();
    units::decimal(ask.language, fleet::sum(&workers, EVENTS_PER_SECOND), 1)
}

#[cfg(test)]
mod tests {
    use protocol::ResponseBody;

    use crate::fixture::{both_languages, press};

    #[tokio::test]
    async fn tells_the_figures_of_all_services() {
        insta::assert_snapshot!(both_languages("stats").await);
    }

    #[tokio::test]
    async fn refreshes_in_place() {
        let ResponseBody::Update { content } = press("stats:refresh").await.body else {
            panic!("a pressed button changes its message");
        };
        assert_eq!(content.buttons[0].id, "stats:refresh");
    }
}
