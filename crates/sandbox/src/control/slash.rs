//! Reads a slash command as a person types it, `/echo text:hello loud:true`, into Discord's options.

use serde_json::{Value, json};

use crate::discord::ChannelInfo;

const SUB: u64 = 1;
const GROUP: u64 = 2;
const INTEGER: u64 = 4;
const BOOLEAN: u64 = 5;
const CHANNEL: u64 = 7;
const NUMBER: u64 = 10;
const ATTACHMENT: u64 = 11;
/// A subcommand group holds subcommands and nothing deeper.
const DEEPEST: usize = 2;

/// The command's name and its options, in the shape of an interaction's `data.options`.
///
/// # Errors
/// A sentence for the person who typed.
pub fn read(text: &str, commands: &[Value], channels: &[ChannelInfo]) -> Result<(String, Value), String> {
    let line = text.trim().strip_prefix('/').ok_or("a slash command starts with /")?;
    let (name, mut rest) = cut(line);
    let mut level = find(commands, name).ok_or_else(|| unknown_command(name, commands))?;
    let mut path = Vec::new();
    while let Some(subs) = subcommands(level) {
        let (word, after) = cut(rest);
        level = find(subs, word)
            .filter(|_| path.len() < DEEPEST)
            .ok_or_else(|| format!("/{name} expects one of its subcommands: {}", names(subs).join(", ")))?;
        path.push((word, level["type"].as_u64().unwrap_or(SUB)));
        rest = after;
    }
    let declared = level["options"].as_array().map_or(&[][..], Vec::as_slice);
    let mut options = read_options(name, rest, declared, channels)?;
    for (word, kind) in path.into_iter().rev() {
        options = json!([{ "name": word, "type": kind, "options": options }]);
    }
    Ok((name.to_owned(), options))
}

fn cut(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
}

fn find<'a>(options: &'a [Value], name: &str) -> Option<&'a Value> {
    options.iter().find(|one| one["name"] == name)
}

fn names(options: &[Value]) -> Vec<&str> {
    options.iter().filter_map(|one| one["name"].as_str()).collect()
}

fn unknown_command(name: &str, commands: &[Value]) -> String {
    let chat_input = |one: &&Value| one["type"].as_u64().unwrap_or(1) == 1;
    let known: Vec<String> = commands
        .iter()
        .filter(chat_input)
        .filter_map(|one| one["name"].as_str())
        .map(|name| format!("/{name}"))
        .collect();
    if known.is_empty() {
        "no slash command is registered yet; is the bot online?".to_owned()
    } else {
        format!("there is no /{name}; expected one of {}", known.join(", "))
    }
}

fn subcommands(level: &Value) -> Option<&[Value]> {
    let options = level["options"].as_array()?;
    let is_sub = |one: &Value| matches!(one["type"].as_u64(), Some(SUB | GROUP));
    options.iter().any(is_sub).then_some(options.as_slice())
}

fn read_options(
    command: &str,
    rest: &str,
    declared: &[Value],
    channels: &[ChannelInfo],
) -> Result<Value, String> {
    let mut given = split(rest, declared);
    let loose = rest[..given.first().map_or(rest.len(), |one| one.at)].trim();
    if !loose.is_empty() {
        // `/echo hello` can only mean one thing when nothing else was named.
        let first = declared.iter().find(|one| one["required"] == true).or(declared.first());
        match first {
            Some(option) if given.is_empty() => given.push(Given { option, at: 0, value: loose }),
            Some(_) => return Err(format!("expected name:value pairs after /{command}, not \"{loose}\"")),
            None => return Err(format!("/{command} takes no options, but got \"{loose}\"")),
        }
    }
    for option in declared {
        let here = given.iter().any(|one| one.option["name"] == option["name"] && !one.value.is_empty());
        if option["required"] == true && !here {
            let (name, about) = (text(&option["name"]), text(&option["description"]));
            return Err(format!("/{command} expects {name}:… ({about})"));
        }
    }
    given.iter().filter(|one| !one.value.is_empty()).map(|one| one.to_json(channels)).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

struct Given<'a> {
    option: &'a Value,
    at: usize,
    value: &'a str,
}

