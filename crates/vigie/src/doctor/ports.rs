//! Ports that Vigie is told to listen on, while it does not run: whether something else has them.

use std::{collections::BTreeSet, env, net::SocketAddr};

use super::{Finding, machine::Machine};

/// The state of a socket that listens, in `/proc/net/tcp`.
const LISTENS: &str = "0A";
/// The setting of where a service answers.
const OWN: &str = "VIGIE_HTTP_ADDR";
/// How the names of settings end that Compose publishes ports by.
const PUBLISHED: [&str; 2] = ["_PORT", "_ADDR"];

/// `file`: the settings of `.env`.
pub(crate) fn look(machine: &Machine, file: &[(String, String)]) -> Vec<Finding> {
    let taken = taken(machine);
    let wanted = wanted(env::var(OWN).ok().as_deref(), file);
    let found: Vec<Finding> = wanted.iter().filter(|(_, port)| taken.contains(port)).map(of_port).collect();
    if found.is_empty() && !wanted.is_empty() {
        let ports: Vec<String> = wanted.iter().map(|(_, port)| port.to_string()).collect();
        return vec![Finding::good("ports", format!("free: {}", ports.join(", ")))];
    }
    found
}

fn of_port((name, port): &(String, u16)) -> Finding {
    Finding::warn(
        "ports",
        format!("port {port} ({name}) is taken already"),
        format!(
            "end what listens there (`sudo ss -ltnp sport = :{port}` names it), or set {name} to another"
        ),
    )
}

fn wanted(address: Option<&str>, file: &[(String, String)]) -> Vec<(String, u16)> {
    let address = address.and_then(|text| text.parse::<SocketAddr>().ok());
    let address = address.map(|address| (OWN.to_owned(), address.port()));
    let ends = |name: &str| name != OWN && PUBLISHED.iter().any(|end| name.ends_with(end));
    let published = file.iter().filter(|(name, _)| ends(name));
    // With an address before it, or without.
    let port = |value: &str| value.rsplit(':').next()?.parse().ok();
    let published = published.filter_map(|(name, value)| Some((name.clone(), port(value)?)));
    address.into_iter().chain(published).filter(|(_, port)| *port != 0).collect()
}

fn taken(machine: &Machine) -> BTreeSet<u16> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().filter_map(|path| machine.read(path));
    let mut ports = BTreeSet::new();
    for table in tables {
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let local = fields.get(1).and_then(|address| address.rsplit(':').next());
            if fields.get(3) == Some(&LISTENS)
                && let Some(port) = local.and_then(|port| u16::from_str_radix(port, 16).ok())
            {
                ports.insert(port);
            }
        }
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::fake::Fake;

    #[test]
    fn only_a_socket_that_listens_takes_a_port() {
        assert_eq!(taken(&Fake::pi().machine()), BTreeSet::from([22]));
    }

    #[test]
    fn the_ports_that_are_wanted_come_from_the_settings() {
        let file = [("GRAFANA_ADDR", "127.0.0.1:3000"), ("SSH_PORT", "22"), ("PREFIX", "!"), ("A_PORT", "")];
        let file = file.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let wanted = wanted(Some("127.0.0.1:9420"), &file);
        let ports: Vec<u16> = wanted.iter().map(|(_, port)| *port).collect();
        assert_eq!(ports, [9420, 3000, 22]);
        let found = look(&Fake::pi().machine(), &file);
        assert_eq!(found.len(), 1);
        assert!(found[0].seen.starts_with("port 22 (SSH_PORT)"), "{found:?}");
    }
}
