//! Embeds and their limits.
//! Source: <https://docs.discord.com/developers/resources/message#embed-object-embed-limits>.

use serde_json::{Map, Value, json};
use time::{OffsetDateTime, PrimitiveDateTime, format_description::well_known::Iso8601};

use super::Fields;
use crate::discord::{error::Problems, snowflake::Timestamp};

/// Embeds of a message.
pub const MAX_EMBEDS: usize = 10;
/// Characters of all embeds of a message together.
const MAX_TOTAL: usize = 6000;
const MAX_TITLE: usize = 256;
const MAX_DESCRIPTION: usize = 4096;
const MAX_FIELDS: usize = 25;
const MAX_FIELD_NAME: usize = 256;
const MAX_FIELD_VALUE: usize = 1024;
const MAX_FOOTER: usize = 2048;
const MAX_AUTHOR: usize = 256;
const MAX_URL: usize = 2048;
const MAX_COLOR: u64 = 0xff_ff_ff;

/// Checks embeds and returns them as Discord gives them back.
pub fn read(list: &[Value], path: &str, problems: &mut Problems) -> Vec<Value> {
    let mut total = 0;
    let mut read = Vec::with_capacity(list.len());
    for (place, embed) in list.iter().enumerate() {
        let at = format!("{path}.{place}");
        match embed.as_object() {
            Some(map) => read.push(one(map, &at, &mut total, problems)),
            None => problems.add(&at, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType"),
        }
    }
    if total > MAX_TOTAL {
        let message = format!("Embed size exceeds maximum size of {MAX_TOTAL}");
        problems.add(path, "MAX_EMBED_SIZE_EXCEEDED", message);
    }
    read
}

fn one(map: &Map<String, Value>, path: &str, total: &mut usize, problems: &mut Problems) -> Value {
    let mut out = Map::new();
    let mut keep = |name: &str, value: Value| out.insert(name.to_owned(), value);
    keep("type", json!("rich"));
    let mut fields = Fields::new(map, path, problems);
    for (name, max) in [("title", MAX_TITLE), ("description", MAX_DESCRIPTION)] {
        if let Some(text) = fields.text(name, max) {
            *total += text.chars().count();
            keep(name, json!(text));
        }
    }
    if let Some(url) = url(&mut fields, "url") {
        keep("url", json!(url));
    }
    if let Some(color) = fields.number("color") {
        if color > MAX_COLOR {
            let message = format!("int value should be less than or equal to {MAX_COLOR}.");
            fields.problems.add(&fields.at("color"), "NUMBER_TYPE_MAX", message);
        }
        keep("color", json!(color));
    }
    if let Some(at) = fields.text("timestamp", 64) {
        let known = OffsetDateTime::parse(&at, &Iso8601::DEFAULT);
        // A date without an offset is one in UTC.
        let utc = |_| {
            let plain = PrimitiveDateTime::parse(&at, &Iso8601::DEFAULT);
            plain.map(PrimitiveDateTime::assume_utc)
        };
        let known = known.or_else(utc).map(|at| at.unix_timestamp_nanos() / 1_000_000);
        match known.map(u64::try_from) {
            Ok(Ok(ms)) => drop(keep("timestamp", json!(Timestamp(ms)))),
            _ => {
                let message = format!("Could not parse {at}. Should be ISO8601.");
                fields.problems.add(&fields.at("timestamp"), "DATE_TIME_TYPE_PARSE", message);
            }
        }
    }
    for (name, key, max) in [("footer", "text", MAX_FOOTER), ("author", "name", MAX_AUTHOR)] {
        if let Some(part) = fields.object(name) {
            keep(name, named(part, &fields.at(name), (key, max), total, fields.problems));
        }
    }
    for name in ["image", "thumbnail"] {
        if let Some(picture) = fields.object(name) {
            let at = fields.at(name);
            let mut picture = Fields::new(picture, &at, fields.problems);
            if picture.get("url").is_none() {
                picture.problems.required(&picture.at("url"));
            }
            if let Some(url) = url(&mut picture, "url") {
                keep(name, json!({ "url": url, "proxy_url": url, "width": 0, "height": 0 }));
            }
        }
    }
    if let Some(list) = fields.list("fields", MAX_FIELDS) {
        let at = fields.at("fields");
        keep("fields", embed_fields(list, &at, total, fields.problems));
    }
    Value::Object(out)
}

/// A footer or author: a text and addresses.
fn named(
    map: &Map<String, Value>,
    path: &str,
    (key, max): (&str, usize),
    total: &mut usize,
    problems: &mut Problems,
) -> Value {
    let mut out = Map::new();
    let mut fields = Fields::new(map, path, problems);
    if let Some(text) = fields.required_text(key, 1, max) {
        *total += text.chars().count();
        out.insert(key.to_owned(), json!(text));
    }
    for name in ["url", "icon_url"] {
        if let Some(url) = url(&mut fields, name) {
            out.insert(name.to_owned(), json!(url));
        }
    }
    Value::Object(out)
}

fn embed_fields(list: &[Value], path: &str, total: &mut usize, problems: &mut Problems) -> Value {
    let mut out = Vec::with_capacity(list.len());
    for (place, field) in list.iter().enumerate() {
        let at = format!("{path}.{place}");
        let Some(map) = field.as_object() else { continue };
        let mut fields = Fields::new(map, &at, problems);
        let name = fields.required_text("name", 1, MAX_FIELD_NAME).unwrap_or_default();
        let value = fields.required_text("value", 1, MAX_FIELD_VALUE).unwrap_or_default();
        *total += name.chars().count() + value.chars().count();
        out.push(json!({ "name": name, "value": value, "inline": fields.flag("inline") }));
    }
    Value::Array(out)
}

fn url(fields: &mut Fields<'_, '_>, name: &str) -> Option<String> {
    let url = fields.text(name, MAX_URL).filter(|url| !url.is_empty())?;
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    match scheme {
        Some("http" | "https" | "attachment") => return Some(url),
        Some(other) => {
            let message =
                format!("Scheme \"{other}\" is not supported. Scheme must be one of ('http', 'https').");
            fields.problems.add(&fields.at(name), "URL_TYPE_INVALID_SCHEME", message);
        }
        None => fields.problems.add(&fields.at(name), "URL_TYPE_INVALID_URL", "Not a well formed URL."),
    }
    None
}
