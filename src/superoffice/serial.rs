//! The serial of each tenant's database, pinned on first sight.
//!
//! A token's audience is only checked against the serial that stands in the same token (protocol §5.1). So whoever could have
//! tokens made for another database of the same name would not be noticed: a serial that changes is refused until an
//! operator says that it is right. The pins outlive reloads; a store keeps them over a restart.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::ContextId;
use super::origin::BaseUrl;

/// The pins of all tenants, by login service and context identifier.
#[derive(Clone, Default)]
pub struct Pins(Arc<Mutex<HashMap<Tenant, Arc<Pin>>>>);

/// Login service and context identifier, in small letters.
type Tenant = (Box<str>, Box<str>);

/// One tenant's pin.
#[derive(Debug, Default)]
pub struct Pin(Mutex<Option<Box<str>>>);

/// A token of another database than those before it. Serials are no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is of a database with the serial {seen}; {known}")]
pub struct Changed {
    /// The token's.
    pub seen: String,
    /// Which one it should have, and who says so.
    known: String,
}

impl Pins {
    /// The pin of a tenant; the same for all who ask.
    pub fn of(&self, login: &BaseUrl, context: &ContextId) -> Arc<Pin> {
        let key = (login.to_string().into_boxed_str(), context.as_str().to_ascii_lowercase().into_boxed_str());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone()
    }
}

impl Pin {
    /// Judges a token's serial. What an operator `said` counts, and is the pin from then on; else the first serial is.
    pub fn judge(&self, seen: &str, said: Option<&str>) -> Result<(), Changed> {
        let mut pinned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match (said, pinned.as_deref()) {
            (Some(said), _) if said != seen => format!("the configuration says {said}"),
            (None, Some(before)) if before != seen => format!("all before it had {before}"),
            _ => {
                if pinned.as_deref() != Some(seen) {
                    *pinned = Some(seen.into());
                }
                return Ok(());
            }
        };
        Err(Changed { seen: seen.to_owned(), known })
    }

    /// The serial, if one was seen.
    pub fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_deref().map(str::to_owned)
    }

    /// What was pinned before the process began; what is pinned already stays.
    pub fn restore(&self, serial: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| serial.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_serial_holds_until_an_operator_says_another_one() {
        let pin = Pin::default();
        assert_eq!(pin.judge("1", None), Ok(()));
        assert_eq!(pin.judge("1", None), Ok(()));
        let changed = pin.judge("2", None).unwrap_err();
        assert!(changed.to_string().contains("serial 2; all before it had 1"), "{changed}");
        assert_eq!(pin.judge("1", None), Ok(()), "a foreign token changes nothing");
        assert_eq!(pin.judge("2", Some("2")), Ok(()));
        assert_eq!(pin.judge("2", None), Ok(()), "what was said once holds without being said");
        assert!(pin.judge("2", Some("3")).unwrap_err().to_string().contains("the configuration says 3"));
    }

    #[test]
    fn a_tenant_has_one_pin_at_each_login_service() {
        let pins = Pins::default();
        let (sod, online) = ("https://sod.superoffice.com".parse().unwrap(), "https://online.superoffice.com".parse().unwrap());
        let pin = pins.of(&sod, &"Cust1".parse().unwrap());
        pin.restore("1");
        pin.restore("2");
        assert_eq!(pins.clone().of(&sod, &"CUST1".parse().unwrap()).get().as_deref(), Some("1"));
        assert_eq!(pins.of(&online, &"Cust1".parse().unwrap()).get(), None);
        assert_eq!(pins.of(&sod, &"Cust2".parse().unwrap()).get(), None);
    }
}
