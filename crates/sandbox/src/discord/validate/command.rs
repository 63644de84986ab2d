//! The registration of application commands.
//! Source: <https://docs.discord.com/developers/interactions/application-commands>.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::Fields;
use crate::discord::error::{ApiError, Problems};

const CHAT_INPUT: u64 = 1;
const SUB: u64 = 1;
const GROUP: u64 = 2;
const MAX_OPTIONS: usize = 25;
const MAX_NAME: usize = 32;
const MAX_DESCRIPTION: usize = 100;
const MAX_CHOICE: usize = 100;
/// Characters of names, descriptions and values of one command together.
const MAX_TOTAL: usize = 8000;

/// Checks one command and returns it as Discord stores it.
///
/// # Errors
/// Error 50035 with everything that is wrong.
pub fn read(body: &Value) -> Result<Map<String, Value>, ApiError> {
    let mut problems = Problems::default();
    let command = one(body, "", &mut problems);
    problems.finish()?;
    Ok(command)
}

/// Checks a change of a command: what it does not name stays as it is in `known`.
///
/// # Errors
/// Error 50035 with everything that is wrong.
pub fn read_change(known: &Map<String, Value>, change: &Value) -> Result<Map<String, Value>, ApiError> {
    let mut whole = known.clone();
    for (name, value) in change.as_object().into_iter().flatten() {
        whole.insert(name.clone(), value.clone());
    }
    read(&Value::Object(whole))
}

/// Checks all commands of a scope.
///
/// # Errors
/// Error 50035 with everything that is wrong.
pub fn read_all(body: &Value) -> Result<Vec<Map<String, Value>>, ApiError> {
    let Some(list) = body.as_array() else {
        return Err(ApiError::field("", "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType"));
    };
    let mut problems = Problems::default();
    let mut names = HashSet::new();
    let mut commands = Vec::with_capacity(list.len());
    for (place, body) in list.iter().enumerate() {
        let command = one(body, &place.to_string(), &mut problems);
        let name = (command.get("type").cloned(), command.get("name").cloned());
        if command.contains_key("name") && !names.insert(format!("{name:?}")) {
            let message = "Application command names must be unique";
            problems.add(&place.to_string(), "APPLICATION_COMMANDS_DUPLICATE_NAME", message);
        }
        commands.push(command);
    }
    problems.finish()?;
    Ok(commands)
}

