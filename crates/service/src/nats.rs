//! The settings of whoever talks to NATS: named here once, for all services. What they mean is not known here.

use std::path::PathBuf;

use secrecy::SecretString;

use crate::settings::{Setting, Settings};

/// Where NATS is.
pub const NATS_URL: Setting = Setting {
    name: "NATS_URL",
    default: Some("nats://127.0.0.1:4222"),
    expected: "a URL such as nats://127.0.0.1:4222",
    help: "where NATS is; tls:// instead of nats:// for TLS",
    secret: false,
};

/// By what it knows us.
pub const NATS_NKEY: Setting = Setting {
    name: "NATS_NKEY",
    default: None,
    expected: "a seed as `vigie keys` writes it",
    help: "the key by which NATS knows this service; not set: NATS asks nobody who they are",
    secret: true,
};

/// By what we know it.
pub const NATS_CA_FILE: Setting = Setting {
    name: "NATS_CA_FILE",
    default: None,
    expected: "the path of a file with certificates (PEM)",
    help: "whose certificates NATS may show, and nobody else's; with it the connection is TLS",
    secret: false,
};

/// Where NATS is, and how to be let in by it and by no other.
#[derive(Clone, Debug, Default)]
pub struct NatsLogin {
    /// Where it is.
    pub url: String,
    /// The seed of our key; `None` where it asks nobody who they are.
    pub nkey: Option<SecretString>,
    /// Whose certificates it may show.
    pub ca_file: Option<PathBuf>,
}

impl NatsLogin {
    /// One of a server that asks nobody who they are.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Reads [`NATS_URL`], [`NATS_NKEY`] and [`NATS_CA_FILE`], which must be in the table of `settings`.
    pub fn read(settings: &mut Settings) -> Self {
        Self {
            url: settings.get("NATS_URL"),
            nkey: settings.secret("NATS_NKEY"),
            ca_file: settings.optional("NATS_CA_FILE").map(PathBuf::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    static KNOWN: &[Setting] = &[NATS_URL, NATS_NKEY, NATS_CA_FILE];

    #[test]
    fn the_key_comes_from_a_file_and_without_one_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nats.nk");
        std::fs::write(&path, "SUABC\n").unwrap();
        let set = |pairs: &[(&str, &str)]| {
            let (login, problems) = Settings::try_out(KNOWN, pairs, NatsLogin::read);
            assert_eq!(problems, [""; 0]);
            login
        };
        let none = set(&[]);
        assert!(none.nkey.is_none() && none.ca_file.is_none());
        let all = set(&[("NATS_NKEY_FILE", path.to_str().unwrap()), ("NATS_CA_FILE", "/run/ca.pem")]);
        assert_eq!(all.nkey.unwrap().expose_secret(), "SUABC");
        assert_eq!(all.ca_file.unwrap(), PathBuf::from("/run/ca.pem"));
    }
}
