//! What Twitch's HTTP answers say, as far as it is read: nothing that it asks for is large.

use serde::{Deserialize, de::DeserializeOwned};

/// Most bytes of an answer that are read.
const MAX_BYTES: usize = 64 * 1024;
/// Most characters of an error's words that are told.
const MAX_WORDS: usize = 200;

/// Why an answer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It did not come to its end.
    #[error("twitch's answer broke off")]
    Broken(#[source] reqwest::Error),
    /// It is no answer to what was asked.
    #[error("twitch's answer has more than {MAX_BYTES} bytes")]
    TooLarge,
    /// It says something else than expected.
    #[error("twitch's answer is not what was expected")]
    Strange(#[source] serde_json::Error),
}

/// The JSON of an answer.
///
/// # Errors
/// [`BodyError`].
pub async fn json<T: DeserializeOwned>(mut answer: reqwest::Response) -> Result<T, BodyError> {
    let mut body = Vec::new();
    // The URL of a request may hold what nobody should read in a log.
    while let Some(chunk) = answer.chunk().await.map_err(|error| BodyError::Broken(error.without_url()))? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(BodyError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(BodyError::Strange)
}

/// The `message` of an error, at most [`MAX_WORDS`] characters of it.
pub async fn words(answer: reqwest::Response) -> String {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        message: String,
    }
    let words = json::<Body>(answer).await.map(|body| body.message).unwrap_or_default();
    if words.is_empty() { "no reason given".to_owned() } else { words.chars().take(MAX_WORDS).collect() }
}
