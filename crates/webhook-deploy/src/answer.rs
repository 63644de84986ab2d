//! What is answered to a request, in one word for the numbers and a few for people.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
};

use crate::signature::Doubt;

/// One answer. None says what would have been right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The deployer knows.
    Accepted,
    /// The same delivery was taken before.
    Already,
    /// It is about nothing that is waited for.
    Ignored,
    /// The forge tried whether anybody is there.
    Pong,
    /// The proxy does not say who it is from.
    NoSource,
    /// What is signed cannot be read.
    Malformed,
    /// The connection broke.
    Broken,
    /// It has no signature.
    Unsigned,
    /// Its signature does not hold.
    Forged,
    /// Its signature is of another time.
    Stale,
    /// Its network is not one of the hook.
    NotAllowed,
    /// It is about another repository than the hook.
    OtherRepository,
    /// There is no such hook.
    NoHook,
    /// It is no POST.
    Method,
    /// The body did not come in time.
    TooSlow,
    /// The deployer does not want to.
    Refused,
    /// It does not say how long it is.
    NoLength,
    /// It is too long.
    TooLarge,
    /// It is no JSON.
    Type,
    /// The source asks too often.
    TooOften,
    /// The hook is called too often.
    HookTooOften,
    /// There is no memory for it now.
    Busy,
    /// Nobody serves deploys.
    NoDeployer,
    /// Somebody does, and did not answer.
    Silent,
}

impl Answer {
    /// Every one.
    pub const ALL: [Self; 24] = [
        Self::Accepted,
        Self::Already,
        Self::Ignored,
        Self::Pong,
        Self::NoSource,
        Self::Malformed,
        Self::Broken,
        Self::Unsigned,
        Self::Forged,
        Self::Stale,
        Self::NotAllowed,
        Self::OtherRepository,
        Self::NoHook,
        Self::Method,
        Self::TooSlow,
        Self::Refused,
        Self::NoLength,
        Self::TooLarge,
        Self::Type,
        Self::TooOften,
        Self::HookTooOften,
        Self::Busy,
        Self::NoDeployer,
        Self::Silent,
    ];

    /// Status, name, words.
    const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Accepted => (StatusCode::ACCEPTED, "accepted", "accepted"),
            Self::Already => (StatusCode::OK, "already", "already: this delivery was taken before"),
            Self::Ignored => (StatusCode::OK, "ignored", "ignored: nothing that this hook waits for"),
            Self::Pong => (StatusCode::OK, "pong", "pong"),
            Self::NoSource => {
                (StatusCode::BAD_REQUEST, "no_source", "the proxy sent an X-Forwarded-For that is no address")
            }
            Self::Malformed => {
                (StatusCode::BAD_REQUEST, "malformed", "expected a delivery of the forge of this hook")
            }
            Self::Broken => (StatusCode::BAD_REQUEST, "broken", "the body did not come to its end"),
            Self::Unsigned => (
                StatusCode::UNAUTHORIZED,
                "unsigned",
                "expected a signature and a delivery id: set the secret",
            ),
            Self::Forged => (StatusCode::UNAUTHORIZED, "forged", "the signature does not hold"),
            Self::Stale => (StatusCode::UNAUTHORIZED, "stale", "the signature is of another time"),
            Self::NotAllowed => (StatusCode::FORBIDDEN, "not_allowed", "not from here"),
            Self::OtherRepository => (StatusCode::FORBIDDEN, "other_repository", "not for this repository"),
            Self::NoHook => (StatusCode::NOT_FOUND, "no_hook", "no such hook"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method", "expected POST"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too_slow", "the body came too slowly"),
            Self::Refused => (StatusCode::CONFLICT, "refused", "the deployer refused; its log says why"),
            Self::NoLength => (StatusCode::LENGTH_REQUIRED, "no_length", "expected Content-Length"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is too large"),
            Self::Type => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "type",
                "expected application/json: set the content type",
            ),
            Self::TooOften => (StatusCode::TOO_MANY_REQUESTS, "too_often", "too many requests"),
            Self::HookTooOften => (StatusCode::TOO_MANY_REQUESTS, "hook_too_often", "too many deliveries"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "busy; deliver it again later"),
            Self::NoDeployer => (
                StatusCode::SERVICE_UNAVAILABLE,
                "no_deployer",
                "nobody is there to deploy; deliver it again later",
            ),
            Self::Silent => (
                StatusCode::SERVICE_UNAVAILABLE,
                "silent",
                "the deployer did not answer; deliver it again later",
            ),
        }
    }

    /// Its name in the numbers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.parts().1
    }

    /// The same over HTTP.
    #[must_use]
    pub fn response(self) -> Response<Full<Bytes>> {
        let (status, _, words) = self.parts();
        let mut response = Response::new(Full::from(format!("{words}\n")));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if self == Self::Method {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

impl From<Doubt> for Answer {
    fn from(doubt: Doubt) -> Self {
        match doubt {
            Doubt::Unsigned => Self::Unsigned,
            Doubt::Forged => Self::Forged,
            Doubt::Stale => Self::Stale,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_answer_has_a_name_of_its_own() {
        let names: HashSet<&str> = Answer::ALL.into_iter().map(Answer::name).collect();
        assert_eq!(names.len(), Answer::ALL.len());
    }
}
