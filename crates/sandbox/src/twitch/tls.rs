//! The self-signed certificate of IRC over TLS, made when it is first needed.

use std::sync::{Arc, OnceLock};

use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// Names the certificate is good for.
const NAMES: [&str; 4] = ["localhost", "127.0.0.1", "irc.chat.twitch.tv", "irc-ws.chat.twitch.tv"];

/// Certificate and key of one local Twitch.
#[derive(Debug, Default)]
pub(crate) struct Tls(OnceLock<Result<Made, Error>>);

#[derive(Debug)]
struct Made {
    pem: String,
    config: Arc<ServerConfig>,
}

/// No certificate could be made.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot make a certificate for irc over tls: {0}")]
pub(crate) struct Error(String);

impl Tls {
    pub(crate) fn config(&self) -> Result<Arc<ServerConfig>, Error> {
        Ok(self.made()?.config.clone())
    }

    pub(crate) fn pem(&self) -> Result<String, Error> {
        Ok(self.made()?.pem.clone())
    }

    fn made(&self) -> Result<&Made, Error> {
        self.0.get_or_init(make).as_ref().map_err(Clone::clone)
    }
}

fn make() -> Result<Made, Error> {
    let failed = |error: &dyn std::fmt::Display| Error(error.to_string());
    let names: Vec<String> = NAMES.into_iter().map(str::to_owned).collect();
    let made = rcgen::generate_simple_self_signed(names).map_err(|error| failed(&error))?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .map_err(|error| failed(&error))?;
    Ok(Made { pem: made.cert.pem(), config: Arc::new(config) })
}
