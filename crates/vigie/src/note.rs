//! Notes in the audit trail what somebody did at the command line without a service that would note it.

use std::time::Duration;

use bus::{Bus, User};
use protocol::{
    VERSION,
    control::{Audit, AuditResult},
};
use service::clock;
use tokio::time::timeout;

use crate::{cli, jobs::BY};

/// Nobody waits longer for a NATS that does not take it.
const NOTE_LIMIT: Duration = Duration::from_secs(2);

/// Notes it, or says that it could not be noted: it is done all the same.
pub(crate) async fn done(bus: &Bus, verb: &str, object: String, result: AuditResult, words: String) {
    let entry = Audit {
        v: VERSION,
        at_ms: clock::unix_ms(),
        service: User::Operator.name().to_owned(),
        by: BY.to_owned(),
        verb: verb.to_owned(),
        object,
        result,
        words,
    };
    let why = match timeout(NOTE_LIMIT, bus.note(&entry)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => format!("{:#}", anyhow::Error::from(error)),
        Err(_) => "NATS does not take it".to_owned(),
    };
    cli::complain(&format!("this is not in the audit trail: {why}"));
}
