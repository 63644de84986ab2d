//! The connection to NATS, which may be away for hours without an end of this service.

use std::time::Duration;

use bus::{Bus, Login, Options, User};
use service::Context;
use tokio::sync::watch;
use tracing::warn;

use crate::config::Config;

/// After a failed connection, before the next try.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// The connection, or why there is none yet.
pub type Connection = watch::Receiver<Result<Bus, String>>;

/// Connects, as often as it takes.
pub fn connect(context: &Context, config: &Config) -> Connection {
    let service::NatsLogin { nkey, ca_file } = config.nats_login.clone();
    let login = Login { user: User::Backup, nkey, ca_file };
    let options = Options { url: config.nats_url.clone(), name: context.instance.clone() };
    let (report, connection) = watch::channel(Err("NATS has not answered yet".to_owned()));
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
