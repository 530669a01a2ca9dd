//! Carriers: the JSON of the web API as elements of the contract, and back.

use serde_json::{Map, Value};

use super::contract::{Member, Type, carrier};
use super::envelope::{Element, escape};

const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// One element of this name and type. What the JSON does not have is left out.
pub(super) fn write(out: &mut String, name: &str, kind: Type, value: Option<&Value>) {
    let text = match (kind, value) {
        (_, None) => return,
        (_, Some(Value::Null)) => {
            out.push_str(&format!("<{name} i:nil=\"true\" xmlns:i=\"{XSI}\"/>"));
            return;
        }
        (Type::Of(of), Some(value)) => {
            out.push_str(&format!("<{name}>"));
            members(out, of, value);
            out.push_str(&format!("</{name}>"));
            return;
        }
        (Type::List(of), Some(value)) => {
            out.push_str(&format!("<{name}>"));
            value.as_array().into_iter().flatten().for_each(|item| write(out, of, Type::Of(of), Some(item)));
            out.push_str(&format!("</{name}>"));
            return;
        }
        // No time is the first there is.
        (Type::Time, Some(value)) if value.as_str() == Some("") => "0001-01-01T00:00:00".to_owned(),
        (_, Some(Value::String(text))) => text.clone(),
        (_, Some(value)) => value.to_string(),
    };
    out.push_str(&format!("<{name}>{}</{name}>", escape(&text)));
}

fn members(out: &mut String, of: &str, value: &Value) {
    for (name, kind, at) in carrier(of) {
        write(out, name, *kind, value.pointer(at));
    }
}

/// The JSON of the members that an element has; others are overlooked.
pub(super) fn read(element: &Element, namespace: &str, of: &[Member]) -> Result<Value, String> {
    let mut object = Map::new();
    for (name, kind, at) in of {
        // A member of a member is shown, not written.
        let Some(member) = at.strip_prefix('/').filter(|member| !member.contains('/')) else { continue };
        if let Some(child) = element.child(namespace, name)? {
            object.insert(member.to_owned(), value(child, namespace, *kind)?);
        }
    }
    Ok(Value::Object(object))
}

fn value(element: &Element, namespace: &str, kind: Type) -> Result<Value, String> {
    let text = element.text.trim();
    let wrong = || format!("The value '{:.40}' cannot be parsed as the type of {}.", text, element.name);
    Ok(match kind {
        _ if element.nil => Value::Null,
        Type::Int => text.parse::<i32>().map_err(|_| wrong())?.into(),
        Type::Short => text.parse::<i16>().map_err(|_| wrong())?.into(),
        Type::Bool => match text {
            "true" | "1" => true.into(),
            "false" | "0" => false.into(),
            _ => return Err(wrong()),
        },
        Type::Text | Type::Base64 => element.text.clone().into(),
        Type::Time => text.into(),
        Type::Of(of) => read(element, namespace, carrier(of))?,
        Type::List(of) => {
            let items = element.children.iter().filter(|item| item.is(namespace, of));
            Value::Array(items.map(|item| read(item, namespace, carrier(of))).collect::<Result<_, _>>()?)
        }
    })
}
