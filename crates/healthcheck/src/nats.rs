//! The connection to NATS, which may be away for hours without an end of this service, and what NATS says.

use std::time::Duration;

use bus::{Bus, Link, Login, Options, Survey, User};
use service::{Context, NatsLogin};
use tokio::{sync::watch, time::timeout};
use tracing::warn;

/// How long one look at NATS may take.
const LOOK_LIMIT: Duration = Duration::from_secs(4);
/// After a failed connection, before the next try. One that nobody answers takes half a minute by itself; one
/// that is refused is known at once.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// The connection, or why there is none yet.
pub type Connection = watch::Receiver<Result<Bus, String>>;

/// What a look at NATS found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatsState {
    /// Why it cannot be used; `None` when it can.
    pub trouble: Option<String>,
    /// The server's version.
    pub version: String,
    /// There and back.
    pub round_trip: Option<Duration>,
    /// Streams and what waits in them; as they were last while NATS does not answer.
    pub survey: Survey,
}

/// Connects, as often as it takes.
pub fn connect(context: &Context, login: &NatsLogin, url: &str) -> Connection {
    let NatsLogin { nkey, ca_file } = login.clone();
    let login = Login { user: User::Healthcheck, nkey, ca_file };
    let options = Options { url: url.to_owned(), name: context.instance.clone() };
    let (report, connection) = watch::channel(Err("it has not answered yet".to_owned()));
    let shutdown = context.shutdown.clone();
    context.tasks.spawn("connect", async move {
        loop {
            let connected = tokio::select! {
                connected = Bus::connect_as(&login, options.clone()) => connected,
                () = shutdown.cancelled() => return Ok(()),
            };
            match connected {
                Ok(bus) => {
                    let _ = report.send_replace(Ok(bus));
                    break;
                }
                Err(error) => {
                    let reason = service::chain(&error);
                    let before = report.send_replace(Err(reason.clone()));
                    if before.err().as_ref() != Some(&reason) {
                        warn!(error = reason, "no connection to NATS; trying again until there is one");
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY_PAUSE) => {}
                () = shutdown.cancelled() => return Ok(()),
            }
        }
        // The client connects again by itself; what is held here is only the way to it.
        shutdown.cancelled().await;
        Ok(())
    });
    connection
}

/// Looks at NATS. What it last said is kept while it says nothing.
pub async fn look(bus: &Bus, before: &NatsState) -> NatsState {
    let trouble =
        |reason: &str| NatsState { trouble: Some(reason.to_owned()), round_trip: None, ..before.clone() };
    if *bus.link().borrow() == Link::Down {
        return trouble("the connection is lost");
    }
    let looked = async {
        let round_trip = bus.round_trip_time().await;
        (round_trip, bus.survey().await)
    };
    match timeout(LOOK_LIMIT, looked).await {
        Err(_) => trouble(&format!("no answer within {} s", LOOK_LIMIT.as_secs())),
        Ok((_, Err(error))) => trouble(&service::chain(&error)),
        Ok((round_trip, Ok(survey))) => {
            NatsState { trouble: None, version: bus.server_version(), round_trip, survey }
        }
    }
}
