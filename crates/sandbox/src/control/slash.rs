//! Reads a slash command as a person types it: `/echo text:hello loud:true`. Whether the values fit
//! their options is checked where the command is used.

use serde_json::{Map, Value};

const SUB: u64 = 1;
const GROUP: u64 = 2;
/// A subcommand group holds subcommands and nothing deeper.
const DEEPEST: usize = 2;

/// The command's name, with its subcommands as in `light set`, and its options by name.
///
/// # Errors
/// A sentence for the person who typed.
pub fn read(text: &str, commands: &[Value]) -> Result<(String, Value), String> {
    let line = text.trim().strip_prefix('/').ok_or("a slash command starts with /")?;
    let (first, mut rest) = cut(line);
    let mut level = find(commands, first).ok_or_else(|| unknown_command(first, commands))?;
    let mut name = first.to_owned();
    let mut depth = 0;
    while let Some(subs) = subcommands(level) {
        let (word, after) = cut(rest);
        let expected = || format!("/{name} expects one of its subcommands: {}", names(subs).join(", "));
        level = find(subs, word).filter(|_| depth < DEEPEST).ok_or_else(expected)?;
        name = format!("{name} {word}");
        rest = after;
        depth += 1;
    }
    let declared = level["options"].as_array().map_or(&[][..], Vec::as_slice);
    let options = read_options(&name, rest, declared)?;
    Ok((name, Value::Object(options)))
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

fn read_options(command: &str, rest: &str, declared: &[Value]) -> Result<Map<String, Value>, String> {
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
    let named = given.iter().filter(|one| !one.value.is_empty());
    Ok(named.map(|one| (text(&one.option["name"]).to_owned(), one.meant())).collect())
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
    /// A choice may be named by what people see; anything else is the text itself.
    fn meant(&self) -> Value {
        let choices = self.option["choices"].as_array();
        let chosen = choices.into_iter().flatten().find(|one| text(&one["name"]) == self.value);
        chosen.map_or_else(|| self.value.into(), |one| one["value"].clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        let expected = expected.map(|(name, options)| (name.to_owned(), options)).map_err(str::to_owned);
        assert_eq!(read(line, &commands()), expected, "{line}");
    }

    #[test]
    fn options_are_read_by_name() {
        check("/ping", Ok(("ping", json!({}))));
        check(
            "/echo text:a b: c loud:true times:3",
            Ok(("echo", json!({ "text": "a b: c", "loud": "true", "times": "3" }))),
        );
        check("/echo text:x tone:Calm sea", Ok(("echo", json!({ "text": "x", "tone": "calm" }))));
        check("/echo text:x tone:", Ok(("echo", json!({ "text": "x" }))));
    }

    #[test]
    fn one_value_needs_no_name() {
        check("/echo hello there", Ok(("echo", json!({ "text": "hello there" }))));
    }

    #[test]
    fn subcommands_are_part_of_the_name() {
        check("/watch light set on:true", Ok(("watch light set", json!({ "on": "true" }))));
        check("/watch", Err("/watch expects one of its subcommands: light"));
    }

    #[test]
    fn mistakes_get_a_sentence() {
        check("/nope", Err("there is no /nope; expected one of /ping, /echo, /watch"));
        check("/echo", Err("/echo expects text:… (what to say)"));
        check("/ping x", Err("/ping takes no options, but got \"x\""));
        check("/echo x times:2", Err("expected name:value pairs after /echo, not \"x\""));
    }

    proptest::proptest! {
        #[test]
        fn nothing_typed_can_break_it(line in "/(echo|watch|ping)?[ :a-zé\u{1F600}]{0,40}") {
            let _ = read(&line, &commands());
        }
    }
}
