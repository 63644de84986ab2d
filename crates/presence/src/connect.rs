//! The connection, made once or as often as it takes, and the order to start again that comes by it.

use std::time::Duration;

use bus::{Bus, Link, Login, Options, User};
use service::{Component, Context, NatsLogin};
use tokio::{sync::watch, time::sleep};
use tracing::warn;

/// After a failed connection, before the next try. One that nobody answers takes half a minute by itself; one
/// that is refused is known at once.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// The connection, or why there is none yet.
pub type Connection = watch::Receiver<Result<Bus, String>>;

/// Why a service is not there on NATS.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It did not connect.
    #[error(transparent)]
    Connect(#[from] bus::ConnectError),
    /// It did, and cannot hear what it is told.
    #[error("orders to start again cannot be heard")]
    Deaf(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Connects, waiting up to 30 s for a server that is just starting; `None` when the service was asked to stop
/// meanwhile.
///
/// # Errors
/// [`ConnectError`]
pub async fn connect(context: &Context, user: User, login: &NatsLogin) -> Result<Option<Bus>, ConnectError> {
    // It is large, and awaited once.
    context.shutdown.run_until_cancelled(Box::pin(arrive(context, user, login))).await.transpose()
}

async fn arrive(context: &Context, user: User, login: &NatsLogin) -> Result<Bus, ConnectError> {
    let NatsLogin { url, nkey, ca_file } = login.clone();
    let options = Options { url, name: context.instance.clone() };
    let bus = Bus::connect_as(&Login { user, nkey, ca_file }, options).await?;
    let orders = bus.obey_restart(context.name, &context.instance).await;
    let mut orders = orders.map_err(|error| ConnectError::Deaf(error.into()))?;
    context.start_again_when(async move { orders.next().await.is_some() });
    Ok(bus)
}

/// Connects as often as it takes, in the background: NATS may be away for hours without an end of the service.
pub fn connecting(context: &Context, user: User, login: &NatsLogin) -> Connection {
    let (report, connection) = watch::channel(Err("NATS has not answered yet".to_owned()));
    let (told, login) = (context.clone(), login.clone());
    context.tasks.spawn("connect", async move {
        loop {
            let reason = match connect(&told, user, &login).await {
                Ok(None) => return Ok(()),
                Ok(Some(bus)) => {
                    let _ = report.send_replace(Ok(bus));
                    break;
                }
                Err(error) => service::chain(&error),
            };
            let before = report.send_replace(Err(reason.clone()));
            if before.err().as_ref() != Some(&reason) {
                warn!(error = reason, "no connection to NATS; trying again until there is one");
            }
            if told.shutdown.run_until_cancelled(sleep(RETRY_PAUSE)).await.is_none() {
                return Ok(());
            }
        }
        // The client connects again by itself; what is held here is only the way to it.
        told.shutdown.cancelled().await;
        Ok(())
    });
    connection
}

/// Keeps `component` in step with the link; while that is down it says `away`.
pub fn follow_link(context: &Context, component: Component, bus: &Bus, away: &'static str) {
    let trouble = move |link: &Link| (*link == Link::Down).then(|| away.to_owned());
    context.tasks.spawn("link", component.follow(bus.link(), trouble, context.shutdown.clone()));
}
