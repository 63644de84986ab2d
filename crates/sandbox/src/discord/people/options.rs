//! The options of a slash command, from what a person gave to what an interaction carries.

use serde_json::{Map, Value, json};

use crate::discord::{
    Refusal,
    payload::{MemberJson, UserJson, guild::role as role_json},
    snowflake::Id,
    world::{World, guild::Guild},
};

const SUB: u64 = 1;
const GROUP: u64 = 2;
const STRING: u64 = 3;
const INTEGER: u64 = 4;
const BOOLEAN: u64 = 5;
const USER: u64 = 6;
const CHANNEL: u64 = 7;
const ROLE: u64 = 8;
const MENTIONABLE: u64 = 9;
const NUMBER: u64 = 10;

/// How a person's options are read.
pub struct Reader<'w> {
    /// Where users, roles and channels are looked up.
    pub world: &'w World,
    /// The guild in which the command is used.
    pub guild: Option<&'w Guild>,
    /// The option that is being typed, for autocomplete; then nothing else has to be there.
    pub focused: Option<&'w str>,
    /// What the options name, in Discord's shape.
    pub resolved: Map<String, Value>,
}

impl Reader<'_> {
    /// Reads options against their declarations. `given` is an object by name or a list in
    /// Discord's shape; `path` names subcommands that were typed as part of the name.
    pub fn read(&mut self, declared: &[Value], given: &Value, path: &[&str]) -> Result<Vec<Value>, Refusal> {
        let is_sub = |option: &&Value| matches!(option["type"].as_u64(), Some(SUB | GROUP));
        if !declared.iter().any(|option| is_sub(&option)) {
            return match path.first() {
                Some(extra) => Err(Refusal::new(format!("there is no subcommand {extra}"))),
                None => self.read_values(declared, given),
            };
        }
        let named = path.first().copied().or_else(|| names(given).first().copied());
        let sub = declared.iter().filter(is_sub).find(|option| option["name"].as_str() == named);
        let sub = sub.ok_or_else(|| {
            let all: Vec<&str> = declared.iter().filter_map(|option| option["name"].as_str()).collect();
            Refusal::new(format!("expected one of the subcommands {}", all.join(", ")))
        })?;
        let inner = match (path.is_empty(), given) {
            (true, Value::Array(list)) => list.first().map_or(&Value::Null, |first| &first["options"]),
            (true, given) => &given[named.unwrap_or_default()],
            (false, given) => given,
        };
        let below = sub["options"].as_array().map_or(&[][..], Vec::as_slice);
        let options = self.read(below, inner, path.get(1..).unwrap_or_default())?;
        Ok(vec![json!({ "name": sub["name"], "type": sub["type"], "options": options })])
    }

    fn read_values(&mut self, declared: &[Value], given: &Value) -> Result<Vec<Value>, Refusal> {
        for name in names(given) {
            if !declared.iter().any(|option| option["name"] == name) {
                return Err(Refusal::new(format!("there is no option {name}")));
            }
        }
        let mut read = Vec::new();
        for option in declared {
            let name = option["name"].as_str().unwrap_or_default();
            let Some(value) = value_of(given, name) else {
                if option["required"] == true && self.focused.is_none() {
                    return Err(Refusal::new(format!("the option {name} is required")));
                }
                continue;
            };
            let kind = option["type"].as_u64().unwrap_or(STRING);
            let mut one = json!({ "name": name, "type": kind });
            if self.focused == Some(name) {
                one["focused"] = json!(true);
                one["value"] = value.clone();
            } else {
                one["value"] = self.read_value(option, kind, value)?;
            }
            read.push(one);
        }
        Ok(read)
    }

    fn read_value(&mut self, option: &Value, kind: u64, value: &Value) -> Result<Value, Refusal> {
        let name = option["name"].as_str().unwrap_or_default();
        let wrong = |what: &str| Refusal::new(format!("the option {name} expects {what}, not {value}"));
        let text = value.as_str();
        let read = match kind {
            STRING => json!(text.ok_or_else(|| wrong("a text"))?),
            INTEGER => {
                let number = value.as_i64().or_else(|| text?.parse().ok());
                json!(number.ok_or_else(|| wrong("a whole number"))?)
            }
            NUMBER => {
                let number = value.as_f64().or_else(|| text?.parse().ok());
                json!(number.ok_or_else(|| wrong("a number"))?)
            }
            BOOLEAN => {
                let yes = value.as_bool().or_else(|| text?.parse().ok());
                json!(yes.ok_or_else(|| wrong("true or false"))?)
            }
            USER | CHANNEL | ROLE | MENTIONABLE => {
                let text = text.ok_or_else(|| wrong("an id or a name"))?;
                json!(self.resolve(kind, text).ok_or_else(|| wrong("somebody or something that is here"))?)
            }
            _ => return Err(wrong("something that cannot be given here")),
        };
        check_bounds(option, &read)?;
        Ok(read)
    }

    /// Finds what a text names: `<@1>`, `1` or a name.
    fn resolve(&mut self, kind: u64, text: &str) -> Option<Id> {
        let plain = text.trim_matches(['<', '>', '@', '#', '&', '!']);
        let id = plain.parse::<Id>().ok();
        let (world, guild) = (self.world, self.guild);
        let user =
            |_| world.users.values().find(|u| Some(u.id) == id || u.username.eq_ignore_ascii_case(plain));
        let role = |_| guild?.roles.iter().find(|role| Some(role.id) == id || role.name == plain);
        if matches!(kind, USER | MENTIONABLE)
            && let Some(user) = user(())
        {
            self.note("users", user.id, json!(UserJson::new(user)));
            if let Some((guild, member)) = guild.and_then(|guild| Some((guild, guild.members.get(&user.id)?)))
            {
                let may = guild.permissions_of(user.id);
                self.note("members", user.id, json!(MemberJson::partial(member).with_permissions(may)));
            }
            return Some(user.id);
        }
        if matches!(kind, ROLE | MENTIONABLE)
            && let Some(role) = role(())
        {
            self.note("roles", role.id, role_json(role));
            return Some(role.id);
        }
        if kind != CHANNEL {
            return None;
        }
        let channel = guild?.channels.iter().filter_map(|id| world.channels.get(id));
        let channel = channel.into_iter().find(|channel| Some(channel.id) == id || channel.name == plain)?;
        let mut json = world.channel_value(channel, false);
        json["permissions"] = json!("0");
        self.note("channels", channel.id, json);
        Some(channel.id)
    }

    fn note(&mut self, kind: &str, id: Id, value: Value) {
        let all = self.resolved.entry(kind).or_insert_with(|| json!({}));
        all[id.to_string()] = value;
    }
}

