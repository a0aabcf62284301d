//! Surgery on a TOML document: lists of tables, written as `[[key]]` or as `key = [{ … }]`, with comments and
//! layout kept.

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// The `id` of each entry of `[[key]]`, empty when it has none.
pub(super) fn ids(doc: &DocumentMut, key: &str) -> Vec<String> {
    let id = |t: &dyn TableLike| t.get("id").and_then(Item::as_str).unwrap_or("").to_owned();
    match doc.get(key) {
        Some(Item::ArrayOfTables(tables)) => tables.iter().map(|t| id(t)).collect(),
        Some(Item::Value(Value::Array(values))) => {
            let inline = |v: &Value| v.as_inline_table().map_or(String::new(), |t| id(t));
            values.iter().map(inline).collect()
        }
        _ => Vec::new(),
    }
}

/// Calls `f` with the index and table of each entry of `[[key]]`.
pub(super) fn for_each_table(doc: &mut DocumentMut, key: &str, mut f: impl FnMut(usize, &mut dyn TableLike)) {
    match doc.get_mut(key) {
        Some(Item::ArrayOfTables(tables)) => tables.iter_mut().enumerate().for_each(|(i, t)| f(i, t)),
        Some(Item::Value(Value::Array(values))) => {
            for (i, value) in values.iter_mut().enumerate() {
                if let Some(table) = value.as_inline_table_mut() {
                    f(i, table);
                }
            }
        }
        _ => {}
    }
}

/// Adds an entry to `[[key]]`, behind the others. Fails when `key` is something else.
pub(super) fn push_entry(
    doc: &mut DocumentMut,
    key: &str,
    rows: Vec<(&str, Value)>,
) -> Result<(), &'static str> {
    if let Some(Item::Value(Value::Array(values))) = doc.get_mut(key) {
        let table: InlineTable = rows.into_iter().collect();
        push_like_others(values, table.into());
        return Ok(());
    }
    let mut table = Table::new();
    for (name, value) in rows {
        table.insert(name, Item::Value(value));
    }
    let item = doc
        .entry(key)
        .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    let tables = item
        .as_array_of_tables_mut()
        .ok_or("a list of tables is something else there")?;
    tables.push(table);
    Ok(())
}

/// Appends to a list on one line or on several, as it is written. A comment behind the last entry stays there.
pub(super) fn push_like_others(values: &mut Array, mut value: Value) {
    let last = values.iter().last().map(|last| last.decor().clone());
    let text = |raw: Option<&toml_edit::RawString>| raw.and_then(|r| r.as_str()).unwrap_or("").to_owned();
    let prefix = text(last.as_ref().and_then(|d| d.prefix()));
    let Some((_, indent)) = prefix.rsplit_once('\n') else {
        values.push(value);
        return;
    };
    let comma = values.trailing_comma();
    let tail = match comma {
        true => text(Some(values.trailing())),
        false => text(last.as_ref().and_then(|d| d.suffix())),
    };
    let end = tail
        .rsplit_once('\n')
        .map_or(String::new(), |(_, end)| format!("\n{end}"));
    value
        .decor_mut()
        .set_prefix(format!("{}\n{indent}", tail.trim_end()));
    if comma {
        values.set_trailing(end);
    } else {
        value.decor_mut().set_suffix(end);
        if let Some(last) = values.iter_mut().last() {
            last.decor_mut().set_suffix("");
        }
    }
    values.push_formatted(value);
}

/// Removes a text from a list, wherever it stands.
pub(super) fn remove_text(values: &mut Array, text: &str) {
    for at in (0..values.len()).rev() {
        if values.get(at).and_then(Value::as_str) != Some(text) {
            continue;
        }
        let removed = values.remove(at);
        if at == 0
            && let (Some(first), Some(prefix)) = (values.get_mut(0), removed.decor().prefix())
        {
            first.decor_mut().set_prefix(prefix.clone());
        }
    }
}

/// Removes an entry of `[[key]]` with the comment right above it. What stands above a blank line before that
/// belongs to the file, and moves to what comes next.
pub(super) fn remove_entry(doc: &mut DocumentMut, key: &str, index: usize) {
    let removed = match doc.get_mut(key) {
        Some(Item::ArrayOfTables(tables)) if index < tables.len() => tables.remove(index),
        Some(Item::Value(Value::Array(values))) if index < values.len() => {
            values.remove(index);
            return;
        }
        _ => return,
    };
    let prefix = removed.decor().prefix().and_then(|p| p.as_str()).unwrap_or("");
    let Some(end) = prefix.rfind("\n\n").map(|i| i + 1) else {
        return;
    };
    let stays = prefix[..end].to_owned();
    if stays.trim().is_empty() {
        return;
    }
    let after = removed.position().unwrap_or(isize::MAX);
    let next = doc
        .iter_mut()
        .flat_map(|(_, item)| match item {
            Item::Table(table) => vec![table],
            Item::ArrayOfTables(tables) => tables.iter_mut().collect(),
            _ => Vec::new(),
        })
        .filter(|t| t.position().is_some_and(|p| p > after))
        .min_by_key(|t| t.position());
    match next {
        Some(table) => {
            let prefix = table.decor().prefix().and_then(|p| p.as_str()).unwrap_or("");
            let prefix = format!("{stays}{prefix}");
            table.decor_mut().set_prefix(prefix);
        }
        None => {
            let trailing = doc.trailing().as_str().unwrap_or("").to_owned();
            doc.set_trailing(format!("{stays}{trailing}"));
        }
    }
}
