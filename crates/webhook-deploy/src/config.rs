//! The settings, and the file of hooks that one of them names.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use service::{NatsLogin, Setting, Settings};

use crate::{
    hooks::{self, Hook},
    network::Networks,
};

/// More proxies than stand before any bot.
const PROXIES_MAX: usize = 32;

/// Every setting that this crate reads.
pub static SETTINGS: &[Setting] = &[
    service::NATS_URL,
    service::NATS_NKEY,
    service::NATS_CA_FILE,
    Setting {
        name: "WEBHOOK_HOOKS_FILE",
        default: None,
        expected: "the path of a file as docs/webhook.md shows it",
        help: "which repositories may say that they have something new; not set: none",
        secret: false,
    },
    Setting {
        name: "WEBHOOK_ADDR",
        default: Some("127.0.0.1:9480"),
        expected: "an address with a port",
        help: "where deliveries come in, behind a proxy that ends TLS",
        secret: false,
    },
    Setting {
        name: "WEBHOOK_PROXIES",
        default: None,
        expected: "networks such as 192.0.2.0/24, with commas",
        help: "the proxies that are believed in X-Forwarded-For; not set: nobody is",
        secret: false,
    },
];

/// How the service runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where NATS is, and by what it knows us.
    pub nats: NatsLogin,
    /// Where deliveries come in.
    pub address: SocketAddr,
    /// Who is believed in `X-Forwarded-For`.
    pub proxies: Networks,
    /// Whose deliveries count.
    pub hooks: Vec<Hook>,
}

impl Config {
    /// Reads the settings and what they name; what is wrong with them stays in `settings`.
    #[must_use]
    pub fn read(settings: &mut Settings) -> Self {
        let address = settings.optional_parse("WEBHOOK_ADDR", |text| text.parse().map_err(|_| String::new()));
        let hooks = settings.optional("WEBHOOK_HOOKS_FILE").map(|path| hooks::read(Path::new(&path)));
        let hooks = hooks.unwrap_or(Ok(Vec::new())).unwrap_or_else(|problems| {
            for problem in problems {
                settings.problem("WEBHOOK_HOOKS_FILE", problem);
            }
            Vec::new()
        });
        Self {
            nats: NatsLogin::read(settings),
            address: address.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            proxies: settings.optional_parse("WEBHOOK_PROXIES", proxies).unwrap_or_default(),
            hooks,
        }
    }
}

fn proxies(text: &str) -> Result<Networks, String> {
    let texts: Vec<&str> = text.split(',').collect();
    if texts.len() > PROXIES_MAX {
        return Err(format!("at most {PROXIES_MAX}"));
    }
    let networks = Networks::parse(texts).map_err(|found| format!("{found:?} is none"))?;
    if networks.has_everybody() {
        return Err("then everybody could say where they come from".to_owned());
    }
    Ok(networks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Config, Vec<String>) {
        Settings::try_out(SETTINGS, pairs, Config::read)
    }

    #[test]
    fn runs_without_any_setting() {
        let (config, problems) = read(&[]);
        assert_eq!(problems, [""; 0]);
        assert!(config.hooks.is_empty() && config.proxies == Networks::default());
        assert_eq!(config.address.to_string(), "127.0.0.1:9480");
    }

    #[test]
    fn says_what_is_wrong() {
        let (_, problems) = read(&[("WEBHOOK_ADDR", "9480"), ("WEBHOOK_PROXIES", "10.0.0.0/8,caddy")]);
        assert_eq!(
            problems,
            [
                "WEBHOOK_ADDR: expected an address with a port, found \"9480\"",
                "WEBHOOK_PROXIES: expected networks such as 192.0.2.0/24, with commas, found \"10.0.0.0/8,caddy\" \
                 (\"caddy\" is none)",
            ]
        );
        let (_, problems) = read(&[("WEBHOOK_PROXIES", "0.0.0.0/0")]);
        assert!(problems[0].contains("everybody"), "{problems:?}");
        let (_, problems) = read(&[("WEBHOOK_HOOKS_FILE", "/nowhere/hooks.toml")]);
        assert!(problems[0].starts_with("WEBHOOK_HOOKS_FILE: /nowhere/hooks.toml: "), "{problems:?}");
    }
}
