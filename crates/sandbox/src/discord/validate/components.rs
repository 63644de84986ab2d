//! Rows of buttons and selects, and the newer layout components.
//! Source: <https://docs.discord.com/developers/components/reference>.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::Fields;
use crate::discord::error::Problems;

const ROW: u64 = 1;
const BUTTON: u64 = 2;
const TEXT_SELECT: u64 = 3;
const TEXT_INPUT: u64 = 4;
const SECTION: u64 = 9;
const TEXT_DISPLAY: u64 = 10;
const THUMBNAIL: u64 = 11;
const FILE: u64 = 13;
const SEPARATOR: u64 = 14;
const CONTAINER: u64 = 17;
const LABEL: u64 = 18;

const MAX_ROWS: usize = 5;
const MAX_V2: usize = 40;
const MAX_BUTTONS: usize = 5;
const MAX_OPTIONS: usize = 25;
const MAX_CUSTOM_ID: usize = 100;
const MAX_BUTTON_LABEL: usize = 80;
const MAX_TEXT: usize = 4000;

/// How many components stand at the top of a message.
pub const fn most(v2: bool) -> usize {
    if v2 { MAX_V2 } else { MAX_ROWS }
}

/// Checks components and returns them as Discord gives them back: each with an `id`.
pub fn read(list: &[Value], path: &str, v2: bool, problems: &mut Problems) -> Vec<Value> {
    let mut check = Check { v2, modal: false, count: 0, custom_ids: HashSet::new(), problems };
    check.top(list, path)
}

/// Checks the components of a form.
pub fn read_modal(list: &[Value], path: &str, problems: &mut Problems) -> Vec<Value> {
    let mut check = Check { v2: false, modal: true, count: 0, custom_ids: HashSet::new(), problems };
    check.top(list, path)
}

/// What Discord adds to a component that does not say it.
fn add_defaults(out: &mut Map<String, Value>) {
    let defaults = match out.get("type").and_then(Value::as_u64) {
        Some(TEXT_SELECT | 5..=8) => json!({ "min_values": 1, "max_values": 1 }),
        Some(THUMBNAIL) => json!({ "description": null, "spoiler": false }),
        Some(FILE) => json!({ "name": "file", "size": 0, "spoiler": false }),
        Some(SEPARATOR) => json!({ "spacing": 1, "divider": true }),
        Some(CONTAINER) => json!({ "accent_color": null, "spoiler": false }),
        _ => Value::Null,
    };
    for (name, value) in defaults.as_object().into_iter().flatten() {
        out.entry(name).or_insert_with(|| value.clone());
    }
    for picture in ["media", "file"] {
        if let Some(media) = out.get_mut(picture) {
            complete_media(media);
        }
    }
    for item in out.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(item) = item.as_object_mut() {
            item.entry("description").or_insert(Value::Null);
            item.entry("spoiler").or_insert(json!(false));
        }
        complete_media(&mut item["media"]);
    }
}

/// A file by its address; nothing is fetched.
fn complete_media(media: &mut Value) {
    let url = media["url"].clone();
    if let Some(media) = media.as_object_mut() {
        media.entry("id").or_insert_with(|| json!("0"));
        media.entry("proxy_url").or_insert(url);
    }
}

struct Check<'p> {
    v2: bool,
    modal: bool,
    count: usize,
    custom_ids: HashSet<String>,
    problems: &'p mut Problems,
}

