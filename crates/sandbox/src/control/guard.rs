//! Keeps web pages of other sites out: the sandbox runs on people's own machines, where any page
//! that is open in a browser could otherwise reach it.

use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::reply::Refused;

/// Refuses what a browser sends on behalf of another site; programs send none of these headers.
pub async fn same_site_only(request: Request, next: Next) -> Response {
    if let Some(reason) = foreign(request.headers()) {
        return Refused::new(StatusCode::FORBIDDEN, reason).into_response();
    }
    next.run(request).await
}

fn foreign(headers: &HeaderMap) -> Option<&'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST).unwrap_or_default();
    // A name that somebody can point at this machine (DNS rebinding) makes a hostile page look like
    // our own, so only names that nobody can register are served.
    if !is_local_name(host) {
        return Some("open the sandbox by its address, such as http://127.0.0.1:7700, not by that name");
    }
    if let Some(site) = headers.get("sec-fetch-site")
        && site != "same-origin"
        && site != "none"
    {
        return Some("the control API is closed to pages of other sites; open the sandbox's own page");
    }
    let origin = text(header::ORIGIN)?;
    let own = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    (own != Some(host)).then_some(
        "the control API is closed to pages of other sites; a program should send no origin header",
    )
}

/// An address, `localhost`, a name without a dot (a container's), or one of the local network.
fn is_local_name(host: &str) -> bool {
    if host.starts_with('[') {
        return true;
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.parse::<std::net::Ipv4Addr>().is_ok()
        || !name.contains('.')
        || [".localhost", ".local", ".internal"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn check(headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_static(value));
        }
        foreign(&map).is_none()
    }

    #[test]
    fn programs_and_the_own_page_may_enter() {
        assert!(check(&[("host", "127.0.0.1:7700")]));
        assert!(check(&[("host", "sandbox:7700")]));
        assert!(check(&[("host", "[::1]:7700")]));
        assert!(check(&[("host", "pi.local:7700"), ("sec-fetch-site", "none")]));
        assert!(check(&[
            ("host", "localhost:7700"),
            ("origin", "http://localhost:7700"),
            ("sec-fetch-site", "same-origin"),
        ]));
    }

    #[test]
    fn pages_of_others_may_not() {
        assert!(!check(&[("host", "127.0.0.1:7700"), ("sec-fetch-site", "cross-site")]));
        assert!(!check(&[("host", "127.0.0.1:7700"), ("sec-fetch-site", "same-site")]));
        assert!(!check(&[("host", "127.0.0.1:7700"), ("origin", "https://evil.example")]));
        assert!(!check(&[("host", "127.0.0.1:7700"), ("origin", "null")]));
        assert!(!check(&[("host", "127.0.0.1:7700"), ("origin", "http://127.0.0.1:8000")]));
    }

    #[test]
    fn a_name_that_was_pointed_here_may_not() {
        assert!(!check(&[("host", "rebound.example:7700"), ("origin", "http://rebound.example:7700")]));
    }
}
