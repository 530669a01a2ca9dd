//! `ANY /{ctx}/api/v1/_sandbox/echo`: what arrived, told back, for tests and for people who debug. Not of SuperOffice.

use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::reply::{self, Reply, ReplyBody};
use super::webapi::Call;

/// Method, target, headers, and of the body its length and SHA-256; credentials only as the beginning of theirs; and `extra`.
pub(super) async fn handle<const N: usize>(call: &Call<'_>, mut body: ReplyBody, extra: [(&str, Value); N]) -> Reply {
    let mut length: u64 = 0;
    let mut hash = Sha256::new();
    while let Some(frame) = body.frame().await {
        match frame.map(|frame| frame.into_data()) {
            Ok(Ok(data)) => {
                length += data.len() as u64;
                hash.update(&data);
            }
            Ok(Err(_trailers)) => {}
            Err(error) => return reply::aspnet(StatusCode::BAD_REQUEST, &format!("The body broke off after {length} bytes: {error}")),
        }
    }
    let headers: Vec<Value> = call
        .head
        .headers
        .iter()
        .map(|(name, value)| {
            let is_secret = matches!(name.as_str().replace('_', "-").as_str(), "authorization" | "so-apptoken");
            let shown = if is_secret { shorten(value.as_bytes()) } else { String::from_utf8_lossy(value.as_bytes()).into_owned() };
            json!([name.as_str(), shown])
        })
        .collect();
    let target = call.head.uri.path_and_query().map_or("", |target| target.as_str());
    let mut echo = json!({
        "Tenant": call.tenant.context,
        "Method": call.head.method.as_str(),
        "Target": target,
        "Version": format!("{:?}", call.head.version),
        "Authority": call.head.uri.authority().map(|authority| authority.as_str()),
        "Headers": headers,
        // A call with anything wrong about them does not come as far as this.
        "TicketValid": true,
        "ClientSecretValid": true,
        "BodyLength": length,
        "BodySha256": hex(&hash.finalize()),
    });
    for (name, value) in extra {
        echo[name] = value;
    }
    reply::json(StatusCode::OK, &echo)
}

fn shorten(secret: &[u8]) -> String {
    format!("sha256:{}…", &hex(&Sha256::digest(secret))[..12])
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
