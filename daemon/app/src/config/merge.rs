//! A JSON merge patch (RFC 7396) on the configuration file: what is not meant keeps its place and its comments.

use serde_json::{Map, Value as Json};
use toml_edit::{Array, ArrayOfTables, InlineTable, Item, Table, TableLike, Value};

use super::edit::{EditError, parse};

/// The text with the patch applied. It is not checked whether it is a configuration.
///
/// # Errors
/// When the text is no TOML, or a value of the patch has no place in TOML.
pub fn merge(text: &str, patch: &Map<String, Json>) -> Result<String, EditError> {
    let mut doc = parse(text)?;
    merge_table(doc.as_table_mut(), patch, "").map_err(EditError::Setting)?;
    Ok(doc.to_string())
}

fn merge_table(table: &mut dyn TableLike, patch: &Map<String, Json>, path: &str) -> Result<(), String> {
    for (key, value) in patch {
        let at = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        match value {
            Json::Null => {
                table.remove(key);
            }
            Json::Object(inner) => {
                if let Some(known) = table.get_mut(key).and_then(Item::as_table_like_mut) {
                    merge_table(known, inner, &at)?;
                } else {
                    let mut new = Table::new();
                    merge_table(&mut new, inner, &at)?;
                    table.insert(key, Item::Table(new));
                }
            }
            Json::Array(items) if !items.is_empty() && items.iter().all(Json::is_object) => {
                table.insert(key, tables(items, &at)?);
            }
            other => {
                let mut new = plain(other, &at)?;
                if let Some(old) = table.get_mut(key).and_then(Item::as_value_mut) {
                    // What stands behind the value is a person's.
                    *new.decor_mut() = old.decor().clone();
                    *old = new;
                } else {
                    table.insert(key, Item::Value(new));
                }
            }
        }
    }
    Ok(())
}

/// `[[key]]`: the whole list anew.
fn tables(items: &[Json], path: &str) -> Result<Item, String> {
    let mut list = ArrayOfTables::new();
    for (n, item) in items.iter().enumerate() {
        let mut table = Table::new();
        if let Json::Object(fields) = item {
            merge_table(&mut table, fields, &format!("{path}[{n}]"))?;
        }
        list.push(table);
    }
    Ok(Item::ArrayOfTables(list))
}

fn plain(json: &Json, path: &str) -> Result<Value, String> {
    Ok(match json {
        Json::String(text) => text.as_str().into(),
        Json::Bool(yes) => (*yes).into(),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            // Larger than TOML's integers, which a float would round in silence.
            (None, Some(float)) if !number.is_u64() => float.into(),
            _ => return Err(format!("{path}: {number} is too large")),
        },
        Json::Array(items) => {
            let mut array = Array::new();
            for (n, item) in items.iter().enumerate() {
                array.push(plain(item, &format!("{path}[{n}]"))?);
            }
            Value::Array(array)
        }
        Json::Object(fields) => {
            let mut table = InlineTable::new();
            for (key, value) in fields.iter().filter(|(_, v)| !v.is_null()) {
                table.insert(key, plain(value, &format!("{path}.{key}"))?);
            }
            Value::InlineTable(table)
        }
        Json::Null => return Err(format!("{path}: null has no place in a list")),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "# mine\nschema_version = 1\n\n[store]\nkeep_events = \"30d\" # a month\n\n[[camera]]\nid = \"a\"\n\
                        source = \"a.mp4\"\n\n[mqtt]\nurl = \"mqtt://h\"\npassword = { file = \"p\" }\n";

    fn merged(patch: &Json) -> String {
        merge(TEXT, patch.as_object().unwrap()).unwrap()
    }

    #[test]
    fn what_is_not_meant_stays_with_its_comments() {
        assert_eq!(merged(&json!({})), TEXT);
        let new = merged(
            &json!({"store": {"keep_events": "7d", "max_size": "1GB"}, "mqtt": {"password": {"file": "q"}}}),
        );
        assert!(
            new.starts_with("# mine\n") && new.contains("keep_events = \"7d\" # a month\n"),
            "{new}"
        );
        assert!(
            new.contains("max_size = \"1GB\"") && new.contains("password = { file = \"q\" }"),
            "{new}"
        );
        assert!(new.contains("source = \"a.mp4\""));
    }

    #[test]
    fn null_removes_and_lists_are_replaced() {
        let new = merged(
            &json!({"mqtt": null, "camera": [{"id": "b", "source": "b.mp4", "ignore": [[0, 0.5, 1, 1]]}],
            "rtsp": {"listen": "127.0.0.1:8555", "password": {"env": "P"}}}),
        );
        assert!(!new.contains("mqtt") && !new.contains("a.mp4"), "{new}");
        let value: toml::Value = toml::from_str(&new).unwrap();
        assert_eq!(value["camera"][0]["ignore"][0][1].as_float(), Some(0.5));
        assert_eq!(value["rtsp"]["password"]["env"].as_str(), Some("P"));
        assert_eq!(value["schema_version"].as_integer(), Some(1));
    }

    #[test]
    fn what_toml_cannot_say_is_refused_with_its_place() {
        for (patch, part) in [
            (json!({"group": [[null]]}), "group[0][0]"),
            (json!({"store": {"x": u64::MAX}}), "store.x"),
        ] {
            let error = merge(TEXT, patch.as_object().unwrap()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(merge("= 1", &Map::new()).is_err());
    }
}
