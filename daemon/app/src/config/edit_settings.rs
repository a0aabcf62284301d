//! Settings of the API as rows of a `[[table]]` whose `id` names a stream: panoramas and virtual cameras.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use synoptic_base::StreamId;
use toml_edit::{Array, Item, TableLike, Value};

use super::document::{for_each_table, ids, push_entry, remove_entry};
use super::edit::{Edit, EditError, SecretChange, parse};

/// Settings as they came: what is absent, and what is `null`.
pub type SettingsMap = Map<String, Json>;

/// Tables whose ids name streams: no two of them have the same.
const STREAMS: [&str; 3] = ["camera", "panorama", "virtual_camera"];

/// One kind of table.
pub(super) struct Kind {
    /// Its key in the file.
    pub key: &'static str,
    /// What it is to people.
    pub name: &'static str,
    /// An id, as an example.
    pub example: &'static str,
    /// There is none of this id.
    pub missing: fn(StreamId) -> EditError,
}

impl Kind {
    /// Adds one behind the others.
    pub(super) fn add(&self, text: &str, settings: &SettingsMap) -> Result<Edit, EditError> {
        let mut doc = parse(text)?;
        let id = settings.get("id").and_then(Json::as_str).ok_or_else(|| {
            let (name, example) = (self.name, self.example);
            EditError::Setting(format!(
                "id is missing: give the {name} one, such as \"{example}\""
            ))
        })?;
        let id = StreamId::new(id)?;
        let taken = |key: &&str| ids(&doc, key).iter().any(|taken| taken == id.as_str());
        if STREAMS.iter().any(taken) {
            return Err(EditError::StreamTaken(id));
        }
        let mut rows: Vec<(&str, Value)> = vec![("id", id.as_str().into())];
        for (key, json) in settings.iter().filter(|(key, _)| *key != "id") {
            rows.extend(value(json).map(|value| (key.as_str(), value)));
        }
        push_entry(&mut doc, self.key, rows).map_err(|why| EditError::Unreadable(why.to_owned()))?;
        Ok(Edit::new(id, &doc, SecretChange::Keep, text))
    }

    /// Changes one; settings that are absent stay as they are, with their comments.
    pub(super) fn change(
        &self,
        text: &str,
        id: &StreamId,
        settings: &SettingsMap,
    ) -> Result<Edit, EditError> {
        if settings
            .get("id")
            .is_some_and(|new| new.as_str() != Some(id.as_str()))
        {
            let why = format!("id: it never changes; remove the {} and add another", self.name);
            return Err(EditError::Setting(why));
        }
        let mut doc = parse(text)?;
        let index = self.position(&doc, id)?;
        for_each_table(&mut doc, self.key, |at, table| {
            if at == index {
                for (key, json) in settings.iter().filter(|(key, _)| *key != "id") {
                    set(table, key, value(json));
                }
            }
        });
        Ok(Edit::new(*id, &doc, SecretChange::Keep, text))
    }

    /// Removes one.
    pub(super) fn remove(&self, text: &str, id: &StreamId) -> Result<Edit, EditError> {
        let mut doc = parse(text)?;
        let index = self.position(&doc, id)?;
        remove_entry(&mut doc, self.key, index);
        Ok(Edit::new(*id, &doc, SecretChange::Keep, text))
    }

    fn position(&self, doc: &toml_edit::DocumentMut, id: &StreamId) -> Result<usize, EditError> {
        let found = ids(doc, self.key).iter().position(|i| i == id.as_str());
        found.ok_or((self.missing)(*id))
    }
}

/// Whether all settings are known to `T` and of their type.
pub(super) fn known<T: DeserializeOwned>(settings: &SettingsMap) -> Result<(), EditError> {
    serde_json::from_value::<T>(Json::Object(settings.clone()))
        .map(|_| ())
        .map_err(|e| EditError::Setting(e.to_string()))
}

fn set(table: &mut dyn TableLike, key: &str, new: Option<Value>) {
    let Some(mut new) = new else {
        table.remove(key);
        return;
    };
    match table.get_mut(key).and_then(Item::as_value_mut) {
        // What stands behind the value is a person's.
        Some(old) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        None => {
            table.insert(key, Item::Value(new));
        }
    }
}

/// As TOML; `None` for `null`. The types were checked: nothing else is left.
fn value(json: &Json) -> Option<Value> {
    match json {
        Json::String(text) => Some(text.as_str().into()),
        Json::Bool(yes) => Some((*yes).into()),
        Json::Number(number) => number
            .as_i64()
            .map(Value::from)
            .or_else(|| number.as_f64().map(Value::from)),
        Json::Array(items) => {
            let texts: Array = items.iter().filter_map(Json::as_str).collect();
            Some(Value::Array(texts))
        }
        Json::Null | Json::Object(_) => None,
    }
}
