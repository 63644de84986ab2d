//! The REST API under `/api/v10`: its routes, and how they read what is asked.

mod channels;
mod commands;
mod gate;
mod gateway;
mod guilds;
mod interactions;
mod members;
mod messages;
mod multipart;
mod reactions;
pub use reactions::check_emoji;
mod users;
mod webhooks;

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, Request},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, post, put},
};
use serde::Serialize;
use serde_json::Value;

use super::{Inner, error::ApiError, snowflake::Id};

/// The largest body that is read.
const MAX_BODY: usize = 1 << 20;

type Shared = Arc<Inner>;
type Answer = Result<Response, ApiError>;

/// All routes, for every version that is served.
pub fn router(inner: Shared) -> Router {
    let mut api = Router::new();
    for (template, methods) in routes() {
        let gate = gate::Gate { inner: inner.clone(), template: template.as_str().into() };
        api = api.route(&template, methods.route_layer(middleware::from_fn_with_state(gate, gate::pass)));
    }
    let api = api
        .fallback(async || ApiError::NOT_FOUND)
        .method_not_allowed_fallback(async || ApiError::METHOD_NOT_ALLOWED)
        .layer(DefaultBodyLimit::max(MAX_BODY));
    Router::new()
        .nest("/api/v10", api.clone())
        .nest("/api/v9", api.clone())
        .nest("/api", api)
        .with_state(inner)
}

/// Every route as the documentation writes it, with what each method does.
fn routes() -> Vec<(String, MethodRouter<Shared>)> {
    let mut all: Vec<(String, MethodRouter<Shared>)> = Vec::new();
    let mut add = |template: String, methods| all.push((template, methods));
    for (template, methods) in [
        ("/gateway", get(gateway::address)),
        ("/gateway/bot", get(gateway::bot)),
        ("/users/@me", get(users::me)),
        ("/users/@me/guilds", get(users::my_guilds)),
        ("/users/@me/channels", post(users::open_dm)),
        ("/users/{user_id}", get(users::user)),
        ("/applications/@me", get(users::application)),
        ("/oauth2/applications/@me", get(users::application)),
        ("/interactions/{interaction_id}/{token}/callback", post(interactions::callback)),
    ] {
        add(template.to_owned(), methods);
    }

    let hook = "/webhooks/{application_id}/{token}";
    add(hook.to_owned(), post(webhooks::follow_up));
    let message = get(webhooks::get).patch(webhooks::edit).delete(webhooks::delete);
    add(format!("{hook}/messages/{{message_id}}"), message);

    for scope in ["/applications/{application_id}", "/applications/{application_id}/guilds/{guild_id}"] {
        let all = get(commands::list).post(commands::create).put(commands::replace);
        add(format!("{scope}/commands"), all);
        let one = get(commands::get).patch(commands::edit).delete(commands::delete);
        add(format!("{scope}/commands/{{command_id}}"), one);
    }
    for (template, methods) in channel_routes() {
        add(format!("/channels/{{channel_id}}{template}"), methods);
    }
    for (template, methods) in guild_routes() {
        add(format!("/guilds/{{guild_id}}{template}"), methods);
    }
    all
}

fn channel_routes() -> [(&'static str, MethodRouter<Shared>); 11] {
    let message = get(messages::get).patch(messages::edit).delete(messages::delete);
    let emoji = get(reactions::users).delete(reactions::clear_emoji);
    [
        ("", get(channels::get)),
        ("/typing", post(channels::typing)),
        // The older and the newer place of pins.
        ("/pins/{message_id}", put(channels::pin).delete(channels::unpin)),
        ("/messages/pins/{message_id}", put(channels::pin).delete(channels::unpin)),
        ("/messages", get(messages::list).post(messages::create)),
        ("/messages/bulk-delete", post(messages::bulk_delete)),
        ("/messages/{message_id}", message),
        ("/messages/{message_id}/reactions", delete(reactions::clear)),
        ("/messages/{message_id}/reactions/{emoji}", emoji),
        ("/messages/{message_id}/reactions/{emoji}/@me", put(reactions::add).delete(reactions::take_own)),
        ("/messages/{message_id}/reactions/{emoji}/{user_id}", delete(reactions::take)),
    ]
}

fn guild_routes() -> [(&'static str, MethodRouter<Shared>); 10] {
    let member = get(members::get).patch(members::edit).delete(members::kick);
    [
        ("", get(guilds::get)),
        ("/channels", get(guilds::channels)),
        ("/roles", get(guilds::roles)),
        ("/roles/{role_id}", get(guilds::role)),
        ("/members", get(members::list)),
        ("/members/search", get(members::search)),
        ("/members/{user_id}", member),
        ("/members/{user_id}/roles/{role_id}", put(members::add_role).delete(members::take_role)),
        ("/bans", get(members::bans)),
        ("/bans/{user_id}", get(members::banned).put(members::ban).delete(members::unban)),
    ]
}

/// A JSON body, or the JSON part of a form with files; an empty one is `{}`.
pub struct Body(pub Value);

impl FromRequest<Shared> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, ApiError> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let boundary = kind.and_then(multipart::boundary);
        let bytes = Bytes::from_request(request, state).await.map_err(|_| ApiError::TOO_LARGE)?;
        if let Some(boundary) = boundary {
            return multipart::read(&bytes, &boundary).map(Self);
        }
        if bytes.is_empty() {
            return Ok(Self(Value::Object(serde_json::Map::new())));
        }
        serde_json::from_slice(&bytes).map(Self).map_err(|_| ApiError::INVALID_JSON)
    }
}

/// Reads a snowflake of the path.
fn id(name: &str, text: &str) -> Result<Id, ApiError> {
    let wrong =
        |_| ApiError::field(name, "NUMBER_TYPE_COERCE", format!("Value \"{text}\" is not snowflake."));
    text.parse().map_err(wrong)
}

fn ok(body: &impl Serialize) -> Answer {
    Ok(Json(body).into_response())
}

/// Whether a flag of the query is set; libraries write `true`, `True` or `1`.
fn flag(query: &HashMap<String, String>, name: &str) -> bool {
    query.get(name).is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
}

/// JSON that was written before.
fn ok_text(body: String) -> Answer {
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

fn no_content() -> Answer {
    Ok(StatusCode::NO_CONTENT.into_response())
}
