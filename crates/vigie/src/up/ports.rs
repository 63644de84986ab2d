//! Free ports of loopback, for parts that are told where to listen before they start.
//!
//! A port that is free now may be taken a moment later. Between two `vigie up` that start at the same
//! time a claim prevents that: a name in Linux's abstract socket space, which leaves no file and goes
//! with the process.

use std::{io, net::TcpListener, os::unix::net::UnixListener};

use anyhow::{Context, bail};

/// How many free ports are tried before giving up; almost always the first one will do.
const TRIES: usize = 64;

/// Keeps a port from other `vigie up` as long as it lives.
#[derive(Debug)]
pub(crate) struct Claim {
    _name: Option<UnixListener>,
}

/// The wanted ports when all of them are free, else as many free ones; with claims to keep.
///
/// # Errors
/// When no port is free.
pub(crate) fn claim<const N: usize>(wanted: [u16; N]) -> anyhow::Result<([u16; N], Vec<Claim>)> {
    let claims: Option<Vec<Claim>> = wanted.iter().map(|port| claim_free(*port)).collect();
    if let Some(claims) = claims {
        return Ok((wanted, claims));
    }
    let (mut found, mut claims, mut listeners) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TRIES.max(N) {
        let listener = bind(0).context("no port of 127.0.0.1 is free")?;
        let port = listener.local_addr()?.port();
        // Bound until all are known, so that no two are the same.
        listeners.push(listener);
        if let Ok(claim) = name(port) {
            found.push(port);
            claims.push(claim);
        }
        if let Ok(ports) = <[u16; N]>::try_from(found.as_slice()) {
            return Ok((ports, claims));
        }
    }
    bail!("no port of 127.0.0.1 could be claimed")
}

/// An address of loopback with a port that was free a moment ago. Whoever is told it, and finds the port
/// taken after all, is told another one with its next start.
///
/// # Errors
/// When no port is free.
pub(crate) fn free_address() -> anyhow::Result<String> {
    let address =
        bind(0).and_then(|listener| listener.local_addr()).context("no port of 127.0.0.1 is free")?;
    Ok(address.to_string())
}

fn claim_free(port: u16) -> Option<Claim> {
    let claim = name(port).ok()?;
    bind(port).ok().map(|_| claim)
}

fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port))
}

#[cfg(target_os = "linux")]
fn name(port: u16) -> io::Result<Claim> {
    use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};

    let address = SocketAddr::from_abstract_name(format!("vigie-up-port-{port}"))?;
    UnixListener::bind_addr(&address).map(|name| Claim { _name: Some(name) })
}

/// Elsewhere there are no such names, and two that start at the same moment may clash.
#[cfg(not(target_os = "linux"))]
fn name(_port: u16) -> io::Result<Claim> {
    Ok(Claim { _name: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_moves_all_of_them() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let (found, claims) = claim([port, port]).unwrap();
        assert!(!found.contains(&port) && found[0] != found[1], "{found:?}");
        assert_eq!(claims.len(), 2);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_claimed_port_is_taken_even_before_somebody_listens() {
        let free = bind(0).unwrap().local_addr().unwrap().port();
        let (first, claims) = claim([free]).unwrap();
        let (second, _) = claim([free]).unwrap();
        assert_eq!(first, [free]);
        assert_ne!(second, [free]);
        drop(claims);
        assert_eq!(claim([free]).unwrap().0, [free]);
    }
}
