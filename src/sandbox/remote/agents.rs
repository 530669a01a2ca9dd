//! What the operations do with a tenant's data.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::contract::Operation;
use super::envelope::Taken;
use crate::sandbox::echo::hex;
use crate::sandbox::entities::{Kind, World, clean};
use crate::sandbox::state::RELEASE;
use crate::sandbox::{Sandbox, Tenant};

/// An exception of SuperOffice's code: its type and text. Assumption: they are those of the web API, in .NET's namespace.
pub(super) type Exception = (&'static str, String);

/// One accepted call.
pub(super) struct Call<'a> {
    pub sandbox: &'a Sandbox,
    pub index: usize,
    pub tenant: &'a Tenant,
    pub operation: &'static Operation,
    /// The operation's arguments, as the contract names their places.
    pub arguments: Value,
}

/// Does what is asked; what it answers, if the operation answers anything.
pub(super) fn call(call: &Call<'_>, taken: &Taken) -> Result<Value, Exception> {
    let mut world = call.sandbox.control().world(call.index);
    let id = call.arguments["Id"].as_u64().and_then(|id| u32::try_from(id).ok()).unwrap_or_default();
    let kind = if call.operation.agent == "Person" { Kind::Person } else { Kind::Contact };
    match call.operation.name {
        "GetContact" | "GetContactEntity" | "GetPerson" | "GetPersonEntity" => {
            world.get(kind, id).cloned().ok_or_else(|| not_found(kind, id))
        }
        "GetMyContact" => world.get(kind, 1).cloned().ok_or_else(|| not_found(kind, 1)),
        "CreateDefaultContactEntity" | "CreateDefaultPersonEntity" => Ok(kind.template()),
        "SaveContactEntity" | "SavePersonEntity" => save(call, &mut world, kind),
        "DeleteContactEntity" | "DeletePersonEntity" => match world.remove(kind, id) {
            true => Ok(Value::Null),
            false => Err(not_found(kind, id)),
        },
        "GetPersonsFromContact" => {
            let theirs = |person: &&Value| person["Contact"]["ContactId"] == id;
            Ok(world.all(Kind::Person).map(|(_, person)| person).filter(theirs).cloned().collect())
        }
        "SetPersonImage" => set_image(call, &mut world, id, taken),
        "GetSystemInfo" => Ok(json!({
            "BuildLabel": RELEASE, "AssemblyVersion": "11.10.0.0", "FileVersion": "11.10.721.0", "Description": "SuperOffice NetServer",
            "IsUnicode": true, "CompanyName": call.tenant.company,
        })),
        other => Err(("SuperOffice.Exceptions.SoNotImplementedException", format!("The sandbox has no {other}"))),
    }
}

fn not_found(kind: Kind, id: u32) -> Exception {
    ("SuperOffice.Exceptions.SoNotFoundException", format!("{} id {id} not found", kind.name()))
}

fn full() -> Exception {
    ("SuperOffice.Exceptions.SandboxException", "The sandbox takes no more data; POST /_sandbox/reset empties it".to_owned())
}

/// A new entity, or the members that came instead of those that were.
fn save(call: &Call<'_>, world: &mut World, kind: Kind) -> Result<Value, Exception> {
    let invalid = |text: String| ("System.ArgumentException", text);
    let Value::Object(written) = call.arguments["Entity"].clone() else { return Err(invalid("Value cannot be null.".into())) };
    let id = written.get(kind.id_member()).and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok()).unwrap_or_default();
    let mut entity = match id {
        0 => kind.template(),
        id => world.get(kind, id).cloned().ok_or_else(|| not_found(kind, id))?,
    };
    let (created, now) = (entity["CreatedDate"].clone(), call.sandbox.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    if let Value::Object(members) = &mut entity {
        members.extend(written);
    }
    let mut entity = clean(kind, entity).map_err(invalid)?;
    entity["CreatedDate"] = if id == 0 { now.clone().into() } else { created };
    entity["UpdatedDate"] = now.into();
    let id = match id {
        0 => world.insert(kind, entity).map_err(|_| full())?,
        id => world.put(kind, id, entity).map(|()| id).map_err(|_| full())?,
    };
    world.get(kind, id).cloned().ok_or_else(|| not_found(kind, id))
}

/// Of an image only its length and hash, as it was written in base64, are remembered.
fn set_image(call: &Call<'_>, world: &mut World, id: u32, taken: &Taken) -> Result<Value, Exception> {
    let text = call.arguments["Image"].as_str().unwrap_or_default();
    let short = || (text.len() as u64, hex(&Sha256::digest(text)));
    let (length, sha256) = taken.file.clone().unwrap_or_else(short);
    let mut person = world.get(Kind::Person, id).cloned().ok_or_else(|| not_found(Kind::Person, id))?;
    person["ExtraFields"] = json!({ "sandbox:imageLength": length.to_string(), "sandbox:imageSha256": sha256 });
    world.put(Kind::Person, id, person).map_err(|_| full())?;
    Ok(Value::Null)
}
