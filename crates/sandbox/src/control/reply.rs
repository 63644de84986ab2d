//! How the control API takes input and says no: one sentence, as `{"error": "…"}`.

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{StatusCode, Uri, request::Parts},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

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

/// One of several requests on `…/{what}`: the path chooses the variant, a JSON object fills it.
pub struct Chosen<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Chosen<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let (mut parts, body) = request.into_parts();
        let Path(what) = Path::<String>::from_request_parts(&mut parts, state)
            .await
            .map_err(|rejected| Refused::new(rejected.status(), rejected.body_text()))?;
        let path = parts.uri.path().to_owned();
        let request = Request::from_parts(parts, body);
        let Body(mut fields) = Body::<Map<String, Value>>::from_request(request, state).await?;
        fields.insert("what".to_owned(), what.into());
        serde_json::from_value(fields.into())
            .map(Self)
            .map_err(|error| Refused::bad(format!("cannot do {path}: {error}")))
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
pub fn done() -> Json<Value> {
    Json(json!({ "done": true }))
}

/// An answer that also says what came of it.
pub fn done_with(result: &Value) -> Json<Value> {
    Json(json!({ "done": true, "result": result }))
}

/// No such path.
pub async fn unknown_path(uri: Uri) -> Refused {
    let sentence = format!("nothing at {}; the control API is listed in the sandbox's README", uri.path());
    Refused::new(StatusCode::NOT_FOUND, sentence)
}
