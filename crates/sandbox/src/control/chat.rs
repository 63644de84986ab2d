//! What people do in the chats: who is there, what was said, saying more, slash commands, buttons.

use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Control,
    reply::{Asked, Body, Refused},
    slash,
};
use crate::{
    feed::{Line, Platform},
    people::Person,
};

/// How many channels a platform lists; a load test has thousands of quiet ones.
const MOST_LISTED: usize = 50;
/// Longest line a person can type, in characters; the platforms have their own lower limits.
const MOST_TYPED: usize = 4000;

pub fn router() -> Router<Control> {
    Router::new()
        .route("/sandbox/state", get(state))
        .route("/sandbox/people", get(async || Json(people())))
        .route("/sandbox/channels", get(channels))
        .route("/sandbox/history", get(history))
        .route("/sandbox/commands", get(commands))
        .route("/sandbox/say", post(say))
        .route("/sandbox/slash", post(use_slash))
        .route("/sandbox/autocomplete", post(autocomplete))
        .route("/sandbox/press", post(press))
}

impl Control {
    /// The channel that was named by id or name, or the first one.
    pub(super) fn channel(&self, platform: Platform, named: Option<&str>) -> Result<String, Refused> {
        let ids: Vec<(String, String)> = match platform {
            Platform::Discord => self.discord.channels().into_iter().map(|one| (one.id, one.name)).collect(),
            Platform::Twitch => {
                self.twitch.channels().into_iter().map(|one| (one.login.clone(), one.login)).collect()
            }
        };
        let found = match named.map(|name| name.trim_start_matches('#')) {
            None => ids.first(),
            Some(name) => ids.iter().find(|(id, called)| id == name || called == name),
        };
        found.map(|(id, _)| id.clone()).ok_or_else(|| {
            let known: Vec<&str> = ids.iter().take(5).map(|(_, name)| name.as_str()).collect();
            Refused::bad(format!("no such channel; expected one of {}", known.join(", ")))
        })
    }

    /// Writes a line as a person and returns its id.
    pub(super) fn say(
        &self,
        platform: Platform,
        person: Person,
        channel: &str,
        text: &str,
    ) -> Result<String, Refused> {
        check_text(text)?;
        Ok(match platform {
            Platform::Discord => self.discord.say(person, channel, text)?,
            Platform::Twitch => self.twitch.say(person, channel, text)?,
        })
    }

    /// How many bots hear what is said in a channel, now or when they come back for it.
    fn hearing(&self, platform: Platform, channel: &str) -> usize {
        match platform {
            Platform::Discord => self.discord.hearing(channel),
            Platform::Twitch => self.twitch.hearing(channel),
        }
    }

    /// Uses a slash command as it is typed and returns the interaction's id.
    pub(super) fn slash_text(&self, person: Person, channel: &str, text: &str) -> Result<String, Refused> {
        check_text(text)?;
        let commands = self.discord.commands(channel);
        let (name, options) = slash::read(text, &commands).map_err(Refused::bad)?;
        Ok(self.discord.slash(person, channel, &name, options)?)
    }
}

fn check_text(text: &str) -> Result<(), Refused> {
    if text.trim().is_empty() {
        return Err(Refused::bad("expected a text; this one is empty"));
    }
    if text.chars().count() > MOST_TYPED {
        return Err(Refused::bad(format!("expected a text of at most {MOST_TYPED} characters")));
    }
    Ok(())
}

fn people() -> Value {
    let one = |person: Person| json!({ "id": person, "name": person.name(), "role": person.role() });
    Person::ALL.into_iter().map(one).collect()
}

#[derive(Serialize)]
struct Group {
    label: String,
    channels: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    id: String,
    name: String,
}

/// The first channels of a platform, grouped as its page groups them.
fn groups(control: &Control, platform: Platform) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut add = |label: String, id: String, name: String| {
        let listed = Listed { id, name };
        match groups.iter_mut().find(|group| group.label == label) {
            Some(group) => group.channels.push(listed),
            None => groups.push(Group { label, channels: vec![listed] }),
        }
    };
    match platform {
        Platform::Discord => {
            for one in control.discord.channels().into_iter().take(MOST_LISTED) {
                add(one.guild_name, one.id, one.name);
            }
        }
        Platform::Twitch => {
            for one in control.twitch.channels().into_iter().take(MOST_LISTED) {
                add("Twitch".to_owned(), one.login.clone(), one.login);
            }
        }
    }
    groups
}

