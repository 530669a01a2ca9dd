//! JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7396) on an entity.

use serde_json::{Map, Value};

/// Why a patch does not apply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PatchError {
    /// A `test` found something else.
    Conflict(String),
    /// Not a patch, or a path that does not exist.
    Invalid(String),
}

/// Applies an array as JSON Patch, an object as JSON Merge Patch. On failure `entity` is to be thrown away.
pub(super) fn apply(entity: &mut Value, patch: &Value) -> Result<(), PatchError> {
    match patch {
        Value::Array(operations) => operations.iter().try_for_each(|operation| apply_one(entity, operation)),
        Value::Object(_) => {
            merge(entity, patch);
            Ok(())
        }
        _ => Err(invalid("a patch is an array of operations or an object")),
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        match value {
            Value::Null => _ = target.remove(key),
            value => merge(target.entry(key).or_insert(Value::Null), value),
        }
    }
}

fn apply_one(entity: &mut Value, operation: &Value) -> Result<(), PatchError> {
    let text = |name: &str| operation.get(name).and_then(Value::as_str).ok_or_else(|| invalid(&format!("an operation has no '{name}'")));
    let value = || operation.get("value").cloned().ok_or_else(|| invalid("an operation has no 'value'"));
    let path = text("path")?;
    match text("op")? {
        "add" => add(entity, path, value()?),
        "remove" => remove(entity, path).map(drop),
        "replace" => {
            *existing(entity, path)? = value()?;
            Ok(())
        }
        "test" => match *existing(entity, path)? == value()? {
            true => Ok(()),
            false => Err(PatchError::Conflict(format!("the test of '{path}' failed"))),
        },
        "copy" => {
            let copy = existing(entity, text("from")?)?.clone();
            add(entity, path, copy)
        }
        "move" => {
            let moved = remove(entity, text("from")?)?;
            add(entity, path, moved)
        }
        other => Err(invalid(&format!("unknown operation '{other}'"))),
    }
}

fn existing<'a>(entity: &'a mut Value, path: &str) -> Result<&'a mut Value, PatchError> {
    entity.pointer_mut(path).ok_or_else(|| invalid(&format!("there is nothing at '{path}'")))
}

fn parent<'a>(entity: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), PatchError> {
    let (parent, key) = path.rsplit_once('/').ok_or_else(|| invalid(&format!("'{path}' is no path")))?;
    Ok((existing(entity, parent)?, key.replace("~1", "/").replace("~0", "~")))
}

fn add(entity: &mut Value, path: &str, value: Value) -> Result<(), PatchError> {
    if path.is_empty() {
        *entity = value;
        return Ok(());
    }
    match parent(entity, path)? {
        (Value::Object(members), key) => _ = members.insert(key, value),
        (Value::Array(items), key) => {
            let at = if key == "-" { items.len() } else { index(&key, items.len())? };
            items.insert(at, value);
        }
        _ => return Err(invalid(&format!("nothing can be added at '{path}'"))),
    }
    Ok(())
}

fn remove(entity: &mut Value, path: &str) -> Result<Value, PatchError> {
    let nothing = || invalid(&format!("there is nothing at '{path}'"));
    match parent(entity, path)? {
        (Value::Object(members), key) => members.remove(&key).ok_or_else(nothing),
        (Value::Array(items), key) if !items.is_empty() => Ok(items.remove(index(&key, items.len() - 1)?)),
        _ => Err(nothing()),
    }
}

fn index(key: &str, last: usize) -> Result<usize, PatchError> {
    key.parse().ok().filter(|at| *at <= last).ok_or_else(|| invalid(&format!("there is no item '{key}'")))
}

fn invalid(what: &str) -> PatchError {
    PatchError::Invalid(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(patch: Value) -> Result<Value, PatchError> {
        let mut entity = json!({ "Name": "A", "Emails": [{ "Value": "a@example.org" }], "a/b": 1 });
        apply(&mut entity, &patch).map(|()| entity)
    }

    #[test]
    fn json_patch() {
        let patch = json!([
            { "op": "test", "path": "/Name", "value": "A" },
            { "op": "replace", "path": "/Name", "value": "B" },
            { "op": "add", "path": "/Emails/-", "value": { "Value": "c@example.org" } },
            { "op": "add", "path": "/Emails/0", "value": { "Value": "b@example.org" } },
            { "op": "copy", "from": "/Emails/0/Value", "path": "/Copy" },
            { "op": "move", "from": "/a~1b", "path": "/Moved" },
            { "op": "remove", "path": "/Emails/1" },
        ]);
        let expected = json!({ "Name": "B", "Emails": [{ "Value": "b@example.org" }, { "Value": "c@example.org" }], "Copy": "b@example.org", "Moved": 1 });
        assert_eq!(patched(patch), Ok(expected));
    }

    #[test]
    fn what_does_not_apply() {
        let conflict = patched(json!([{ "op": "test", "path": "/Name", "value": "B" }]));
        assert!(matches!(conflict, Err(PatchError::Conflict(_))));
        for patch in [
            json!("x"),
            json!([{ "op": "replace", "path": "/Nope", "value": 1 }]),
            json!([{ "op": "remove", "path": "/Emails/7" }]),
            json!([{ "op": "add", "path": "/Emails/2", "value": 1 }]),
            json!([{ "op": "add", "path": "Name", "value": 1 }]),
            json!([{ "op": "add", "path": "/Name/x", "value": 1 }]),
            json!([{ "op": "add", "path": "/Name" }]),
            json!([{ "op": "burn", "path": "/Name" }]),
            json!([{ "path": "/Name" }]),
            json!([1]),
        ] {
            assert!(matches!(patched(patch.clone()), Err(PatchError::Invalid(_))), "{patch}");
        }
    }

    #[test]
    fn merge_patch() {
        let patch = json!({ "Name": "B", "a/b": null, "New": { "x": { "y": 1, "z": null } }, "Emails": [] });
        assert_eq!(patched(patch), Ok(json!({ "Name": "B", "Emails": [], "New": { "x": { "y": 1 } } })));
    }
}
