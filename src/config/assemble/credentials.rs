//! An application's secrets: client secrets, private keys and their passphrase; each key is parsed once.

use std::sync::Arc;

use secrecy::SecretString;

use super::{Assembly, SigningKeys};
use crate::config::file::{Credentials, Field};
use crate::config::secret::{SecretRef, how_to_close};
use crate::superoffice::signing::SigningKey;

impl Assembly<'_> {
    pub(super) fn client_secrets(&mut self, table: &str, credentials: &Credentials) -> Field<Arc<[SecretString]>> {
        let references = match &credentials.client_secrets {
            Field::Absent => return Field::Absent,
            Field::Wrong => return Field::Wrong,
            Field::Is(references) => references,
        };
        let key = format!("{table}.client_secret");
        // All are read before the first that is wrong is missed: every mistake shall be reported.
        let read: Vec<_> = references.iter().map(|reference| self.secret(&key, reference)).collect();
        read.into_iter().collect::<Option<Arc<[_]>>>().map_or(Field::Wrong, Field::Is)
    }

    /// Parses the keys of `[application]`, if there are any, to know what is wrong with them.
    pub(super) fn application_keys(&mut self, credentials: &Credentials) {
        if let Field::Is(references) = &credentials.private_keys {
            let passphrase = passphrase("application", credentials, None);
            let _ = self.signing_keys("application.private_key", references, passphrase);
        }
    }

    /// Keys and passphrase are overridden one by one: several keys may have one passphrase.
    pub(super) fn tenant_keys(&mut self, table: &str, own: &Credentials, shared: &Credentials) -> Option<SigningKeys> {
        let (key, references) = match (&own.private_keys, &shared.private_keys) {
            (Field::Is(references), _) => (format!("{table}.private_key"), references),
            (Field::Absent, Field::Is(references)) => ("application.private_key".to_owned(), references),
            _ => return None,
        };
        self.signing_keys(&key, references, passphrase(table, own, Some(shared)))
    }

    fn signing_keys(&mut self, key: &str, references: &[SecretRef], passphrase: Passphrase<'_>) -> Option<SigningKeys> {
        let passphrase = passphrase.ok()?;
        let words = passphrase.as_ref().map(|(_, reference)| (*reference).clone());
        let known = self.keys.iter().find(|(same, with, _)| same == references && *with == words);
        if let Some((.., parsed)) = known {
            return parsed.clone();
        }
        let parsed: Vec<_> = references.iter().map(|reference| self.parse_key(key, reference, passphrase.as_ref()).map(Arc::new)).collect();
        let parsed: Option<Arc<[_]>> = parsed.into_iter().collect();
        self.keys.push((references.to_vec(), words, parsed.clone()));
        parsed
    }

    fn parse_key(&mut self, key: &str, reference: &SecretRef, passphrase: Option<&(String, &SecretRef)>) -> Option<SigningKey> {
        let passphrase = match passphrase {
            Some((key, reference)) => Some(self.secret(key, reference)?),
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
        if matches!(reference, SecretRef::Literal(_)) {
            self.literals.extend(self.sources.exposed(key));
        }
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
