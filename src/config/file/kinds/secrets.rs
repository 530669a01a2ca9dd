//! Secrets, and where they are: no message holds a value, or a command's arguments.

use std::time::Duration;

use figment::value::Value;
use secrecy::SecretString;

use super::{Read, Wrong, duration};
use crate::config::file::reader::nearest;
use crate::config::file::shape::Shape;
use crate::config::secret::{SecretRef, TIMEOUT};

const HINT: &str =
    "write a string, or exactly one of { file = \"…\" }, { env = \"…\" }, { credential = \"…\" }, { command = [\"…\", \"…\"] }";
const COMMAND: &str = "write the program and each of its arguments as an item of its own, such as [\"vault\", \"kv\", \"get\", \"-field=secret\", \"kv/so\"]; no shell is used";

/// No program needs less, and nobody waits longer for one that hangs: it holds up a start or a reload.
const LIMITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));

/// A secret, or where it is. No message holds the value.
pub fn secret(value: &Value) -> Read<SecretRef> {
    let keys = match value {
        Value::String(_, text) => return Ok(SecretRef::Literal(SecretString::from(text.as_str()))),
        Value::Dict(_, keys) => keys,
        _ => return Err(Wrong::kind(value, "a string or a reference", HINT).taking(Shape::Secret)),
    };
    if let Some(limit) = keys.get("timeout") {
        return match keys.get("command") {
            Some(words) if keys.len() == 2 => command(words, Some(limit)),
            Some(_) => Err(Wrong::new("gives more than one place", HINT)),
            None => Err(Wrong::new("`timeout` is for a `command`, and there is none", HINT)),
        };
    }
    let mut pairs = keys.iter();
    let (Some((kind, place)), None) = (pairs.next(), pairs.next()) else {
        let what = if keys.is_empty() { "refers to nothing" } else { "gives more than one place" };
        return Err(Wrong::new(what, HINT));
    };
    if kind == "command" {
        return command(place, None);
    }
    let place = match place.as_str().map(str::trim) {
        Some("") | None => return Err(Wrong::new(format!("`{kind}` must be a string that is not empty"), HINT)),
        Some(place) => place.to_owned(),
    };
    match kind.as_str() {
        "file" => Ok(SecretRef::File(place.into())),
        "env" => Ok(SecretRef::Env(place)),
        "credential" => Ok(SecretRef::Credential(place)),
        other => {
            let hint = nearest(other, ["file", "env", "credential", "command"]).map(|near| format!("did you mean `{near}`?"));
            Err(Wrong::new(format!("unknown key `{other}` in a reference"), hint.unwrap_or_else(|| HINT.to_owned())))
        }
    }
}

/// More than anybody replaces at once; each may be tried with each of the other kind.
const MOST_SECRETS: usize = 4;

/// A secret, or several while one replaces another, in the order in which they are tried.
pub fn secrets(value: &Value) -> Read<Vec<SecretRef>> {
    const SEVERAL: &str = "write a secret or a list of them, such as [{ file = \"new\" }, { file = \"old\" }]";
    let Value::Array(_, several) = value else {
        return secret(value)
            .map(|one| vec![one])
            .map_err(|wrong| Wrong { shape: wrong.shape.map(|_| Shape::Secrets(MOST_SECRETS)), ..wrong });
    };
    match several.len() {
        0 => Err(Wrong::new("is an empty list", SEVERAL)),
        1..=MOST_SECRETS => several.iter().map(secret).collect(),
        _ => Err(Wrong::new(format!("has more than {MOST_SECRETS} entries"), "take out those that are no longer in use")),
    }
}

/// A variable's text has become a list before it comes here: a string is somebody's whole command line.
fn command(words: &Value, limit: Option<&Value>) -> Read<SecretRef> {
    let Value::Array(_, words) = words else {
        return Err(Wrong::new(format!("`command` must be a list, not {}", super::describe(words)), COMMAND));
    };
    let words: Option<Vec<String>> = words.iter().map(|word| word.as_str().map(str::to_owned)).collect();
    let command = words.ok_or_else(|| Wrong::new("`command` must be a list of strings", COMMAND))?;
    if command.first().is_none_or(|program| program.trim().is_empty()) {
        return Err(Wrong::new("`command` names no program", COMMAND));
    }
    let read = limit.map(duration(LIMITS.0, Some(LIMITS.1))).transpose();
    let timeout = read.map_err(|wrong| Wrong::new(format!("`timeout` {}", wrong.what), wrong.hint))?.unwrap_or(TIMEOUT);
    Ok(SecretRef::Command { command, timeout })
}
