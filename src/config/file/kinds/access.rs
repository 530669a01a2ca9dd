//! The kinds of values that say who may call, and from where.

use figment::value::Value;
use http::Uri;

use super::{Read, Wrong, list, quoted};
use crate::config::file::shape::Shape;
use crate::proxy::clients::{BadKeyHash, KeyHash};
use crate::proxy::policy::{Rule, RuleError};

/// Hashes of API keys: one, or two while one replaces the other. Messages repeat none: it might be the key itself.
pub fn key_hashes(value: &Value) -> Read<Vec<KeyHash>> {
    const HINT: &str = "write what `soproxy client new NAME` printed, such as [\"sha256:9f86d0…\"]";
    let hash = |text: &str| {
        text.parse().map_err(|error: BadKeyHash| {
            let hint = match error {
                BadKeyHash::Key => "anyone who reads this file has the key now: make a new one with `soproxy client new NAME`",
                BadKeyHash::Other => HINT,
            };
            Wrong::new(error.to_string(), hint)
        })
    };
    let found = list(hash)(value).map_err(|wrong| Wrong { shape: wrong.shape.map(|_| Shape::KeyHashes), ..wrong })?;
    if found.len() > 2 {
        return Err(Wrong::new("has more than two keys", "keep two at most: the new one and the one it replaces"));
    }
    Ok(found)
}

/// Names in certificates.
pub fn certificate_names(value: &Value) -> Read<Vec<String>> {
    const HINT: &str = "write a name as the certificate has it: \"cn:erp\", \"dns:erp.example.com\", \"email:…\", \"uri:…\", \"ip:…\", or all of the subject, \"subject:CN=erp,O=Example\"";
    list(|text| {
        let wrong = || Wrong::new(format!("{} is no name in a certificate", quoted(text)), HINT);
        let (kind, name) = text.split_once(':').ok_or_else(wrong)?;
        let (kind, name) = (kind.trim().to_ascii_lowercase(), name.trim());
        if name.is_empty() {
            return Err(wrong());
        }
        match kind.as_str() {
            "dns" | "email" => Ok(format!("{kind}:{}", name.to_ascii_lowercase())),
            "ip" => name.parse::<std::net::IpAddr>().map(|ip| format!("ip:{ip}")).map_err(|_| wrong()),
            "cn" | "uri" | "subject" => Ok(format!("{kind}:{name}")),
            _ => Err(wrong()),
        }
    })(value)
}

/// Rules of what may be done.
pub fn rules(value: &Value) -> Read<Vec<Rule>> {
    const HINT: &str = "write a list of methods with paths behind the tenant, such as [\"GET /api/v1/**\", \"POST /api/v1/Agents/*/Get*\"]";
    let rule = |text: &str| text.parse().map_err(|error: RuleError| Wrong::new(format!("{} {}", quoted(text), error.what), error.hint));
    match value {
        // Not what `list` takes: methods are separated by commas.
        Value::String(_, text) if text.trim().is_empty() => Ok(Vec::new()),
        Value::String(_, text) => text.split(';').map(|text| rule(text.trim())).collect(),
        Value::Array(..) => list(rule)(value),
        _ => Err(Wrong::kind(value, "a list of rules", HINT).taking(Shape::Texts)),
    }
}

/// Numbers of users or groups.
pub fn ids(value: &Value) -> Read<Vec<u32>> {
    const HINT: &str = "write numbers, such as [1000]; `id -u NAME` tells a user's, `id -g NAME` that of its group";
    let number = |value: &Value| match value {
        Value::String(_, text) => text.trim().parse().ok(),
        Value::Num(_, number) => number.to_i128().or_else(|| number.to_u128()?.try_into().ok()).and_then(|number| number.try_into().ok()),
        _ => None,
    };
    let wrong = || Wrong::new("holds something else than a user's or group's number", HINT).taking(Shape::Numbers(u32::MAX));
    let read = |value: &Value| number(value).ok_or_else(wrong);
    match value {
        Value::Array(_, values) => values.iter().map(read).collect(),
        Value::String(_, text) => text.split(',').map(|text| read(&Value::from(text))).collect(),
        _ => read(value).map(|only| vec![only]),
    }
}

/// Origins of web pages, as browsers write them: RFC 6454 §6.2.
pub fn origins(value: &Value) -> Read<Vec<String>> {
    const HINT: &str =
        "write scheme, host and port if it is not the usual one, such as \"https://app.example.com\" or \"http://localhost:3000\"";
    list(|text| {
        let wrong = |what: &str| Wrong::new(format!("{} {what}", quoted(text)), HINT);
        if text == "*" {
            return Err(Wrong::new("\"*\" would let every page of the web use the tenants' data", HINT));
        }
        let uri: Uri = text.trim_end_matches('/').parse().map_err(|_| wrong("is no origin"))?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(|| wrong("is no origin"))?;
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https")).ok_or_else(|| wrong("is no origin"))?;
        if uri.path() != "/" || uri.query().is_some() {
            return Err(wrong("has a path, and an origin has none"));
        }
        let (host, all) = (authority.host(), authority.as_str());
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let port_is_none_or_good = host.len() == all.len() || authority.port_u16().is_some();
        // No browser writes a `*`: it would match nothing.
        if !(host.starts_with('[') || host.chars().all(plain)) || !port_is_none_or_good {
            return Err(wrong("is no origin"));
        }
        let usual = if scheme == "https" { ":443" } else { ":80" };
        let authority = authority.as_str().to_ascii_lowercase();
        Ok(format!("{scheme}://{}", authority.strip_suffix(usual).unwrap_or(&authority)))
    })(value)
}
