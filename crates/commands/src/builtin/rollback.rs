//! `rollback`: goes back to a version that ran well. For who runs the bot alone.

use std::time::Duration;

use protocol::{OptionKind, Platform, Rank};

use crate::{Answer, Ask, Definition, Failure, Order, Param};

/// The longest name of a version that is asked for, in characters.
const LONGEST: usize = 200;

pub(super) static COMMAND: Definition = Definition {
    name: "rollback",
    options: &[Param { name: "version", kind: OptionKind::Text, required: false, complete: None }],
    rank: Rank::Operator,
    cooldown: Duration::ZERO,
    platforms: &Platform::ALL,
    run: |ask| Box::pin(run(ask)),
};

async fn run(ask: &Ask) -> Result<Answer, Failure> {
    let to = ask.arguments.text("version").map(str::trim).filter(|version| !version.is_empty());
    if to.is_some_and(|version| version.chars().count() > LONGEST || version.contains(char::is_whitespace)) {
        return Ok(Answer::note(ask.say("rollback-one", &[])));
    }
    Ok(Answer::order(Order::Rollback { to: to.map(str::to_owned) }))
}

#[cfg(test)]
mod tests {
    use crate::{Order, fixture};

    #[tokio::test]
    async fn goes_to_the_version_before_or_the_one_that_is_named() {
        let order = |line: &'static str| async move { fixture::owners_answer(line).await.order };
        assert_eq!(order("!rollback").await, Some(Order::Rollback { to: None }));
        assert_eq!(order("!rollback v1.4.0").await, Some(Order::Rollback { to: Some("v1.4.0".to_owned()) }));
        assert_eq!(order("!rollback to the one before").await, None);
    }
}
