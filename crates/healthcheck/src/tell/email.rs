//! E-mail, by the SMTP server of whoever runs the bot.

use std::time::Duration;

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp,
};
use secrecy::{ExposeSecret, SecretString};
use tracing::warn;

use super::{Again, Failure, note::Note};

/// How long one answer of the server may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// The account or its password are wrong (RFC 4954, section 6).
const WRONG_PASSWORD: u16 = 535;

/// By whom, from whom and to whom e-mail goes.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The server with its account, `smtps://user:password@host`.
    pub server: SecretString,
    /// The sender.
    pub from: Mailbox,
    /// All who are told.
    pub to: Vec<Mailbox>,
}

/// Sends e-mail.
pub struct Email {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    addresses: Addresses,
}

impl Email {
    /// Reads the certificates that this machine trusts.
    ///
    /// # Errors
    /// When the URL of the server is none, or TLS cannot be started.
    pub fn new(addresses: Addresses) -> Result<Self, smtp::Error> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(addresses.server.expose_secret())?
            .timeout(Some(ANSWER_LIMIT))
            .build();
        Ok(Self { transport, addresses })
    }

    /// Everybody gets a message of their own: of one to several, a server that refuses one of them takes nothing.
    pub async fn tell(&self, note: &Note) -> Result<(), Failure> {
        let (mut taken, mut refused) = (0, None);
        for to in &self.addresses.to {
            match self.send(note, to).await {
                Ok(()) => taken += 1,
                Err(failure) => {
                    warn!(to = %to.email, reason = failure.reason, "an e-mail was not taken");
                    refused = Some(failure);
                }
            }
        }
        match refused {
            Some(failure) if taken == 0 => Err(failure),
            _ => Ok(()),
        }
    }

    async fn send(&self, note: &Note, to: &Mailbox) -> Result<(), Failure> {
        let message =
            Message::builder().from(self.addresses.from.clone()).to(to.clone()).subject(note.title());
        let message = message.message_id(None).header(ContentType::TEXT_PLAIN).body(note.lines().join("\n"));
        let message = message.map_err(|error| Failure::passing(service::chain(&error)))?;
        self.transport.send(message).await.map(drop).map_err(|error| failure(&error))
    }

    /// Greets the server, logs in, and leaves.
    pub async fn test(&self) -> Result<(), Failure> {
        match self.transport.test_connection().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failure::passing("the server let us in and did not answer then")),
            Err(error) => Err(failure(&error)),
        }
    }
}

/// Logging in again and again with a password that is wrong would lock the account. Any other refusal may be mended by
/// whoever runs the server.
fn failure(error: &smtp::Error) -> Failure {
    let again = match error.status() {
        Some(code) if u16::from(code) == WRONG_PASSWORD => Again::Never,
        _ if error.is_permanent() => Again::Late,
        _ => Again::Soon,
    };
    Failure { reason: service::chain(error), again }
}