/// Finds each declared `name:` at a word's start; a value reaches to the next of them.
fn split<'a>(rest: &'a str, declared: &'a [Value]) -> Vec<Given<'a>> {
    let mut marks: Vec<(usize, usize, &Value)> = Vec::new();
    for option in declared {
        let mark = format!("{}:", text(&option["name"]));
        let starts_word = |at: &usize| *at == 0 || rest[..*at].ends_with(char::is_whitespace);
        if let Some(at) = rest.match_indices(&mark).map(|(at, _)| at).find(starts_word) {
            marks.push((at, at + mark.len(), option));
        }
    }
    marks.sort_by_key(|(at, ..)| *at);
    let ends: Vec<usize> = marks.iter().skip(1).map(|(at, ..)| *at).chain([rest.len()]).collect();
    let given = |((at, from, option), end): ((usize, usize, &'a Value), usize)| Given {
        option,
        at,
        value: rest.get(from..end).unwrap_or_default().trim(),
    };
    marks.into_iter().zip(ends).map(given).collect()
}

impl Given<'_> {
    fn to_json(&self, channels: &[ChannelInfo]) -> Result<Value, String> {
        let kind = self.option["type"].as_u64().unwrap_or(3);
        Ok(json!({ "name": self.option["name"], "type": kind, "value": self.read_value(kind, channels)? }))
    }

    fn read_value(&self, kind: u64, channels: &[ChannelInfo]) -> Result<Value, String> {
        let name = text(&self.option["name"]);
        let wrong = |expected: &str| format!("{name} expects {expected}, not \"{}\"", self.value);
        if let Some(choices) = self.option["choices"].as_array().filter(|all| !all.is_empty()) {
            let fits = |one: &&Value| text(&one["name"]) == self.value || plain(&one["value"]) == self.value;
            let chosen = choices.iter().find(fits);
            return chosen
                .map(|one| one["value"].clone())
                .ok_or_else(|| wrong(&format!("one of {}", names(choices).join(", "))));
        }
        match kind {
            INTEGER => self.value.parse::<i64>().map(Value::from).map_err(|_| wrong("a whole number")),
            NUMBER => self.value.parse::<f64>().map(Value::from).map_err(|_| wrong("a number")),
            BOOLEAN => match self.value.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => Ok(true.into()),
                "false" | "no" | "off" => Ok(false.into()),
                _ => Err(wrong("true or false")),
            },
            CHANNEL => {
                let named = self.value.trim_matches(['<', '#', '>']);
                let found = channels.iter().find(|one| one.id == named || one.name == named);
                found.map(|one| one.id.as_str().into()).ok_or_else(|| wrong("a channel, such as #general"))
            }
            ATTACHMENT => Err(wrong("a file, which the sandbox cannot send")),
            _ => Ok(self.value.into()),
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands() -> Vec<Value> {
        vec![
            json!({ "name": "ping", "type": 1, "description": "Answers" }),
            json!({ "name": "echo", "description": "Says it", "options": [
                { "name": "text", "type": 3, "required": true, "description": "what to say" },
                { "name": "loud", "type": 5, "description": "in capitals" },
                { "name": "times", "type": 4, "description": "how often" },
                { "name": "tone", "type": 3, "description": "how", "choices": [
                    { "name": "Calm sea", "value": "calm" } ] },
            ] }),
            json!({ "name": "watch", "description": "x", "options": [
                { "name": "light", "type": 2, "options": [
                    { "name": "set", "type": 1, "options": [
                        { "name": "on", "type": 5, "required": true, "description": "lit" } ] } ] } ] }),
        ]
    }

    fn check(line: &str, expected: Result<(&str, Value), &str>) {
        let got = read(line, &commands(), &[]);
        let expected = expected.map(|(name, options)| (name.to_owned(), options)).map_err(str::to_owned);
        assert_eq!(got, expected, "{line}");
    }

    #[test]
    fn options_are_read_by_name() {
        check("/ping", Ok(("ping", json!([]))));
        check(
            "/echo text:a b: c loud:yes times:3",
            Ok((
                "echo",
                json!([
                    { "name": "text", "type": 3, "value": "a b: c" },
                    { "name": "loud", "type": 5, "value": true },
                    { "name": "times", "type": 4, "value": 3 },
                ]),
            )),
        );
        check(
            "/echo text:x tone:Calm sea",
            Ok((
                "echo",
                json!([
                    { "name": "text", "type": 3, "value": "x" },
                    { "name": "tone", "type": 3, "value": "calm" },
                ]),
            )),
        );
    }

    #[test]
    fn one_value_needs_no_name() {
        check(
            "/echo hello there",
            Ok(("echo", json!([{ "name": "text", "type": 3, "value": "hello there" }]))),
        );
    }

    #[test]
    fn subcommands_nest() {
        check(
            "/watch light set on:true",
            Ok((
                "watch",
                json!([{ "name": "light", "type": 2, "options": [
                    { "name": "set", "type": 1, "options": [
                        { "name": "on", "type": 5, "value": true } ] } ] }]),
            )),
        );
        check("/watch", Err("/watch expects one of its subcommands: light"));
    }

    #[test]
    fn mistakes_get_a_sentence() {
        check("/nope", Err("there is no /nope; expected one of /ping, /echo, /watch"));
        check("/echo", Err("/echo expects text:… (what to say)"));
        check("/ping x", Err("/ping takes no options, but got \"x\""));
        check("/echo text:x times:soon", Err("times expects a whole number, not \"soon\""));
        check("/echo x times:2", Err("expected name:value pairs after /echo, not \"x\""));
        check("/echo text:x tone:angry", Err("tone expects one of Calm sea, not \"angry\""));
    }

    proptest::proptest! {
        #[test]
        fn nothing_typed_can_break_it(line in "/(echo|watch|ping)?[ :a-zé\u{1F600}]{0,40}") {
            let _ = read(&line, &commands(), &[]);
        }
    }
}
