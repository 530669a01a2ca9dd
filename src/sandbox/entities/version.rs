//! Versions of entities: `ETag`, and the conditions of a request.
//!
//! `If-Modified-Since` and `If-Unmodified-Since` are documented (protocol §7.3). Assumption: there is a strong `ETag`, and with it
//! `If-Match` and `If-None-Match`; it names what is stored, so that it outlives a move, although links in the answer do not.

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::sandbox::echo::hex;

/// The `ETag` of a stored entity.
pub(super) fn etag(entity: &Value) -> String {
    format!("\"{}\"", &hex(&Sha256::digest(entity.to_string()))[..16])
}

/// 304 or 412, when the request's conditions do not fit the stored entity. RFC 9110, §13.2.2.
pub(super) fn refusal(headers: &HeaderMap, method: &Method, entity: &Value) -> Option<StatusCode> {
    let reads = method == Method::GET || method == Method::HEAD;
    let tag = etag(entity);
    let updated = entity["UpdatedDate"].as_str().and_then(|date| date.parse::<Timestamp>().ok()).map(Timestamp::as_second);
    let date = |name: HeaderName| {
        let value = headers.get(name)?.to_str().ok()?;
        let seconds = httpdate::parse_http_date(value).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
        i64::try_from(seconds).ok()
    };
    if headers.contains_key(IF_MATCH) {
        if !lists(headers, IF_MATCH, &tag, false) {
            return Some(StatusCode::PRECONDITION_FAILED);
        }
    } else if date(IF_UNMODIFIED_SINCE).zip(updated).is_some_and(|(since, updated)| updated > since) {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    let unchanged = if headers.contains_key(IF_NONE_MATCH) {
        lists(headers, IF_NONE_MATCH, &tag, true)
    } else {
        reads && date(IF_MODIFIED_SINCE).zip(updated).is_some_and(|(since, updated)| updated <= since)
    };
    unchanged.then_some(if reads { StatusCode::NOT_MODIFIED } else { StatusCode::PRECONDITION_FAILED })
}

/// Whether a list of tags holds `tag`, or is `*`. Our tags hold no comma.
fn lists(headers: &HeaderMap, name: HeaderName, tag: &str, weakly: bool) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).any(|listed| {
        let strong = if weakly { listed.strip_prefix("W/").unwrap_or(listed) } else { listed };
        listed == "*" || strong == tag
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use serde_json::json;

    #[test]
    fn conditions() {
        let entity = json!({ "Name": "A", "UpdatedDate": "2024-05-06T08:00:00Z" });
        let tag = etag(&entity);
        assert_ne!(tag, etag(&json!({ "Name": "B", "UpdatedDate": "2024-05-06T08:00:00Z" })));
        let (weak, two) = (format!("W/{tag}"), format!("\"other\", {tag}"));
        let (before, at) = ("Mon, 06 May 2024 07:59:59 GMT", "Mon, 06 May 2024 08:00:00 GMT");
        let (ok, unchanged, failed) = (None, Some(StatusCode::NOT_MODIFIED), Some(StatusCode::PRECONDITION_FAILED));
        for (name, value, read, write) in [
            (IF_MATCH, tag.as_str(), ok, ok),
            (IF_MATCH, &two, ok, ok),
            (IF_MATCH, "*", ok, ok),
            (IF_MATCH, &weak, failed, failed),
            (IF_MATCH, "\"other\"", failed, failed),
            (IF_NONE_MATCH, &tag, unchanged, failed),
            (IF_NONE_MATCH, &weak, unchanged, failed),
            (IF_NONE_MATCH, "*", unchanged, failed),
            (IF_NONE_MATCH, "\"other\"", ok, ok),
            (IF_MODIFIED_SINCE, at, unchanged, ok),
            (IF_MODIFIED_SINCE, before, ok, ok),
            (IF_UNMODIFIED_SINCE, at, ok, ok),
            (IF_UNMODIFIED_SINCE, before, failed, failed),
            (IF_UNMODIFIED_SINCE, "soon", ok, ok),
        ] {
            let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_str(value).unwrap())]);
            assert_eq!(refusal(&headers, &Method::GET, &entity), read, "GET {name}: {value}");
            assert_eq!(refusal(&headers, &Method::PUT, &entity), write, "PUT {name}: {value}");
        }
    }
}
