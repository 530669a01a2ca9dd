//! What a caller does: reads, pages, writes, uploads and downloads in a random order, and knows each right answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use soproxy::sandbox::content_byte;

use super::caller::{Caller, Reply, in_pieces, nothing, whole};
use super::ledger::Kind;
use crate::bench::TENANT;

/// Entities that nobody writes to.
pub const READ_ONLY: u64 = 30;
const PAGES_OF: usize = 20;

/// What all callers know beforehand.
pub struct Facts {
    /// The contacts that nobody writes to, as they are stored.
    pub contacts: HashMap<u64, Value>,
    pub persons: Vec<u64>,
    /// SuperOffice's hosts, none of which a caller may ever see.
    pub hosts: Vec<String>,
    /// `rewrite_links = "all"`.
    pub all: bool,
    /// The largest upload.
    pub largest: usize,
    /// The tags of those contacts: they outlive a move.
    pub etags: Mutex<HashMap<u64, String>>,
}

/// An entity of this caller's own, as it was read or written last; links begin with `@`.
struct Own {
    entity: Value,
    etag: String,
}

pub struct Client {
    pub caller: Caller,
    facts: Arc<Facts>,
    dice: u64,
    own: Option<Own>,
    /// What the own document holds; nothing was ever uploaded before.
    content: Option<Bytes>,
    /// The page to read next, and what was read before.
    page: Option<(String, Vec<u64>)>,
    /// Name, id: what was answered with success.
    pub created: Vec<(String, u64)>,
    number: usize,
}

impl Client {
    pub fn new(caller: Caller, facts: Arc<Facts>) -> Client {
        let dice = (caller.id as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Client { caller, facts, dice, own: None, content: None, page: None, created: Vec::new(), number: 0 }
    }

    /// One thing, mostly one request.
    pub async fn step(&mut self) {
        self.number += 1;
        match self.roll(100) {
            0..18 => self.entity().await,
            18..38 => self.page().await,
            38..46 => self.head().await,
            46..49 => self.listing().await,
            49..61 => self.create().await,
            61..69 => self.write(Kind::Replace).await,
            69..75 => self.write(Kind::Patch).await,
            75..78 => self.write(Kind::Outdated).await,
            78..84 => self.upload(Kind::Upload).await,
            84..87 => self.upload(Kind::SmallUpload).await,
            87..91 => self.own_download().await,
            91..95 => self.download().await,
            _ => self.state().await,
        }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 11) % sides
    }

    /// The contact that only this caller writes to.
    pub fn own_contact(&self) -> u64 {
        READ_ONLY + 1 + self.caller.id as u64
    }

    fn own_content(&self) -> String {
        format!("/api/v1/Document/{}/Content", self.caller.id + 1)
    }

    async fn entity(&mut self) {
        let id = 1 + self.roll(READ_ONLY);
        let request = self.caller.request(Method::GET, &format!("/api/v1/Contact/{id}"));
        let facts = self.facts.clone();
        let home = self.caller.way.home();
        let judge = |reply: &Reply| {
            let (entity, etag) = facts.entity(reply, &home)?;
            facts.same_tag(id, etag)?;
            same(&with_links(&facts.contacts[&id], id), &entity)
        };
        self.caller.ask(Kind::Entity, request, nothing(), judge).await;
    }

    async fn head(&mut self) {
        let id = 1 + self.roll(READ_ONLY);
        let request = self.caller.request(Method::HEAD, &format!("/api/v1/Contact/{id}"));
        let facts = self.facts.clone();
        let judge = |reply: &Reply| {
            status(reply, 200)?;
            facts.same_tag(id, reply.header("etag").to_owned())?;
            fits(reply.body.is_empty(), "a body after HEAD")
        };
        self.caller.ask(Kind::Head, request, nothing(), judge).await;
    }

    async fn page(&mut self) {
        let first = || {
            (format!("{}/api/v1/Person?$top={PAGES_OF}&$select=personId,fullName&$orderBy=personId", self.caller.way.prefix), Vec::new())
        };
        let (target, before) = self.page.take().unwrap_or_else(first);
        let mut request = http::Request::get(&target);
        if self.caller.gzip {
            request = request.header("accept-encoding", "gzip");
        }
        let (facts, home, host) = (self.facts.clone(), self.caller.way.home(), format!("http://{}", self.caller.way.host));
        let mut ids = before.clone();
        let judge = |reply: &Reply| {
            status(reply, 200)?;
            let page = facts.at_home(reply, &home)?;
            same(&json!("@/api/v1/Person/$metadata"), &page["odata.metadata"])?;
            let rows = page["value"].as_array().ok_or("no rows")?;
            ids.extend(rows.iter().filter_map(|row| row["PrimaryKey"].as_str()?.parse::<u64>().ok()));
            fits(facts.persons.starts_with(&ids), "other rows, or the same again")?;
            // As it is written, for the next request.
            let link: Value = serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
            match link["odata.nextLink"].as_str() {
                None => fits(facts.persons.len() == ids.len(), "the list ends early").map(|()| None),
                Some(link) => {
                    let next = link.strip_prefix(&host).ok_or_else(|| format!("nextLink leads away: {link}"))?;
                    Ok(Some((next.to_owned(), ids)))
                }
            }
        };
        match self.caller.ask(Kind::Page, request, nothing(), judge).await {
            Some(next) => self.page = next,
            None => self.page = Some((target, before)),
        }
    }

