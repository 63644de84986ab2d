//! Where a request comes from, and which networks may come.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use ipnet::IpNet;

const FORWARDED_FOR: &str = "x-forwarded-for";
/// Nobody stands behind more proxies of their own.
const HOPS_MAX: usize = 16;

/// Some networks; none at first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

/// What a proxy that is trusted says of the source cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unclear;

impl Networks {
    /// Reads networks such as `192.0.2.0/24`, or single addresses.
    ///
    /// # Errors
    /// The first that is neither.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let read = |text: &str| {
            let address = || Some(IpNet::from(text.parse::<IpAddr>().ok()?));
            text.parse().ok().or_else(address).ok_or_else(|| text.to_owned())
        };
        texts.into_iter().map(|text| read(text.trim())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the address is in one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether one of them is the whole internet.
    #[must_use]
    pub fn has_everybody(&self) -> bool {
        self.0.iter().any(|network| network.prefix_len() == 0)
    }
}

/// Who a request comes from. `X-Forwarded-For` is read from the right, each entry only as long as a named proxy
/// has written it: what stands further left anybody may have sent.
///
/// # Errors
/// [`Unclear`] when such an entry is no address.
pub fn source(peer: IpAddr, headers: &HeaderMap, proxies: &Networks) -> Result<IpAddr, Unclear> {
    let mut source = peer.to_canonical();
    let lines = headers.get_all(FORWARDED_FOR).iter().collect::<Vec<_>>();
    let mut entries = lines.into_iter().rev().flat_map(|line| {
        let text = line.to_str().unwrap_or("no text");
        text.rsplit(',').map(str::trim)
    });
    for _ in 0..HOPS_MAX {
        if !proxies.contains(source) {
            break;
        }
        let Some(entry) = entries.next() else { break };
        source = address(entry).ok_or(Unclear)?;
    }
    Ok(source)
}

/// Whether somebody says where the request comes from, be they trusted or not.
pub fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(FORWARDED_FOR)
}

/// `192.0.2.1`, `2001:db8::1`, and both as some proxies write them: `192.0.2.1:4711`, `[2001:db8::1]:4711`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    bare.parse::<IpAddr>().ok().or_else(with_port).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn from(peer: &str, lines: &[&str], proxies: &[&str]) -> Result<IpAddr, Unclear> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        source(ip(peer), &headers, &Networks::parse(proxies.iter().copied()).unwrap())
    }

    #[test]
    fn nobody_is_believed_who_is_not_named() {
        assert_eq!(from("198.51.100.7", &["192.0.2.1"], &[]), Ok(ip("198.51.100.7")));
        assert_eq!(from("198.51.100.7", &["192.0.2.1"], &["10.0.0.0/8"]), Ok(ip("198.51.100.7")));
    }

    #[test]
    fn the_right_most_that_is_no_proxy_counts() {
        let proxies = ["10.0.0.0/8", "fd00::/8"];
        let source = |lines: &[&str]| from("10.0.0.1", lines, &proxies);
        assert_eq!(source(&["192.0.2.1, 198.51.100.7"]), Ok(ip("198.51.100.7")));
        assert_eq!(source(&["192.0.2.1, 198.51.100.7, 10.2.3.4"]), Ok(ip("198.51.100.7")));
        assert_eq!(source(&["192.0.2.1", "198.51.100.7"]), Ok(ip("198.51.100.7")), "two lines are one list");
        assert_eq!(source(&["nonsense, 198.51.100.7"]), Ok(ip("198.51.100.7")), "it is not looked at");
        assert_eq!(source(&["10.9.9.9"]), Ok(ip("10.9.9.9")));
        assert_eq!(source(&[]), Ok(ip("10.0.0.1")));
        assert_eq!(source(&["::ffff:198.51.100.7"]), Ok(ip("198.51.100.7")));
        assert_eq!(source(&["198.51.100.7:443"]), Ok(ip("198.51.100.7")));
        assert_eq!(source(&["[2001:db8::1]:443"]), Ok(ip("2001:db8::1")));
        assert_eq!(source(&["2001:db8::1, fd00::5"]), Ok(ip("2001:db8::1")));
        assert_eq!(source(&["198.51.100.7, unknown"]), Err(Unclear));
        assert_eq!(source(&[""]), Err(Unclear));
        assert_eq!(from("::ffff:10.0.0.1", &["198.51.100.7"], &proxies), Ok(ip("198.51.100.7")));
    }

    #[test]
    fn networks_and_addresses_are_read() {
        let networks = Networks::parse(["192.0.2.0/24", " 2001:db8::1"]).unwrap();
        assert!(networks.contains(ip("192.0.2.255")) && networks.contains(ip("2001:db8::1")));
        assert!(!networks.contains(ip("192.0.3.0")) && !networks.contains(ip("2001:db8::2")));
        assert_eq!(Networks::parse(["192.0.2.0/33"]), Err("192.0.2.0/33".to_owned()));
        assert!(Networks::parse(["::/0"]).unwrap().has_everybody());
    }

    proptest! {
        #[test]
        fn whatever_is_forwarded_a_stranger_is_who_connects(lines in prop::collection::vec("[ -~]{0,60}", 0..6)) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            prop_assert_eq!(from("198.51.100.7", &lines, &["10.0.0.0/8"]), Ok(ip("198.51.100.7")));
        }

        #[test]
        fn what_a_client_sends_to_a_proxy_never_counts(sent in "[ -~]{0,60}") {
            let line = format!("{sent}, 198.51.100.7");
            prop_assert_eq!(from("10.0.0.1", &[&line], &["10.0.0.0/8"]), Ok(ip("198.51.100.7")));
        }
    }
}
