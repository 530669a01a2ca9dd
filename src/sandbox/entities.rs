//! The data of a tenant: contacts, persons and documents, read and written as the REST API does. Protocol §7, and the shapes
//! of its swagger (most members of its entities are left out).

pub(super) mod lists;
mod seed;
mod version;
mod world;

use http::header::{CONTENT_LOCATION, ETAG, HeaderName, LOCATION};
use http::{HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::odata::select_members;
use super::patch::{self, PatchError};
use super::present::{Root, invalid};
use super::reply::{self, Reply};
use super::webapi::Call;

pub(super) use lists::{agent, mdo_list, principal};
pub(super) use world::{Full, World};

/// The entities there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Contact,
    Person,
    Document,
}

impl Kind {
    /// From a path segment in lower case.
    pub(super) fn from_path(segment: &str) -> Option<Kind> {
        match segment {
            "contact" => Some(Kind::Contact),
            "person" => Some(Kind::Person),
            "document" => Some(Kind::Document),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Contact => "Contact",
            Kind::Person => "Person",
            Kind::Document => "Document",
        }
    }

    /// The member that holds the id.
    pub(super) fn id_member(self) -> &'static str {
        match self {
            Kind::Contact => "ContactId",
            Kind::Person => "PersonId",
            Kind::Document => "DocumentId",
        }
    }

    /// An entity with nothing in it: also the list of its members and their types.
    pub(super) fn template(self) -> Value {
        seed::template(self)
    }

    /// The columns of lists and archives: name, and where the value is in the entity. The first few are the default.
    pub(super) fn columns(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Kind::Contact => &[
                ("contactId", "/ContactId"),
                ("name", "/Name"),
                ("department", "/Department"),
                ("category", "/Category/Value"),
                ("business", "/Business/Value"),
                ("number", "/Number2"),
                ("orgnr", "/OrgNr"),
                ("country", "/Country/Name"),
                ("registeredDate", "/CreatedDate"),
                ("updatedDate", "/UpdatedDate"),
                ("email/emailAddress", "/Emails/0/Value"),
                ("phone/formattedNumber", "/Phones/0/Value"),
                ("url/URLAddress", "/Urls/0/Value"),
                ("contactAssociate/fullName", "/Associate/FullName"),
            ],
            Kind::Person => &[
                ("personId", "/PersonId"),
                ("firstName", "/Firstname"),
                ("lastName", "/Lastname"),
                ("fullName", "/FullName"),
                ("contactId", "/Contact/ContactId"),
                ("title", "/Title"),
                ("retired", "/Retired"),
                ("position", "/Position/Value"),
                ("registeredDate", "/CreatedDate"),
                ("updatedDate", "/UpdatedDate"),
                ("email/emailAddress", "/Emails/0/Value"),
                ("phone/formattedNumber", "/OfficePhones/0/Value"),
                ("contact/contactId", "/Contact/ContactId"),
                ("contact/name", "/Contact/Name"),
                ("personAssociate/fullName", "/Associate/FullName"),
            ],
            Kind::Document => &[
                ("documentId", "/DocumentId"),
                ("name", "/Name"),
                ("heading", "/Header"),
                ("date", "/Date"),
                ("type", "/Type"),
                ("ourRef", "/OurRef"),
                ("registeredDate", "/CreatedDate"),
                ("updatedDate", "/UpdatedDate"),
                ("contact/contactId", "/Contact/ContactId"),
                ("contact/name", "/Contact/Name"),
            ],
        }
    }
}

pub(super) fn full(_: Full) -> Reply {
    reply::crm_error(
        StatusCode::INSUFFICIENT_STORAGE,
        "SandboxException",
        "The sandbox takes no more data; POST /_sandbox/reset empties it",
    )
}

pub(super) fn not_found(kind: Kind, id: impl std::fmt::Display) -> Reply {
    let text = format!("{} id {id} not found", kind.name());
    reply::crm_error(StatusCode::NOT_FOUND, "SoNotFoundException", &text)
}

/// `GET {kind}/{id}`
pub(super) fn read(call: &Call<'_>, kind: Kind, id: u32) -> Reply {
    let world = call.sandbox.control().world(call.index);
    match world.get(kind, id) {
        Some(entity) => match version::refusal(&call.head.headers, &call.head.method, entity) {
            None => show(call, kind, id, entity),
            Some(status) => refused(status, entity),
        },
        None => not_found(kind, id),
    }
}

/// `POST {kind}`
pub(super) fn create(call: &Call<'_>, kind: Kind, written: Value) -> Reply {
    let mut entity = match clean(kind, written) {
        Ok(entity) => entity,
        Err(why) => return invalid(&why),
    };
    let now = stamp(call);
    entity["CreatedDate"] = now.clone();
    entity["UpdatedDate"] = now;
    let mut world = call.sandbox.control().world(call.index);
    match world.insert(kind, entity) {
        // Documented: 200, not 201. Assumption: the new entity's address is in `Location` all the same.
        Ok(id) => with_address(call, kind, id, LOCATION, world.get(kind, id)),
        Err(none_left) => full(none_left),
    }
}

/// `PUT {kind}/{id}`
pub(super) fn replace(call: &Call<'_>, kind: Kind, id: u32, written: Value) -> Reply {
    store(call, kind, id, |_| Ok(written))
}