fn names(given: &Value) -> Vec<&str> {
    match given {
        Value::Object(map) => map.keys().map(String::as_str).collect(),
        Value::Array(list) => list.iter().filter_map(|one| one["name"].as_str()).collect(),
        _ => Vec::new(),
    }
}

fn value_of<'a>(given: &'a Value, name: &str) -> Option<&'a Value> {
    match given {
        Value::Object(map) => map.get(name),
        Value::Array(list) => list.iter().find(|one| one["name"] == name)?.get("value"),
        _ => None,
    }
}

fn check_bounds(option: &Value, value: &Value) -> Result<(), Refusal> {
    let name = option["name"].as_str().unwrap_or_default();
    let out = |what: String| Err(Refusal::new(format!("the option {name} expects {what}")));
    if let Some(choices) = option["choices"].as_array().filter(|all| !all.is_empty()) {
        // 1 and 1.0 are the same choice.
        let same = |choice: &Value| match (choice.as_f64(), value.as_f64()) {
            (Some(a), Some(b)) => a.total_cmp(&b).is_eq(),
            _ => choice == value,
        };
        if !choices.iter().any(|choice| same(&choice["value"])) {
            let all: Vec<&str> = choices.iter().filter_map(|choice| choice["name"].as_str()).collect();
            return out(format!("one of {}", all.join(", ")));
        }
    }
    if let Some(number) = value.as_f64() {
        let (min, max) = (option["min_value"].as_f64(), option["max_value"].as_f64());
        if min.is_some_and(|min| number < min) || max.is_some_and(|max| number > max) {
            return out(format!("a number from {} to {}", option["min_value"], option["max_value"]));
        }
    }
    if let Some(text) = value.as_str() {
        let length = text.chars().count() as u64;
        let (min, max) = (option["min_length"].as_u64(), option["max_length"].as_u64());
        if min.is_some_and(|min| length < min) || length > max.unwrap_or(6000) {
            return out(format!("a text of {} to {} characters", min.unwrap_or(0), max.unwrap_or(6000)));
        }
    }
    Ok(())
}
