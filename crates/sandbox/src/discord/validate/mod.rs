//! What a bot sends, checked as Discord checks it.

pub mod command;
pub mod components;
pub mod embeds;
pub mod message;

use serde_json::{Map, Value};

use super::{error::Problems, snowflake::Id};

/// Reads the fields of one JSON object and notes what is wrong with them.
pub struct Fields<'m, 'p> {
    map: &'m Map<String, Value>,
    path: &'p str,
    /// Where to note what is wrong.
    pub problems: &'p mut Problems,
}

impl<'m, 'p> Fields<'m, 'p> {
    /// The fields of `map`, which is at `path` in the form.
    pub const fn new(map: &'m Map<String, Value>, path: &'p str, problems: &'p mut Problems) -> Self {
        Self { map, path, problems }
    }

    /// Where a field is.
    pub fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The field's value unless it is missing or null.
    pub fn get(&self, name: &str) -> Option<&'m Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// A text of at most `max` characters; numbers are taken as text, as Discord does.
    pub fn text(&mut self, name: &str, max: usize) -> Option<String> {
        let text = match self.get(name)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(yes) => yes.to_string(),
            other => {
                let message = format!("Could not interpret \"{other}\" as string.");
                self.problems.add(&self.at(name), "STRING_TYPE_CONVERT", message);
                return None;
            }
        };
        if text.chars().count() > max {
            self.problems.too_long(&self.at(name), max);
        }
        Some(text)
    }

    /// A text that must be there, of `min` to `max` characters.
    pub fn required_text(&mut self, name: &str, min: usize, max: usize) -> Option<String> {
        if self.get(name).is_none() {
            self.problems.required(&self.at(name));
            return None;
        }
        let text = self.text(name, usize::MAX)?;
        if !(min..=max).contains(&text.chars().count()) {
            self.problems.bad_length(&self.at(name), min, max);
        }
        Some(text)
    }

    /// A whole number that is not negative.
    pub fn number(&mut self, name: &str) -> Option<u64> {
        let value = self.get(name)?;
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
        if number.is_none() {
            let message = format!("Value \"{value}\" is not int.");
            self.problems.add(&self.at(name), "NUMBER_TYPE_COERCE", message);
        }
        number
    }

    /// Yes or no; missing is no.
    pub fn flag(&mut self, name: &str) -> bool {
        match self.get(name) {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(_) => {
                let message = "Must be either true or false.";
                self.problems.add(&self.at(name), "BOOLEAN_TYPE_CONVERT", message);
                false
            }
        }
    }

    /// A snowflake.
    pub fn id(&mut self, name: &str) -> Option<Id> {
        let value = self.get(name)?;
        let id = read_id(value);
        if id.is_none() {
            let message = format!("Value \"{}\" is not snowflake.", value.as_str().unwrap_or_default());
            self.problems.add(&self.at(name), "NUMBER_TYPE_COERCE", message);
        }
        id
    }

    /// A list of at most `max`; missing stays none.
    pub fn list(&mut self, name: &str, max: usize) -> Option<&'m [Value]> {
        match self.get(name)? {
            Value::Array(list) => {
                if list.len() > max {
                    self.problems.too_long(&self.at(name), max);
                }
                Some(list)
            }
            _ => {
                let message = "Only iterables may be used in a ListType";
                self.problems.add(&self.at(name), "LIST_TYPE_CONVERT", message);
                None
            }
        }
    }

    /// An object; anything else is noted.
    pub fn object(&mut self, name: &str) -> Option<&'m Map<String, Value>> {
        let value = self.get(name)?;
        if !value.is_object() {
            let message = "Only dictionaries may be used in a DictType";
            self.problems.add(&self.at(name), "DICT_TYPE_CONVERT", message);
        }
        value.as_object()
    }
}

/// A snowflake, as text or number.
pub fn read_id(value: &Value) -> Option<Id> {
    value.as_str().map_or_else(|| value.as_u64().map(Id), |text| text.parse().ok())
}
