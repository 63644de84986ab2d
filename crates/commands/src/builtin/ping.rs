//! `ping`: whether the bot answers, and how long each leg of the way takes.

use std::time::Duration;

use protocol::{Platform, Rank};

use crate::{Answer, Ask, Definition, Failure, units};

pub(super) static COMMAND: Definition = Definition {
    name: "ping",
    options: &[],
    rank: Rank::Everyone,
    cooldown: Duration::from_secs(3),
    platforms: &Platform::ALL,
    run: |ask| Box::pin(run(ask)),
};

async fn run(ask: &Ask) -> Result<Answer, Failure> {
    // The platform's clock may be ahead of ours; the time on the way is then unknown and shows as 0.
    let inbound_us = ask.received_us.saturating_sub(ask.at_ms.saturating_mul(1_000));
    let bus_us = ask.facts.now_us().saturating_sub(ask.received_us);
    let leg = |id, us| {
        let time = units::milliseconds(ask.language, us);
        ask.say(id, &[("platform", ask.platform_name().into()), ("time", time.into())])
    };
    let mut parts = vec![ask.say("ping-pong", &[]), leg("ping-inbound", inbound_us), leg("ping-bus", bus_us)];
    if let Some(last) = ask.facts.last_latency(ask.platform) {
        parts.push(leg("ping-request", last.platform_us));
        parts.push(leg("ping-total", last.total_us));
    }
    Ok(Answer::text(parts.join(" · ")))
}

#[cfg(test)]
mod tests {
    use crate::fixture::both_languages;

    #[tokio::test]
    async fn tells_how_long_each_leg_takes() {
        insta::assert_snapshot!(both_languages("ping").await);
    }
}