impl Check<'_> {
    fn top(&mut self, list: &[Value], path: &str) -> Vec<Value> {
        let mut out = Vec::with_capacity(list.len());
        for (place, component) in list.iter().enumerate() {
            let at = format!("{path}.{place}");
            let kind = component.get("type").and_then(Value::as_u64);
            let fits = match kind {
                Some(ROW) => true,
                Some(LABEL | TEXT_DISPLAY) if self.modal => true,
                Some(9 | 10 | 12 | 13 | 14 | 17) => self.v2,
                _ => false,
            };
            if !fits {
                let choices = match (self.modal, self.v2) {
                    (true, _) => "1, 10, 18",
                    (_, true) => "1, 9, 10, 12, 13, 14, 17",
                    _ => "1",
                };
                self.problems.not_one_of(&format!("{at}.type"), choices);
                continue;
            }
            out.extend(self.component(component, &at));
        }
        if self.count > MAX_V2 {
            let message = format!("The number of components exceeds the maximum of {MAX_V2}");
            self.problems.add(path, "BASE_TYPE_MAX_LENGTH", message);
        }
        out
    }

    fn component(&mut self, component: &Value, path: &str) -> Option<Value> {
        let map = component.as_object()?;
        self.count += 1;
        let mut out = map.clone();
        out.entry("id").or_insert_with(|| json!(self.count));
        add_defaults(&mut out);
        match map.get("type").and_then(Value::as_u64) {
            Some(ROW) => self.children(map, path, &mut out, 1, MAX_BUTTONS),
            Some(SECTION) => {
                self.children(map, path, &mut out, 1, 3);
                self.child(map, path, &mut out, "accessory");
            }
            Some(CONTAINER) => self.children(map, path, &mut out, 0, MAX_V2),
            Some(LABEL) => self.child(map, path, &mut out, "component"),
            Some(BUTTON) => self.button(map, path),
            Some(TEXT_SELECT | 5..=8) => self.select(map, path),
            Some(TEXT_INPUT) => self.text_input(map, path),
            Some(TEXT_DISPLAY) => {
                Fields::new(map, path, self.problems).required_text("content", 1, MAX_TEXT);
            }
            // Pictures, files and separators.
            Some(11..=14) => {}
            _ => self.problems.not_one_of(&format!("{path}.type"), "2, 3, 4, 5, 6, 7, 8"),
        }
        Some(Value::Object(out))
    }

    fn children(
        &mut self,
        map: &Map<String, Value>,
        path: &str,
        out: &mut Map<String, Value>,
        min: usize,
        max: usize,
    ) {
        let at = format!("{path}.components");
        let list = map.get("components").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if !(min..=max).contains(&list.len()) {
            self.problems.bad_length(&at, min, max);
        }
        let selects = list.iter().filter(|one| matches!(one["type"].as_u64(), Some(3..=8))).count();
        if map.get("type") == Some(&json!(ROW)) && selects > 0 && list.len() > 1 {
            let message = "There is no more space in this row for this component";
            self.problems.add(&at, "COMPONENT_LAYOUT_WIDTH_EXCEEDED", message);
        }
        let below = list.iter().enumerate();
        let read = below.filter_map(|(n, one)| self.component(one, &format!("{at}.{n}"))).collect();
        out.insert("components".to_owned(), Value::Array(read));
    }

    fn child(&mut self, map: &Map<String, Value>, path: &str, out: &mut Map<String, Value>, name: &str) {
        let at = format!("{path}.{name}");
        match map.get(name).and_then(|child| self.component(child, &at)) {
            Some(child) => drop(out.insert(name.to_owned(), child)),
            None => self.problems.required(&at),
        }
    }

    fn button(&mut self, map: &Map<String, Value>, path: &str) {
        let mut fields = Fields::new(map, path, self.problems);
        fields.text("label", MAX_BUTTON_LABEL);
        let style = fields.number("style");
        let shows = fields.get("label").is_some() || fields.get("emoji").is_some();
        match style {
            Some(1..=4) => {
                if !shows {
                    let message = "A button must have a label or an emoji";
                    fields.problems.add(path, "BUTTON_COMPONENT_LABEL_OR_EMOJI_REQUIRED", message);
                }
                self.custom_id(map, path);
            }
            Some(5) => drop(fields.required_text("url", 1, 512)),
            Some(6) => drop(fields.required_text("sku_id", 1, 20)),
            None => self.problems.required(&format!("{path}.style")),
            Some(_) => self.problems.not_one_of(&format!("{path}.style"), "1, 2, 3, 4, 5, 6"),
        }
    }

    fn select(&mut self, map: &Map<String, Value>, path: &str) {
        self.custom_id(map, path);
        let mut fields = Fields::new(map, path, self.problems);
        fields.text("placeholder", 150);
        if map.get("type") != Some(&json!(TEXT_SELECT)) {
            return;
        }
        let at = fields.at("options");
        match fields.list("options", MAX_OPTIONS) {
            Some(options) if !options.is_empty() => {
                for (place, option) in options.iter().enumerate() {
                    let at = format!("{at}.{place}");
                    let Some(option) = option.as_object() else { continue };
                    let mut option = Fields::new(option, &at, self.problems);
                    option.required_text("label", 1, 100);
                    option.required_text("value", 1, 100);
                    option.text("description", 100);
                }
            }
            _ => self.problems.required(&at),
        }
    }

    fn text_input(&mut self, map: &Map<String, Value>, path: &str) {
        if !self.modal {
            self.problems.not_one_of(&format!("{path}.type"), "2, 3, 5, 6, 7, 8");
            return;
        }
        self.custom_id(map, path);
        let mut fields = Fields::new(map, path, self.problems);
        fields.text("label", 45);
        fields.text("placeholder", 100);
        fields.text("value", MAX_TEXT);
    }

    fn custom_id(&mut self, map: &Map<String, Value>, path: &str) {
        let mut fields = Fields::new(map, path, self.problems);
        let Some(id) = fields.required_text("custom_id", 1, MAX_CUSTOM_ID) else { return };
        if !self.custom_ids.insert(id) {
            let message = "Component custom id cannot be duplicated";
            self.problems.add(&format!("{path}.custom_id"), "COMPONENT_CUSTOM_ID_DUPLICATED", message);
        }
    }
}
