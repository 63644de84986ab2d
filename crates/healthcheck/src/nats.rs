//! What NATS says.

use std::time::Duration;

use bus::{Bus, Link, Survey};
use tokio::time::timeout;

/// How long one look at NATS may take.
const LOOK_LIMIT: Duration = Duration::from_secs(4);

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