fn one(body: &Value, path: &str, problems: &mut Problems) -> Map<String, Value> {
    let Some(map) = body.as_object() else {
        problems.add(path, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType");
        return Map::new();
    };
    let mut fields = Fields::new(map, path, problems);
    let kind = fields.number("type").unwrap_or(CHAT_INPUT);
    if !(1..=4).contains(&kind) {
        fields.problems.not_one_of(&fields.at("type"), "1, 2, 3, 4");
    }
    let chat = kind == CHAT_INPUT;
    let at = fields.at("options");
    let options = fields.list("options", MAX_OPTIONS).unwrap_or_default().to_vec();
    name(map, path, chat, problems);
    let mut fields = Fields::new(map, path, problems);
    if chat {
        fields.required_text("description", 1, MAX_DESCRIPTION);
    } else if fields.text("description", 0).is_some_and(|text| !text.is_empty()) {
        let message = "Context menu commands cannot have description";
        problems.add(path, "APPLICATION_COMMAND_CONTEXT_MENU_DESCRIPTION_INVALID", message);
    }
    let read = option_list(&options, &at, 0, problems);
    if size(map) > MAX_TOTAL {
        let message = format!("Command exceeds maximum size ({MAX_TOTAL})");
        problems.add(path, "APPLICATION_COMMAND_TOO_LARGE", message);
    }
    stored(map, kind, read)
}

/// What Discord adds to a command and in which shape it keeps it.
fn stored(map: &Map<String, Value>, kind: u64, options: Vec<Value>) -> Map<String, Value> {
    let or =
        |name: &str, other: Value| map.get(name).filter(|value| !value.is_null()).cloned().unwrap_or(other);
    let permissions = match map.get("default_member_permissions") {
        Some(Value::Number(bits)) => json!(bits.to_string()),
        Some(Value::String(bits)) => json!(bits),
        _ => Value::Null,
    };
    let mut out = Map::new();
    let mut keep = |name: &str, value: Value| out.insert(name.to_owned(), value);
    keep("type", json!(kind));
    keep("name", or("name", json!("")));
    keep("description", or("description", json!("")));
    keep("name_localizations", map.get("name_localizations").cloned().unwrap_or_default());
    keep("description_localizations", map.get("description_localizations").cloned().unwrap_or_default());
    keep("default_member_permissions", permissions);
    keep("dm_permission", or("dm_permission", json!(true)));
    keep("contexts", map.get("contexts").cloned().unwrap_or_default());
    keep("integration_types", or("integration_types", json!([0])));
    keep("nsfw", or("nsfw", json!(false)));
    if !options.is_empty() {
        keep("options", Value::Array(options));
    }
    out
}

fn option_list(list: &[Value], path: &str, depth: usize, problems: &mut Problems) -> Vec<Value> {
    let mut names = HashSet::new();
    let mut optional_before = false;
    let mut out = Vec::with_capacity(list.len());
    for (place, option) in list.iter().enumerate() {
        let at = format!("{path}.{place}");
        let Some(map) = option.as_object() else { continue };
        name(map, &at, true, problems);
        if !names.insert(map.get("name").and_then(Value::as_str).unwrap_or_default()) {
            let message = "Option name already exists";
            problems.add(&at, "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", message);
        }
        let required = map.get("required") == Some(&Value::Bool(true));
        if required && optional_before {
            let message = "Required options must be placed before non-required options";
            problems.add(&at, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", message);
        }
        optional_before |= !required;
        out.push(option_of(map, &at, depth, problems));
    }
    out
}

fn option_of(map: &Map<String, Value>, path: &str, depth: usize, problems: &mut Problems) -> Value {
    let mut fields = Fields::new(map, path, problems);
    fields.required_text("description", 1, MAX_DESCRIPTION);
    let kind = fields.number("type");
    let children = fields.at("options");
    let below = fields.list("options", MAX_OPTIONS).unwrap_or_default();
    let mut out = map.clone();
    match kind {
        None => problems.required(&format!("{path}.type")),
        Some(SUB | GROUP) if depth > 1 || (kind == Some(GROUP) && depth > 0) => {
            let message = "Sub-command option type is not allowed here";
            problems.add(&format!("{path}.type"), "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", message);
        }
        Some(SUB | GROUP) => {
            let read = option_list(below, &children, depth + 1, problems);
            out.insert("options".to_owned(), Value::Array(read));
        }
        Some(3 | 4 | 10) => choices(map, path, kind == Some(3), problems),
        Some(5..=9 | 11) => {}
        Some(_) => problems.not_one_of(&format!("{path}.type"), "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"),
    }
    // Discord leaves out what only says the default.
    out.retain(|name, value| !(value.is_null() || (name == "required" && value == false)));
    Value::Object(out)
}

fn choices(map: &Map<String, Value>, path: &str, text: bool, problems: &mut Problems) {
    let mut fields = Fields::new(map, path, problems);
    let at = fields.at("choices");
    let list = fields.list("choices", MAX_OPTIONS).unwrap_or_default();
    if !list.is_empty() && fields.flag("autocomplete") {
        let message = "Autocomplete cannot be set to true if choices are present";
        fields.problems.add(path, "APPLICATION_COMMAND_OPTIONS_CHOICES_AUTOCOMPLETE", message);
    }
    for (place, choice) in list.iter().enumerate() {
        let at = format!("{at}.{place}");
        let Some(map) = choice.as_object() else { continue };
        let mut fields = Fields::new(map, &at, problems);
        fields.required_text("name", 1, MAX_CHOICE);
        if text {
            fields.required_text("value", 1, MAX_CHOICE);
        } else if !fields.get("value").is_some_and(Value::is_number) {
            let message = "Value must be a number.";
            fields.problems.add(&fields.at("value"), "NUMBER_TYPE_COERCE", message);
        }
    }
}

/// Names of chat commands and options are lower-case words; those of menus are any text.
fn name(map: &Map<String, Value>, path: &str, chat: bool, problems: &mut Problems) {
    let mut fields = Fields::new(map, path, problems);
    let Some(name) = fields.required_text("name", 1, MAX_NAME) else { return };
    let word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '\'');
    if chat && !(name.chars().all(word) && name.to_lowercase() == name) {
        let at = fields.at("name");
        fields.problems.add(&at, "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid");
    }
}

fn size(map: &Map<String, Value>) -> usize {
    let text = |name: &str| map.get(name).and_then(Value::as_str).map_or(0, |text| text.chars().count());
    let below = |name: &str| map.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let nested = below("options").iter().chain(below("choices")).filter_map(Value::as_object);
    text("name") + text("description") + text("value") + nested.map(size).sum::<usize>()
}
