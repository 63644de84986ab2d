//! `backup`: has everything saved now. For who runs the bot alone.

use std::time::Duration;

use protocol::{Platform, Rank};

use crate::{Answer, Definition, Order};

pub(super) static COMMAND: Definition = Definition {
    name: "backup",
    options: &[],
    rank: Rank::Operator,
    cooldown: Duration::ZERO,
    platforms: &Platform::ALL,
    run: |_| Box::pin(std::future::ready(Ok(Answer::order(Order::Backup)))),
};

#[cfg(test)]
mod tests {
    use crate::{Order, fixture};

    #[tokio::test]
    async fn is_an_order_of_who_runs_the_bot() {
        assert_eq!(fixture::owners_answer("!backup").await.order, Some(Order::Backup));
        let refused = fixture::answer("!backup").await;
        assert_eq!((refused.order, refused.ephemeral), (None, true));
    }
}