    async fn listing(&mut self) {
        let request = self.caller.request(Method::GET, "/api").header("accept", "application/json");
        let (facts, home) = (self.facts.clone(), self.caller.way.home());
        let judge = |reply: &Reply| {
            status(reply, 200)?;
            same(&json!("@/api/v1/"), &facts.at_home(reply, &home)?["v1"])
        };
        self.caller.ask(Kind::Listing, request, nothing(), judge).await;
    }

    async fn create(&mut self) {
        let name = format!("Moving {} {}", self.caller.id, self.number);
        let request = self.caller.request(Method::POST, "/api/v1/Contact").header("content-type", "application/json");
        let (facts, home) = (self.facts.clone(), self.caller.way.home());
        let judge = |reply: &Reply| {
            let (entity, _) = facts.entity(reply, &home)?;
            let id = entity["ContactId"].as_u64().ok_or("no id")?;
            same(&json!(name), &entity["Name"])?;
            same(&json!(links(id)), &entity["_Links"])?;
            let location = reply.header("location");
            fits(location == format!("{home}/api/v1/Contact/{id}"), &format!("Location: {location}"))?;
            Ok(id)
        };
        let id = self.caller.ask(Kind::Create, request, whole(json!({ "Name": name }).to_string()), judge).await;
        self.created.extend(id.map(|id| (name, id)));
    }

    /// Reads the own contact, which must be as it was left, and writes it.
    async fn write(&mut self, kind: Kind) {
        let id = self.own_contact();
        let path = format!("/api/v1/Contact/{id}");
        let (facts, home) = (self.facts.clone(), self.caller.way.home());
        let request = self.caller.request(Method::GET, &path);
        let before = self.own.take();
        let judge = |reply: &Reply| {
            let (entity, etag) = facts.entity(reply, &home)?;
            if let Some(before) = &before {
                same(&before.entity, &entity)?;
                fits(before.etag == etag, "another ETag than it was left with")?;
            }
            let read: Value = serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
            Ok((Own { entity, etag }, read))
        };
        let Some((own, mut read)) = self.caller.ask(Kind::Entity, request, nothing(), judge).await else {
            self.own = before;
            return;
        };
        let name = format!("Own {} {}", self.caller.id, self.number);
        let method = if kind == Kind::Patch { Method::PATCH } else { Method::PUT };
        let body = match kind {
            Kind::Patch => json!({ "Name": name }),
            _ => {
                read["Name"] = json!(name);
                if facts.all && read["Description"] == "" {
                    read["Description"] = json!(format!("see {home}/api/v1/Contact/{id}, please"));
                }
                read
            }
        };
        let outdated = kind == Kind::Outdated;
        let content_type = if kind == Kind::Patch { "application/merge-patch+json" } else { "application/json" };
        let etag = if outdated { "\"0123456789abcdef\"" } else { &own.etag };
        let request = self.caller.request(method, &path).header("content-type", content_type).header("if-match", etag);
        let judge = |reply: &Reply| {
            if outdated {
                return status(reply, 412).map(|()| None);
            }
            let (entity, etag) = facts.entity(reply, &home)?;
            same(&json!(name), &entity["Name"])?;
            same(&json!(links(id)), &entity["_Links"])?;
            let location = reply.header("content-location");
            fits(location == format!("{home}{path}"), &format!("Content-Location: {location}"))?;
            let description =
                if facts.all && kind == Kind::Replace { format!("see @/api/v1/Contact/{id}, please") } else { text(&own.entity) };
            fits(text(&entity) == description, "another description")?;
            Ok(Some(Own { entity, etag }))
        };
        let written = self.caller.ask(kind, request, whole(body.to_string()), judge).await;
        self.own = written.flatten().or(Some(own));
    }

    async fn upload(&mut self, kind: Kind) {
        let length = match kind {
            Kind::Upload => 80_000 + self.roll(self.facts.largest as u64 - 80_000),
            _ => 1 + self.roll(60_000),
        };
        let bytes: Bytes = (0..length.div_ceil(8)).flat_map(|_| self.roll(u64::MAX).to_le_bytes()).take(length as usize).collect();
        let request = self.caller.request(Method::PUT, &self.own_content()).header("content-type", "application/octet-stream");
        let body = if kind == Kind::Upload { in_pieces(&bytes) } else { whole(bytes.clone()) };
        if self.caller.ask(kind, request, body, |reply| status(reply, 204)).await.is_some() {
            self.content = Some(bytes);
        }
    }

