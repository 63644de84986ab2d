//! Reads input as `webhook-deploy` reads a request that nobody has vouched for: headers, the signatures of each forge,
//! the body. Input is a request as it is on the wire, without its first line. Used by the fuzz target, and with less
//! input by the tests of the crate.

use std::net::{IpAddr, Ipv4Addr};

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use webhook_deploy::{About, Event, Forge, Hook, Meaning, Networks, Secret, parse_hooks, source};

const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
/// Fits every forge. Chance finds nothing that holds by it.
const SECRET: &str = "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
const NOW_S: u64 = 1_800_000_000;

/// Reads it to its end.
///
/// # Panics
/// When something unsigned is believed, or something is passed on that should not be.
pub fn read(input: &[u8]) {
    let end = input.windows(2).position(|two| two == b"\n\n");
    let (head, body) = end.map_or((input, &[][..]), |end| (&input[..end], &input[end + 2..]));
    let headers = headers(head);
    let proxies = Networks::parse(["10.0.0.0/8"]).expect("a network");
    assert_eq!(source(STRANGER, &headers, &proxies), Ok(STRANGER));
    let _ = source(PROXY, &headers, &proxies);
    for forge in Forge::ALL {
        let secret = Secret::new(forge, SECRET).expect("a secret");
        assert!(forge.verify(&secret, &headers, body, NOW_S).is_err());
        let event =
            forge.event_header().and_then(|name| headers.get(name)?.to_str().ok()).unwrap_or_default();
        let about = || About {
            repository: "ines/vigie".to_owned(),
            branch: "main".to_owned(),
            events: Event::ALL.to_vec(),
        };
        let hook = Hook {
            id: "site".to_owned(),
            forge,
            secret,
            about: (forge != Forge::Ci).then(about),
            networks: None,
        };
        if let Meaning::News { commit: Some(commit), .. } = Meaning::of(&hook, event, body) {
            assert!(commit.bytes().all(|digit| digit.is_ascii_hexdigit()));
        }
    }
    if let Ok(text) = std::str::from_utf8(body) {
        let _ = parse_hooks(text, |_| Ok(SECRET.to_owned()));
    }
}

fn headers(head: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..]));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}
