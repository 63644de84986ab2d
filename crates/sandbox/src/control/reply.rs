//! How the control API takes input and says no: one sentence, as `{"error": "…"}`.

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Query, Request},
    http::{StatusCode, Uri, request::Parts},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;
use serde_json::json;

/// A request that was not carried out.
#[derive(Debug)]
pub struct Refused {
    status: StatusCode,
    sentence: String,
}

impl Refused {
    /// With a status of its own.
    pub fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self { status, sentence: sentence.into() }
    }

    /// The input is wrong; the sentence says what was expected.
    pub fn bad(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, sentence)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.sentence }))).into_response()
    }
}

impl From<crate::discord::Refusal> for Refused {
    fn from(refusal: crate::discord::Refusal) -> Self {
        Self::bad(refusal.to_string())
    }
}

impl From<crate::twitch::Refusal> for Refused {
    fn from(refusal: crate::twitch::Refusal) -> Self {
        Self::bad(refusal.to_string())
    }
}

/// A JSON body, whatever its content type says; an absent one counts as `{}`.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejected| Refused::new(rejected.status(), rejected.body_text()))?;
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(bytes)
            .map(Self)
            .map_err(|error| Refused::bad(format!("expected another JSON body: {error}")))
    }
}

/// What stands behind the `?`.
pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(asked)| Self(asked))
            .map_err(|error| Refused::bad(format!("expected another query: {}", error.body_text())))
    }
}

/// An answer that only says that it was done.
pub fn done() -> Json<serde_json::Value> {
    Json(json!({ "done": true }))
}

/// No such path.
pub async fn unknown_path(uri: Uri) -> Refused {
    let sentence = format!("nothing at {}; the control API is listed in the sandbox's README", uri.path());
    Refused::new(StatusCode::NOT_FOUND, sentence)
}