/// All that the page needs to draw itself.
async fn state(State(control): State<Control>) -> Json<Value> {
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "people": people(),
        "channels": {
            "discord": groups(&control, Platform::Discord),
            "twitch": groups(&control, Platform::Twitch),
        },
        "bots": control.feed.bots(),
    }))
}

#[derive(Deserialize)]
struct OfPlatform {
    platform: Platform,
}

async fn channels(State(control): State<Control>, Asked(asked): Asked<OfPlatform>) -> Json<Value> {
    Json(match asked.platform {
        Platform::Discord => json!(control.discord.channels()),
        Platform::Twitch => json!(control.twitch.channels()),
    })
}

#[derive(Deserialize)]
struct OfChannel {
    platform: Platform,
    channel: Option<String>,
}

async fn history(
    State(control): State<Control>,
    Asked(asked): Asked<OfChannel>,
) -> Result<Json<Vec<Line>>, Refused> {
    let channel = control.channel(asked.platform, asked.channel.as_deref())?;
    Ok(Json(match asked.platform {
        Platform::Discord => control.discord.history(&channel),
        Platform::Twitch => control.twitch.history(&channel),
    }))
}

#[derive(Deserialize)]
struct InChannel {
    channel: Option<String>,
}

async fn commands(
    State(control): State<Control>,
    Asked(asked): Asked<InChannel>,
) -> Result<Json<Vec<Value>>, Refused> {
    let channel = control.channel(Platform::Discord, asked.channel.as_deref())?;
    Ok(Json(control.discord.commands(&channel)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Say {
    platform: Platform,
    person: Person,
    channel: Option<String>,
    text: String,
}

async fn say(State(control): State<Control>, Body(say): Body<Say>) -> Result<Json<Value>, Refused> {
    let channel = control.channel(say.platform, say.channel.as_deref())?;
    // A bot that comes or goes meanwhile may not hear it, so the smaller number is told.
    let before = control.hearing(say.platform, &channel);
    let id = control.say(say.platform, say.person, &channel, &say.text)?;
    let heard = before.min(control.hearing(say.platform, &channel));
    Ok(Json(json!({ "id": id, "heard": heard })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Slash {
    person: Person,
    channel: Option<String>,
    /// The line as it is typed: `/echo text:hello`.
    text: Option<String>,
    /// Or the command's name with its options in Discord's shape.
    name: Option<String>,
    #[serde(default)]
    options: Value,
}

async fn use_slash(State(control): State<Control>, Body(slash): Body<Slash>) -> Result<Json<Value>, Refused> {
    let channel = control.channel(Platform::Discord, slash.channel.as_deref())?;
    let id = match (slash.text, slash.name) {
        (Some(text), None) => control.slash_text(slash.person, &channel, &text)?,
        (None, Some(name)) => control.discord.slash(slash.person, &channel, &name, slash.options)?,
        _ => return Err(Refused::bad("expected either `text`, such as \"/echo text:hello\", or `name`")),
    };
    Ok(Json(json!({ "id": id })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Autocomplete {
    person: Person,
    channel: Option<String>,
    name: String,
    option: String,
    #[serde(default)]
    value: String,
}

async fn autocomplete(
    State(control): State<Control>,
    Body(asked): Body<Autocomplete>,
) -> Result<Json<Vec<Value>>, Refused> {
    let channel = control.channel(Platform::Discord, asked.channel.as_deref())?;
    let found =
        control.discord.autocomplete(asked.person, &channel, &asked.name, &asked.option, &asked.value);
    Ok(Json(found.await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Press {
    person: Person,
    channel: Option<String>,
    message: String,
    custom_id: String,
}

async fn press(State(control): State<Control>, Body(press): Body<Press>) -> Result<Json<Value>, Refused> {
    let channel = control.channel(Platform::Discord, press.channel.as_deref())?;
    let id = control.discord.press(press.person, &channel, &press.message, &press.custom_id)?;
    Ok(Json(json!({ "id": id })))
}
