//! Serves the chat page. Its files are part of the binary; the page itself talks to `/sandbox/**`.

use axum::{
    Router,
    http::{HeaderName, header},
    response::IntoResponse,
    routing::get,
};

/// The page loads nothing but its own files, and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Path, kind, content.
const FILES: [(&str, &str, &str); 15] = [
    ("/", HTML, include_str!("index.html")),
    ("/favicon.ico", SVG, include_str!("mark.svg")),
    ("/page/mark.svg", SVG, include_str!("mark.svg")),
    ("/page/base.css", CSS, include_str!("css/base.css")),
    ("/page/chat.css", CSS, include_str!("css/chat.css")),
    ("/page/drawer.css", CSS, include_str!("css/drawer.css")),
    ("/page/api.js", SCRIPT, include_str!("js/api.js")),
    ("/page/app.js", SCRIPT, include_str!("js/app.js")),
    ("/page/complete.js", SCRIPT, include_str!("js/complete.js")),
    ("/page/composer.js", SCRIPT, include_str!("js/composer.js")),
    ("/page/dom.js", SCRIPT, include_str!("js/dom.js")),
    ("/page/drawer.js", SCRIPT, include_str!("js/drawer.js")),
    ("/page/markdown.js", SCRIPT, include_str!("js/markdown.js")),
    ("/page/message.js", SCRIPT, include_str!("js/message.js")),
    ("/page/panel.js", SCRIPT, include_str!("js/panel.js")),
];

/// The routes of the page.
pub fn router() -> Router {
    FILES.into_iter().fold(Router::new(), |router, (path, kind, content)| {
        router.route(path, get(move || async move { file(kind, content) }))
    })
}

fn file(kind: &'static str, content: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // A newer binary must not meet the scripts of an older one.
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        for folder in ["js", "css"] {
            let path = format!("{}/src/page/{folder}", env!("CARGO_MANIFEST_DIR"));
            for file in std::fs::read_dir(path).unwrap() {
                let path = format!("/page/{}", file.unwrap().file_name().display());
                assert!(FILES.iter().any(|(served, ..)| *served == path), "{path} is not in FILES");
            }
        }
    }
}
