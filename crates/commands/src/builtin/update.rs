//! `update`: has the newest version rolled out. For who runs the bot alone.

use std::time::Duration;

use protocol::{OptionKind, Platform, Rank};

use crate::{Answer, Definition, Order, Param};

pub(super) static COMMAND: Definition = Definition {
    name: "update",
    options: &[Param { name: "force", kind: OptionKind::Bool, required: false, complete: None }],
    rank: Rank::Operator,
    cooldown: Duration::ZERO,
    platforms: &Platform::ALL,
    run: |ask| {
        let force = ask.arguments.flag("force").unwrap_or_default();
        Box::pin(std::future::ready(Ok(Answer::order(Order::Update { force }))))
    },
};

#[cfg(test)]
mod tests {
    use crate::{Order, fixture};

    #[tokio::test]
    async fn is_an_order_of_who_runs_the_bot() {
        let order = |line: &'static str| async move { fixture::owners_answer(line).await.order };
        assert_eq!(order("!update").await, Some(Order::Update { force: false }));
        for line in ["!update force", "!update yes"] {
            assert_eq!(order(line).await, Some(Order::Update { force: true }), "{line}");
        }
        let wrong = fixture::owners_answer("!update --force").await;
        assert_eq!(wrong.order, None);
        assert!(wrong.content.text.ends_with("Usage: !update [force]"), "{wrong:?}");
    }
}
