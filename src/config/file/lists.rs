//! The sections that are lists of tables, `[[listeners]]` and `[[cache]]`: what one of each is called and takes.

use std::time::Duration;

use figment::value::Value;

use super::doors::{self, DoorSettings, Places};
use super::field::Field;
use super::kinds;
use super::reader::{Reader, Table};
use super::source::Sources;
use crate::superoffice::origin::BaseUrl;

/// `[[listeners]]`
pub const LISTENERS: &str = "listeners";
/// `[[cache]]`
pub const CACHE: &str = "cache";
const LISTS: [&str; 2] = [LISTENERS, CACHE];

/// One of `[[listeners]]`
pub struct ListenerSettings {
    /// `address`
    pub addresses: Option<Places>,
    /// `tenant`
    pub tenant: Field<String>,
    /// `public_url`
    pub public_url: Field<BaseUrl>,
    /// What it is made of.
    pub door: DoorSettings,
}

/// One of `[[cache]]`
pub struct CacheSettings {
    /// `paths`: patterns, each good by itself.
    pub paths: Option<Vec<String>>,
    /// `ttl`
    pub ttl: Option<Duration>,
}

/// Whether a section, a table or a key of one (`listeners[1].address`) is a list's.
pub fn is_list(key: &str) -> bool {
    key.split(['[', '.']).next().is_some_and(|section| LISTS.contains(&section))
}

/// All of `[[listeners]]`.
pub fn listeners<'v>(sources: &'v Sources, reader: &mut Reader<'v>) -> Vec<ListenerSettings> {
    each(LISTENERS, sources, reader, |table| ListenerSettings {
        addresses: table.need("address", doors::places),
        tenant: table.read("tenant", kinds::text),
        public_url: table.read("public_url", kinds::public_url),
        door: doors::door(table),
    })
}

/// All of `[[cache]]`.
pub fn cache<'v>(sources: &'v Sources, reader: &mut Reader<'v>) -> Vec<CacheSettings> {
    each(CACHE, sources, reader, |table| CacheSettings {
        paths: table.need("paths", kinds::patterns),
        ttl: table.need("ttl", kinds::duration(Duration::from_secs(1), None)),
    })
}

fn each<'v, T>(name: &'static str, sources: &'v Sources, reader: &mut Reader<'v>, read: impl Fn(&mut Table<'_, 'v>) -> T) -> Vec<T> {
    let Some(value) = sources.values().and_then(|values| values.get(name)) else { return Vec::new() };
    let Some(tables) = value.as_array() else {
        let hint = match value.as_dict() {
            Some(_) => format!("write [[{name}]], with two brackets, before the settings of each one, in the file"),
            None => format!("begin each one with [[{name}]] on a line of its own, in the file"),
        };
        reader.problem(name, "must be a list of tables", hint);
        return Vec::new();
    };
    let one = |(index, value): (usize, &'v Value)| {
        let mut table = reader.item(name, index, value);
        let settings = read(&mut table);
        table.finish();
        settings
    };
    tables.iter().enumerate().map(one).collect()
}
