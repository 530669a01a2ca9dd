//! What an operator can have done: each action is logged with who asked for it, and answers when it is done.

use std::fmt;
use std::time::Duration;

use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::page::Page;
use super::{Admin, failure, json, unknown};
use crate::body::Body;
use crate::config::log_level;
use crate::log;
use crate::server::{Ends, Inbound};

/// Bytes of a request's body: directives are short.
const LARGEST: usize = 4096;

/// How long a reload is waited for. It may run programs for secrets.
const RELOAD: Duration = Duration::from_secs(120);

/// Who asks.
pub(super) struct By(String);

impl By {
    /// As far as the connection tells.
    pub(super) fn of(ends: &Ends, token: bool) -> By {
        let user = ends.proof.process().map(|process| format!("user {}", process.uid));
        let place = match ends.peer {
            Some(peer) => peer.to_string(),
            None => "the Unix socket".to_owned(),
        };
        let with = if token { ", with the token" } else { "" };
        By(match user {
            Some(user) => format!("{user} at {place}{with}"),
            None => format!("{place}{with}"),
        })
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Admin {
    pub(super) async fn act(&self, page: Page<'_>, parts: &Parts, body: Inbound, by: &By) -> Response<Body> {
        match page {
            Page::Renew(name) => self.renew(name, by).await,
            Page::Forget(name) => self.forget(name, by),
            Page::LogLevel => self.log_level(parts, body, by).await,
            Page::Reload => self.reload(by).await,
            Page::Drain => self.drain(by),
            // Whatever only shows something is answered before.
            _ => failure(StatusCode::NOT_FOUND, "no such action"),
        }
    }

    async fn renew(&self, name: &str, by: &By) -> Response<Body> {
        let Some(tenant) = self.tenant(name) else { return unknown(name) };
        tracing::info!(tenant = &*tenant.name, %by, "a renewal was asked for");
        match tenant.tickets.renew_now().await {
            Ok(generation) => json(StatusCode::OK, &json!({ "tenant": &*tenant.name, "generation": generation })),
            Err(unavailable) => {
                let retry = unavailable.retry_after.as_secs_f64().ceil() as u64;
                let told = json!({ "tenant": &*tenant.name, "error": unavailable.failure.log, "retry_seconds": retry });
                json(StatusCode::BAD_GATEWAY, &told)
            }
        }
    }

    fn forget(&self, name: &str, by: &By) -> Response<Body> {
        let Some(tenant) = self.tenant(name) else { return unknown(name) };
        let forgotten = tenant.tickets.forget();
        tracing::info!(tenant = &*tenant.name, generation = forgotten, %by, "the ticket was forgotten");
        json(StatusCode::OK, &json!({ "tenant": &*tenant.name, "forgotten": forgotten }))
    }

    async fn log_level(&self, parts: &Parts, body: Inbound, by: &By) -> Response<Body> {
        let rules = self.0.rules.load_full();
        let configured = rules.log_level.as_str();
        let shown = || json(StatusCode::OK, &json!({ "level": log::level(), "configured": configured }));
        if parts.method == Method::GET || parts.method == Method::HEAD {
            return shown();
        }
        let asked = match asked_level(parts, body).await {
            Ok(asked) => asked,
            Err(why) => return failure(StatusCode::BAD_REQUEST, &why),
        };
        let wanted = if asked.trim().is_empty() { configured.to_owned() } else { asked };
        match log_level(&wanted).and_then(|level| log::set_level(&level).map(|()| level)) {
            Ok(level) => {
                tracing::info!(level, %by, "the log level was set");
                shown()
            }
            Err(why) => failure(StatusCode::BAD_REQUEST, &why),
        }
    }

    async fn reload(&self, by: &By) -> Response<Body> {
        tracing::info!(%by, "a reload was asked for");
        let Some(outcome) = self.0.reloads.ask("the admin listener") else {
            return failure(StatusCode::CONFLICT, "there is no configuration file to read anew");
        };
        match tokio::time::timeout(RELOAD, outcome).await {
            Ok(Ok(Ok(report))) => {
                let told = json!({ "reloaded": true, "changes": report.changes, "at_next_start": report.at_next_start });
                json(StatusCode::OK, &told)
            }
            Ok(Ok(Err(why))) => json(StatusCode::UNPROCESSABLE_ENTITY, &json!({ "reloaded": false, "error": why.trim() })),
            Ok(Err(_)) => failure(StatusCode::INTERNAL_SERVER_ERROR, "the reload broke off by a mistake of ours: see the log"),
            Err(_) => failure(StatusCode::GATEWAY_TIMEOUT, "the reload is still under way: see /status"),
        }
    }

    fn drain(&self, by: &By) -> Response<Body> {
        tracing::info!(%by, "the process was asked to stop: draining");
        self.0.stop.begin();
        json(StatusCode::ACCEPTED, &json!({ "draining": true, "pid": std::process::id() }))
    }
}

/// The directives in `?level=`, or else in the body; empty: those of the configuration.
async fn asked_level(parts: &Parts, body: Inbound) -> Result<String, String> {
    if parts.method == Method::DELETE {
        return Ok(String::new());
    }
    let named = parts.uri.query().into_iter().flat_map(|query| query.split('&')).find_map(|pair| pair.strip_prefix("level="));
    if let Some(level) = named {
        return percent_decode_str(level).decode_utf8().map(String::from).map_err(|_| "level is not UTF-8".to_owned());
    }
    let read = Limited::new(body, LARGEST).collect().await;
    let bytes = read.map_err(|error| format!("the body cannot be read: {error}"))?.to_bytes();
    let text = String::from_utf8(bytes.into()).map_err(|_| "the body is not UTF-8".to_owned())?;
    let level = text.trim();
    if level.is_empty() {
        return Err("no level: write it as ?level= or as the body; DELETE goes back to the configured one".to_owned());
    }
    // As a form sends it.
    Ok(level.strip_prefix("level=").unwrap_or(level).to_owned())
}
