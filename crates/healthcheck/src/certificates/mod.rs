//! Certificates of servers: shakes hands with each now and then, and remembers until when what it showed is valid.

mod der;

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use service::Context;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use tracing::debug;

use crate::config::Config;

/// Between two looks at a certificate.
const EVERY: Duration = Duration::from_secs(3600);
/// After a look that failed.
const AGAIN: Duration = Duration::from_secs(300);
/// So many looks in a row must fail before somebody is told: a server may be started anew.
const FAILURES_MAX: u32 = 3;
/// How long a handshake may take.
const LIMIT: Duration = Duration::from_secs(10);

/// A server that speaks TLS from its first byte, such as one of HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name, or its address.
    pub host: ServerName<'static>,
    /// Its port.
    pub port: u16,
}

/// What is known of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// It ends then, in Unix milliseconds.
    Until(u64),
    /// It could not be looked at for a while.
    Trouble(String),
}

/// Why a certificate was not seen.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("no answer within {} s", LIMIT.as_secs())]
    Late,
    #[error("there is no connection")]
    NoConnection(#[source] io::Error),
    #[error("it does not speak TLS from the first byte")]
    NoTls(#[source] io::Error),
    #[error("it shows no certificate that can be read")]
    Unreadable,
}

/// All that are looked at, by server; cheap to clone. One that was not looked at yet is not in it.
#[derive(Clone, Debug, Default)]
pub struct Certificates(Arc<Mutex<BTreeMap<String, Known>>>);

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host.to_str(), self.port)
    }
}

impl Certificates {
    /// Looks at these from now on.
    pub fn start(context: &Context, config: &Config) -> Self {
        let all = Self::default();
        if config.certificates.is_empty() {
            return all;
        }
        let connector = TlsConnector::from(Arc::new(client()));
        for server in config.certificates.clone() {
            let (shutdown, all, connector) = (context.shutdown.clone(), all.clone(), connector.clone());
            let pace = config.pace;
            context.tasks.spawn("certificate", async move {
                let mut failures = 0;
                let looks = async {
                    loop {
                        let wait = all.look(&server, &connector, &mut failures).await;
                        tokio::time::sleep(pace.of(wait)).await;
                    }
                };
                shutdown.run_until_cancelled(looks).await;
                Ok(())
            });
        }
        all
    }

    /// What is known of all of them.
    pub fn get(&self) -> BTreeMap<String, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks once; gives how long to wait.
    async fn look(&self, server: &Server, connector: &TlsConnector, failures: &mut u32) -> Duration {
        let looked = timeout(LIMIT, until(server, connector)).await.unwrap_or(Err(LookError::Late));
        let known = match looked {
            Ok(until_ms) => {
                *failures = 0;
                Known::Until(until_ms)
            }
            Err(error) => {
                *failures += 1;
                let reason = service::chain(&error);
                debug!(%server, reason, "its certificate was not seen");
                if *failures < FAILURES_MAX {
                    return AGAIN;
                }
                Known::Trouble(reason)
            }
        };
        let wait = if *failures == 0 { EVERY } else { AGAIN };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(server.to_string(), known);
        wait
    }
}

/// Until when its certificate is valid, in Unix milliseconds.
async fn until(server: &Server, connector: &TlsConnector) -> Result<u64, LookError> {
    let stream = TcpStream::connect((server.host.to_str().as_ref(), server.port)).await;
    let stream = connector.connect(server.host.clone(), stream.map_err(LookError::NoConnection)?).await;
    let stream = stream.map_err(LookError::NoTls)?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    certificate.and_then(|certificate| der::not_after(certificate)).ok_or(LookError::Unreadable)
}

fn client() -> ClientConfig {
    let look = Arc::new(Look(ring::default_provider().signature_verification_algorithms));
    ClientConfig::builder().dangerous().with_custom_certificate_verifier(look).with_no_client_auth()
}

/// Takes every certificate: it is only looked at, and nothing is said to who shows it. One that has run out, or
/// that only the operator trusts, has an end as any other.
#[derive(Debug)]
struct Look(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Look {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
