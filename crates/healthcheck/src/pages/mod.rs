//! What is answered over HTTP: made of the last look, so that a request costs nothing but its words.

mod json;
mod numbers;
mod text;

use std::time::Duration;

use service::{Context, Page};

use crate::{
    view::{Verdict, View, Views},
    words::{duration, harmless},
};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Answers from now on; a look that is older than `stale_after` is not believed.
pub fn serve(context: &Context, views: Views, stale_after: Duration) {
    let numbers = views.clone();
    context.metrics.also(move || {
        let view = numbers.borrow().clone();
        numbers::lines(view.as_deref(), stale_after)
    });
    let started = std::time::Instant::now();
    context.pages.answer(move |path| {
        let view = views.borrow().clone();
        answer(path, view.as_deref(), started.elapsed(), stale_after)
    });
}

fn answer(path: &str, view: Option<&View>, uptime: Duration, stale_after: Duration) -> Option<Page> {
    let verdict = Verdict::of(view, stale_after);
    let status = if verdict.is_good() { 200 } else { 503 };
    let (status, content_type, body) = match path {
        "/ping" => (200, TEXT, "pong\n".to_owned()),
        "/health" => (status, JSON, json::health(view, verdict, uptime)),
        "/health/detailed" => (status, TEXT, text::detailed(view, verdict)),
        "/status" => (status, TEXT, in_a_line(view, verdict)),
        "/uptime" => (200, TEXT, format!("{}\n", duration(uptime))),
        "/commit" => (200, TEXT, format!("{}\n", commit())),
        _ => return None,
    };
    Some(Page { status, content_type, body })
}

/// `degraded: disk nearly full; command-worker: slow`.
fn in_a_line(view: Option<&View>, verdict: Verdict) -> String {
    let alerts = view.map(|view| view.alerts.as_slice()).unwrap_or_default();
    let titles: Vec<String> = alerts.iter().map(|alert| harmless(&alert.title())).collect();
    let colon = if titles.is_empty() { "" } else { ": " };
    format!("{}{colon}{}\n", verdict.as_str(), titles.join("; "))
}

/// What stands between the brackets of `0.1.0 (abc1234567)`.
fn commit() -> &'static str {
    let (_, commit) = service::BUILD.split_once('(').unwrap_or(("", service::BUILD));
    commit.trim_end_matches(')')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_the_first_look_nothing_is_promised() {
        let page = |path| answer(path, None, Duration::from_secs(61), Duration::from_secs(30));
        assert_eq!(page("/status").unwrap().status, 503);
        assert_eq!(page("/status").unwrap().body, "starting\n");
        assert_eq!(page("/health").unwrap().status, 503);
        assert_eq!(page("/ping").unwrap().body, "pong\n");
        assert_eq!(page("/uptime").unwrap().body, "1 min\n");
        assert_eq!(page("/health/detailed").unwrap().status, 503);
        assert_eq!(page("/other"), None);
    }

    #[test]
    fn the_commit_stands_alone() {
        assert!(!commit().is_empty() && !commit().contains(['(', ')']));
    }
}
