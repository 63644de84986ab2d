//! How Discord says no: its error bodies and codes.
//! Source: <https://docs.discord.com/developers/topics/opcodes-and-status-codes#json>.

use std::borrow::Cow;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

/// A refused request.
#[derive(Clone, Debug)]
pub struct ApiError {
    status: StatusCode,
    code: u32,
    message: Cow<'static, str>,
    errors: Option<Value>,
}

macro_rules! errors {
    ($($name:ident = $status:ident, $code:literal, $message:literal;)*) => {
        impl ApiError {
            $(pub const $name: Self = Self::new(StatusCode::$status, $code, $message);)*
        }
    };
}

errors! {
    UNAUTHORIZED = UNAUTHORIZED, 0, "401: Unauthorized";
    NOT_FOUND = NOT_FOUND, 0, "404: Not Found";
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED, 0, "405: Method Not Allowed";
    UNKNOWN_CHANNEL = NOT_FOUND, 10003, "Unknown Channel";
    UNKNOWN_GUILD = NOT_FOUND, 10004, "Unknown Guild";
    UNKNOWN_MEMBER = NOT_FOUND, 10007, "Unknown Member";
    UNKNOWN_MESSAGE = NOT_FOUND, 10008, "Unknown Message";
    UNKNOWN_ROLE = NOT_FOUND, 10011, "Unknown Role";
    UNKNOWN_USER = NOT_FOUND, 10013, "Unknown User";
    UNKNOWN_EMOJI = BAD_REQUEST, 10014, "Unknown Emoji";
    UNKNOWN_WEBHOOK = NOT_FOUND, 10015, "Unknown Webhook";
    UNKNOWN_BAN = NOT_FOUND, 10026, "Unknown Ban";
    UNKNOWN_INTERACTION = NOT_FOUND, 10062, "Unknown interaction";
    UNKNOWN_COMMAND = NOT_FOUND, 10063, "Unknown application command";
    TOO_MANY_COMMANDS = BAD_REQUEST, 30032, "Maximum number of application commands reached (100).";
    TOO_MANY_COMMAND_CREATES = BAD_REQUEST, 30034,
        "Max number of daily application command creates has been reached (200)";
    TOO_LARGE = PAYLOAD_TOO_LARGE, 40005, "Request entity too large";
    ALREADY_ACKNOWLEDGED = BAD_REQUEST, 40060, "Interaction has already been acknowledged.";
    MISSING_ACCESS = FORBIDDEN, 50001, "Missing Access";
    NOT_YOUR_MESSAGE = FORBIDDEN, 50005, "Cannot edit a message authored by another user";
    EMPTY_MESSAGE = BAD_REQUEST, 50006, "Cannot send an empty message";
    NO_DM = BAD_REQUEST, 50007, "Cannot send messages to this user";
    NOT_TEXT = BAD_REQUEST, 50008, "Cannot send messages in a non-text channel";
    MISSING_PERMISSIONS = FORBIDDEN, 50013, "Missing Permissions";
    TOO_FEW_OR_MANY_TO_DELETE = BAD_REQUEST, 50016,
        "Provided too few or too many messages to delete. Must provide at least 2 and fewer than 100 messages to delete";
    INVALID_WEBHOOK_TOKEN = UNAUTHORIZED, 50027, "Invalid Webhook Token";
    INVALID_JSON = BAD_REQUEST, 50109, "The request body contains invalid JSON.";
}

impl ApiError {
    const fn new(status: StatusCode, code: u32, message: &'static str) -> Self {
        Self { status, code, message: Cow::Borrowed(message), errors: None }
    }

    /// A status without a code of its own, as a broken Discord answers.
    pub fn plain(status: StatusCode) -> Self {
        let reason = status.canonical_reason().unwrap_or("Unknown");
        let message = Cow::Owned(format!("{}: {reason}", status.as_u16()));
        Self { status, code: 0, message, errors: None }
    }

    /// One field that is wrong, as [`Problems`] says several.
    pub fn field(path: &str, code: &str, message: impl Into<String>) -> Self {
        let mut problems = Problems::default();
        problems.add(path, code, message);
        problems.into_error()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({ "message": self.message, "code": self.code });
        if let Some(errors) = self.errors {
            body["errors"] = errors;
        }
        (self.status, Json(body)).into_response()
    }
}

/// What is wrong with a form, field by field; becomes error 50035.
#[derive(Debug, Default)]
pub struct Problems(Map<String, Value>);

impl Problems {
    /// Notes what is wrong at a dotted path such as `embeds.0.title`.
    pub fn add(&mut self, path: &str, code: &str, message: impl Into<String>) {
        let mut at = &mut self.0;
        for part in path.split('.').filter(|part| !part.is_empty()) {
            let below = at.entry(part).or_insert_with(|| json!({}));
            match below {
                Value::Object(map) => at = map,
                _ => return,
            }
        }
        let problem = json!({ "code": code, "message": message.into() });
        if let Value::Array(errors) = at.entry("_errors").or_insert_with(|| json!([])) {
            errors.push(problem);
        }
    }

    /// A field that must be there is not.
    pub fn required(&mut self, path: &str) {
        self.add(path, "BASE_TYPE_REQUIRED", "This field is required");
    }

    /// A text or list is too long.
    pub fn too_long(&mut self, path: &str, max: usize) {
        self.add(path, "BASE_TYPE_MAX_LENGTH", format!("Must be {max} or fewer in length."));
    }

    /// A text or list has a length outside of its bounds.
    pub fn bad_length(&mut self, path: &str, min: usize, max: usize) {
        self.add(path, "BASE_TYPE_BAD_LENGTH", format!("Must be between {min} and {max} in length."));
    }

    /// A value is none of those that are possible.
    pub fn not_one_of(&mut self, path: &str, choices: &str) {
        self.add(path, "BASE_TYPE_CHOICES", format!("Value must be one of ({choices})."));
    }

    /// Nothing is wrong.
    ///
    /// # Errors
    /// Error 50035 with everything that was noted.
    pub fn finish(self) -> Result<(), ApiError> {
        if self.0.is_empty() { Ok(()) } else { Err(self.into_error()) }
    }

    fn into_error(self) -> ApiError {
        let mut error = ApiError::new(StatusCode::BAD_REQUEST, 50035, "Invalid Form Body");
        error.errors = Some(Value::Object(self.0));
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_nest_as_discord_nests_them() {
        let mut problems = Problems::default();
        problems.too_long("embeds.0.title", 256);
        problems.required("embeds.0.fields.1.name");
        let expected = json!({ "embeds": { "0": {
            "title": { "_errors": [
                { "code": "BASE_TYPE_MAX_LENGTH", "message": "Must be 256 or fewer in length." }] },
            "fields": { "1": { "name": { "_errors": [
                { "code": "BASE_TYPE_REQUIRED", "message": "This field is required" }] } } },
        } } });
        assert_eq!(problems.into_error().errors, Some(expected));
    }
}
