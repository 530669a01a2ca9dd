//! The admin listener: how far it reaches, who may use it, and what it calls ready.

use secrecy::{ExposeSecret, SecretString};

use super::Assembly;
use crate::config::file::{AdminSettings, Field, Places, TenantSettings};
use crate::config::{Admin, ReadyWhen};

/// Shorter ones can be guessed.
const SHORTEST_TOKEN: usize = 16;

impl Assembly<'_> {
    /// The outer `None` had a problem, the inner is "off".
    pub(super) fn admin(&mut self, settings: &AdminSettings, tenants: &[TenantSettings]) -> Option<Option<Admin>> {
        let token = self.token(&settings.token);
        let ready_when = settings.ready_when.as_ref().and_then(|when| self.ready_when(when, tenants));
        let nowhere = Places::default();
        let (places, off) = match &settings.door.addresses {
            Some(Some(places)) => (Some(places), false),
            Some(None) => (Some(&nowhere), true),
            None => (None, false),
        };
        let sockets = self.sockets("admin", places, &settings.socket);
        if let Some(places) = places {
            let allowed = match &settings.token {
                Field::Is(_) | Field::Wrong => Some(None),
                Field::Absent => settings.door.insecure_allow_anonymous.map(Some),
            };
            let means = "whoever reaches this address learns the tenants' names and states";
            self.reach("admin.address", "admin", &places.tcp, allowed, means);
            let wide = places.tcp.iter().find(|address| !address.ip().to_canonical().is_loopback());
            if let Some(wide) = wide.filter(|_| matches!(settings.token, Field::Is(_))) {
                let hint = "have something before it that speaks TLS, or a network that nobody else can listen to";
                self.warn("admin.token", format!("reaches {wide} in plain text"), hint);
            }
        }
        let admin = Admin {
            addresses: places?.tcp.clone(),
            sockets: sockets?,
            hosts: settings.door.hosts.clone()?,
            insecure_allow_anonymous: settings.door.insecure_allow_anonymous?,
            token: token?,
            ready_when: ready_when?,
        };
        Some((!off).then_some(admin))
    }

    fn token(&mut self, field: &Field<crate::config::secret::SecretRef>) -> Option<Option<SecretString>> {
        let reference = match field {
            Field::Absent => return Some(None),
            Field::Wrong => return None,
            Field::Is(reference) => reference,
        };
        let token = self.secret("admin.token", reference)?;
        const HINT: &str = "make one with `openssl rand -hex 32`";
        match token.expose_secret() {
            text if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                self.problem("admin.token", "holds characters that no Authorization header can carry", HINT);
                None
            }
            text if text.len() < SHORTEST_TOKEN => {
                self.problem("admin.token", format!("is shorter than {SHORTEST_TOKEN} characters"), HINT);
                None
            }
            _ => Some(Some(token)),
        }
    }

    /// With the names as their tables spell them.
    fn ready_when(&mut self, when: &ReadyWhen, tenants: &[TenantSettings]) -> Option<ReadyWhen> {
        let ReadyWhen::Tenants(names) = when else { return Some(when.clone()) };
        // All are looked for before the first that is missing counts: every mistake shall be reported.
        let found: Vec<_> = names.iter().map(|name| self.configured("admin.ready_when", name, tenants)).collect();
        found.into_iter().collect::<Option<Vec<String>>>().map(ReadyWhen::Tenants)
    }
}