/// `PATCH {kind}/{id}`
pub(super) fn patch(call: &Call<'_>, kind: Kind, id: u32, changes: Value) -> Reply {
    store(call, kind, id, |mut entity| match patch::apply(&mut entity, &changes) {
        Ok(()) => Ok(entity),
        Err(PatchError::Conflict(text)) => Err(Box::new(reply::crm_error(StatusCode::CONFLICT, "SoConflictException", &text))),
        Err(PatchError::Invalid(text)) => Err(Box::new(invalid(&text))),
    })
}

fn store(call: &Call<'_>, kind: Kind, id: u32, change: impl FnOnce(Value) -> Result<Value, Box<Reply>>) -> Reply {
    let mut world = call.sandbox.control().world(call.index);
    let Some(old) = world.get(kind, id).cloned() else { return not_found(kind, id) };
    if let Some(status) = version::refusal(&call.head.headers, &call.head.method, &old) {
        return refused(status, &old);
    }
    let keep = |name: &str| old.get(name).cloned().unwrap_or(Value::Null);
    let (created, extra) = (keep("CreatedDate"), keep("ExtraFields"));
    let changed = match change(old) {
        Ok(changed) => changed,
        Err(refused) => return *refused,
    };
    let mut entity = match clean(kind, changed) {
        Ok(entity) => entity,
        Err(why) => return invalid(&why),
    };
    if entity[kind.id_member()].as_u64().is_some_and(|written| written != 0 && written != u64::from(id)) {
        return invalid(&format!("the {} in the body is another than the one in the path", kind.id_member()));
    }
    entity["CreatedDate"] = created;
    entity["ExtraFields"] = extra;
    entity["UpdatedDate"] = stamp(call);
    match world.put(kind, id, entity) {
        Ok(()) => with_address(call, kind, id, CONTENT_LOCATION, world.get(kind, id)),
        Err(none_left) => full(none_left),
    }
}

/// `DELETE {kind}/{id}`
pub(super) fn delete(call: &Call<'_>, kind: Kind, id: u32) -> Reply {
    let mut world = call.sandbox.control().world(call.index);
    let Some(entity) = world.get(kind, id) else { return not_found(kind, id) };
    if let Some(status) = version::refusal(&call.head.headers, &call.head.method, entity) {
        return refused(status, entity);
    }
    world.remove(kind, id);
    reply::empty(StatusCode::NO_CONTENT)
}

fn show(call: &Call<'_>, kind: Kind, id: u32, entity: &Value) -> Reply {
    let mut shown = entity.clone();
    shown["_Links"] = links(call, kind, id, entity);
    if let Some(select) = call.query().get("$select").filter(|_| call.head.method == Method::GET) {
        select_members(&mut shown, &select);
    }
    let mut reply = reply::json(StatusCode::OK, &shown);
    reply.extensions_mut().insert(Root(kind.name()));
    tagged(reply, entity)
}

fn with_address(call: &Call<'_>, kind: Kind, id: u32, header: HeaderName, stored: Option<&Value>) -> Reply {
    let mut reply = show(call, kind, id, stored.unwrap_or(&Value::Null));
    let address = HeaderValue::from_str(&format!("{}/{}/{id}", call.api, kind.name()));
    reply.headers_mut().extend(address.ok().map(|address| (header, address)));
    reply
}

/// Assumption: of `_Links` only `Self` was found. `Rel` is what belongs to an entity, or what it belongs to.
fn links(call: &Call<'_>, kind: Kind, id: u32, entity: &Value) -> Value {
    let (api, own) = (&call.api, format!("{}/{}/{id}", call.api, kind.name()));
    let contact = entity.pointer("/Contact/ContactId").and_then(Value::as_u64).filter(|id| *id != 0);
    let related = match (kind, contact) {
        (Kind::Contact, _) => format!("{own}/Persons"),
        (_, Some(contact)) => format!("{api}/Contact/{contact}"),
        (_, None) => own.clone(),
    };
    let mut links = json!({ "Self": own, "Rel": related, "Archive": format!("{api}/{}", kind.name()) });
    if kind == Kind::Document {
        links["Content"] = format!("{own}/Content").into();
    }
    links
}

fn tagged(mut reply: Reply, entity: &Value) -> Reply {
    reply.headers_mut().extend(HeaderValue::from_str(&version::etag(entity)).ok().map(|tag| (ETAG, tag)));
    reply
}

/// 304 or 412.
fn refused(status: StatusCode, entity: &Value) -> Reply {
    let reply = match status {
        StatusCode::NOT_MODIFIED => reply::empty(status),
        _ => reply::crm_error(status, "SoPreconditionFailedException", "The entity is not what the request's conditions say"),
    };
    tagged(reply, entity)
}

fn stamp(call: &Call<'_>) -> Value {
    let now: Timestamp = call.sandbox.now();
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()
}

/// The members the entity has, with what was written; others are dropped, as ASP.NET does, and wrong types refused.
pub(super) fn clean(kind: Kind, written: Value) -> Result<Value, String> {
    let Value::Object(mut written) = written else { return Err("the entity to save is not in the request body".into()) };
    let Value::Object(template) = kind.template() else { return Ok(Value::Null) };
    let mut entity = Map::new();
    for (name, default) in template {
        let value = written.remove(&name).filter(|value| !value.is_null()).unwrap_or_else(|| default.clone());
        let same_type = default.is_null() || std::mem::discriminant(&value) == std::mem::discriminant(&default);
        if !same_type {
            return Err(format!("Error converting value {value} of member '{name}'"));
        }
        entity.insert(name, value);
    }
    Ok(Value::Object(entity))
}