    async fn own_download(&mut self) {
        let request = self.caller.request(Method::GET, &self.own_content());
        let first = || (0..4096).map(content_byte).collect();
        let expected: Bytes = self.content.clone().unwrap_or_else(first);
        let judge = |reply: &Reply| status(reply, 200).and_then(|()| fits(reply.body == expected, "other bytes than were stored"));
        self.caller.ask(Kind::OwnDownload, request, nothing(), judge).await;
    }

    async fn download(&mut self) {
        let size = 1 + self.roll(1_000_000);
        let request = self.caller.request(Method::GET, &format!("/api/v1/Document/25/Content?size={size}"));
        let judge = |reply: &Reply| {
            status(reply, 200)?;
            let bytes = reply.body.iter().zip(0..).all(|(byte, at)| *byte == content_byte(at));
            fits(bytes && reply.body.len() as u64 == size, "other bytes than were asked for")
        };
        self.caller.ask(Kind::Download, request, nothing(), judge).await;
    }

    /// What is stored of the own contact and of the own document, after all.
    pub fn check_own(&self, contact: Option<Value>, facts: &Facts) -> Result<(), String> {
        let (id, contact) = (self.own_contact(), contact.ok_or("the own contact is gone")?);
        let Some(own) = &self.own else { return Ok(()) };
        same(&own.entity["Name"], &contact["Name"]).map_err(|why| format!("contact {id} as it is stored: {why}"))?;
        let at_home = |host: &String| format!("see http://{host}/{TENANT}/api/v1/Contact/{id}, please");
        let (stored, told) = (text(&contact), text(&own.entity));
        let is_theirs = stored == told && told.is_empty() || facts.hosts.iter().any(|host| stored == at_home(host));
        fits(is_theirs, &format!("contact {id} is stored with: {stored}"))
    }

    async fn state(&mut self) {
        let request = http::Request::get(format!("/api/state/{TENANT}"));
        let home = &self.caller.way.state_home.clone();
        let judge = |reply: &Reply| {
            status(reply, 200)?;
            let state: Value = serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
            same(&json!(home), &state["Endpoint"])?;
            same(&json!(format!("{home}/api")), &state["Api"])?;
            let running = state["IsRunning"].as_bool().ok_or("no IsRunning")?;
            same(&json!(if running { "Running" } else { "OfflineMaintenance" }), &state["State"])
        };
        self.caller.ask(Kind::State, request, nothing(), judge).await;
    }
}

impl Facts {
    /// What an answer says, links beginning with `@`, if they all lead home.
    fn at_home(&self, reply: &Reply, home: &str) -> Result<Value, String> {
        let mut text = String::from_utf8(reply.body.to_vec()).map_err(|error| error.to_string())?;
        if self.all {
            // What `all` makes of an address where the tenant was before.
            for host in &self.hosts {
                text = text.replace(&format!("{home}/~{host}/{TENANT}"), "@");
            }
        }
        text = text.replace(home, "@");
        let leads_away = text.contains("//127.0.0.1") || text.contains("//localhost") || self.hosts.iter().any(|host| text.contains(host));
        fits(!leads_away, "a link leads away")?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    fn entity(&self, reply: &Reply, home: &str) -> Result<(Value, String), String> {
        status(reply, 200)?;
        let etag = reply.header("etag").to_owned();
        fits(etag.len() > 2, "no ETag")?;
        Ok((self.at_home(reply, home)?, etag))
    }

    fn same_tag(&self, id: u64, etag: String) -> Result<(), String> {
        let mut etags = self.etags.lock().unwrap();
        fits(*etags.entry(id).or_insert_with(|| etag.clone()) == etag, &format!("another ETag, {etag}"))
    }
}

fn links(id: u64) -> Value {
    let own = format!("@/api/v1/Contact/{id}");
    json!({ "Self": own, "Rel": format!("{own}/Persons"), "Archive": "@/api/v1/Contact" })
}

fn with_links(stored: &Value, id: u64) -> Value {
    let mut shown = stored.clone();
    shown["_Links"] = links(id);
    shown
}

fn text(entity: &Value) -> String {
    entity["Description"].as_str().unwrap_or_default().to_owned()
}

fn status(reply: &Reply, expected: u16) -> Result<(), String> {
    fits(reply.status == expected, &format!("expected {expected}"))
}

fn same(expected: &Value, seen: &Value) -> Result<(), String> {
    fits(expected == seen, &format!("expected {expected:.200}, got {seen:.200}"))
}

fn fits(fits: bool, otherwise: &str) -> Result<(), String> {
    if fits { Ok(()) } else { Err(otherwise.to_owned()) }
}
