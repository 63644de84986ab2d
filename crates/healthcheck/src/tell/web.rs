//! A webhook that takes JSON, and ntfy.

use reqwest::{Url, header::CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use service::clock::unix_ms;

use super::{Client, Failure, note::Note};
use crate::{rules::Level, words::moment};

/// Takes what is wrong as JSON.
pub struct Webhook {
    pub client: Client,
    pub url: Url,
}

impl Webhook {
    pub async fn tell(&self, note: &Note) -> Result<(), Failure> {
        self.post(&note.json()).await
    }

    pub async fn test(&self) -> Result<(), Failure> {
        let text = "Vigie: daily test of this webhook";
        let at = moment(unix_ms());
        self.post(&serde_json::json!({ "v": 1, "kind": "test", "level": Level::Fine, "title": text, "text": text, "at": at })).await
    }

    async fn post(&self, json: &serde_json::Value) -> Result<(), Failure> {
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        self.client.send(request.body(json.to_string())).await
    }
}

/// A topic on ntfy.
pub struct Ntfy {
    pub client: Client,
    pub url: Url,
    pub token: Option<SecretString>,
}

impl Ntfy {
    pub async fn tell(&self, note: &Note) -> Result<(), Failure> {
        let (priority, tag) = match note.level() {
            Level::Critical => ("urgent", "rotating_light"),
            // What failed once is told once, so that it had better be noticed.
            Level::Warning if note.has_bad_news() => ("high", "warning"),
            Level::Warning => ("default", "warning"),
            Level::Fine if note.over.is_empty() => ("low", "rocket"),
            Level::Fine => ("default", "white_check_mark"),
        };
        self.post(&note.title(), priority, tag, note.lines().join("\n")).await
    }

    /// The lowest priority makes no sound and shows nothing until somebody looks.
    pub async fn test(&self) -> Result<(), Failure> {
        self.post("Vigie: daily test", "min", "wrench", "Alarms reach this topic.".to_owned()).await
    }

    async fn post(&self, title: &str, priority: &str, tag: &str, body: String) -> Result<(), Failure> {
        let request = self.client.post(self.url.clone());
        let request =
            request.header("Title", title).header("Priority", priority).header("Tags", tag).body(body);
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        self.client.send(request).await
    }
}
