//! One tenant's entities in memory, with an end to how much they may become.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Kind, seed};
use crate::sandbox::document::{self, Upload};

/// All entities of a tenant together, so that nobody fills the memory.
const MOST_ENTITIES: usize = 10_000;
/// Everything that was written to a tenant, together.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// There is no room for more.
#[derive(Debug)]
pub(in crate::sandbox) struct Full;

/// One tenant's data.
pub(in crate::sandbox) struct World {
    entities: [BTreeMap<u32, Value>; 3],
    last_id: [u32; 3],
    written: usize,
    pub(in crate::sandbox) uploads: BTreeMap<u32, Upload>,
}

impl World {
    /// The data a tenant begins with; the same for the same `index`.
    pub(in crate::sandbox) fn new(index: usize) -> World {
        let entities = seed::entities(index);
        let last_id = std::array::from_fn(|kind| entities[kind].last_key_value().map_or(0, |(id, _)| *id));
        World { entities, last_id, written: 0, uploads: BTreeMap::new() }
    }

    pub(in crate::sandbox) fn get(&self, kind: Kind, id: u32) -> Option<&Value> {
        self.entities[kind as usize].get(&id)
    }

    pub(in crate::sandbox) fn all(&self, kind: Kind) -> impl Iterator<Item = (u32, &Value)> {
        self.entities[kind as usize].iter().map(|(id, entity)| (*id, entity))
    }

    pub(in crate::sandbox) fn insert(&mut self, kind: Kind, entity: Value) -> Result<u32, Full> {
        if self.entities.iter().map(BTreeMap::len).sum::<usize>() >= MOST_ENTITIES {
            return Err(Full);
        }
        let id = self.last_id[kind as usize] + 1;
        self.put(kind, id, entity)?;
        self.last_id[kind as usize] = id;
        Ok(id)
    }

    pub(in crate::sandbox) fn put(&mut self, kind: Kind, id: u32, mut entity: Value) -> Result<(), Full> {
        entity[kind.id_member()] = json!(id);
        if kind == Kind::Person {
            self.complete_person(&mut entity);
        }
        self.spend(entity.to_string().len(), self.get(kind, id).map_or(0, |old| old.to_string().len()))?;
        self.entities[kind as usize].insert(id, entity);
        Ok(())
    }

    fn complete_person(&self, person: &mut Value) {
        let part = |name: &str| person[name].as_str().unwrap_or_default().to_owned();
        let full_name = [part("Firstname"), part("MiddleName"), part("Lastname")];
        person["FullName"] = full_name.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" ").into();
        let contact = person["Contact"]["ContactId"].as_u64().and_then(|id| u32::try_from(id).ok());
        if let Some(contact) = contact.and_then(|id| self.get(Kind::Contact, id)) {
            person["Contact"] = json!({ "ContactId": contact["ContactId"], "Name": contact["Name"], "OrgNr": contact["OrgNr"] });
        }
    }

    pub(in crate::sandbox) fn store_upload(&mut self, id: u32, upload: Upload) -> Result<(), Full> {
        let size = |upload: &Upload| upload.content.as_ref().map_or(0, |content| content.len());
        self.spend(size(&upload), self.uploads.get(&id).map_or(0, size))?;
        if let Some(entity) = self.entities[Kind::Document as usize].get_mut(&id) {
            entity["ExtraFields"] = document::facts(&upload);
        }
        self.uploads.insert(id, upload);
        Ok(())
    }

    fn spend(&mut self, size: usize, freed: usize) -> Result<(), Full> {
        let written = (self.written + size).saturating_sub(freed);
        if written > MOST_BYTES {
            return Err(Full);
        }
        self.written = written;
        Ok(())
    }

    pub(in crate::sandbox) fn remove(&mut self, kind: Kind, id: u32) -> bool {
        let old = self.entities[kind as usize].remove(&id);
        let mut freed = old.as_ref().map_or(0, |old| old.to_string().len());
        if kind == Kind::Document {
            freed += self.uploads.remove(&id).and_then(|upload| upload.content).map_or(0, |content| content.len());
        }
        self.written = self.written.saturating_sub(freed);
        old.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::clean;
    use super::*;

    #[test]
    fn the_world_is_the_same_each_time_and_differs_between_tenants() {
        let name = |index| World::new(index).get(Kind::Contact, 1).unwrap()["Name"].clone();
        assert_eq!(name(0), name(0));
        assert_ne!(name(0), name(1));
        let world = World::new(0);
        let counts = [Kind::Contact, Kind::Person, Kind::Document].map(|kind| world.all(kind).count());
        assert_eq!(counts, [60, 150, 25]);
    }

    #[test]
    fn every_seeded_entity_has_all_columns_and_members_of_its_kind() {
        let world = World::new(0);
        for kind in [Kind::Contact, Kind::Person, Kind::Document] {
            for (id, entity) in world.all(kind) {
                assert_eq!(clean(kind, entity.clone()).as_ref(), Ok(entity), "{kind:?} {id}");
                for (column, pointer) in kind.columns() {
                    assert!(entity.pointer(pointer).is_some(), "{kind:?} {id} {column}");
                }
            }
        }
    }

    #[test]
    fn there_is_an_end_to_what_can_be_written() {
        let mut world = World::new(0);
        let added = (0..).take_while(|_| world.insert(Kind::Contact, Kind::Contact.template()).is_ok()).count();
        assert_eq!(added, MOST_ENTITIES - 235);
        assert!(world.remove(Kind::Contact, 1));
        assert!(world.insert(Kind::Contact, Kind::Contact.template()).is_ok());

        let mut world = World::new(0);
        let upload = |length: usize| Upload { length: 0, sha256: String::new(), content: Some(vec![0; length].into()) };
        assert!(world.store_upload(1, upload(MOST_BYTES)).is_ok());
        assert!(world.store_upload(2, upload(1)).is_err());
        assert!(world.store_upload(1, upload(1)).is_ok());
        assert!(world.store_upload(2, upload(1)).is_ok());
    }

    #[test]
    fn ids_are_never_used_again() {
        let mut world = World::new(0);
        let id = world.insert(Kind::Contact, Kind::Contact.template()).ok().unwrap();
        assert!(world.remove(Kind::Contact, id));
        assert!(world.insert(Kind::Contact, Kind::Contact.template()).ok().unwrap() > id);
    }
}
