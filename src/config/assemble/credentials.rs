//! An application's secrets: the client secret, the private key and its passphrase; each key is parsed once.

use std::sync::Arc;

use secrecy::SecretString;

use super::Assembly;
use crate::config::file::{Credentials, Field};
use crate::config::secret::{SecretRef, how_to_close};
use crate::superoffice::signing::SigningKey;

impl Assembly<'_> {
    pub(super) fn client_secret(&mut self, table: &str, credentials: &Credentials) -> Field<SecretString> {
        match &credentials.client_secret {
            Field::Absent => Field::Absent,
            Field::Wrong => Field::Wrong,
            Field::Is(reference) => self.secret(&format!("{table}.client_secret"), reference).map_or(Field::Wrong, Field::Is),
        }
    }

    /// Parses the key of `[application]`, if there is one, to know what is wrong with it.
    pub(super) fn application_key(&mut self, credentials: &Credentials) {
        if let Field::Is(reference) = &credentials.private_key {
            let passphrase = passphrase("application", credentials, None);
            let _ = self.signing_key("application.private_key", reference, passphrase);
        }
    }

    /// Key and passphrase are overridden one by one: several keys may have one passphrase.
    pub(super) fn tenant_key(&mut self, table: &str, own: &Credentials, shared: &Credentials) -> Option<Arc<SigningKey>> {
        let (key, reference) = match (&own.private_key, &shared.private_key) {
            (Field::Is(reference), _) => (format!("{table}.private_key"), reference),
            (Field::Absent, Field::Is(reference)) => ("application.private_key".to_owned(), reference),
            _ => return None,
        };
        self.signing_key(&key, reference, passphrase(table, own, Some(shared)))
    }

    fn signing_key(&mut self, key: &str, reference: &SecretRef, passphrase: Passphrase<'_>) -> Option<Arc<SigningKey>> {
        let passphrase = passphrase.ok()?;
        let words = passphrase.as_ref().map(|(_, reference)| (*reference).clone());
        let known = self.keys.iter().find(|(same, with, _)| same == reference && *with == words);
        if let Some((.., parsed)) = known {
            return parsed.clone();
        }
        let parsed = self.parse_key(key, reference, passphrase).map(Arc::new);
        self.keys.push((reference.clone(), words, parsed.clone()));
        parsed
    }

    fn parse_key(&mut self, key: &str, reference: &SecretRef, passphrase: Option<(String, &SecretRef)>) -> Option<SigningKey> {
        let passphrase = match passphrase {
            Some((key, reference)) => Some(self.secret(&key, reference)?),
            None => None,
        };
        self.look_at(key, reference);
        let bytes = self.secrets.bytes(reference).map_err(|error| self.problem(key, error.to_string(), error.hint())).ok()?;
        let hint =
            "private_key is the application's own key, as <RSAKeyValue> XML or PEM; private_key_passphrase opens it if it is encrypted";
        let place = match reference {
            SecretRef::File(path) => format!("{}: ", path.display()),
            SecretRef::Command { .. } => "what the program printed: ".to_owned(),
            _ => String::new(),
        };
        let parsed = SigningKey::parse(&bytes, passphrase.as_ref());
        let parsed = parsed.map_err(|error| self.problem(key, format!("{place}{error}"), hint)).ok()?;
        if parsed.is_weak() {
            let hint = "SuperOffice's own samples carry such keys; ask for a new certificate in the Developer Portal when you can";
            self.warn(key, format!("is an RSA key of only {} bits", parsed.bits()), hint);
        }
        Some(parsed)
    }

    pub(super) fn secret(&mut self, key: &str, reference: &SecretRef) -> Option<SecretString> {
        self.look_at(key, reference);
        self.secrets.text(reference).map_err(|error| self.problem(key, error.to_string(), error.hint())).ok()
    }

    /// Notes where a secret stands in the open.
    pub(super) fn look_at(&mut self, key: &str, reference: &SecretRef) {
        self.literals |= matches!(reference, SecretRef::Literal(_)) && self.sources.in_file(key);
        if self.secrets.names_a_file(reference) {
            self.warn(key, "is the name of a file, and is taken for the secret itself", "for what is in the file, write { file = \"…\" }");
        }
        if let Some(path) = self.secrets.exposed(reference)
            && self.exposed.insert(path.clone())
        {
            self.warn(key, format!("{} can be read by other users", path.display()), how_to_close(&path));
        }
    }
}

/// A passphrase's key and reference, if there is one; `Err` when it is wrong and the problem is recorded.
type Passphrase<'s> = Result<Option<(String, &'s SecretRef)>, ()>;

fn passphrase<'s>(table: &str, own: &'s Credentials, shared: Option<&'s Credentials>) -> Passphrase<'s> {
    match (&own.private_key_passphrase, shared.map(|shared| &shared.private_key_passphrase)) {
        (Field::Is(reference), _) => Ok(Some((format!("{table}.private_key_passphrase"), reference))),
        (Field::Absent, Some(Field::Is(reference))) => Ok(Some(("application.private_key_passphrase".to_owned(), reference))),
        (Field::Absent, None | Some(Field::Absent)) => Ok(None),
        (Field::Wrong, _) | (_, Some(Field::Wrong)) => Err(()),
    }
}
